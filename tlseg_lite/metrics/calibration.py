"""Can the probabilities be taken at their word? Reliability curve, ECE, Brier score, temperature.

Of all pixels that a calibrated model calls landslide with 80 %, 80 % are landslide.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tlseg_lite.metrics.masks import as_scored_images


@dataclass(frozen=True, eq=False)
class Reliability:
    """Predicted probability against observed frequency of landslide, in bins.

    Attributes:
        edges: float (K + 1,), the bins' edges in [0, 1].
        count: int (K,), pixels in each bin.
        confidence: float (K,), mean predicted probability, NaN in an empty bin.
        frequency: float (K,), share of landslide pixels, NaN in an empty bin.
        ece: expected calibration error, the mean of |confidence - frequency| over the pixels.
        brier: mean squared difference of probability and mask, in [0, 1].
    """

    edges: np.ndarray
    count: np.ndarray
    confidence: np.ndarray
    frequency: np.ndarray
    ece: float
    brier: float


def reliability(logits: Any, targets: Any, valids: Any = None, *, bins: int = 15) -> Reliability:
    """The reliability curve of a set of images.

    Args:
        logits: float, a batch (B, ..., H, W) or a list of (..., H, W) of any sizes.
        targets: masks of the same shapes; bool, 0 / 1 or 0 / 255.
        valids: the same shapes, or None; pixels where it is 0 are not counted.
        bins: number of bins of equal width.

    Raises:
        ValueError: fewer than one bin, no pixel, shapes that differ, NaN logits.
    """
    if bins < 1:
        raise ValueError(f"bins is {bins}, expected 1 or more")
    edges = np.linspace(0, 1, bins + 1)
    count, positive, summed = np.zeros(bins, np.int64), np.zeros(bins), np.zeros(bins)
    squares = 0.0
    for values, truth in as_scored_images(logits, targets, valids):
        p = _probability(values)
        index = np.clip(np.searchsorted(edges, p, side="right") - 1, 0, bins - 1)
        count += np.bincount(index, minlength=bins)
        positive += np.bincount(index, truth, minlength=bins)
        summed += np.bincount(index, p, minlength=bins)
        squares += float(np.square(p - truth).sum())
    total = int(count.sum())
    if not total:
        raise ValueError("no pixel to look at: the valid masks are zero everywhere")
    with np.errstate(invalid="ignore"):
        confidence, frequency = summed / count, positive / count
    ece = float(np.abs(summed - positive).sum() / total)
    return Reliability(edges, count, confidence, frequency, ece, squares / total)


def fit_temperature(validation_logits: Any, validation_targets: Any, valids: Any = None) -> float:
    """The T > 0 for which logits / T have the smallest cross entropy on validation images.

    T above 1 makes an overconfident model less sure. No decision at logit 0 changes.
    """
    from scipy.optimize import minimize_scalar

    pairs = list(as_scored_images(validation_logits, validation_targets, valids))
    values = np.concatenate([v for v, _ in pairs])
    signs = np.concatenate([np.where(t, 1.0, -1.0) for _, t in pairs])

    def cross_entropy(log_t: float) -> float:
        return float(np.logaddexp(0, -signs * values * np.exp(-log_t)).mean())

    found = minimize_scalar(cross_entropy, bounds=(-5, 5), method="bounded")
    return float(np.exp(found.x))


def _probability(logits: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * logits))  # the logistic function, without overflow
