"""The choice of the fastest form: measured once, kept, the same in every process, never wrong."""

import json

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from tlseg_lite.adapters import attention, fastest
from tlseg_lite.adapters.attention import attend
from tlseg_lite.adapters.fastest import Shape

CPU = torch.device("cpu")
FORMS = ("tiled", "eager")
SHAPE = Shape((12, 12), 0, 2, 8, torch.float32, True)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TLSEG_CACHE", str(tmp_path))
    monkeypatch.setattr(fastest, "_known", {})
    return tmp_path / "attention.json"


def seconds(monkeypatch, **of):
    """Let the forms take so long, and count how often each ran."""
    ran = dict.fromkeys(of, 0)

    def runner(shape, device, form, attend):
        def run():
            ran[form] += 1
            if isinstance(of[form], Exception):
                raise of[form]
            return torch.ones(4)

        run.form = form
        return run

    monkeypatch.setattr(fastest, "_runner", runner)

    def timed(run, device):
        taken = of[run.form]
        out = run()
        return fastest._Time(*(taken if isinstance(taken, tuple) else (taken, taken))), out

    monkeypatch.setattr(fastest, "_timed", timed)
    return ran


def test_measured_once_and_kept_for_other_processes(own_cache, monkeypatch):
    ran = seconds(monkeypatch, tiled=0.2, eager=0.1)
    assert fastest.fastest(SHAPE, CPU, FORMS, attend) == "eager"
    times = dict(ran)
    assert fastest.fastest(SHAPE, CPU, FORMS, attend) == "eager"
    (kept,) = json.loads(own_cache.read_text()).items()
    assert kept[1] == "eager"
    assert "12x12 window 0 heads 2x8 float32, gradient, of tiled eager" in kept[0]
    monkeypatch.setattr(fastest, "_known", {})  # another process
    seconds(monkeypatch, tiled=0.1, eager=0.2)
    assert fastest.fastest(SHAPE, CPU, FORMS, attend) == "eager"
    assert ran == times


def test_a_cpu_leaves_the_first_form_for_a_clear_gain_only(monkeypatch):
    seconds(monkeypatch, tiled=1.05, eager=1.0)
    assert fastest.fastest(SHAPE, CPU, FORMS, attend) == "tiled"
    seconds(monkeypatch, tiled=(2.0, 1.0), eager=(1.0, 1.1))  # it had to wait for others
    assert fastest.fastest(SHAPE._replace(heads=3), CPU, FORMS, attend) == "tiled"


def test_each_shape_and_thread_count_is_measured_for_itself(own_cache, monkeypatch):
    seconds(monkeypatch, tiled=0.1, eager=0.2)
    fastest.fastest(SHAPE, CPU, FORMS, attend)
    fastest.fastest(SHAPE._replace(gradient=False), CPU, FORMS, attend)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    fastest.fastest(SHAPE, CPU, FORMS, attend)
    assert len(json.loads(own_cache.read_text())) == 3


def test_a_form_that_fails_is_left_out(monkeypatch):
    seconds(monkeypatch, tiled=0.2, eager=RuntimeError("out of memory"))
    assert fastest.fastest(SHAPE, CPU, FORMS, attend) == "tiled"
    seconds(monkeypatch, tiled=RuntimeError("none"), eager=0.2)
    assert fastest.fastest(SHAPE._replace(heads=3), CPU, FORMS, attend) == "eager"
    seconds(monkeypatch, tiled=RuntimeError("none"), eager=RuntimeError("none"))
    assert fastest.fastest(SHAPE._replace(heads=4), CPU, FORMS, attend) == "tiled"


def test_a_form_with_another_answer_is_left_out_and_said(monkeypatch):
    made = fastest._runner

    def runner(shape, device, form, attend):
        run = made(shape, device, form, attend)
        return run if form == "tiled" else lambda: run() * 1.01

    monkeypatch.setattr(fastest, "_runner", runner)
    with pytest.warns(UserWarning, match="attention 'eager' gives another result than 'tiled'"):
        assert fastest.fastest(SHAPE, CPU, FORMS, attend) == "tiled"


@pytest.mark.parametrize("window", [0, 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("gradient", [True, False])
def test_all_candidates_agree_on_real_layers(window, dtype, gradient, recwarn):
    """No warning: every form's answer passes, in both types, with and without the gradient."""
    shape = Shape((12, 12), window, 2, 8, dtype, gradient)
    forms = ("tiled", "eager", "concat", "bias")
    assert fastest._measured(shape, CPU, forms, attend) in forms
    assert not [w for w in recwarn if "another result" in str(w.message)]


def test_a_damaged_or_unwritable_file_is_no_obstacle(own_cache, monkeypatch):
    seconds(monkeypatch, tiled=0.1, eager=0.2)
    own_cache.write_text("{not json")
    assert fastest.fastest(SHAPE, CPU, FORMS, attend) == "tiled"
    assert "tiled" in own_cache.read_text()
    folder = own_cache.parent / "file"
    folder.write_text("no folder")
    monkeypatch.setenv("TLSEG_CACHE", str(folder))
    assert fastest.fastest(SHAPE._replace(heads=5), CPU, FORMS, attend) == "tiled"


def test_enough_heads_are_measured():
    """All of them, but for large global layers: a tile holds several."""
    layer = SHAPE._replace(heads=12)
    assert fastest.heads_measured(layer._replace(grid=(64, 64), window=14)) == 12
    assert fastest.heads_measured(layer._replace(grid=(32, 32))) == 12
    assert fastest.heads_measured(layer._replace(grid=(64, 64))) == 2
    assert fastest.heads_measured(layer._replace(grid=(64, 64), heads=1)) == 1


def test_random_numbers_go_on_as_if_nothing_had_been_measured():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    fastest._measured(SHAPE, CPU, FORMS, attend)
    assert torch.equal(torch.rand(4), expected)


def test_auto_measures_large_layers_with_values(monkeypatch):
    from segment_anything.modeling.image_encoder import Attention

    asked = []
    monkeypatch.setattr(attention, "fastest", lambda *given: asked.append(given) or "eager")
    layer = Attention(32, 4, use_rel_pos=True, input_size=(24, 24))
    x = torch.zeros(1, 24, 24, 32)
    assert attention.form_for(layer, x, 0) == "eager"
    ((shape, device, forms, _),) = asked
    assert shape == Shape((24, 24), 0, 4, 8, torch.float32, False)
    assert (device, forms) == (CPU, FORMS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        attention.form_for(layer, x.requires_grad_(), 0)
    assert asked[-1][0][-2:] == (torch.bfloat16, True)
    with FakeTensorMode():
        fake = torch.zeros(1, 24, 24, 32)
        assert attention.form_for(layer, fake, 0) == "tiled"
    assert attention.form_for(layer, x.to("meta"), 0) == "tiled"
    assert len(asked) == 2
