"""Another place, another sensor: what has to be brought in line between two sets of images.

A model that was trained on one set meets another whose colours and whose metres a pixel differ.
Two of the differences can be taken away without a label: `MatchedColours` gives the new images the
colours of the old ones in the mean, and `Windows` cuts large images into pieces that show as much
ground as the old ones do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from tlseg_lite.data.base import Wrapped


@dataclass(frozen=True)
class Colours:
    """Mean and standard deviation of red, green and blue over a set of images, each (3,)."""

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, dataset: Dataset) -> Colours:
        """Those of `dataset`, whose images all count alike, whatever their size.

        With m and v an image's mean and variance, ``mean = E[m]`` and
        ``std^2 = E[v] + Var[m]``.

        Raises:
            ValueError: an empty dataset.
        """
        if not len(dataset):
            raise ValueError("the dataset is empty: it has no colours")
        pixels = [dataset[i]["image"].double().flatten(1) for i in range(len(dataset))]
        means = torch.stack([p.mean(1) for p in pixels])
        inside = torch.stack([p.var(1, correction=0) for p in pixels]).mean(0)
        return cls(means.mean(0), (inside + means.var(0, correction=0)).sqrt())


class MatchedColours(Wrapped):
    """A dataset in the colours of another one, in the mean: one straight line for each channel.

    ``new = (old - own.mean) / own.std * wanted.std + wanted.mean``, cut to [0, 1]. The line is the
    same for all images, so that a dark image stays darker than the others.

    Args:
        dataset: whose images are changed.
        own: its colours, from images that may be looked at (not the test images).
        wanted: the colours of what a model was trained on.
    """

    def __init__(self, dataset: Dataset, own: Colours, wanted: Colours):
        super().__init__(dataset)
        self.source = f"{self.source}, colours matched"
        self._slope = (wanted.std / own.std.clamp(min=1e-6)).float().view(3, 1, 1)
        self._shift = (wanted.mean - own.mean * wanted.std / own.std.clamp(min=1e-6)).float()

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = super().__getitem__(index)
        image = sample["image"] * self._slope + self._shift.view(3, 1, 1)
        return sample | {"image": image.clamp(0, 1)}


class Windows(Wrapped):
    """The images of a dataset cut into squares, side by side.

    Args:
        dataset: images whose height and width are multiples of `side`.
        side: of a window, pixels.
        fullest: of each image only the window with the most landslide (the first of equals).

    Items have the id ``IMAGE@ROW,COLUMN``, of the window's corner in pixels.

    Raises:
        ValueError: an image that cannot be cut so.
    """

    def __init__(self, dataset: Dataset, side: int, *, fullest: bool = False):
        super().__init__(dataset)
        if not isinstance(side, int) or side < 1:
            raise ValueError(f"side is {side!r}; expected a whole number of pixels")
        self.side, names = side, self.ids
        self._places: list[tuple[int, int, int]] = []
        for index, name in enumerate(names):
            places = self._cut(index, name)
            self._places += places[:1] if fullest else sorted(places)
        self.ids = [f"{names[i]}@{top},{left}" for i, top, left in self._places]
        self.source = f"{self.source}, in windows of {side} pixels"
        self.ground_width = None  # of the whole images; a window shows less

    def _cut(self, index: int, name: str) -> list[tuple[int, int, int]]:
        """The windows of an image, that with the most landslide first."""
        mask, side = self.dataset[index]["mask"][0], self.side
        height, width = mask.shape
        if height % side or width % side:
            raise ValueError(
                f"{name} has {height} x {width} pixels, no multiples of {side}; choose another side"
            )
        places = [
            (index, top, left) for top in range(0, height, side) for left in range(0, width, side)
        ]
        area = {
            (index, top, left): float(mask[top : top + side, left : left + side].sum())
            for _, top, left in places
        }
        return sorted(places, key=lambda place: -area[place])

    def __len__(self) -> int:
        return len(self._places)

    def _inner(self, index: int) -> int:
        return self._places[index][0]

    def __getitem__(self, index: int) -> dict[str, Any]:
        _, top, left = self._places[index]
        sample = dict(super().__getitem__(index))
        for key in ("image", "mask", "valid"):
            if key in sample:
                sample[key] = sample[key][:, top : top + self.side, left : left + self.side]
        return sample | {"id": self.ids[index]}
