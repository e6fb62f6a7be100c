"""Training images in batches: the order of an epoch, divided among processes, prepared, checked."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from tlseg_lite.core.seeding import derived_seed
from tlseg_lite.data.cache import cached
from tlseg_lite.data.transforms import Augment, Prepared
from tlseg_lite.training.recipe import Recipe

if TYPE_CHECKING:
    from accelerate import Accelerator


class EpochOrder(Sampler[int]):
    """A random order of n images that depends on (seed, epoch) only."""

    def __init__(self, n: int, seed: int):
        self.n, self.seed, self.epoch = n, seed, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.n

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(derived_seed(self.seed, self.epoch))
        return iter(torch.randperm(self.n, generator=generator).tolist())


class SharedBatches(Sampler[list[int]]):
    """The batches of an epoch, each divided among the processes; no image twice, none left out.

    A process may have one image less than another, or none, in a batch; `collate` makes that None.
    """

    def __init__(self, order: EpochOrder, batch_size: int, process: int = 0, processes: int = 1):
        self.order, self.batch_size = order, batch_size
        self.process, self.processes = process, processes

    def __len__(self) -> int:
        return math.ceil(len(self.order) / self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        order = list(self.order)
        for step in range(len(self)):
            start = step * self.batch_size
            yield order[start : start + self.batch_size][self.process :: self.processes]

    def images(self, step: int) -> int:
        """Images of batch `step` on all processes together."""
        return min(self.batch_size, len(self.order) - step * self.batch_size)


def collate(samples: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Samples as a batch; None for none."""
    return default_collate(samples) if samples else None


class TrainingBatches:
    """This process's share of the batches of a training, epoch by epoch.

    ``len`` is the number of batches in an epoch; `images` that of the images.
    """

    def __init__(self, train: Dataset, size: int, recipe: Recipe, accelerator: Accelerator):
        processes = accelerator.num_processes
        if recipe.batch_size < processes:
            raise ValueError(
                f"batch_size is {recipe.batch_size} for {processes} processes, which divide a "
                f"batch among them; use a batch_size of at least {processes}, or fewer processes"
            )
        self._data = prepared(train, size, recipe)
        self.images = len(self._data)
        self._order = EpochOrder(self.images, recipe.seed)
        self._batches = SharedBatches(
            self._order, recipe.batch_size, accelerator.process_index, processes
        )
        self._loader = DataLoader(
            self._data,
            batch_sampler=self._batches,
            num_workers=recipe.workers,
            persistent_workers=recipe.workers > 0,
            collate_fn=collate,
            pin_memory=accelerator.device.type == "cuda",
            generator=torch.Generator().manual_seed(recipe.seed),  # of workers; not the global one
        )

    def __len__(self) -> int:
        return len(self._batches)

    def epoch(self, epoch: int) -> Iterator[tuple[dict[str, Any] | None, int]]:
        """Each batch of an epoch, on the CPU, and its images on all processes together."""
        self._data.set_epoch(epoch)
        self._order.set_epoch(epoch)
        for index, batch in enumerate(self._loader):
            yield batch, self._batches.images(index)


TURNS = Augment(brightness=0, contrast=0, saturation=0, hue=0, angle=0, zoom=1)
"""Flips and quarter turns alone, which need no resampling."""


def prepared(train: Dataset, size: int, recipe: Recipe) -> Prepared:
    """Training images as the model's squares, from the recipe's cache, augmented."""
    if not recipe.augment:
        return Prepared(cached(train, recipe.cache, None, recipe.workers), size)
    kept = cached(train, recipe.cache, size, recipe.workers)
    return Prepared(kept, size, Augment() if recipe.augment is True else TURNS, recipe.seed)


def check_datasets(train: Dataset, val: Dataset) -> None:
    """ValueError for an empty one, a warning for images that are in both."""
    for name, dataset in (("training", train), ("validation", val)):
        if len(dataset) == 0:
            raise ValueError(f"the {name} dataset is empty")
    both = set(getattr(train, "ids", ())) & set(getattr(val, "ids", ()))
    if both:
        warnings.warn(
            f"{len(both)} images are in the training and in the validation set "
            f"({', '.join(sorted(both)[:3])}): the validation scores will be too good. "
            "tlseg_lite.data.split makes disjoint sets",
            stacklevel=3,
        )
