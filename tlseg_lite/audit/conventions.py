"""What the columns of a results table hold: their names, their conventions, a recovered matrix.

Papers print the same six columns and mean different things by them. A `Convention` is one reading
of them; `Recovered` is the confusion matrix that a row has under it.
"""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass

from tlseg_lite.metrics.confusion import ConfusionMatrix, Scores, score_values

SHORT = {
    "precision": "P",
    "recall": "REC",
    "f1": "F1",
    "oa": "OA",
    "miou": "MIoU",
    "landslide_iou": "landslide IoU",
    "background_iou": "background IoU",
    "landslide_precision": "landslide P",
    "landslide_recall": "landslide REC",
    "landslide_f1": "landslide F1",
    "landslide_share": "landslide share",
}
"""Column -> what a report calls it."""

COLUMNS = tuple(SHORT)
AVERAGES = {"macro": "mean of the two classes", "landslide": "landslide class alone"}
F1S = {
    "harmonic": "harmonic mean of the columns P and REC",
    "mean_of_classes": "mean of the two class F1s",
    "landslide": "F1 of the landslide class",
}
IOUS = {"union": "TP / (TP + FP + FN)", "eq20": "TP / (TP + TN + FP), Eq. 20 as printed"}


class UnderdeterminedError(ValueError):
    """The columns given leave more than one confusion matrix possible."""


@dataclass(frozen=True)
class Convention:
    """What the ambiguous columns of a table hold.

    Attributes:
        average: of the columns P and REC: "macro" or "landslide".
        f1: "harmonic", "mean_of_classes" or "landslide".
        iou: of the column landslide IoU: "union", or "eq20" (the TransLandSeg paper's misprint).
    """

    average: str = "macro"
    f1: str = "harmonic"
    iou: str = "union"

    def __post_init__(self) -> None:
        for name, known in (("average", AVERAGES), ("f1", F1S), ("iou", IOUS)):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}, expected one of {', '.join(known)}"
                )

    def value(self, column: str, scores: Scores) -> float:
        """What this convention prints in a column (a name of COLUMNS), as a fraction."""
        return self.values((column,), scores.confusion.counts())[0]

    def values(self, columns: tuple[str, ...], counts: tuple[float, ...]) -> list[float]:
        """What this convention prints in some columns for (TP, FP, FN, TN), as fractions."""
        scores = score_values(*counts)
        if self.iou == "eq20":
            tp, fp, _, tn = counts
            scores["landslide_iou"] = tp / (tp + tn + fp)
        if self.f1 != "harmonic" or self.average == "landslide":
            mean = self.f1 == "mean_of_classes"
            scores["f1"] = scores["f1_mean_of_classes" if mean else "landslide_f1"]
        if self.average == "landslide":
            scores["precision"] = scores["landslide_precision"]
            scores["recall"] = scores["landslide_recall"]
        return [scores[column] for column in columns]

    def tells_classes_apart(self, columns: tuple[str, ...]) -> bool:
        """Whether some column changes when landslide and background swap their names."""
        named = any(column.startswith(("landslide", "background")) for column in columns)
        by_average = self.average == "landslide" and {"precision", "recall", "f1"} & set(columns)
        return bool(named or by_average or (self.f1 == "landslide" and "f1" in columns))


@dataclass(frozen=True, repr=False)
class Recovered:
    """The confusion matrix behind a row of a table.

    Attributes:
        tp, fp, fn, tn: fractions of all pixels; their sum is 1.
        residual: largest difference between a printed and a recomputed score, percentage points.
        misfits: that difference for each column, recomputed minus printed.
        closure: TP + FP + FN + TN of the closed form, before normalisation; 1 in a row that agrees
            with itself; None where OA, MIoU and the landslide IoU are not all given.
        landslide_share_range: the shares that the rounding of the row leaves possible.
        rank: how many independent columns the row has; 3 determine the matrix.
        alternatives: other matrices that fit as well (three columns can leave two).
        convention: what P, REC, F1 and IoU were taken to be.
        rounding: half a unit of the last printed digit, percentage points.
        least_residual: the smallest largest difference that any matrix reaches; ``residual`` is
            that of the least-squares matrix.
    """

    tp: float
    fp: float
    fn: float
    tn: float
    residual: float
    misfits: dict[str, float]
    closure: float | None
    landslide_share_range: tuple[float, float]
    rank: int
    alternatives: tuple[ConfusionMatrix, ...]
    convention: Convention
    rounding: float
    least_residual: float

    def __repr__(self) -> str:
        tp, fp, fn, tn = (100 * value for value in self.confusion.counts())
        closure = "" if self.closure is None else f", closure {self.closure:.4f}"
        return (
            f"Recovered(TP {tp:.2f}, FP {fp:.2f}, FN {fn:.2f}, TN {tn:.2f} % of the pixels,\n"
            f"          landslide share {100 * self.landslide_share:.2f} %, "
            f"residual {self.residual:.4f} points{closure})"
        )

    @property
    def confusion(self) -> ConfusionMatrix:
        """The four fractions as a ``ConfusionMatrix``."""
        return ConfusionMatrix(self.tp, self.fp, self.fn, self.tn)

    @property
    def landslide_share(self) -> float:
        """Landslide pixels over all pixels, in [0, 1]."""
        return self.tp + self.fn

    @property
    def fits(self) -> bool:
        """Whether some matrix meets every column within one unit of the last printed digit.

        Half a unit is rounding, the other half leaves room for values cut off instead of rounded.
        """
        return self.least_residual <= 2 * self.rounding * (1 + 1e-6)

    def scores(self) -> Scores:
        """Every score of the recovered matrix, the unprinted ones included."""
        return self.confusion.scores()


def as_percent(values: dict[str, float | None], decimals: int | None) -> tuple[dict, float]:
    """The given columns in percent, and half a unit of their last printed digit in points."""
    unknown = set(values) - set(COLUMNS)
    if unknown:
        raise ValueError(f"no column {sorted(unknown)[0]!r}; there are {', '.join(COLUMNS)}")
    given = {}
    for name, value in values.items():
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise TypeError(f"{name} is {value!r}, expected a number: percent or a fraction")
        if not math.isnan(value):
            given[name] = float(value)
    if not given:
        raise ValueError("no column has a value: give some of " + ", ".join(COLUMNS))
    scale = 100.0 if all(abs(value) <= 1 for value in given.values()) else 1.0
    if decimals is None:
        shown = max(len(f"{v:.8f}".rstrip("0").partition(".")[2]) for v in given.values())
        decimals = min(max(shown - (2 if scale == 100 else 0), 0), 6)
    return {name: value * scale for name, value in given.items()}, 0.5 * 10.0**-decimals
