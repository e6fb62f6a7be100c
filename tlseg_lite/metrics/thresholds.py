"""Scores over all thresholds, and the threshold that is best on the validation images.

A threshold is a setting like any other: it is chosen on validation images, written down, and then
used on the test images once. Choosing it on the test images makes their score too good.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tlseg_lite.metrics.confusion import ConfusionMatrix, Scores
from tlseg_lite.metrics.masks import as_scored_images

PROBABILITIES = np.arange(1, 100) / 100  # default thresholds: every whole percent


@dataclass(frozen=True, eq=False)
class ThresholdCurve:
    """Confusion matrices over thresholds.

    Attributes:
        thresholds: float (T,), rising; landslide is where the logit is above.
        matrices: the T confusion matrices.
    """

    thresholds: np.ndarray
    matrices: tuple[ConfusionMatrix, ...]

    def score(self, metric: str) -> np.ndarray:
        """One score (a field of ``Scores``) at each threshold: float (T,) in [0, 1]."""
        if metric not in Scores.__dataclass_fields__ or metric == "confusion":
            names = [name for name in Scores.__dataclass_fields__ if name != "confusion"]
            raise ValueError(f"metric is {metric!r}, expected one of {', '.join(names)}")
        return np.array([getattr(matrix.scores(), metric) for matrix in self.matrices])

    def best(self, metric: str = "miou") -> float:
        """The threshold with the highest score; the nearest to 0 among equals."""
        values = self.score(metric)
        equals = self.thresholds[values >= values.max() - 1e-12]
        return float(equals[np.abs(equals).argmin()])


def threshold_curve(
    logits: Any, targets: Any, valids: Any = None, *, thresholds: Any = None
) -> ThresholdCurve:
    """Counts a set of images at many thresholds at once.

    Args:
        logits: float, a batch (B, ..., H, W) or a list of (..., H, W) of any sizes.
        targets: masks of the same shapes; bool, 0 / 1 or 0 / 255.
        valids: the same shapes, or None; pixels where it is 0 are not counted.
        thresholds: logits, rising; by default those of the probabilities 0.01 to 0.99.

    Raises:
        ValueError: shapes differ, no image, thresholds that do not rise, NaN logits.
    """
    if thresholds is None:
        thresholds = np.log(PROBABILITIES / (1 - PROBABILITIES))
    thresholds = np.asarray(thresholds, dtype=float)
    if thresholds.ndim != 1 or not len(thresholds) or (np.diff(thresholds) <= 0).any():
        raise ValueError(f"thresholds have to rise, got {thresholds}")
    counts = np.zeros((len(thresholds), 4), dtype=np.int64)
    for values, truth in as_scored_images(logits, targets, valids):
        above = []
        for part in (np.sort(values[truth]), np.sort(values[~truth])):
            above.append(len(part) - np.searchsorted(part, thresholds, side="right"))
        tp, fp = above
        positives = int(truth.sum())
        counts += np.stack([tp, fp, positives - tp, truth.size - positives - fp], 1)
    return ThresholdCurve(thresholds, tuple(ConfusionMatrix(*row.tolist()) for row in counts))


def choose_threshold(
    validation_logits: Any, validation_targets: Any, valids: Any = None, *, metric: str = "miou"
) -> float:
    """The threshold (a logit) that scores best on validation images; use it on the test images.

    Arguments as ``threshold_curve``; ``metric`` is a field of ``Scores``.
    """
    return threshold_curve(validation_logits, validation_targets, valids).best(metric)
