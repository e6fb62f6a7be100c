"""Periodic noise fields and textures, the surfaces of the dead leaves."""

from __future__ import annotations

import math

import torch
from torch import Tensor

TILE = 256
"""Side of the periodic noise fields and textures in the bank, in pixels."""


def spectral_noise(
    exponent: Tensor, generator: torch.Generator, *, stretch: Tensor | None = None
) -> Tensor:
    """Periodic random fields with amplitude spectra 1 / f**exponent, mean 0 and deviation 1.

    Args:
        exponent: (N,); 0.5 to 1 are the textures of natural surfaces, 2 is a smooth field.
        generator: on the device of `exponent`.
        stretch: (N,) ratio of the wavelengths along x and y; None: isotropic.

    Returns:
        float32 (N, TILE, TILE).
    """
    device, n = exponent.device, len(exponent)
    fy = torch.fft.fftfreq(TILE, device=device)[:, None]
    fx = torch.fft.rfftfreq(TILE, device=device)[None, :]
    s = torch.ones(n, device=device) if stretch is None else stretch.sqrt()
    s = s[:, None, None]
    f = ((fy / s) ** 2 + (fx * s) ** 2).sqrt().clamp_min(1 / TILE)
    white = torch.randn(n, TILE, TILE, generator=generator, device=device)
    field = torch.fft.irfft2(torch.fft.rfft2(white) * f ** -exponent[:, None, None], s=(TILE, TILE))
    return standardise(field)


def standardise(field: Tensor) -> Tensor:
    """Mean 0 and standard deviation 1 over the last two dimensions."""
    field = field - field.mean((-2, -1), keepdim=True)
    return field / field.std((-2, -1), keepdim=True).clamp_min(1e-6)


def make_textures(n: int, generator: torch.Generator) -> Tensor:
    """Noise, blotches, stripes, spots and cells, all periodic: (n, TILE, TILE), deviation 1."""
    device = generator.device

    def uniform(*shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return low + (high - low) * torch.rand(*shape, generator=generator, device=device)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, device=device)

    def integer(high: int, n: int) -> Tensor:
        return torch.randint(high, (n,), generator=generator, device=device)

    y, x = torch.meshgrid(
        *[torch.arange(TILE, device=device) * (2 * math.pi / TILE)] * 2, indexing="ij"
    )
    stretch = torch.exp(0.6 * normal(n))
    noise = spectral_noise(uniform(n, low=0.5, high=1.5), generator, stretch=stretch)
    warp = spectral_noise(uniform(n, low=1.5, high=2.2), generator)
    out = []
    for i in range(n):
        kind = i % 8
        ky, kx = (integer(33, 2) - 16).tolist()
        phase = y * ky + x * (kx or 3) + 0.8 * warp[i] * float(uniform(1, high=2.0))
        sharp = float(uniform(1, low=0.5, high=5.0))
        if kind < 4:
            t = noise[i]
        elif kind == 4:
            t = torch.tanh(2 * sharp * (noise[i] - float(normal(1)) * 0.6))
        elif kind == 5:
            t = torch.tanh(sharp * torch.sin(phase))
        elif kind == 6:
            other = y * (kx or 5) - x * ky + 0.8 * warp[(i + 1) % n]
            t = torch.tanh(sharp * torch.sin(phase) * torch.sin(other))
        else:
            t = cells(int(integer(60, 1)) + 12, x, y, generator)
        out.append(standardise(t + 0.25 * noise[i]).clamp(-2.5, 2.5))
    return torch.stack(out)


def cells(n: int, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
    """Cells around random points, each with a tone and darker seams."""
    points = torch.rand(n, 2, generator=generator, device=x.device) * (2 * math.pi)
    cosine = torch.cos(x[None] - points[:, :1, None]) + torch.cos(y[None] - points[:, 1:, None])
    best, which = cosine.topk(2, dim=0)
    seam = ((best[0] - best[1]) * n / 4).clamp(0, 1)
    tone = torch.randn(n, generator=generator, device=x.device)
    return tone[which[0]] * 0.6 + seam
