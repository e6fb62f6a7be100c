"""What the package takes: one rule for each kind of value, the same at every entrance."""

from __future__ import annotations

import math
from typing import Any

import torch

_ROUNDING = 1e-4
"""How far outside of [0, 1] a resampled or normalised image may be."""


def check_image(image: Any, name: str) -> torch.Tensor:
    """`image` if it is one: float 3xHxW, RGB, finite, in [0, 1]; `name` opens the message.

    Raises:
        ValueError: it is of another type or shape, empty, not finite, or outside of [0, 1].
    """
    if not isinstance(image, torch.Tensor):
        found = type(image).__name__
    else:
        found = f"{image.dtype} {'x'.join(map(str, image.shape))}".removeprefix("torch.")
    if not isinstance(image, torch.Tensor) or not image.is_floating_point() or image.ndim != 3:
        raise ValueError(
            f"{name} is {found}; expected (3, height, width), a float tensor 3xHxW in [0, 1]"
        )
    if image.shape[0] != 3:
        raise ValueError(
            f"{name} has {image.shape[0]} channels; SAM takes 3 (RGB). "
            'For Landslide4Sense pass bands="rgb"'
        )
    if 0 in image.shape:
        raise ValueError(f"{name} is {found}; expected positive sides")
    low, high = torch.stack(image.aminmax()).tolist()
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(
            f"{name} has values that are not finite (NaN or infinite); replace them, or leave "
            "the image out"
        )
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        remedy = "divide by 255" if low >= 0 and high <= 255 else "scale it to that range"
        raise ValueError(f"{name} has values from {low:g} to {high:g}; expected [0, 1]: {remedy}")
    return image
