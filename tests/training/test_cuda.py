"""The training's path on a GPU, where there is one."""

import math
from dataclasses import replace

import pytest
import torch
from training_helpers import Blobs

import tlseg_lite as tl
from tlseg_lite.training.loader import collate, prepared
from tlseg_lite.training.step import TrainingStep, accelerator_for, optimizer_for

pytestmark = pytest.mark.cuda
RECIPE = tl.Recipe(epochs=2, batch_size=3, learning_rate=0.01)


class Small(tl.Trainable):
    """Dropout, so that the device's random numbers matter; holds `most` images at once."""

    most = 99

    def __init__(self, image_size=64):
        super().__init__(image_size)
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.Dropout(0.3), torch.nn.Conv2d(8, 1, 1)
        )
        with torch.no_grad():
            for number, parameter in enumerate(self.parameters()):
                parameter.copy_(torch.linspace(-0.2, 0.2, parameter.numel()).view_as(parameter))
                parameter.add_(0.01 * number)

    def forward(self, images):
        logits = self.layers(images)
        if self.training and len(images) > self.most:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return logits


def trained(folder, recipe, n=7, most=99, kind=Small):
    model = kind()
    model.most = most
    run = tl.fit(model, Blobs(n), Blobs(3, "val"), recipe, folder, progress=False)
    assert next(model.parameters()).device.type == "cuda"
    return model, run


def close(one, other):
    for key, value in one.trained_state().items():
        torch.testing.assert_close(value, other.trained_state()[key], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("precision", ["no", "bf16", "fp16"])
def test_every_precision_trains_an_adapted_sam(tmp_path, precision):
    model = tl.TransLandSeg(tl.load_sam("sam_mini", image_size=64), tl.ATLConfig())
    recipe = replace(RECIPE, precision=precision, workers=1, learning_rate=1e-3, epochs=4)
    told = tl.preflight(model, Blobs(7), recipe)
    assert told.device.startswith("cuda")
    assert told.peak_gb > 0
    run = tl.fit(model, Blobs(7), Blobs(3, "val"), recipe, tmp_path, progress=False)
    assert run.history.loss.iloc[-1] < run.history.loss.iloc[0]
    assert {value.dtype for value in model.trained_state().values()} == {torch.float32}


@pytest.mark.parametrize("precision", ["no", "fp16"])
def test_a_run_that_goes_on_ends_as_if_it_had_not_stopped(tmp_path, precision):
    recipe = replace(RECIPE, precision=precision, epochs=3)
    straight, _ = trained(tmp_path / "straight", recipe)

    class Stopped(Exception):
        pass

    def stop(history):
        if len(history) == 2:
            raise Stopped

    with pytest.raises(Stopped):
        tl.fit(
            Small(), Blobs(7), Blobs(3, "val"), recipe, tmp_path / "r", progress=False, watch=stop
        )
    torch.cuda.manual_seed(5)  # the global state must not matter
    resumed, _ = trained(tmp_path / "r", recipe)
    close(straight, resumed)


@pytest.mark.parametrize("precision", ["no", "fp16"])
def test_a_step_begun_anew_is_as_if_the_size_had_been_known(tmp_path, precision):
    recipe = replace(RECIPE, precision=precision)
    found, run = trained(tmp_path / "short", recipe, most=1)
    assert list(run.history.micro_batch) == [1, 1]
    known, _ = trained(tmp_path / "known", replace(recipe, micro_batch=1))
    close(found, known)


@pytest.mark.parametrize("precision", ["no", "bf16", "fp16"])
def test_a_step_does_not_wait_for_the_device(precision):
    """With fp16 GradScaler would, but for the fused optimizer, which looks on the device."""
    recipe = replace(RECIPE, precision=precision)
    accelerator = accelerator_for(recipe)
    model = Small().to(accelerator.device).train()
    optimizer = accelerator.prepare(optimizer_for(model, recipe))
    assert optimizer.param_groups[0]["fused"] is True
    step = TrainingStep(model, optimizer, recipe, accelerator)
    data = prepared(Blobs(3), 64, recipe)
    batch = collate([data[i] for i in range(3)])
    batch = {name: batch[name].to(accelerator.device) for name in ("image", "mask", "valid")}
    for seed in range(2):
        step(batch, 3, seed)
    torch.cuda.set_sync_debug_mode("error")
    try:
        loss = step(batch, 3, 2)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert math.isfinite(loss.item())


def test_a_loss_that_is_none_is_said_at_the_end_of_the_epoch(tmp_path):
    model = Small()
    with torch.no_grad():
        model.layers[0].bias.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="epoch 0: the loss is nan"):
        tl.fit(model, Blobs(3), Blobs(2, "val"), RECIPE, tmp_path, progress=False)
    with pytest.raises(FloatingPointError, match="logits are not finite"):
        tl.evaluate(model, Blobs(2))


def test_the_global_state_of_the_device_stays(tmp_path):
    torch.cuda.manual_seed(3)
    before = torch.cuda.get_rng_state()
    model, _ = trained(tmp_path, replace(RECIPE, epochs=1))
    tl.evaluate(model, Blobs(2))
    tl.TransLandSeg(tl.load_sam("sam_mini", None, image_size=64), tl.LoRAConfig())
    assert torch.equal(torch.cuda.get_rng_state(), before)


def test_scores_are_those_of_the_processor():
    model = tl.TransLandSeg(tl.load_sam("sam_mini", image_size=64), tl.ATLConfig())
    here = tl.evaluate(model, Blobs(6), views=8).confusion.counts()
    there = tl.evaluate(model.to("cuda"), Blobs(6), views=8).confusion.counts()
    assert sum(here) == sum(there)
    assert max(abs(a - b) for a, b in zip(here, there, strict=True)) < 0.001 * sum(here)


def adapted(size=64):
    torch.manual_seed(0)
    model = tl.TransLandSeg(tl.load_sam("sam_mini", image_size=size), tl.ATLConfig())
    for atl in model.adapters:
        torch.nn.init.normal_(atl.up.weight, std=0.02)
    return model.train()


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_has_the_gradient_of_full_precision(precision):
    """Logits are float32 before they are resampled, whatever the decoder gave."""
    recipe = replace(RECIPE, precision=precision)
    accelerator = accelerator_for(recipe)
    images, masks = torch.rand(2, 3, 64, 64), (torch.rand(2, 1, 64, 64) > 0.7).float()
    found = {}
    for kind in ("no", precision):
        model = adapted().to("cuda")
        with torch.autocast("cuda", enabled=False) if kind == "no" else accelerator.autocast():
            logits = model(images.cuda())
        assert logits.dtype == torch.float32
        tl.losses.bce_dice(logits, masks.cuda()).backward()
        found[kind] = torch.cat([p.grad.flatten() for p in model.parameters() if p.requires_grad])
    angle = torch.nn.functional.cosine_similarity(found["no"], found[precision], dim=0)
    assert angle > 0.99


def test_a_run_goes_on_on_the_other_device(tmp_path, monkeypatch):
    """Two epochs on the GPU, the third on the CPU: files hold tensors, not devices."""
    recipe = replace(RECIPE, epochs=3)

    def stop(history):
        if len(history) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tl.fit(Small(), Blobs(7), Blobs(3, "val"), recipe, tmp_path, progress=False, watch=stop)
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    model = Small()
    run = tl.fit(model, Blobs(7), Blobs(3, "val"), recipe, tmp_path, progress=False)
    assert len(run.history) == 3
    assert next(model.parameters()).device.type == "cpu"
    AcceleratorState._reset_state(reset_partial_state=True)


def test_memory_that_is_really_too_small_is_found_by_the_allocator(tmp_path):
    """A batch of 16 at 256 px in a tenth of what it takes at once: pieces, and the same loss."""
    recipe = replace(RECIPE, batch_size=16, epochs=1)
    model = tl.TransLandSeg(tl.load_sam("sam_mini"), tl.ATLConfig())
    torch.cuda.reset_peak_memory_stats()
    whole = tl.fit(model, Blobs(16), Blobs(2, "val"), recipe, tmp_path / "a", progress=False)
    needed = torch.cuda.max_memory_allocated()
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    model = tl.TransLandSeg(tl.load_sam("sam_mini"), tl.ATLConfig())
    try:
        torch.cuda.set_per_process_memory_fraction(0.5 * needed / total)
        run = tl.fit(model, Blobs(16), Blobs(2, "val"), recipe, tmp_path / "b", progress=False)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert run.history.micro_batch[0] < 16
    assert run.history.loss[0] == pytest.approx(whole.history.loss[0], rel=1e-3)


def test_batches_are_pinned_and_images_of_the_loader_train(tmp_path):
    from tlseg_lite.training.loader import TrainingBatches

    recipe = replace(RECIPE, workers=2)
    batches = TrainingBatches(Blobs(7), 64, recipe, accelerator_for(recipe))
    found = [batch for batch, _ in batches.epoch(0)]
    assert all(batch[name].is_pinned() for batch in found for name in ("image", "mask", "valid"))


def test_float32_is_float32_and_settings_stay(tmp_path):
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    seen = []

    class Looks(Small):
        def forward(self, images):
            flags = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
            seen.append((self.training, flags))
            return super().forward(images)

    for precision, tf32 in (("no", False), ("bf16", True)):
        recipe = replace(RECIPE, precision=precision, epochs=1)
        trained(tmp_path / precision, recipe, kind=Looks)
        assert {flags for _, flags in seen} == {(tf32, tf32)}
        seen.clear()
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == before


def test_a_sam_whose_encoder_was_trained_answers_clicks(tmp_path):
    sam = tl.load_sam("sam_mini", image_size=64)
    tl.TransLandSeg(sam, tl.ATLConfig()).to("cuda")  # takes the shared encoder along
    answer = tl.zero_shot.segment(sam, torch.rand(3, 40, 64), (20, 20))
    assert answer.masks.device.type == "cpu"
