"""Tiny images for grids of runs."""

from __future__ import annotations

import torch

import tlseg_lite as tl
from tlseg_lite.data import LandslideDataset
from tlseg_lite.experiments.splits import Splits

RECIPE = tl.Recipe(epochs=2, batch_size=2, learning_rate=1e-3)


class Spots(LandslideDataset):
    """Tiny images with a bright square as landslide."""

    def __init__(self, n: int, seed: int):
        self.ids = [f"spot-{seed}-{i}" for i in range(n)]
        self.source, self.seed = f"{n} spots", seed

    def __getitem__(self, i: int) -> dict:
        generator = torch.Generator().manual_seed(100 * self.seed + i)
        mask = torch.zeros(1, 32, 32)
        top, left = torch.randint(0, 20, (2,), generator=generator).tolist()
        mask[:, top : top + 10, left : left + 10] = 1
        image = 0.2 + 0.6 * mask + 0.05 * torch.rand(3, 32, 32, generator=generator)
        return {"image": image, "mask": mask, "id": self.ids[i]}


class SpotSplits(Splits):
    name, source, folds = "spots", "bright squares", 1

    def parts(self, seed, fold):
        return tuple(Spots(n, 3 * seed + i) for i, n in enumerate((4, 2, 3)))

    def _version(self):
        return "1"
