"""What a training will take on this machine, told from a few measured steps."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import torch
from torch.utils.data import Dataset

from tlseg_lite.training.loader import check_datasets, collate, prepared
from tlseg_lite.training.recipe import Recipe
from tlseg_lite.training.step import TrainingStep, accelerator_for, optimiser_for, use_options


@dataclass(frozen=True)
class Preflight:
    """What a run on this machine will take; `print` shows it.

    Attributes:
        device: where it runs.
        recipe: the settings; its ``micro_batch`` is set where memory was too short for the batch.
        images: for training.
        seconds_per_step: of a step of the optimiser, without reading the images.
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
        NotEnoughMemory: not even one image at a time fits.
    """
    check_datasets(train, [None])
    accelerator = accelerator_for(recipe)
    cuda = accelerator.device.type == "cuda"
    batch, loading = _one_batch(model, train, recipe, accelerator)
    model.to(accelerator.device).train()
    use_options(model, recipe)
    before = {name: tensor.clone() for name, tensor in model.trained_state().items()}
    optimiser = accelerator.prepare(optimiser_for(model, recipe))
    step = TrainingStep(model, optimiser, recipe, accelerator)
    if cuda:
        torch.cuda.reset_peak_memory_stats(accelerator.device)
    times: list[float] = []
    try:
        while len(times) < 2 or (cuda and len(times) < 6 and sum(times) < 20):
            began = time.perf_counter()
            step(batch, recipe.batch_size, recipe.seed).item()
            if cuda:
                torch.cuda.synchronize()
            times.append(time.perf_counter() - began)
    finally:
        model.load_trained_state(before, "the weights before the preflight")
        model.zero_grad(set_to_none=True)
        model.eval()
    seconds = min(times[1:])  # the first one warms up
    told = Preflight(
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
    return replace(told, recipe=recipe, minutes=steps * (seconds + told.waiting) / 60)


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
