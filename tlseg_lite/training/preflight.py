"""What a training will take on this machine: measured in a few steps, or estimated; which recipe.

`preflight` measures. `estimated_minutes` divides the work, which PyTorch counts, by the rate at
which this machine multiplies matrices. `Recipe.for_this_machine` chooses by the GPU's memory.
"""

from __future__ import annotations

import csv
import math
import os
import time
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path

import torch
from torch.utils.data import Dataset

from tlseg_lite.sam.variants import build_sam
from tlseg_lite.training.loader import check_datasets, collate, prepared
from tlseg_lite.training.recipe import PAPER_IMAGES, RECIPES, Recipe
from tlseg_lite.training.step import (
    TrainingStep,
    accelerator_for,
    diverging,
    optimizer_for,
    use_options,
)

RECORDED = Path(__file__).parent / "tables" / "training_speed.csv"
UNRECORDED_SHARE = 1 / 3
"""Share of the matrix rate that a training step is taken to reach where none was measured."""

_DTYPES = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Preflight:
    """What a run on this machine will take; `print` shows it.

    Attributes:
        device: where it runs.
        recipe: the settings; its ``micro_batch`` is set where memory was too short for the batch.
        images: for training.
        seconds_per_step: of a step of the optimizer, without reading the images.
        minutes: expected for the whole training, without validation.
        trainable: number of parameters that train.
        micro_batch: images at once that fitted.
        processes: that share the work.
        loading: seconds to read and prepare one image, once it is cached if the recipe caches.
        peak_gb: the most memory that PyTorch held on the GPU, 10^9 bytes; None on a CPU.
    """

    device: str
    recipe: Recipe
    images: int
    seconds_per_step: float
    minutes: float
    trainable: int
    micro_batch: int
    processes: int
    loading: float
    peak_gb: float | None

    @property
    def waiting(self) -> float:
        """Seconds in each step that training waits for images."""
        share = math.ceil(self.recipe.batch_size / self.processes) * self.loading
        if self.recipe.workers == 0:
            return share
        return max(0.0, share / self.recipe.workers - self.seconds_per_step)

    def __str__(self) -> str:
        r = self.recipe
        several = f", {self.processes} processes" if self.processes > 1 else ""
        waits = self.waiting / (self.waiting + self.seconds_per_step)
        lines = [
            f"device     {self.device}{several}",
            f"recipe     {r.sam}, {r.epochs} epochs of {self.images} images, "
            f"batch {r.batch_size}, precision {r.precision}",
            f"trainable  {self.trainable:,} parameters",
            f"step       {self.seconds_per_step:.2f} s, {self.micro_batch} images at once",
            f"loading    {1000 * self.loading:.0f} ms an image, "
            f"training waits {waits:.0%} of the time",
            f"expected   {self.minutes:.1f} minutes, plus validation",
        ]
        if self.peak_gb is not None:
            lines.insert(4, f"memory     {self.peak_gb:.1f} GB at most")
        return "\n".join(lines)


def preflight(model: torch.nn.Module, train: Dataset, recipe: Recipe) -> Preflight:
    """Time a few training steps (weights unchanged) and tell what the whole run will take.

    Where memory is short, the steps find how many images at once fit, and say so.

    Raises:
        ValueError: the dataset is empty.
        FloatingPointError: the loss is no finite number.
        NotEnoughMemory: not even one image at a time fits.
    """
    check_datasets(train, [None])
    accelerator = accelerator_for(recipe)
    cuda = accelerator.device.type == "cuda"
    batch, loading = _one_batch(model, train, recipe, accelerator)
    model.to(accelerator.device).train()
    before = {name: tensor.clone() for name, tensor in model.trained_state().items()}
    optimizer = accelerator.prepare(optimizer_for(model, recipe))
    step = TrainingStep(model, optimizer, recipe, accelerator)
    if cuda:
        torch.cuda.reset_peak_memory_stats(accelerator.device)
    try:
        with use_options(model, recipe, accelerator.device):
            seconds = _seconds_of_a_step(step, batch)
    finally:
        model.load_trained_state(before, "the weights before the preflight")
        model.zero_grad(set_to_none=True)
        model.eval()
    measured = Preflight(
        device=str(accelerator.device),
        recipe=recipe,
        images=len(train),
        seconds_per_step=seconds,
        minutes=0.0,
        trainable=sum(p.numel() for p in model.parameters() if p.requires_grad),
        micro_batch=step.micro_batch,
        processes=accelerator.num_processes,
        loading=loading,
        peak_gb=torch.cuda.max_memory_allocated(accelerator.device) / 1e9 if cuda else None,
    )
    steps = math.ceil(len(train) / recipe.batch_size) * recipe.epochs
    if step.micro_batch < math.ceil(recipe.batch_size / accelerator.num_processes):
        recipe = replace(recipe, micro_batch=step.micro_batch)
    return replace(measured, recipe=recipe, minutes=steps * (seconds + measured.waiting) / 60)


def _seconds_of_a_step(step: TrainingStep, batch) -> float:
    """The fastest of a few steps; the first one warms up and does not count."""
    recipe, cuda = step.recipe, step.accelerator.device.type == "cuda"
    times: list[float] = []
    while len(times) < 2 or (cuda and len(times) < 6 and sum(times) < 20):
        began = time.perf_counter()
        loss = step(batch, recipe.batch_size, recipe.seed).item()
        if cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
        if not math.isfinite(loss):  # on a GPU, where no step waits for it
            raise diverging(loss / recipe.batch_size, recipe)
    return min(times[1:])


def _one_batch(model, train: Dataset, recipe: Recipe, accelerator):
    """This process's share of one batch, on the device, and the seconds an image took."""
    from accelerate.utils import send_to_device

    few = _First(train, min(len(train), recipe.batch_size))
    data = prepared(few, model.image_size, replace(recipe, workers=0))
    mine = range(accelerator.process_index, recipe.batch_size, accelerator.num_processes)
    if recipe.cache != "no":
        data[0]  # the first time it is read into the cache
    began = time.perf_counter()
    data[0]
    once = time.perf_counter() - began
    batch = collate([data[i % len(data)] for i in mine])
    return send_to_device(batch, accelerator.device), once


class _First(torch.utils.data.Subset):
    """The first n items."""

    def __init__(self, dataset: Dataset, n: int):
        super().__init__(dataset, range(n))
        self.ids = list(getattr(dataset, "ids", range(len(dataset))))[:n]


@lru_cache(maxsize=16)
def encoder_flop(sam: str, image_size: int | None = None) -> float:
    """Floating-point operations of an encoder's forward pass for one image, as PyTorch counts them.

    Of `segment_anything`'s own form: the padding of windows and the relative positions are work
    too. Two for each multiplication with an addition.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        encoder = build_sam(sam, image_size=image_size).image_encoder
        image = torch.empty(1, 3, encoder.img_size, encoder.img_size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        encoder(image)
    return float(counter.get_total_flops())


def training_flop(sam: str, image_size: int | None = None) -> float:
    """Floating-point operations of a training step for one image, encoder alone.

    Its forward pass and the gradient of its inputs, which costs as much again; the gradients of
    frozen weights are not computed.
    """
    return 2.0 * encoder_flop(sam, image_size)


@cache
def matrix_rate(device: str, precision: str = "no", side: int | None = None) -> float:
    """Operations a second of a square matrix product on `device`, the best of a few, measured."""
    side = side or (8192 if device.startswith("cuda") else 1024)
    # no constants: GPUs multiply those faster than what a network holds
    a = torch.linspace(-1, 1, side * side, device=device).view(side, side).to(_DTYPES[precision])
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        product = a @ a
        product[0, 0].item()  # waits for a GPU
        best = min(best, time.perf_counter() - began)
    return 2.0 * side**3 / best


@lru_cache(maxsize=1)
def recorded() -> tuple[dict[str, str], ...]:
    """Rows of the recorded speeds: what ran where, and the share of the matrix rate it reached."""
    with open(RECORDED, encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))


def estimated_minutes(recipe: Recipe, images: int) -> tuple[float, str]:
    """Minutes of a training without validation, and what the estimate stands on, in words."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rate = matrix_rate(device, recipe.precision if device == "cuda" else "no")
    rows = [r for r in recorded() if (r["kind"], r["sam"]) == (device, recipe.sam)]
    if rows:
        share = float(rows[-1]["share"])
        basis = f"{share:.0%} of the measured matrix rate, as recorded on {rows[-1]['device']}"
    else:
        share = UNRECORDED_SHARE
        basis = f"a third of the measured matrix rate is assumed, no run of {recipe.sam} on a "
        basis += f"{'GPU' if device == 'cuda' else 'CPU'} is recorded"
    work = training_flop(recipe.sam) * (3 / 2 if recipe.checkpointing else 1)
    return recipe.epochs * images * work / (share * rate) / 60, basis


def _for_this_machine(
    cls: type[Recipe], train: Dataset | int | None = None, model: torch.nn.Module | None = None
) -> Recipe:
    """The recipe that fits: by the GPU's memory, or as ``TLSEG_RECIPE`` says.

    No GPU: `laptop`. Under 30 GB: `t4` (ViT-B). From 30 GB on: `paper` (ViT-L). ``why`` says
    what was found, and about how many minutes the training takes.

    Args:
        train: the training images that the minutes are for, or how many; None: 539, as in the
            paper. The laptop's recipe goes by their number, too.
        model: measure a few steps of it on `train` (`tlseg_lite.preflight`), instead of
            estimating from the speed of matrix products on this machine.

    Raises:
        ValueError: ``TLSEG_RECIPE`` names no recipe, or a model without images.
    """
    if model is not None and (train is None or isinstance(train, int)):
        raise ValueError("a model was given and no images: give train as well")
    given = train if train is None or isinstance(train, int) else len(train)
    recipe = _by_memory(cls, given)
    if model is not None:
        measured = preflight(model, train, recipe)
        recipe, minutes = measured.recipe, measured.minutes
        basis = f"{len(train)} images, from steps measured just now"
    else:
        images = PAPER_IMAGES if given is None else given
        minutes, estimate = estimated_minutes(recipe, images)
        basis = f"{images} images, an estimate: {estimate}"
    return replace(recipe, why=f"{recipe.why}; about {_rounded(minutes)} for {basis}")


# A recipe is a value and starts nothing, so what measures the machine is bound to it from here.
# The package imports this module first: whoever has a Recipe has its `for_this_machine`.
Recipe.for_this_machine = classmethod(_for_this_machine)


def _by_memory(cls: type[Recipe], images: int | None) -> Recipe:
    if wanted := os.environ.get("TLSEG_RECIPE"):
        if wanted not in RECIPES[:3]:
            raise ValueError(f"unknown recipe {wanted!r}; choose one of {', '.join(RECIPES[:3])}")
        recipe = cls.laptop(images) if wanted == "laptop" else getattr(cls, wanted)()
        return _because(f"TLSEG_RECIPE={wanted}", recipe)
    if not torch.cuda.is_available():
        return _because("no CUDA device: sam_mini on the CPU", cls.laptop(images))
    gpu = torch.cuda.get_device_properties(0)
    gib = gpu.total_memory / 2**30
    found = f"{gpu.name} with {gib:.0f} GiB"
    precision = "bf16" if torch.cuda.get_device_capability(0) >= (8, 0) else "fp16"
    if gib < 30:
        why = f"{found}: ViT-B at 1024 px, activations computed twice to save memory"
        return replace(cls.t4(), precision=precision, why=why)
    why = f"{found}: ViT-L at 1024 px, as in the paper"
    return replace(cls.paper(), precision=precision, why=why)


def _because(reason: str, recipe: Recipe) -> Recipe:
    """The recipe, with a reason before its own."""
    return replace(recipe, why="; ".join(filter(None, (reason, recipe.why))))


def _rounded(minutes: float) -> str:
    if minutes < 1:
        return "a minute"
    if minutes < 90:
        return f"{minutes:.0f} minutes"
    return f"{minutes / 60:.0f} hours ({minutes:.0f} minutes)"
