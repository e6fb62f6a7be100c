"""What a test counts beside its pixels: landslides by size, outlines, false alarms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING

from tlseg_lite.experiments.results import Measure

if TYPE_CHECKING:
    from torch import Tensor

SIZES = {"bijie": (1_000, 10_000), "landslide4sense": (20, 100)}
"""Areas between small, middle and large landslides, pixels of 0.8 m and of 10 m."""


def landslides(edges: tuple[int, int] = SIZES["bijie"]) -> Measure:
    """Landslides and those found (IoU 0.5 and more) by size class, and predicted ones.

    Args:
        edges: areas between the three classes, pixels.

    Returns:
        A measure: ``small``, ``small_found`` and so on, ``predicted`` and ``predicted_correct``.
    """
    bounds = list(pairwise((0, *edges, float("inf"))))

    def count(mask: Tensor, truth: Tensor) -> dict[str, int]:
        from tlseg_lite.metrics.objects import detect

        found = detect(mask, truth)
        row = {"predicted": len(found.correct), "predicted_correct": int(found.correct.sum())}
        for name, (low, high) in zip(("small", "middle", "large"), bounds, strict=True):
            inside = (found.true_areas >= low) & (found.true_areas < high)
            row |= {name: int(inside.sum()), f"{name}_found": int((inside & found.found).sum())}
        return row

    return count


def outlines(mask: Tensor, truth: Tensor) -> dict[str, int]:
    """Boundary pixels of both masks, and those within two pixels of the other's boundary."""
    from tlseg_lite.metrics.boundary import boundary_f1

    found = boundary_f1(mask, truth, tolerance=2.0)
    return {
        "boundary_predicted": found.predicted,
        "boundary_predicted_near": found.predicted_near,
        "boundary_true": found.true,
        "boundary_true_near": found.true_near,
    }


def measures_for(data: str) -> tuple[Measure, ...]:
    """Those of a set of images, by its name as in a row."""
    return landslides(edges_for(data)), outlines


def edges_for(data: str) -> tuple[int, int]:
    """Areas between small, middle and large landslides of a row's images, in their pixels."""
    return SIZES["landslide4sense" if "landslide4sense" in data else "bijie"]


def false_alarms(masks: Iterable[Tensor]) -> Mapping[str, int]:
    """Counts of a test on images without a landslide: a row's columns.

    Args:
        masks: predicted, bool (H, W).
    """
    masks = [mask.bool() for mask in masks]
    return {
        "test_negatives": len(masks),
        "test_negatives_with_alarm": sum(bool(mask.any()) for mask in masks),
        "test_negative_pixels": sum(mask.numel() for mask in masks),
        "test_negative_pixels_alarmed": sum(int(mask.sum()) for mask in masks),
    }
