"""How sure is a score? Bootstrap over images, and a paired test of two models.

Pixels of one image are not independent, images nearly are: so images are drawn, never pixels. Two
models are compared on the same images, pair by pair, because most of the scatter is the images'.
Start from ``metrics.confusion_per_image``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tlseg_lite.metrics.confusion import ConfusionMatrix, Scores


@dataclass(frozen=True)
class Interval:
    """A score with its interval: ``value`` on all images, ``low`` to ``high`` at ``level``."""

    metric: str
    value: float
    low: float
    high: float
    level: float
    images: int

    def __str__(self) -> str:
        return (
            f"{self.metric} {100 * self.value:.1f} % "
            f"({self.level:.0%} interval {100 * self.low:.1f} to {100 * self.high:.1f}, "
            f"{self.images} images)"
        )


@dataclass(frozen=True)
class Comparison:
    """Two models on the same images.

    Attributes:
        metric, images, level: what was compared, on how many images, the interval's level.
        first, second: the two scores.
        difference: second minus first, with the interval ``low`` to ``high`` (paired bootstrap).
        p_value: two-sided, from swapping the two models in single images: in all ways, or with
            many images in as many random ones as there are repeats.
    """

    metric: str
    first: float
    second: float
    difference: float
    low: float
    high: float
    p_value: float
    level: float
    images: int

    def __str__(self) -> str:
        return (
            f"{self.metric}: second minus first {100 * self.difference:+.1f} points "
            f"({self.level:.0%} interval {100 * self.low:+.1f} to {100 * self.high:+.1f}), "
            f"p = {self.p_value:.3g}, {self.images} images"
        )


def bootstrap(
    per_image: Sequence[ConfusionMatrix],
    metric: str = "miou",
    *,
    repeats: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile interval of a score of summed counts, drawing images with replacement.

    Args:
        per_image: one confusion matrix for each image.
        metric: a field of ``Scores``.
        repeats: number of draws.
        level: of the interval, in (0, 1).
        seed: of the draws; the same seed gives the same interval.

    Raises:
        ValueError: fewer than two images, an unknown metric, a level outside (0, 1).
    """
    counts = _counts(per_image, metric, repeats, level)
    images = np.arange(len(counts))

    def score(drawn: np.ndarray, axis: int = -1) -> np.ndarray:
        return _scores(counts[drawn].sum(axis=-2), metric)

    low, high = _bootstrap((images,), score, repeats, level, seed)
    return Interval(metric, float(score(images)), low, high, level, len(counts))


def compare(
    first: Sequence[ConfusionMatrix],
    second: Sequence[ConfusionMatrix],
    metric: str = "miou",
    *,
    repeats: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Is the second model better than the first on these images, or could it be the images?

    Args:
        first, second: one confusion matrix for each image and model, images in the same order.
        metric, repeats, level, seed: as ``bootstrap``.

    Raises:
        ValueError: as ``bootstrap``; different numbers of images, or images whose masks differ.
    """
    if len(first) != len(second):
        raise ValueError(
            f"first has {len(first)} images, second {len(second)}: give the same images in order"
        )
    a = _counts(first, metric, repeats, level)
    b = _counts(second, metric, repeats, level)
    masks = [counts[:, 0] + counts[:, 2] for counts in (a, b)]  # TP + FN: landslide by the mask
    if not np.allclose(*masks):
        image = int(np.flatnonzero(~np.isclose(*masks))[0])
        raise ValueError(
            f"image {image} has {masks[0][image]:g} landslide pixels in first and "
            f"{masks[1][image]:g} in second: these are not the same images in the same order"
        )
    from scipy import stats

    n, counts = len(a), np.concatenate([a, b])  # image i: row i for the first model, n + i

    def score(drawn: np.ndarray) -> np.ndarray:
        return _scores(counts[drawn].sum(axis=-2), metric)

    def difference(first: np.ndarray, second: np.ndarray, axis: int = -1) -> np.ndarray:
        return score(second) - score(first)

    pairs = np.arange(n), np.arange(n, 2 * n)
    low, high = _bootstrap(pairs, difference, repeats, level, seed)
    swapped = stats.permutation_test(
        pairs,
        difference,
        permutation_type="samples",
        vectorized=True,
        n_resamples=repeats,
        batch=_batch(n),
        random_state=np.random.default_rng(seed),
    )
    scores = [float(score(images)) for images in pairs]
    ends = (scores[1] - scores[0], low, high, float(swapped.pvalue))
    return Comparison(metric, *scores, *ends, level, n)


def _bootstrap(
    images: tuple[np.ndarray, ...], statistic, repeats: int, level: float, seed: int
) -> tuple[float, float]:
    """Ends of the percentile interval, the same images drawn for all models."""
    from scipy import stats

    found = stats.bootstrap(
        images,
        statistic,
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=repeats,
        batch=_batch(len(images[0])),
        confidence_level=level,
        random_state=np.random.default_rng(seed),
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def _batch(images: int) -> int:
    """How many draws at once take about ten megabytes."""
    return max(1, 300_000 // images)


def _counts(matrices: Sequence[ConfusionMatrix], metric: str, repeats: int, level: float):
    known = [name for name in Scores.__dataclass_fields__ if name != "confusion"]
    if metric not in known:
        raise ValueError(f"metric is {metric!r}, expected one of {', '.join(known)}")
    if len(matrices) < 2:
        raise ValueError(f"{len(matrices)} image given, expected two or more: images are drawn")
    if not 0 < level < 1 or repeats < 1:
        raise ValueError(f"level is {level} and repeats {repeats}, expected 0 to 1 and 1 or more")
    return np.array([matrix.counts() for matrix in matrices], dtype=float)


def _scores(counts: np.ndarray, metric: str) -> np.ndarray:
    """The score of each TP, FP, FN, TN in the last axis."""
    from tlseg_lite.metrics.confusion import score_values

    values = [score_values(*row)[metric] for row in counts.reshape(-1, 4).tolist()]
    return np.array(values).reshape(counts.shape[:-1])
