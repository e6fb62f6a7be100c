"""Small scenes and models whose right answer is known."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import rasterio
import torch
from rasterio import Affine
from rasterio.errors import NotGeoreferencedWarning

from tlseg_lite.core.trainable import Trainable

UTM = "EPSG:32648"
METRES = Affine(2, 0, 500000, 0, -2, 3400000)


class Red(Trainable):
    """Landslide where red is above one half: a map that is known pixel by pixel."""

    def __init__(self, image_size: int = 64):
        super().__init__(image_size)
        self.gain = torch.nn.Parameter(torch.tensor(20.0))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.check_images(images)
        return (images[:, :1] - 0.5) * self.gain


class Near(Trainable):
    """Looks at a neighbourhood and sees zeros beyond the border, as a convolution does."""

    def __init__(self, image_size: int = 64):
        super().__init__(image_size)
        self.blur = torch.nn.AvgPool2d(15, 1, 7)  # zeros outside count
        self.gain = torch.nn.Parameter(torch.tensor(8.0))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return (self.blur(images[:, :1]) - 0.5) * self.gain


def write_scene(path: Path, values: np.ndarray, **about) -> Path:
    """A GeoTIFF of values (C, H, W) in UTM, 2 m pixels, if `about` says nothing else."""
    about = {"crs": UTM, "transform": METRES} | about
    about = {name: value for name, value in about.items() if value is not None}
    count, height, width = values.shape
    size = {"count": count, "height": height, "width": width, "dtype": values.dtype}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", driver="GTiff", **size, **about) as file:
            file.write(values)
    return path


def two_slides(height: int = 150, width: int = 220, seed: int = 0) -> np.ndarray:
    """Dark noise, 8 bits, with two bright rectangles: 40 x 60 and 5 x 5 pixels."""
    values = np.random.default_rng(seed).integers(1, 80, (3, height, width)).astype(np.uint8)
    values[:, 60:100, 90:150] = 220
    values[:, 20:25, 10:15] = 250
    return values
