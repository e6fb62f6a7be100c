"""Pixels are counted once; every score of the papers' tables follows from the four counts.

``confusion`` counts a prediction against a mask and gives a ``ConfusionMatrix``. Matrices add up
over batches (on the device where the pixels are), and ``ConfusionMatrix.scores`` turns the total
into ``Scores``. Landslide is the positive class, background the negative one.

Where a class score would be 0 / 0, the rule is the same for every score of that class:
a class that is neither in the mask nor in the prediction was handled without an error and scores
1; a class that is in only one of the two scores 0. IoU and F1 are then those of scikit-learn with
``zero_division=1``; precision and recall are those with ``zero_division=0``, except that an
entirely absent class counts 1. Macro averages equal torchmetrics', which leaves such a class out:
the remaining class is then perfect.
"""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from tlseg_lite.core.tensors import is_tensor
from tlseg_lite.metrics.masks import as_masks

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

    Array = np.ndarray | torch.Tensor


def _ratio(part: float, whole: float, absent: bool) -> float:
    """``part / whole``; where ``whole`` is 0: 1 for an absent class, else 0 (module docstring)."""
    if whole:
        return part / whole
    return 1.0 if absent else 0.0


def _number(name: str, value: Any) -> Any:
    """A count as it may be stored: a Python number, or a 0-dim tensor left on its device."""
    if is_tensor(value):
        if value.ndim:
            raise ValueError(
                f"{name} has shape {tuple(value.shape)}, expected one number: "
                "count arrays with tlseg_lite.metrics.confusion(prediction, target)"
            )
        return value.detach()
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    if isinstance(value, np.generic):
        value = value.item()
    if not isinstance(value, numbers.Real):
        raise TypeError(
            f"{name} is {type(value).__name__}, expected a number of pixels or a fraction: "
            "count arrays with tlseg_lite.metrics.confusion(prediction, target)"
        )
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{name} is {value}, expected a finite number of 0 or more")
    return value


@dataclass(frozen=True)
class ConfusionMatrix:
    """Pixels of the two classes, landslide positive: counts, or fractions of all pixels.

    Args:
        tp: landslide found (true positives).
        fp: background called landslide.
        fn: landslide missed.
        tn: background left alone.

    Values are numbers of 0 or more, or 0-dim tensors that stay on their device until ``counts``
    or ``scores`` reads them. ``a + b`` and ``sum(matrices)`` add up.

    Raises:
        ValueError: a value is negative, not finite, or not a single number.
        TypeError: a value is not a number.
    """

    tp: Any
    fp: Any
    fn: Any
    tn: Any

    def __post_init__(self) -> None:
        for field in fields(self):
            value = _number(field.name, getattr(self, field.name))
            object.__setattr__(self, field.name, value)

    def __iter__(self) -> Iterator[Any]:
        return iter((self.tp, self.fp, self.fn, self.tn))

    def __add__(self, other: ConfusionMatrix) -> ConfusionMatrix:
        if isinstance(other, ConfusionMatrix):
            return ConfusionMatrix(*(a + b for a, b in zip(self, other, strict=True)))
        return NotImplemented

    def __radd__(self, other: Any) -> ConfusionMatrix:
        return (
            self if isinstance(other, int) and other == 0 else NotImplemented
        )  # sum() starts at 0

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ConfusionMatrix):
            return self.counts() == other.counts()
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self.counts())

    def __repr__(self) -> str:
        tp, fp, fn, tn = self.counts()
        return f"ConfusionMatrix(tp={tp:g}, fp={fp:g}, fn={fn:g}, tn={tn:g})"

    def counts(self) -> tuple[float, float, float, float]:
        """``(tp, fp, fn, tn)`` as Python numbers; a matrix on a device is read in one transfer."""
        values = tuple(self)
        if all(is_tensor(value) for value in values):
            import torch

            return tuple(torch.stack(values).tolist())
        return tuple(v.item() if is_tensor(v) else v for v in values)

    def normalised(self) -> ConfusionMatrix:
        """The same matrix as fractions of all its pixels.

        Raises:
            ValueError: it holds no pixel.
        """
        counts = self.counts()
        total = _total(counts)
        return ConfusionMatrix(*(value / total for value in counts))

    @property
    def landslide_share(self) -> float:
        """Landslide pixels over all pixels, by the mask, in [0, 1]."""
        tp, _, fn, _ = counts = self.counts()
        return (tp + fn) / _total(counts)

    def scores(self) -> Scores:
        """All scores of this matrix (see ``Scores``).

        Raises:
            ValueError: it holds no pixel.
        """
        counts = self.counts()
        _total(counts)
        return Scores(**score_values(*counts), confusion=self)


def _total(counts: tuple[float, ...]) -> float:
    if any(value < 0 or not math.isfinite(value) for value in counts):
        raise ValueError(f"tp, fp, fn, tn are {counts}, expected finite numbers of 0 or more")
    total = sum(counts)
    if not total:
        raise ValueError(
            "the confusion matrix holds no pixel (tp = fp = fn = tn = 0): nothing was counted. "
            "Add a prediction first, and check that the valid mask is not zero everywhere"
        )
    return total


def score_values(tp: float, fp: float, fn: float, tn: float) -> dict[str, float]:
    """The numbers of ``Scores`` by name, from four numbers that are known to be valid."""
    no_slide, no_ground = not tp + fp + fn, not tn + fn + fp
    slide_p, slide_r = _ratio(tp, tp + fp, no_slide), _ratio(tp, tp + fn, no_slide)
    ground_p, ground_r = _ratio(tn, tn + fn, no_ground), _ratio(tn, tn + fp, no_ground)
    slide_f1 = _ratio(2 * tp, 2 * tp + fp + fn, no_slide)
    ground_f1 = _ratio(2 * tn, 2 * tn + fp + fn, no_ground)
    slide_iou = _ratio(tp, tp + fp + fn, no_slide)
    ground_iou = _ratio(tn, tn + fp + fn, no_ground)
    precision, recall = (slide_p + ground_p) / 2, (slide_r + ground_r) / 2
    total = tp + fp + fn + tn
    return {
        "precision": precision,
        "recall": recall,
        "f1": _ratio(2 * precision * recall, precision + recall, False),
        "oa": (tp + tn) / total,
        "miou": (slide_iou + ground_iou) / 2,
        "landslide_iou": slide_iou,
        "background_iou": ground_iou,
        "landslide_f1": slide_f1,
        "landslide_precision": slide_p,
        "landslide_recall": slide_r,
        "background_f1": ground_f1,
        "background_precision": ground_p,
        "background_recall": ground_r,
        "f1_mean_of_classes": (slide_f1 + ground_f1) / 2,
        "landslide_share": (tp + fn) / total,
    }


@dataclass(frozen=True, repr=False)
class Scores:
    """The scores of one confusion matrix, as fractions in [0, 1].

    Attributes:
        precision: P, Eq. 16, macro average over landslide and background (the paper's columns).
        recall: REC, Eq. 17, macro average.
        f1: Eq. 18 on the two macro averages (the TransLandSeg paper's F1).
        oa: overall accuracy, Eq. 19.
        miou: mean of the two IoUs, Eq. 21.
        landslide_iou: TP / (TP + FP + FN). Eq. 20 prints TP / (TP + TN + FP), a misprint.
        background_iou: TN / (TN + FN + FP).
        landslide_f1, landslide_precision, landslide_recall: of the landslide class alone.
        background_f1, background_precision, background_recall: of the background alone.
        f1_mean_of_classes: mean of the two classes' F1 (the LandslideNet article's F1).
        landslide_share: landslide pixels over all pixels, by the mask.
        confusion: the matrix they were computed from.
    """

    precision: float
    recall: float
    f1: float
    oa: float
    miou: float
    landslide_iou: float
    background_iou: float
    landslide_f1: float
    landslide_precision: float
    landslide_recall: float
    background_f1: float
    background_precision: float
    background_recall: float
    f1_mean_of_classes: float
    landslide_share: float
    confusion: ConfusionMatrix

    def as_dict(self) -> dict[str, float]:
        """Every score by name, without the confusion matrix: fractions in [0, 1]."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "confusion"}

    def __repr__(self) -> str:
        def line(title: str, *columns: str) -> str:
            pairs = (column.split(":") for column in columns)
            cells = (f"{label} {100 * getattr(self, name):6.2f}" for label, name in pairs)
            return f"  {title:<11}" + "  ".join(cells)

        return "\n".join(
            (
                "Scores in %",
                line("macro", "P:precision", "REC:recall", "F1:f1", "OA:oa", "MIoU:miou"),
                *(
                    line(c, f"P:{c}_precision", f"REC:{c}_recall", f"F1:{c}_f1", f"IoU:{c}_iou")
                    for c in ("landslide", "background")
                ),
                line("share", "landslide pixels:landslide_share"),
            )
        )


def confusion(
    prediction: Array, target: Array, valid: Array | None = None, *, threshold: float | None = None
) -> ConfusionMatrix:
    """Counts a prediction against its mask: one matrix for all pixels given.

    Args:
        prediction: any shape, e.g. (H, W) or (B, 1, H, W). A mask (bool, or numbers that are
            all 0 / 1, or integers that are all 0 / 255), or with ``threshold`` float scores.
        target: the mask, same shape and kind of array; bool, 0 / 1 or 0 / 255 where it counts.
        valid: same shape, bool or 0 / 1; pixels where it is 0 (padding, ignored) do not count.
        threshold: landslide is where ``prediction > threshold``: 0 for logits, 0.5 for
            probabilities. Needed for scores, refused for masks.

    Returns:
        A ``ConfusionMatrix``; for tensors the counts are int64 0-dim tensors on their device.
        Bool tensors are counted without waiting for the device; other types are checked first.

    Raises:
        ValueError: shapes or devices differ, values are not those of a mask, scores are NaN.
        TypeError: torch and numpy are mixed, or the type cannot be a mask.
    """
    p, t, v = as_masks(prediction, target, valid, threshold)
    return ConfusionMatrix(*_count(p, t, v, None))


def confusion_per_image(
    prediction: Array, target: Array, valid: Array | None = None, *, threshold: float | None = None
) -> list[ConfusionMatrix]:
    """``confusion`` for each image of a batch: arguments (B, ..., H, W), B matrices of integers.

    Raises:
        ValueError, TypeError: as ``confusion``, and where there is no batch dimension.
    """
    p, t, v = as_masks(prediction, target, valid, threshold)
    if p.ndim < 3:
        raise ValueError(
            f"prediction has shape {tuple(p.shape)}, expected a batch (B, ..., H, W): "
            "add a first dimension, prediction[None]"
        )
    rows = _count(p, t, v, tuple(range(1, p.ndim)))
    columns = [row.tolist() for row in rows]
    return [ConfusionMatrix(*counts) for counts in zip(*columns, strict=True)]


def _count(p: Array, t: Array, v: Array | None, axes: tuple[int, ...] | None) -> tuple:
    if v is not None:
        p, t = p & v, t & v
    if axes is None:
        pixels = p.sum() * 0 + _size(p) if v is None else v.sum()
        tp, positive, true = (p & t).sum(), p.sum(), t.sum()
    else:
        per_image = _size(p) // p.shape[0] if p.shape[0] else 0
        tp, positive, true = (p & t).sum(axes), p.sum(axes), t.sum(axes)
        pixels = positive * 0 + per_image if v is None else v.sum(axes)
    return tp, positive - tp, true - tp, pixels - positive - true + tp


def _size(array: Array) -> int:
    return math.prod(array.shape)
