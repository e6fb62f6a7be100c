"""What a GPU would run, held on any machine: devices, dtypes, waits, state. See `fake_cuda`."""

from contextlib import nullcontext
from dataclasses import replace
from itertools import islice
from types import SimpleNamespace

import fake_cuda
import pytest
import torch
from training_helpers import Blobs

import tlseg_lite as tl
from tlseg_lite.adapters.encoder import EncoderOptions
from tlseg_lite.cli import options as cli_options
from tlseg_lite.core.precision import float32_products
from tlseg_lite.sam.prompting import Embedded
from tlseg_lite.sam.variants import build_sam
from tlseg_lite.training import evaluation, loop
from tlseg_lite.training import step as training_step
from tlseg_lite.training.loader import collate, prepared
from tlseg_lite.training.memory import is_out_of_memory
from tlseg_lite.training.preflight import _by_memory
from tlseg_lite.training.step import TrainingStep, accelerator_for, optimizer_for
from tlseg_lite.training.weight_averaging import MovingAverage

RECIPE = tl.Recipe(epochs=2, batch_size=5, learning_rate=0.01)
BASELINES = ("unet", "pspnet", "deeplabv3plus", "segformer", "ccnet", "transunet")


def build(name):
    if name in BASELINES:
        return tl.build_baseline(name, image_size=64)
    options = EncoderOptions(attention="concat")
    return tl.TransLandSeg(build_sam("sam_mini"), tl.DESIGNS[name], encoder_options=options)


@pytest.mark.parametrize(
    "name", ["TransLandSeg", "TransLandSeg-5", "TransLandSeg-6", "LandslideNet", *BASELINES]
)
def test_a_step_mixes_no_devices_and_waits_for_nothing(monkeypatch, name):
    """Forward pass and loss of each network on a CUDA device without values."""
    monkeypatch.setattr(training_step, "seeded", lambda *_: nullcontext())
    model = build(name).train()
    side = model.image_size
    with fake_cuda.fake_cuda(monkeypatch):
        model, device = fake_cuda.moved(model), fake_cuda.CUDA
        optimizer = optimizer_for(model, RECIPE)
        assert optimizer.defaults["fused"] is True
        step = TrainingStep(model, optimizer, RECIPE, fake_cuda.accelerator("bf16"))
        fields = {"image": 3, "mask": 1, "valid": 1}
        batch = {k: torch.ones(2, n, side, side, device=device) for k, n in fields.items()}
        with fake_cuda.Waits() as waits:
            total = step(batch, 2, 0)
        assert (total.device, total.dtype) == (device, torch.float32)
        if name not in BASELINES:
            logits = model(batch["image"])
            assert (logits.device, logits.dtype) == (device, torch.float32)
    assert len(waits.names) > 100
    assert not waits.found


def test_logits_are_resampled_in_float32(monkeypatch):
    """Under bf16, positions and logits too: eight bits would blur both."""
    model = build("TransLandSeg")
    with fake_cuda.fake_cuda(monkeypatch):
        model, seen = fake_cuda.moved(model), []
        monkeypatch.setattr(
            torch.nn.functional,
            "interpolate",
            lambda x, *_, **__: seen.append(x.dtype) or x,
        )
        with torch.autocast("cuda", torch.bfloat16):
            decoded = model.decode(torch.ones(1, 128, 16, 16, device=fake_cuda.CUDA))
            model(torch.ones(1, 3, 256, 256, device=fake_cuda.CUDA))
            assert model._positions((16, 16)).dtype == torch.float32
    assert decoded.dtype == torch.bfloat16  # autocast is on: else this shows nothing
    assert seen == [torch.float32]


def test_scores_are_counted_on_the_device_without_waiting(monkeypatch):
    """From the batch to the counts of a confusion matrix; the one transfer comes at the end."""
    model = build("TransLandSeg").eval()
    with fake_cuda.fake_cuda(monkeypatch):
        model = fake_cuda.moved(model)
        masks = [torch.ones(1, *size, dtype=torch.bool) for size in ((40, 60), (60, 40))]
        samples = [
            {"id": n, "mask": m, "native_size": tuple(m.shape[1:])} for n, m in enumerate(masks)
        ]
        batch = samples, torch.ones(8, 2, 3, 256, 256)
        with fake_cuda.Waits() as waits:
            pairs = list(islice(evaluation.answered(model, [batch]), 2))
            counts = sum(evaluation._counted(*pair) for pair in pairs)
    assert all(value.device == fake_cuda.CUDA for value in counts)
    assert not waits.found


def test_the_fake_device_finds_what_it_should(monkeypatch):
    with fake_cuda.fake_cuda(monkeypatch):
        here, there = torch.ones(4), torch.ones(4, device=fake_cuda.CUDA)
        with pytest.raises(Exception, match="two devices"):
            here + there
        with fake_cuda.Waits() as waits:
            there[torch.tensor([0, 1])]
            here.to(fake_cuda.CUDA)
            here.to(fake_cuda.CUDA, non_blocking=True)
            there * 2
    assert [text.split()[0] for text in waits.found] == [
        "aten.index.Tensor",
        "aten._to_copy.default",
    ]
    assert "test_gpu_path.py" in waits.found[0]


# --- the loop, on the CPU, counting what is read --------------------------------------------


def ready(recipe, model=None, images=5):
    """A step whose optimizer is fused, as on a GPU, and one batch."""
    model = model or tl.TransLandSeg(tl.load_sam("sam_mini", None, image_size=64), tl.ATLConfig())
    trained = [p for p in model.train().parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, recipe.learning_rate, fused=True)
    data = prepared(Blobs(images), 64, recipe)
    return model, optimizer, collate([data[i] for i in range(images)])


@pytest.mark.parametrize("ema", [0, 0.9])
def test_an_epoch_reads_one_number(ema, monkeypatch):
    """The mean loss, at its end; clipping, AdamW, rate and moving average read nothing."""
    recipe = RECIPE
    model, optimizer, batch = ready(recipe)
    step = TrainingStep(model, optimizer, recipe, accelerator_for(recipe))
    monkeypatch.setattr(step, "_agree", lambda total: [0.0, 0.0])  # as a lone GPU does

    class Batches:
        images = 10

        def __len__(self):
            return 2

        def epoch(self, epoch):
            return iter([(batch, 5)] * 2)

    with fake_cuda.Waits("cpu") as waits:
        loss, _ = loop._train_epoch(step, Batches(), 0, MovingAverage(model, ema))
    assert 0 < loss < 2
    assert [text.split()[0] for text in waits.found] == ["aten._local_scalar_dense.default"]
    assert "loop.py" in waits.found[0]


class Scaling:
    """Accelerate's part of a step with a GradScaler, which Accelerate itself has on CUDA only."""

    num_processes, is_main_process, device = 1, True, torch.device("cpu")

    def __init__(self, optimizer):
        self.inner, self.scaler = optimizer, torch.amp.GradScaler("cpu", init_scale=2.0**10)
        self.optimizer = SimpleNamespace(
            param_groups=optimizer.param_groups, zero_grad=optimizer.zero_grad, step=self._step
        )

    def autocast(self):
        return torch.autocast("cpu", torch.bfloat16)

    def backward(self, loss):
        self.scaler.scale(loss).backward()

    def clip_grad_norm_(self, parameters, largest):
        self.scaler.unscale_(self.inner)
        return torch.nn.utils.clip_grad_norm_(parameters, largest)

    def _step(self):
        self.scaler.step(self.inner)
        self.scaler.update()

    def reduce(self, value, how):
        return value


@pytest.mark.parametrize("fused", [True, False])
def test_the_scaler_reads_nothing_with_a_fused_optimizer(monkeypatch, fused):
    model, optimizer, batch = ready(RECIPE)
    if not fused:
        optimizer = torch.optim.AdamW(optimizer.param_groups[0]["params"], foreach=False)
    accelerator = Scaling(optimizer)
    step = TrainingStep(model, accelerator.optimizer, RECIPE, accelerator)
    monkeypatch.setattr(step, "_agree", lambda total: [0.0, 0.0])
    step(batch, 5, 0)
    with fake_cuda.Waits("cpu") as waits:
        step(batch, 5, 1)
    scaler = [text for text in waits.found if "grad_scaler" in text]
    assert bool(waits.found) is not fused, scaler


def test_a_scaled_step_begun_anew_is_as_if_the_size_had_been_known():
    """Out of memory in the middle of an accumulation: no scaled gradient is left over."""
    found = []
    for most in (99, 2):
        sam = tl.load_sam("sam_mini", None, image_size=64)

        class Limited(tl.TransLandSeg):
            def forward(self, images, most=most):
                logits = super().forward(images)
                if len(images) > most:
                    raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
                return logits

        recipe = replace(RECIPE, micro_batch=0 if most == 2 else 2)
        model, optimizer, batch = ready(recipe, Limited(sam, tl.ATLConfig()))
        accelerator = Scaling(optimizer)
        step = TrainingStep(model, accelerator.optimizer, recipe, accelerator)
        for seed in range(3):
            step(batch, 5, seed)
        assert step.micro_batch == 2
        found.append((model.trained_state(), accelerator.scaler.state_dict()))
    (one, scale), (other, again) = found
    assert scale == again
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_an_overflow_skips_the_step_and_halves_the_scale():
    model, optimizer, batch = ready(RECIPE)
    accelerator = Scaling(optimizer)
    accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=float("inf"))
    step = TrainingStep(model, accelerator.optimizer, RECIPE, accelerator)
    before = {name: value.clone() for name, value in model.trained_state().items()}
    step(batch, 5, 0)
    assert all(torch.equal(value, before[name]) for name, value in model.trained_state().items())


# --- state, settings, memory ----------------------------------------------------------------


def test_a_state_of_a_gpu_goes_on_on_a_cpu_to_the_bit(tmp_path):
    """A GPU's state says that AdamW is fused; the device of now decides."""

    def train(folder, watch=None):
        model = tl.TransLandSeg(tl.load_sam("sam_mini", None, image_size=64), tl.ATLConfig())
        tl.fit(model, Blobs(5), Blobs(2, "val"), RECIPE, folder, progress=False, watch=watch)
        return model.trained_state()

    def stop(history):
        raise KeyboardInterrupt

    straight = train(tmp_path / "straight")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "gpu", stop)
    path = tmp_path / "gpu" / "state.pt"
    state = torch.load(path, weights_only=True)
    state["optimizer"]["param_groups"][0]["fused"] = True
    torch.save(state, path)
    resumed = train(tmp_path / "gpu")
    assert all(torch.equal(value, straight[name]) for name, value in resumed.items())


@pytest.mark.parametrize("exact", [True, False])
def test_float32_on_cuda_is_what_was_said_and_restored(exact):
    flags = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [f.allow_tf32 for f in flags]
    with float32_products(torch.device("cuda"), exact=exact):
        assert [f.allow_tf32 for f in flags] == [not exact] * 2
    assert [f.allow_tf32 for f in flags] == before
    with float32_products(torch.device("cpu"), exact=not exact):
        assert [f.allow_tf32 for f in flags] == before


@pytest.mark.parametrize(
    ("name", "gib", "capability", "sam", "precision"),
    [
        ("Tesla T4", 15, (7, 5), "vit_b", "fp16"),
        ("NVIDIA L4", 22, (8, 9), "vit_b", "bf16"),
        ("Tesla V100-SXM2-32GB", 32, (7, 0), "vit_l", "fp16"),
        ("Quadro RTX 8000", 45, (7, 5), "vit_l", "fp16"),
        ("NVIDIA A100-SXM4-40GB", 40, (8, 0), "vit_l", "bf16"),
    ],
)
def test_half_precision_is_one_that_the_gpu_has(monkeypatch, name, gib, capability, sam, precision):
    card = SimpleNamespace(name=name, total_memory=gib * 2**30)
    monkeypatch.delenv("TLSEG_RECIPE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capability)
    recipe = _by_memory(tl.Recipe, None)
    assert (recipe.sam, recipe.precision) == (sam, precision)


@pytest.mark.parametrize(
    "text",
    [
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "cuFFT error: CUFFT_ALLOC_FAILED",
        "CUDA driver error: out of memory",
        "CUDA error: out of memory",
    ],
)
def test_libraries_that_run_out_of_memory_are_understood(text):
    assert is_out_of_memory(RuntimeError(text))


def test_a_sam_is_brought_together_where_its_encoder_is(monkeypatch):
    """After a training on a GPU the shared encoder is there, and the rest of `sam` is not."""
    sam = tl.load_sam("sam_mini", None, image_size=64)
    sam.image_encoder.to("meta")
    seen = []
    monkeypatch.setattr(
        "segment_anything.SamPredictor.set_image", lambda self, pixels: seen.append(self.device)
    )
    Embedded(sam, torch.rand(3, 40, 64))
    assert [device.type for device in seen] == ["meta"]
    assert {p.device.type for p in sam.parameters()} == {"meta"}


def test_commands_use_the_gpu_unless_it_is_forbidden(monkeypatch):
    model = SimpleNamespace(to=lambda device: device)
    monkeypatch.delenv("ACCELERATE_USE_CPU", raising=False)
    assert cli_options.on_device(model) is model or torch.cuda.is_available()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert cli_options.on_device(model) == "cuda"
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    assert cli_options.on_device(model) is model


def test_below_the_first_adapter_there_is_no_gradient():
    """Adapters in the last two of eight blocks: the first six make no graph."""
    seen = {}

    class Watched(tl.TransLandSeg):
        def encode(self, images):
            before = self.adapters.before_block

            def note(index, x, state):
                seen[index] = x.requires_grad
                return before(index, x, state)

            self.adapters.before_block = note
            return super().encode(images)

    sam = tl.load_sam("sam_mini", None, image_size=64)
    model = Watched(sam, tl.ATLConfig(blocks=(6, 7)))
    model(torch.rand(1, 3, 64, 64)).sum().backward()
    assert seen == {index: index > 6 for index in range(8)}
    assert all(p.grad is None for p in model.image_encoder.parameters())
    assert all(p.grad is not None for p in model.adapters.parameters())
