"""Single landslides instead of pixels: how many were found, by size.

A landslide is a connected component of the mask (neighbours in eight directions). A predicted and
a true one match when their IoU reaches a minimum; each matches at most once, so that one large
blob over five landslides does not find five.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from tlseg_lite.metrics.masks import as_images

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Detections:
    """The landslides of one or more images; adds up with ``+`` or ``sum``.

    Attributes:
        true_areas: float (N,), area of each landslide of the mask.
        found: bool (N,), whether it was matched.
        predicted_areas: float (M,), area of each predicted landslide.
        correct: bool (M,), whether it was matched.
        ious: float (K,), IoU of each match.
    """

    true_areas: np.ndarray
    found: np.ndarray
    predicted_areas: np.ndarray
    correct: np.ndarray
    ious: np.ndarray

    def __add__(self, other: Detections) -> Detections:
        names = ("true_areas", "found", "predicted_areas", "correct", "ious")
        return Detections(*(np.append(getattr(self, n), getattr(other, n)) for n in names))

    def __radd__(self, other: int) -> Detections:
        return self if isinstance(other, int) and other == 0 else NotImplemented

    def __repr__(self) -> str:
        return (
            f"Detections: {int(self.found.sum())} of {len(self.found)} landslides found, "
            f"{int((~self.correct).sum())} false alarms"
        )

    @property
    def precision(self) -> float:
        """Correct over predicted landslides, in [0, 1]; with no prediction 1 if none is true."""
        return float(self.correct.mean()) if len(self.correct) else float(not len(self.found))

    @property
    def recall(self) -> float:
        """Found over true landslides, in [0, 1]; with no true one 1 if none is predicted."""
        return float(self.found.mean()) if len(self.found) else float(not len(self.correct))

    @property
    def f1(self) -> float:
        """Harmonic mean of the two, in [0, 1]."""
        both = len(self.found) + len(self.correct)
        return 2 * int(self.found.sum()) / both if both else 1.0

    def recall_by_size(self, edges: tuple[float, ...]) -> pd.DataFrame:
        """Recall for size classes of the true landslides.

        Args:
            edges: rising areas between the classes, in the unit of ``true_areas``; landslides
                below the first and above the last have classes of their own.

        Returns:
            A DataFrame, one row a class: ``from_area``, ``to_area``, ``landslides``, ``found``,
            ``recall`` (NaN for an empty class).
        """
        import pandas as pd

        if list(edges) != sorted(set(edges)):
            raise ValueError(f"edges are {edges}, expected rising areas, e.g. (100, 1000)")
        bounds = [0.0, *edges, np.inf]
        rows = []
        for low, high in pairwise(bounds):
            inside = (self.true_areas >= low) & (self.true_areas < high)
            count, found = int(inside.sum()), int((inside & self.found).sum())
            recall = found / count if count else np.nan
            rows.append((low, high, count, found, recall))
        names = ["from_area", "to_area", "landslides", "found", "recall"]
        return pd.DataFrame(rows, columns=names)


def detect(
    prediction: Any,
    target: Any,
    valid: Any = None,
    *,
    min_iou: float = 0.5,
    min_area: float = 0.0,
    pixel_size: float = 1.0,
    threshold: float | None = None,
) -> Detections:
    """Matches the single landslides of a prediction with those of its mask, image by image.

    Args:
        prediction, target, valid, threshold: as ``metrics.confusion`` takes them; (H, W), or a
            batch (B, H, W) or (B, 1, H, W).
        min_iou: smallest IoU of a match, in (0, 1]. The pairs are chosen so that their IoUs have
            the largest sum; from 0.5 on there is only one way.
        min_area: smaller components are left out on both sides, in the unit of the areas.
        pixel_size: side of a pixel; areas are pixels, or square metres where it is in metres.

    Returns:
        A ``Detections`` with ``precision``, ``recall``, ``f1`` and ``recall_by_size``.

    Raises:
        ValueError: ``min_iou`` or ``pixel_size`` out of range, or as ``confusion``.
    """
    from scipy.optimize import linear_sum_assignment

    if not 0 < min_iou <= 1 or not pixel_size > 0:
        raise ValueError(
            f"min_iou is {min_iou} and pixel_size {pixel_size}, "
            "expected above 0 and at most 1, and above 0"
        )
    pixel = pixel_size**2
    none = np.zeros(0)
    total = Detections(none, none.astype(bool), none, none.astype(bool), none)
    for p, t, v in as_images(prediction, target, valid, threshold):
        smallest = min_area / pixel
        predicted, predicted_sizes = _components(p if v is None else p & v, smallest)
        true, true_sizes = _components(t if v is None else t & v, smallest)
        n, m = len(true_sizes), len(predicted_sizes)
        pairs = np.bincount(true.ravel() * (m + 1) + predicted.ravel(), minlength=(n + 1) * (m + 1))
        shared = pairs.reshape(n + 1, m + 1)[1:, 1:]
        iou = shared / np.maximum(true_sizes[:, None] + predicted_sizes - shared, 1)
        iou = np.where(iou >= min_iou, iou, 0)
        rows, columns = linear_sum_assignment(iou, maximize=True)
        good = iou[rows, columns] > 0
        rows, columns = rows[good], columns[good]
        found, correct = np.zeros(n, bool), np.zeros(m, bool)
        found[rows], correct[columns] = True, True
        areas = true_sizes * pixel, predicted_sizes * pixel
        total += Detections(areas[0], found, areas[1], correct, iou[rows, columns])
    return total


def _components(mask: np.ndarray, smallest: float) -> tuple[np.ndarray, np.ndarray]:
    """Labels (H, W) from 1, 0 outside, and the pixels of each component that is large enough."""
    from scipy import ndimage

    labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    keep = sizes >= smallest
    keep[0] = False
    numbers = np.where(keep, np.cumsum(keep), 0)
    return numbers[labels], sizes[keep]
