"""Seeds: one formula, and global states that stay as they were."""

import random

import pytest
import torch

from tlseg_lite.core.seeding import derived_seed, seeded


def test_the_formula_that_saved_runs_were_made_with():
    assert derived_seed(2, 5) == 2 * 1_000_003 + 5
    assert derived_seed(2, 5, 7) == (2 * 1_000_003 + 5) * 1_000_003 + 7
    some = [derived_seed(s, e, i) for s in range(3) for e in range(20) for i in range(50)]
    assert len(set(some)) == len(some)


def test_inside_the_seed_decides_and_outside_nothing_changes():
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    with seeded(9):
        inside = torch.rand(2)
    assert torch.equal(torch.rand(3), expected)
    torch.manual_seed(9)
    assert torch.equal(torch.rand(2), inside)


def test_the_state_is_put_back_after_an_error():
    before = torch.get_rng_state()

    def fail():
        with seeded(1):
            raise KeyError(torch.rand(1))

    with pytest.raises(KeyError):
        fail()
    assert torch.equal(torch.get_rng_state(), before)


def test_no_gpu_is_reseeded_unless_it_is_in_use(monkeypatch):
    seen = []
    monkeypatch.setattr("torch.cuda.manual_seed_all", lambda seed: seen.append("all"))
    monkeypatch.setattr("torch.cuda.manual_seed", seen.append)
    monkeypatch.setattr("torch.cuda.get_rng_state", lambda device: f"state of {device}")
    monkeypatch.setattr("torch.cuda.set_rng_state", lambda state, device: seen.append(state))
    with seeded(3):
        pass
    with seeded(3, torch.device("cpu")):
        pass
    assert seen == []
    with seeded(3, torch.device("cuda", 1)):
        assert seen == [3]
    assert seen == [3, "state of cuda:1"]


def test_nothing_in_the_package_seeds_the_global_state(tmp_path):
    """A training, an evaluation and a model with LoRA leave torch's and Python's state alone."""
    from training_helpers import Blobs

    import tlseg_lite as tl

    sam = tl.load_sam("sam_mini", None, image_size=64)
    torch.manual_seed(11)
    before, plain = torch.get_rng_state(), random.getstate()
    model = tl.TransLandSeg(sam, tl.LoRAConfig())
    recipe = tl.Recipe(epochs=1, batch_size=2)
    tl.preflight(model, Blobs(2), recipe)
    tl.fit(model, Blobs(2), Blobs(1, "val"), recipe, tmp_path, progress=False)
    tl.evaluate(model, Blobs(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert random.getstate() == plain
