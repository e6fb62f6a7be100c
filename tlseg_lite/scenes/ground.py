"""The ground of a scene: what is painted on what, from bare terrain to the last building."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tlseg_lite.scenes.palettes import Palette
from tlseg_lite.scenes.terrain import Landscape

EVERYWHERE = (slice(None), slice(None))


@dataclass
class Ground:
    """One scene while it is made. Fields are (h, w) float32 unless noted."""

    gsd: float  # metres per pixel
    land: Landscape  # coarse heights and drainage
    origin: tuple[float, float]  # row and column (in cells) of the image's corner in `land`
    height: np.ndarray  # metres; slides change it
    slope: np.ndarray  # degrees, of the terrain before slides
    wetness: np.ndarray  # log10 of the drained area in square metres, smooth
    palette: Palette
    colour: np.ndarray  # (channels, h, w) albedo
    standing: np.ndarray  # metres of trees, walls and boulders above the ground
    bare: np.ndarray  # 0..1 soil or rock without plants: for the figures of the appendix
    label: np.ndarray  # bool: what a mapper would draw
    layers: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int]:
        return self.height.shape

    @property
    def fine(self) -> bool:
        """Whether single trees and houses can be seen, with pixels below three metres."""
        return self.gsd < 3

    def paint(
        self,
        alpha: np.ndarray,
        colour: np.ndarray | str,
        texture: np.ndarray | None = None,
        box: tuple[slice, slice] = EVERYWHERE,
    ) -> None:
        """Lay a material over the ground: opacity 0..1, colour (channels,), texture near 1."""
        if isinstance(colour, str):
            colour = self.palette[colour]
        target = self.colour[(slice(None), *box)]
        layer = colour.astype(np.float32)[:, None, None]
        if texture is not None:
            layer = layer * texture
        target += alpha * (layer - target)

    def strip(
        self, alpha: np.ndarray, layer: str = "", box: tuple[slice, slice] = EVERYWHERE
    ) -> None:
        """Take off what stands there, and note the bare ground: shares 0..1, also as a layer."""
        self.standing[box] *= 1 - alpha
        self.note_bare(alpha, layer, box)

    def note_bare(
        self, alpha: np.ndarray, layer: str = "", box: tuple[slice, slice] = EVERYWHERE
    ) -> None:
        """Note bare ground that something may stand on: shares 0..1, also as a layer."""
        self.bare[box] = np.maximum(self.bare[box], alpha)
        if layer:
            kept = self.layers.setdefault(layer, np.zeros(self.shape, np.float32))
            kept[box] = np.maximum(kept[box], alpha)

    def to_pixels(self, cells: np.ndarray) -> np.ndarray:
        """Flat indices of `land` cells (...) -> rows and columns in pixels (..., 2)."""
        width = self.land.height.shape[1]
        rc = np.stack([cells // width, cells % width], -1).astype(np.float64)
        return (rc + 0.5 - np.array(self.origin)) * (self.land.cell / self.gsd) - 0.5
