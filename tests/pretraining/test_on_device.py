"""The way of a GPU through the pre-training: the same objects, drawn there, nothing read back."""

import itertools
import random
from dataclasses import replace
from functools import lru_cache
from types import SimpleNamespace

import fake_cuda
import pytest
import torch

import tlseg_lite as tl
from tlseg_lite.adapters import encoder
from tlseg_lite.pretraining import (
    DeadLeaves,
    DeviceLeaves,
    Plan,
    loop,
    objective,
    on_device,
    pretrain,
)
from tlseg_lite.pretraining.loop import PictureStream, _Run
from tlseg_lite.pretraining.muon import Muon
from tlseg_lite.pretraining.on_device import LABELS, mixed

TINY = Plan(batch=2, prompts=2, dense=0.4, reading=0.5, textures=16, held_out=1)


@pytest.fixture(scope="module")
def leaves():
    return DeviceLeaves(128, textures=16, device="cpu")


def generator(seed=0, device="cpu"):
    return torch.Generator(device).manual_seed(seed)


# --- images ---------------------------------------------------------------------------------


@pytest.mark.parametrize("inside", [None, 7])
def test_leaves_are_put_where_the_loop_over_images_puts_them(leaves, inside):
    shape = torch.rand(3, 40, 40, generator=generator()) < 0.5
    corners = torch.tensor([[0, 5], [17, 60], [90, 31]])
    canvas = torch.full((3, 140, 140), 7, dtype=torch.uint8)
    canvas[:, 20:] = 3
    one, other = canvas.clone(), canvas.clone()
    leaves._put(one, corners, shape, 9, inside)
    DeadLeaves._put(leaves, other, corners, shape, 9, inside)
    assert torch.equal(one, other)
    assert (one == 9).any()


@pytest.mark.parametrize("w", [24, 128, 256])
def test_warps_are_those_of_the_loop(leaves, w):
    found = []
    for kind in (DeviceLeaves, DeadLeaves):
        leaves.generator = generator(w)
        found.append(kind._warp(leaves, 3, w))
    assert torch.equal(*found)


@pytest.mark.parametrize("details", [0.0, 0.5])
def test_images_are_of_the_same_kind_as_those_of_the_cpu(details):
    """Other images, the same statistics: brightness, spread, number and size of the regions."""
    told = []
    for kind in (DeadLeaves, DeviceLeaves):
        made, drawn = kind(128, textures=32, device="cpu"), []
        for seed in range(4):
            pictures = made.sample(12, difficulty=0.6, details=details, generator=generator(seed))
            images, labels, whole = pictures
            assert images.shape == (12, 3, 128, 128)
            assert 0 <= images.min() < images.max() <= 1
            assert labels.max() < whole.shape[1] <= LABELS
            assert torch.equal(whole.gather(1, whole), whole)  # a whole is its own whole
            regions = torch.tensor([len(x.unique()) for x in labels]).float().mean()
            drawn.append(torch.stack([images.mean(), images.std(), regions / 40]))
        told.append(torch.stack(drawn).mean(0))
    torch.testing.assert_close(*told, rtol=0.2, atol=0.02)


def test_the_seed_decides():
    def made(seed):
        leaves = DeviceLeaves(64, textures=16, seed=seed, device="cpu")
        return next(mixed(leaves, 4, groups=2, size=4, difficulty=0.5, details=0.0))

    first, again, other = made(1), made(1), made(2)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first.images, other.images)


def test_batches_are_mixed_from_all_groups(leaves):
    """Four groups of four make four batches of four; each image once, each with its wholes."""
    batches = list(mixed(leaves, 4, groups=4, size=4, difficulty=0.5, details=0.0))
    assert [len(batch.images) for batch in batches] == [4] * 4
    structures = [{tuple(row) for row in batch.whole.tolist()} for batch in batches]
    assert max(map(len, structures)) > 1
    assert len(set.union(*structures)) == 4
    sums = torch.cat([batch.images.sum((1, 2, 3)) for batch in batches])
    assert len(sums.unique()) == 16


def test_the_stream_follows_the_level():
    level = SimpleNamespace(value=0.0)
    stream = iter(PictureStream(TINY, 0, level, "cpu", on_device=True))
    batches = list(itertools.islice(stream, 5))
    assert all(batch.whole.shape == (2, LABELS) for batch in batches)


# --- objectives and optimizer -----------------------------------------------------------------


def test_all_readings_at_once_have_the_same_loss_and_gradient():
    g = generator()
    masks = torch.randn(6, 4, 16, 16, generator=g, requires_grad=True)
    iou = torch.rand(6, 4, generator=g, requires_grad=True)
    first = (torch.rand(6, 16, 16, generator=g) > 0.5).float()
    second = first.clone()
    second[:2] = 1 - first[:2]  # two of six prompts have a second reading
    decoded = objective.Decoded(masks, iou, masks)
    found = []
    for skip in (True, False):
        loss = objective.prompt_loss(decoded, torch.stack([first, second], 1), skip=skip)
        found.append((loss.detach(), *torch.autograd.grad(loss, (masks, iou))))
    torch.testing.assert_close(*found)


def test_the_number_of_labels_may_be_larger_than_needed():
    features = torch.randn(2, 8, 32, 32, generator=generator())
    labels = torch.randint(0, 9, (2, 128, 128), generator=generator()).to(torch.uint8)
    labels[:, 100:] = objective.IGNORED
    for one, other in zip(
        objective.dense_loss(features, labels),
        objective.dense_loss(features, labels, regions=LABELS),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_matrices_of_a_shape_step_together_as_they_do_alone():
    g, shapes = generator(), [(48, 16), (16, 16), (48, 16), (16, 64)]
    starts = [torch.randn(shape, generator=g) for shape in shapes]
    found = []
    for together in (True, False):
        params = [torch.nn.Parameter(start.clone()) for start in starts]
        optimizer, h = Muon(params, lr=0.1, weight_decay=0.1), generator(1)
        for _ in range(3):
            for p in params:
                p.grad = torch.randn(p.shape, generator=h)
            if together:
                with torch.no_grad():
                    optimizer._together(params, optimizer.param_groups[0])
            else:
                optimizer.step()
        found.append(params)
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=0.02, atol=4e-3)  # bfloat16 inside


def test_padding_is_that_of_the_loop_over_images(tmp_path):
    run = _Run(tmp_path, TINY, "cpu")
    images = torch.rand(40, 3, 64, 64)
    labels = torch.zeros(40, 64, 64, dtype=torch.uint8)
    draw = torch.rand(40, 2, generator=generator(TINY.seed + 1)).tolist()
    padded, ignored = run._pad(images, labels)
    kinds = set()
    for i, (kind, share) in enumerate(draw):
        edge = int(64 * (0.5 + 0.5 * share))
        expected = images[i].clone()
        if kind < 0.2:
            expected[:, edge:] = 0
        elif kind < 0.35:
            expected[:, :, edge:] = 0
        kinds.add((kind < 0.2) + (kind < 0.35))
        assert torch.equal(padded[i], expected)
        assert torch.equal(ignored[i] == objective.IGNORED, (expected == 0).all(0))
    assert kinds == {0, 1, 2}


# --- the loop ---------------------------------------------------------------------------------


@pytest.mark.no_cover  # which doubles the time that compiling takes
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # dynamo looks at positions
@pytest.mark.parametrize("compiled", [False, True])
def test_a_run_on_its_device_trains_resumes_and_exports(tmp_path, monkeypatch, compiled):
    compiler = torch.compile  # here without a code generator: what is traced is the same
    monkeypatch.setattr(torch, "compile", lambda f: compiler(f, backend="eager"))
    monkeypatch.setattr(encoder, "_compiled", lru_cache(encoder._compiled.__wrapped__))
    seconds = itertools.count()
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: float(next(seconds))))
    how = {"plan": TINY, "device": "cpu", "on_device": True, "report": None, "compile": compiled}
    pretrain(tmp_path, minutes=3 / 60, **how)
    path = pretrain(tmp_path, minutes=4 / 60, resume=True, **how)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert (state["steps"], state["pictures"]) == (4, 8)
    assert set(state["recent"]) == {"dense_loss", "pixels_right", "prompt_loss"}
    assert all(isinstance(value, float) for value in state["recent"].values())
    assert tl.load_sam("sam_mini", weights=path).origin["fingerprint"]


def test_compiling_belongs_to_the_device(tmp_path):
    with pytest.raises(ValueError, match="compile is True; expected False, or on_device=True"):
        pretrain(tmp_path, minutes=1, plan=TINY, device="cpu", compile=True)


class NoValues(DeviceLeaves):
    """What is common to a group comes from Python, since here CPU tensors have no values either."""

    def _chance(self):
        return self.dice.random()

    def _choice(self, high):
        return self.dice.randrange(high)

    def _spread(self, n, low, high):
        return [self.dice.uniform(low, high) for _ in range(n)]

    def _jitter(self, n):
        return [self.dice.gauss(0, 0.45) for _ in range(n)]

    def _numbers(self, values):
        return torch.empty(len(values), dtype=torch.int64, device=self.device)


@pytest.mark.no_cover
@pytest.mark.parametrize("t", [0.1, 0.45, 0.9])
def test_images_and_a_step_wait_for_nothing(tmp_path, monkeypatch, t):
    """All three phases on a CUDA device without values, up to the loss."""
    plan = replace(TINY, details=0.5, corrections=1.0)
    made = NoValues(256, textures=16, device="cpu")
    made.dice = random.Random(1)
    run = _Run(tmp_path, plan, "cpu", on_device=True)
    run.device = "cuda"
    monkeypatch.setattr(run, "_chance", lambda: 0.0)
    monkeypatch.setattr(run, "_update", lambda loss: setattr(run, "steps", run.steps + 1))
    monkeypatch.setattr(on_device, "sent", lambda x, device: x.to(device, non_blocking=True))
    with fake_cuda.fake_cuda(monkeypatch):
        fake_cuda.moved(run.sam)
        run.position = torch.empty(1, 128, 16, 16, device="cuda")
        made.device = fake_cuda.CUDA
        for name, value in list(vars(made).items()):
            if isinstance(value, torch.Tensor):
                setattr(made, name, torch.empty(value.shape, dtype=value.dtype, device="cuda"))
        made.generator = run.draws = fake_cuda.Draws()
        with fake_cuda.Waits() as waits:
            for pictures in mixed(made, 2, groups=2, size=2, difficulty=0.8, details=0.5):
                run.step(pictures, t)
    assert run.steps == 2 * (plan.rehearsals if t == 0.45 else 1)
    assert all(value.device == fake_cuda.CUDA for value in run.recent.values())
    assert len(waits.names) > 1000
    assert not waits.found


@pytest.mark.cuda
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
@pytest.mark.parametrize("compiled", [False, True])
def test_nothing_waits_for_a_real_device(tmp_path, compiled):
    plan = replace(TINY, batch=4, details=0.5, corrections=1.0)
    run = _Run(tmp_path, plan, "cuda", on_device=True, compile=compiled)
    stream = iter(PictureStream(plan, 0, SimpleNamespace(value=0.8), "cuda", on_device=True))
    for t in (0.1, 0.45, 0.9):
        run.step(next(stream), t)  # compiles, and makes the optimizers' state
    before = [p.detach().clone() for p in run.sam.parameters()]
    torch.cuda.set_sync_debug_mode("error")
    try:
        for t in (0.1, 0.45, 0.9, 0.9, 0.9):
            run.step(next(stream), t)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(value == value for value in run.losses().values())
    assert any(not torch.equal(a, b) for a, b in zip(before, run.sam.parameters(), strict=True))


@pytest.mark.cuda
def test_images_of_a_real_device_are_those_of_the_class():
    pictures = DeviceLeaves(128, textures=16).sample(4, difficulty=0.6, details=0.5)
    assert pictures.images.device.type == "cuda"
    assert 0 <= pictures.images.min() < pictures.images.max() <= 1
    assert pictures.labels.max() < pictures.whole.shape[1] <= LABELS


@pytest.mark.cuda
def test_pretraining_runs_on_a_gpu(tmp_path):
    path = pretrain(tmp_path, minutes=0.1, plan=TINY, device="cuda", report=None)
    assert tl.load_sam("sam_mini", weights=path).origin["fingerprint"]
