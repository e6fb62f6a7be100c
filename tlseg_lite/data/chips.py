"""Training images cut from a scene, with masks from polygons, divided by blocks of ground."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tlseg_lite.core.errors import DataError
from tlseg_lite.core.progress import say
from tlseg_lite.data.base import LandslideDataset
from tlseg_lite.data.rasters import Raster, scaling_of
from tlseg_lite.data.splits import Subset
from tlseg_lite.data.transforms import PAD_COLOUR
from tlseg_lite.data.vectors import read_polygons

BLOCKS = 4  # chips along the side of a block, where nothing else is said
LEAST_VALID = 0.5  # share of a chip that has to hold data


@dataclass(frozen=True)
class Chip:
    """A square of the scene's grid: first row and column, its block, its share of landslide."""

    row: int
    column: int
    block: tuple[int, int]
    share: float


class Chips(LandslideDataset):
    """Square images cut from a scene, and what polygons say about them.

    The scene is divided into square blocks of ground. Chips lie inside of one block each, so
    `divide`, and `tlseg_lite.data.split`, put whole blocks into training, validation and test:
    no pixel is in two parts, also where chips of a block overlap.

    Args:
        scene: a raster file (`data.rasters`).
        polygons: the landslides, a vector file or a GeoDataFrame in any system of the same planet.
        size: side of a chip in pixels of `resolution`.
        stride: from one chip to the next; None: `size`. Smaller: they overlap.
        negatives: chips without a landslide: True all, False none, a number: so many for each chip
            with one (0.5: half as many).
        bands, scale, pixel_size, nodata: as in `tlseg_lite.maps.predict_scene`.
        resolution: metres of a pixel; None: the scene's own.
        block: side of a block in chips.
        seed: of the choice of negatives.

    Items: ``image`` float32 3xSxS in [0, 1], ``mask`` float32 1xSxS of 0/1 (a pixel is landslide
    where its middle is), ``valid`` float32 1xSxS (0: nodata), ``id`` = "r00000-c00000", the first
    pixel. Chips with more nodata than data are left out.

    Attributes:
        notes: what was repaired, reprojected or left out, in words; it is also printed.

    Raises:
        DataError: a scene or polygons that cannot be used, polygons that miss the scene, a scene
            smaller than a chip.
        ValueError: an argument out of range.
    """

    def __init__(
        self,
        scene: str | Path,
        polygons: Any,
        size: int = 256,
        stride: int | None = None,
        negatives: bool | float = True,
        *,
        bands: Sequence[int] = (1, 2, 3),
        scale: Any = None,
        resolution: float | None = None,
        pixel_size: float | None = None,
        nodata: float | None = None,
        block: int = BLOCKS,
        seed: int = 0,
    ):
        self.size, self.stride = size, size if stride is None else stride
        _check(self.size, self.stride, negatives, block)
        self.raster = Raster(scene, tuple(bands), resolution, pixel_size, nodata)
        if min(self.raster.height, self.raster.width) < size:
            raise DataError(
                f"{scene} has {self.raster.width} x {self.raster.height} pixels of the resolution "
                f"asked for, less than a chip of {size}; give a smaller size"
            )
        crs = self.raster.crs and self.raster.crs.to_wkt()
        frame, self.notes = read_polygons(polygons, crs, "the polygons")
        self._shapes = frame.geometry.reset_index(drop=True)
        self.scaling = scaling_of(self.raster, scale)
        self._refuse_elsewhere(scene)
        self.chips = self._cut(block * size, negatives, seed)
        for note in self.notes:
            say(note)
        self.ids = [f"r{chip.row:05d}-c{chip.column:05d}" for chip in self.chips]
        if self.raster.resolution is not None:
            self.ground_width = size * self.raster.resolution
        self.source = f"{len(self.ids)} chips of {size} px from {Path(self.raster.path).name}"

    def _refuse_elsewhere(self, scene: str | Path) -> None:
        from shapely.geometry import Polygon

        from tlseg_lite.data.rasters import corners

        h, w = self.raster.height, self.raster.width
        ground = Polygon(corners(self.raster.transform, [(0, 0), (0, w), (h, w), (h, 0)]))
        inside = self._shapes.intersects(ground)
        if not inside.any():
            raise DataError(
                f"none of the {len(self._shapes)} polygons lies in {scene}: the polygons cover "
                f"{np.round(self._shapes.total_bounds, 5).tolist()}, the scene "
                f"{np.round(ground.bounds, 5).tolist()} in its own system; another place, or the "
                "wrong coordinate system of one of them"
            )
        if not inside.all():
            self.notes.append(f"{int((~inside).sum())} polygons outside of the scene left out")
            self._shapes = self._shapes[inside].reset_index(drop=True)

    def _cut(self, side: int, negatives: bool | float, seed: int) -> list[Chip]:
        """The chips: of the blocks, inside of them, those that hold data, and chosen negatives."""
        found, empty = [], 0
        with self.raster:
            for row, column, block in _places(self.raster, self.size, self.stride, side):
                _, valid = self.raster.read(row, column, self.size, self.size)
                if valid.mean() < LEAST_VALID:
                    empty += 1
                    continue
                share = float((self._mask(row, column) & valid).mean())
                found.append(Chip(row, column, block, share))
        if empty:
            self.notes.append(f"{empty} chips with more nodata than data left out")
        if not any(chip.share for chip in found):
            raise DataError(
                f"no chip of {self.raster.path} holds a landslide: the polygons are smaller than a "
                "pixel, or lie where the scene has no data"
            )
        return _chosen(found, negatives, seed)

    def _mask(self, row: int, column: int) -> np.ndarray:
        """What is landslide in a chip, bool (S, S)."""
        from rasterio import Affine
        from rasterio.features import rasterize
        from shapely.geometry import Polygon

        from tlseg_lite.data.rasters import corners

        s = self.size
        edge = corners(self.raster.transform, [(0, 0), (0, s), (s, s), (s, 0)], row, column)
        near = self._shapes.iloc[self._shapes.sindex.query(Polygon(edge), "intersects")]
        if not len(near):
            return np.zeros((s, s), bool)
        a, b, _, d, e, _ = tuple(self.raster.transform)[:6]
        transform = Affine(a, b, edge[0][0], d, e, edge[0][1])
        return rasterize(list(near), (s, s), transform=transform, default_value=1) > 0

    def __getitem__(self, index: int) -> dict[str, Any]:
        chip = self.chips[index]
        values, valid = self.raster.read(chip.row, chip.column, self.size, self.size)
        image = self.scaling(values)
        image[:, ~valid] = np.array(PAD_COLOUR, np.float32)[:, None]
        masks = self._mask(chip.row, chip.column) & valid, valid
        mask, counts = (torch.from_numpy(m[None].astype(np.float32)) for m in masks)
        return {
            "image": torch.from_numpy(image),
            "mask": mask,
            "valid": counts,
            "id": self.ids[index],
        }

    def files(self, index: int) -> list[Path]:
        return [Path(self.raster.path)]

    def divide(
        self, fractions: Sequence[float] = (0.7, 0.15, 0.15), seed: int = 0
    ) -> tuple[Subset, ...]:
        """Whole blocks for each part; landslide area and number of chips follow the fractions.

        Blocks with landslides come first, the richest before: each goes to the part that lacks
        most of its share. `tlseg_lite.data.split` calls this.

        Raises:
            DataError: there are fewer blocks with landslides than parts.
        """
        blocks: dict[tuple[int, int], list[int]] = {}
        for index, chip in enumerate(self.chips):
            blocks.setdefault(chip.block, []).append(index)
        area = {b: sum(self.chips[i].share for i in own) for b, own in blocks.items()}
        parts = [k for k, fraction in enumerate(fractions) if fraction > 0]
        if sum(value > 0 for value in area.values()) < len(parts):
            raise DataError(
                f"landslides lie in {sum(v > 0 for v in area.values())} of {len(blocks)} blocks, "
                f"too few for {len(parts)} parts; give a smaller block, a smaller size, or a "
                "larger scene"
            )
        indices: list[list[int]] = [[] for _ in fractions]
        for rich in (True, False):
            own = [b for b in blocks if (area[b] > 0) == rich]
            weight = area if rich else {b: len(blocks[b]) for b in own}
            given = [0.0] * len(fractions)
            for block in sorted(own, key=lambda b: (-weight[b], _rank(seed, b))):
                part = min(parts, key=lambda k: ((given[k] + 1e-9) / fractions[k], -fractions[k]))
                indices[part] += blocks[block]
                given[part] += weight[block]
        return tuple(Subset(self, sorted(several)) for several in indices)


def _check(size: int, stride: int, negatives: bool | float, block: int) -> None:
    for name, value in (("size", size), ("stride", stride), ("block", block)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} is {value!r}; expected a positive whole number")
    if not isinstance(negatives, (bool, int, float)) or negatives < 0:
        raise ValueError(
            f"negatives is {negatives!r}; expected True, False, or how many for each chip with a "
            "landslide, 0 or more"
        )


def _places(raster: Raster, size: int, stride: int, side: int):
    """First row and column, and block, of every chip that fits into its block."""

    def along(length: int) -> list[tuple[int, int]]:
        places = []
        for start in range(0, length, side):
            end = min(start + side, length)
            places += [(p, start // side) for p in range(start, end - size + 1, stride)]
        return places

    for row, below in along(raster.height):
        for column, beside in along(raster.width):
            yield row, column, (below, beside)


def _chosen(chips: list[Chip], negatives: bool | float, seed: int) -> list[Chip]:
    if negatives is True:
        return chips
    positive = [chip for chip in chips if chip.share]
    rest = [chip for chip in chips if not chip.share]
    rest.sort(key=lambda chip: _rank(seed, (chip.row, chip.column)))
    kept = {*positive, *rest[: round(negatives * len(positive))]}
    return [chip for chip in chips if chip in kept]


def _rank(seed: int, place: tuple[int, int]) -> bytes:
    return hashlib.sha256(f"{seed}/{place}".encode()).digest()
