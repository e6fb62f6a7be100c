"""Random numbers that depend on a seed alone, and leave those of others as they were."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derived_seed(seed: int, *numbers: int) -> int:
    """The seed of one epoch, ``derived_seed(seed, epoch)``, or one step of it, ``(..., step)``.

    Each number comes after the one before, times a prime: no two steps share a seed as long as
    every number is below a million.
    """
    for number in numbers:
        seed = seed * 1_000_003 + number
    return seed


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Random numbers from `seed` inside; afterwards the global state is what it was before.

    Args:
        seed: of the CPU's generator, and of the device's.
        device: the device in use, where random numbers are drawn besides the CPU, such as the GPU
            of a dropout layer; None: none. Other GPUs are left alone (`torch.manual_seed` reseeds
            them all, and `torch.random.fork_rng` puts back only those that it is told of).
    """
    cuda = device is not None and device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if cuda else []):
        torch.default_generator.manual_seed(seed)
        if device is not None and device.type != "cpu":
            getattr(torch, device.type).manual_seed(seed)
        yield
