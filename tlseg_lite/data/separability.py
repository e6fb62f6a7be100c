"""How far a single number per pixel gets: the best threshold on a colour, brightness or index.

A data set on which one threshold finds the landslides teaches a model nothing but that threshold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np


class Separation(NamedTuple):
    """The best single threshold over a set of pictures."""

    index: str  # name of the colour or index
    direction: str  # "above" or "below": which side of the threshold is called landslide
    threshold: float
    iou: float  # landslide IoU over the pooled pixels, 0..1


def indices(image: np.ndarray) -> dict[str, np.ndarray]:
    """Colours, brightness and vegetation or soil indices of a picture.

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

    values float (n,), target bool (n,). All thresholds between two different values are tried,
    and "everything". Raises ValueError if the lengths differ or no pixel is landslide.
    """
    values, target = np.ravel(values), np.ravel(target).astype(bool)
    if values.size != target.size:
        raise ValueError(f"{values.size} values but {target.size} targets; expected the same")
    if not target.any():
        raise ValueError("no landslide pixel in the target; an IoU needs at least one")
    order = np.argsort(values, kind="stable")
    ranked, hits = values[order], np.cumsum(target[order], dtype=np.int64)
    last = np.append(np.flatnonzero(np.diff(ranked) > 0), values.size - 1)  # of each equal run
    number, found = last + 1, hits[last]
    everything = hits[-1]
    below = found / (number + everything - found)
    above = np.append(everything, everything - found[:-1])
    above = above / (values.size - np.append(0, number[:-1]) + everything - above)
    if below.max() >= above.max():
        k = int(below.argmax())
        return "below", float(ranked[last[k]]), float(below[k])
    k = int(above.argmax())
    return "above", float(ranked[last[k - 1]] if k else ranked[0]), float(above[k])


def separation(samples: Iterable[Mapping]) -> list[Separation]:
    """All indices of a dataset's pictures, the best first, over the pixels of all pictures.

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
