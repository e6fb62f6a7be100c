"""How far a single number per pixel gets: the best threshold on a colour, brightness or index.

A dataset on which one threshold finds the landslides teaches a model nothing but that threshold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np


class Separation(NamedTuple):
    """The best single threshold over a set of images."""

    index: str  # name of the colour or index
    direction: str  # "above" or "below": which side of the threshold is called landslide
    threshold: float
    iou: float  # landslide IoU over the pooled pixels, 0..1


def indices(image: np.ndarray) -> dict[str, np.ndarray]:
    """Colours, brightness and vegetation or soil indices of an image.

    image (3, h, w) in 0..1; returns name -> (h, w) float32: the channels and their shares of the
    sum, brightness, largest and smallest channel, saturation, hue (0..6), the differences and
    ratios of channels, excess green (ExG), NGRDI and VARI (cut to -2..2).
    """
    red, green, blue = (np.asarray(c, np.float32) for c in image)
    total = red + green + blue
    top, low = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    tiny = np.float32(1e-6)
    span = top - low + tiny
    hue = np.where(top == green, (blue - red) / span + 2, (red - green) / span + 4)
    hue = np.where(top == red, ((green - blue) / span) % 6, hue)
    denominator = green + red - blue
    denominator = np.where(np.abs(denominator) < 1e-3, np.float32(1e-3), denominator)
    return {
        "R": red,
        "G": green,
        "B": blue,
        "r": red / (total + tiny),
        "g": green / (total + tiny),
        "b": blue / (total + tiny),
        "brightness": total / 3,
        "largest channel": top,
        "smallest channel": low,
        "saturation": (top - low) / (top + tiny),
        "hue": hue,
        "R - G": red - green,
        "R - B": red - blue,
        "G - B": green - blue,
        "R / B": red / (blue + np.float32(1e-3)),
        "ExG": 2 * green - red - blue,
        "NGRDI": (green - red) / (green + red + tiny),
        "VARI": np.clip((green - red) / denominator, -2, 2),
    }


def best_threshold(values: np.ndarray, target: np.ndarray) -> tuple[str, float, float]:
    """(direction, threshold, landslide IoU) of the best threshold on ``values``.

    "below" calls landslide what is at or below the threshold, "above" what is above it. values
    float (n,), target bool (n,). Values are rounded to half precision (three digits), which leaves
    at most 65,536 different ones; all thresholds between them are tried, and "everything".
    Raises ValueError if the lengths differ or no pixel is landslide.
    """
    values, target = np.ravel(values), np.ravel(target).astype(bool)
    if values.size != target.size:
        raise ValueError(f"{values.size} values but {target.size} targets; expected the same")
    if not target.any():
        raise ValueError("no landslide pixel in the target; an IoU needs at least one")
    bits = (values.astype(np.float16) + np.float16(0)).view(np.uint16)  # + 0: no negative zero
    # turned so that the order of the whole numbers is the order of the values
    rank = np.where(bits >> 15, ~bits, bits | np.uint16(0x8000))
    number = np.bincount(rank, minlength=65536)
    found = np.bincount(rank[target], minlength=65536)
    used = np.flatnonzero(number)
    number, found = np.cumsum(number[used]), np.cumsum(found[used])  # at or below each value
    landslide, pixels = found[-1], number[-1]
    below = found / (number + landslide - found)
    above = (landslide - found) / (pixels - number + found)
    direction, scores = max((("below", below), ("above", above)), key=lambda t: t[1].max())
    best = int(scores.argmax())
    code = np.uint16(used[best])
    bits = code ^ np.uint16(0x8000) if code >> 15 else ~code
    return direction, float(np.uint16(bits).view(np.float16)), float(scores[best])


def separation(samples: Iterable[Mapping]) -> list[Separation]:
    """All indices of a dataset's images, the best first, over the pixels of all images.

    Items as everywhere in the package: "image" (3, h, w) in 0..1 and "mask" (1, h, w) of 0/1.
    """
    columns: dict[str, list[np.ndarray]] = {}
    targets = []
    for sample in samples:
        for name, values in indices(np.asarray(sample["image"])).items():
            columns.setdefault(name, []).append(values.ravel())
        targets.append(np.asarray(sample["mask"]).ravel() > 0.5)
    target = np.concatenate(targets)
    found = [
        Separation(name, *best_threshold(np.concatenate(parts), target))
        for name, parts in columns.items()
    ]
    return sorted(found, key=lambda s: -s.iou)
