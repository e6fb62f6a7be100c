"""A window of a scene as the model sees it, and what a map says there: where corrections begin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tlseg_lite.core.errors import DataError
from tlseg_lite.data.rasters import Raster, opened
from tlseg_lite.data.scaling import Scaling
from tlseg_lite.data.transforms import PAD_COLOUR
from tlseg_lite.maps.corrections import open_map, write_corrected
from tlseg_lite.maps.output import LEVELS
from tlseg_lite.maps.predict_scene import plan

if TYPE_CHECKING:
    from torch import Tensor

DECIDED = 8.0
"""Logits of what a person decided, beside those of the model."""


@dataclass(frozen=True)
class SceneWindow:
    """A window of a scene.

    Attributes:
        image: float32 (3, H, W) in [0, 1]; what is not valid has the colour of the padding.
        valid: bool (H, W).
        row, column: its first pixel on the grid.
        logits: float32 (1, H, W), above 0 where the map says landslide; None without a map.
        folder: of the map, or None.
    """

    image: Tensor
    valid: np.ndarray
    row: int
    column: int
    logits: Tensor | None = None
    folder: Path | None = None

    def write(self, mask: np.ndarray, changed: np.ndarray) -> int:
        """Write a corrected mask into the map; `write_corrected` says what follows from it.

        Args:
            mask: bool (H, W).
            changed: bool (H, W), the pixels that were decided; the others stay as they are.

        Returns:
            the number of corrected polygons in the map.

        Raises:
            ValueError: the window has no map.
        """
        if self.folder is None:
            raise ValueError("this window has no map; make one with tl.maps.predict_scene")
        place, decided = (self.row, self.column), changed & self.valid
        return write_corrected(self.folder, mask, place, valid=decided)


def read_window(
    model: torch.nn.Module, scene: str | Path, window: Sequence[int], found: Any = None
) -> SceneWindow:
    """A window of `scene`, as `predict_scene` reads it.

    Args:
        model: says how wide a window is, and how the scene is read where there is no map.
        scene: the raster file.
        window: row and column of the first pixel on the map's grid, and height and width, if they
            are not those of the model's windows. What lies outside of the scene is cut off.
        found: a `Map` of this scene, its folder, or the landslides.gpkg in it; or None.

    Raises:
        ValueError: a window that is none, or outside of the scene.
        DataError: no map, or one of another scene.
    """
    folder, about = (None, None) if found is None else open_map(found)
    if about is None:
        raster, scaling, side, _ = plan(model, scene, None, None, None, None, None)
    else:
        raster, scaling, side = _as_mapped(scene, about)
    row, column, height, width = _inside(window, side, raster)
    values, valid = raster.read(row, column, height, width)
    image = scaling(values)
    image[:, ~valid] = np.array(PAD_COLOUR, np.float32)[:, None]
    logits = None if folder is None else _logits(folder, about, (row, column, height, width))
    return SceneWindow(torch.from_numpy(image), valid, row, column, logits, folder)


def _as_mapped(scene: str | Path, about: dict[str, Any]) -> tuple[Raster, Scaling, int]:
    """The scene on the grid of its map, its scaling there, and the side of a window."""
    known, metres = about["about"], about["tags"].get("RESOLUTION_M")
    scaling = Scaling.from_dict(known["scaling"])
    size = float(metres) if metres else None
    raster = Raster(scene, scaling.bands, size, nodata=known["nodata"])
    own, grid = [raster.height, raster.width, *tuple(raster.transform)[:6]], known["grid"]
    if own[:2] != grid[:2] or not np.allclose(own[2:], grid[2:]):
        raise DataError(
            f"{scene} has {own[1]} x {own[0]} pixels at {tuple(own[2:])}; the map was made of "
            f"{known['scene']}, {grid[1]} x {grid[0]} at {tuple(grid[2:])}. Give that scene"
        )
    return raster, scaling, known["side"]


def _inside(window: Sequence[int], side: int, raster: Raster) -> tuple[int, int, int, int]:
    given = list(window) if isinstance(window, Sequence) else [window]
    whole = all(not isinstance(n, bool) and isinstance(n, (int, np.integer)) for n in given)
    if len(given) not in (2, 4) or not whole or min(given[2:], default=1) < 1:
        raise ValueError(
            f"window is {window!r}; expected whole numbers of pixels, (row, column) or (row, "
            "column, height, width)"
        )
    row, column, height, width = (*map(int, given), side, side)[:4]
    top, left = max(row, 0), max(column, 0)
    bottom, right = min(row + height, raster.height), min(column + width, raster.width)
    if top >= bottom or left >= right:
        raise ValueError(
            f"the window {tuple(given)} lies outside of the scene of {raster.height} rows and "
            f"{raster.width} columns"
        )
    return top, left, bottom - top, right - left


def _logits(folder: Path, about: dict[str, Any], place: tuple[int, int, int, int]) -> Tensor:
    """What the map says: the model's logits above its threshold, and what was corrected."""
    row, column, height, width = place
    where = (row, row + height), (column, column + width)
    with opened(folder / "probability.tif") as file:
        chance = np.clip(file.read(1, window=where).astype(np.float32) / LEVELS, 1e-3, 1 - 1e-3)
    with opened(folder / "mask.tif") as file:
        mask = file.read(1, window=where) == 1
    cut = about["threshold"]
    logits = np.log(chance / (1 - chance)) - np.log(cut / (1 - cut))
    logits = np.where(mask == (logits > 0), logits, np.where(mask, DECIDED, -DECIDED))
    return torch.from_numpy(logits.astype(np.float32))[None]
