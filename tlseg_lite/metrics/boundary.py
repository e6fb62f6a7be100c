"""Boundary F1: how much of an outline lies where the other outline is, within a tolerance.

Area scores hardly notice an outline that is a few pixels off on a large landslide; a map user
does. The boundary of a mask is its pixels with a neighbour (of four) outside the mask; the edge
of the image, and of the valid area, makes no boundary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tlseg_lite.metrics.masks import as_images


@dataclass(frozen=True)
class BoundaryMatch:
    """Boundary pixels, and how many of them lie within the tolerance of the other boundary.

    Matches of several images add up with ``+`` or ``sum``. Where neither mask has a boundary the
    scores are 1; where only one has, they are 0.
    """

    predicted: int
    predicted_near: int
    true: int
    true_near: int

    def __add__(self, other: BoundaryMatch) -> BoundaryMatch:
        return BoundaryMatch(
            self.predicted + other.predicted,
            self.predicted_near + other.predicted_near,
            self.true + other.true,
            self.true_near + other.true_near,
        )

    def __radd__(self, other: int) -> BoundaryMatch:
        return self if other == 0 else NotImplemented

    @property
    def precision(self) -> float:
        """Share of the predicted boundary that is near the true one, in [0, 1]."""
        if not self.predicted:
            return float(not self.true)
        return self.predicted_near / self.predicted

    @property
    def recall(self) -> float:
        """Share of the true boundary that is near the predicted one, in [0, 1]."""
        if not self.true:
            return float(not self.predicted)
        return self.true_near / self.true

    @property
    def f1(self) -> float:
        """Harmonic mean of the two, in [0, 1]."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


def boundary(mask: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
    """The boundary pixels of a bool mask (H, W), as a bool array (H, W)."""
    from scipy import ndimage

    solid = mask if valid is None else mask | ~valid
    inside = ndimage.binary_erosion(solid, border_value=1)
    edge = mask & ~inside
    return edge if valid is None else edge & valid


def boundary_f1(
    prediction: Any,
    target: Any,
    valid: Any = None,
    *,
    tolerance: float = 2.0,
    pixel_size: float = 1.0,
    threshold: float | None = None,
) -> BoundaryMatch:
    """Compares the outlines of a prediction and its mask, image by image, and adds up.

    Args:
        prediction, target, valid, threshold: as ``metrics.confusion`` takes them; (H, W), or a
            batch (B, H, W) or (B, 1, H, W).
        tolerance: how far apart two outlines may be, in the unit of ``pixel_size``: pixels, or
            metres where ``pixel_size`` is given in metres (0.8 for Bijie, 10 for Landslide4Sense).
        pixel_size: side of a pixel.

    Returns:
        A ``BoundaryMatch`` with ``precision``, ``recall`` and ``f1``.

    Raises:
        ValueError: ``tolerance`` is negative, ``pixel_size`` not positive, or as ``confusion``.
    """
    from scipy import ndimage

    if tolerance < 0 or not pixel_size > 0:
        raise ValueError(
            f"tolerance is {tolerance} and pixel_size {pixel_size}, expected 0 or more and above 0"
        )
    total = BoundaryMatch(0, 0, 0, 0)
    for p, t, v in as_images(prediction, target, valid, threshold):
        edges = boundary(p, v), boundary(t, v)
        near = []
        for edge, other in (edges, edges[::-1]):
            if edge.any() and other.any():
                distance = ndimage.distance_transform_edt(~other, sampling=pixel_size)
                near.append(int((distance[edge] <= tolerance + 1e-9).sum()))
            else:
                near.append(0)
        total += BoundaryMatch(int(edges[0].sum()), near[0], int(edges[1].sum()), near[1])
    return total
