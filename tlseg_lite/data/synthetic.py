"""Synthetic landslide scenes: the course's default data, made on the fly, with exact labels."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch.utils.data import Dataset

STYLES = ("bijie", "landslide4sense")


def _fractal(rng: np.random.Generator, size: int, roughness: float) -> np.ndarray:
    """A (size, size) random surface with power spectrum f ** (-2 * roughness), std 1."""
    f = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :])
    f[0, 0] = 1.0
    spectrum = np.fft.rfft2(rng.standard_normal((size, size))) * f**-roughness
    spectrum[0, 0] = 0.0
    surface = np.fft.irfft2(spectrum, s=(size, size))
    return surface / surface.std()


class SyntheticLandslides(Dataset):
    """Landslide pictures with masks, generated; item ``i`` depends on (seed, style, size, i) only.

    Items: ``{"image": float32 (3, size, size) in [0, 1], "mask": float32 (1, size, size) of
    0/1, "id": str}``.
    """

    def __init__(self, n: int, size: int = 256, seed: int = 0, style: str = "bijie") -> None:
        if n < 1 or size < 32:
            raise ValueError(f"n={n}, size={size}: expected n >= 1 and size >= 32")
        if style not in STYLES:
            raise ValueError(f"style={style!r}: expected one of {STYLES}")
        self.n, self.size, self.seed, self.style = n, size, seed, style
        self.ids = [f"synthetic-{style}-{seed}-{i:05d}" for i in range(n)]
        self.source = f"{n} synthetic scenes in the style of {style}"

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> dict:
        i = range(self.n)[i]
        rng = np.random.default_rng([self.seed, STYLES.index(self.style), self.size, i])
        size = self.size
        height = _fractal(rng, size, 2.0)
        gy, gx = np.gradient(height)
        shade = 1.0 + 6.0 * (gx + gy)
        texture = _fractal(rng, size, 0.8)
        image = np.array([0.2, 0.3, 0.22])[:, None, None] * (shade + 0.15 * texture).clip(0.1)
        mask = np.zeros((size, size), bool)
        wobble = _fractal(rng, size, 1.6)
        yy, xx = np.mgrid[:size, :size] / size
        for _ in range(rng.integers(1, 4)):
            cy, cx = rng.uniform(0.2, 0.8, 2)
            angle, length = rng.uniform(0, np.pi), rng.uniform(0.05, 0.2)
            u = np.cos(angle) * (xx - cx) + np.sin(angle) * (yy - cy)
            v = -np.sin(angle) * (xx - cx) + np.cos(angle) * (yy - cy)
            mask |= (u / length) ** 2 + (v / (0.5 * length)) ** 2 + 0.3 * wobble < 1
        soft = ndimage.gaussian_filter(mask.astype(float), 1.0)
        soil = np.array([0.5, 0.43, 0.33])[:, None, None] * (shade + 0.2 * texture).clip(0.2)
        image = image * (1 - soft) + soil * soft
        return {
            "image": torch.from_numpy(image.clip(0, 1).astype(np.float32)),
            "mask": torch.from_numpy(mask[None].astype(np.float32)),
            "id": self.ids[i],
        }
