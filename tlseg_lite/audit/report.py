"""What the numbers of a results table mean, and whether they can be true.

``published`` holds the tables of the two papers. ``recover_confusion`` gives the confusion matrix
behind one row. ``check`` (numbers of your own) and ``explain`` (a row of a table) try every
convention that a column may follow, say which ones fit, and where none does, what contradicts
itself. ``audit_table`` does that for whole tables, whose rows share their images and so their
landslide share.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tlseg_lite.audit.conventions import (
    AVERAGES,
    COLUMNS,
    F1S,
    IOUS,
    SHORT,
    Convention,
    Recovered,
    as_percent,
)
from tlseg_lite.audit.recover import fit
from tlseg_lite.audit.rules import broken_rules, suspect_columns

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Report:
    """What ``check`` found; prints as text, and as HTML in a notebook.

    Attributes:
        title: what the row is.
        given: the columns in percent.
        rounding: half a unit of the last printed digit, percentage points.
        fits: one ``Recovered`` for each convention that some matrix meets, likeliest first.
        best: the first of them; where nothing fits, the convention that comes nearest; None where
            the numbers are outside 0 to 100 %.
        findings: sentences.
    """

    title: str
    given: dict[str, float]
    rounding: float
    fits: tuple[Recovered, ...]
    best: Recovered | None
    findings: tuple[str, ...]

    @property
    def consistent(self) -> bool:
        """Whether some confusion matrix has all these scores, under some convention."""
        return bool(self.fits) or not self.given

    @property
    def checkable(self) -> bool:
        """Whether it could have failed, with more numbers than a matrix has freedom."""
        return self.best is None or not self.consistent or len(self.given) > self.best.rank

    @property
    def verdict(self) -> str:
        """ "consistent", "contradicts itself", "possible" (nothing to check) or "no scores"."""
        if not self.given:
            return "no scores"
        if not self.consistent:
            return "contradicts itself"
        return "consistent" if self.checkable else "possible"

    def __repr__(self) -> str:
        lines = [f"{self.title}: {self.verdict}"]
        if self.given:
            lines.append(
                "  " + "  ".join(f"{SHORT[k]} {v:g}" for k, v in self.given.items()) + " (%)"
            )
        return "\n".join(lines + [f"  - {finding}" for finding in self.findings])

    def _repr_html_(self) -> str:
        cells = "".join(f"<th>{html.escape(SHORT[name])}</th>" for name in self.given)
        values = "".join(f"<td>{value:g}</td>" for value in self.given.values())
        points = "".join(f"<li>{html.escape(finding)}</li>" for finding in self.findings)
        return (
            f"<p><strong>{html.escape(self.title)}: {self.verdict}</strong></p>"
            f"<table><tr>{cells}</tr><tr>{values}</tr></table><ul>{points}</ul>"
        )


def check(*, title: str = "Your row", decimals: int | None = None, **columns: Any) -> Report:
    """Which conventions fit a row of scores, and what contradicts itself.

    Args:
        title: a name for the row, for the printed report.
        decimals: digits after the point that the values in percent were printed with; by default
            as many as they show.
        columns: any of ``precision``, ``recall``, ``f1`` (of any convention: that is what is found
            out), ``oa``, ``miou``, ``landslide_iou``, ``background_iou``, and, where a paper is
            explicit, ``landslide_precision``, ``landslide_recall``, ``landslide_f1``,
            ``landslide_share``. Percent, or fractions where no value exceeds 1.

    Returns:
        A ``Report``.

    Raises:
        ValueError: an unknown column, or no value at all.
        TypeError: a value is not a number.
    """
    given, rounding = as_percent(columns, decimals)
    impossible = broken_rules(given, rounding)
    if any(not 0 <= value <= 100 for value in given.values()):
        return Report(title, given, rounding, (), None, tuple(impossible))
    tried = [fit(given, rounding, convention) for convention in _conventions(given)]
    # the misprint of Eq. 20 is believed only where more numbers than it needs agree with it
    able = [f for f in tried if f.fits and (f.convention.iou == "union" or len(given) > f.rank)]
    within = 1.2 * rounding  # rounding, and a little for what was rounded twice
    fits = sorted(able, key=lambda f: (f.least_residual > within, f.landslide_share > 0.5))
    if fits and not (impossible and fits[0].rank < 3):
        return Report(title, given, rounding, tuple(fits), fits[0], tuple(_meaning(given, fits)))
    plain = [found for found in tried if found.convention.iou == "union"]
    nearest = min(plain, key=lambda found: found.least_residual)
    findings = [
        "Impossible: no confusion matrix has all these scores, whichever convention the columns "
        f"follow. The nearest one misses a column by {nearest.least_residual:.2f} points; rounding "
        f"explains {rounding:g}."
        if nearest.least_residual > 2 * rounding
        else "Impossible where landslides cover at most half of the pixels:",
        *impossible,
        *suspect_columns(given, rounding, [found.convention for found in tried]),
    ]
    return Report(title, given, rounding, (), nearest, tuple(findings))


def explain(row: Any) -> Report:
    """``check`` for a row of ``published`` or of a table with the same column names.

    Args:
        row: a pandas Series, a mapping or a named tuple; what is no score is left aside. A row of a
            parameter table gets the share of its parameters that is trained.

    Raises:
        TypeError: ``row`` is no row.
    """
    if hasattr(row, "_asdict"):
        row = row._asdict()
    values = dict(row.items()) if isinstance(row, Mapping) or hasattr(row, "items") else None
    if values is None:
        raise TypeError(
            f"row is {type(row).__name__}, expected a row of a DataFrame, a mapping or a named "
            "tuple, e.g. published().iloc[0]"
        )
    scores = {k: v for k, v in values.items() if k in COLUMNS and not _missing(v)}
    title = str(values.get("source") or values.get("row") or "Row")
    if not scores:
        return Report(title, {}, 0.0, (), None, tuple(_parameters(values)))
    return check(title=title, **scores)


def audit_table(frame: pd.DataFrame, by: tuple[str, ...] = ("paper", "table")) -> pd.DataFrame:
    """Checks every row with scores; what a row leaves open, the rest of its table settles.

    The rows of one table were measured on the same images with the same code. So the convention
    that fits most of its rows is taken for all of them, and among equals the one under which the
    rows agree best on the landslide share. The table's share is the median over its rows.

    Args:
        frame: as ``published`` gives it; at least the columns in ``by`` and ``row``.
        by: the columns that name a table.

    Returns:
        One line for each row with scores: ``by``, ``row``, ``verdict``, ``average`` and ``f1`` (the
        conventions), ``residual`` (points), ``closure``, ``landslide_share`` and the landslide
        class's ``landslide_precision``, ``landslide_recall``, ``landslide_f1`` (all in percent; NaN
        where the row contradicts itself), ``table_share``, and the first ``finding``.
    """
    import pandas as pd

    scored = frame[frame[[c for c in COLUMNS if c in frame]].notna().any(axis=1)]
    parts = []
    for names, group in scored.groupby(list(by), sort=False):
        reports = [explain(row) for _, row in group.iterrows()]
        settled = _of_the_table(reports)
        lines = []
        for (_, row), report in zip(group.iterrows(), reports, strict=True):
            line = dict(zip(by, names, strict=True)) | {"row": row["row"]}
            line |= {"verdict": report.verdict, "average": None, "f1": None}
            best = next((f for f in report.fits if f.convention == settled), report.best)
            if best is not None:
                if report.consistent:
                    line |= {"average": best.convention.average, "f1": best.convention.f1}
                closure = math.nan if best.closure is None else best.closure
                line |= {"residual": best.residual, "closure": closure}
            if report.consistent and best.rank == 3:
                scores = best.scores()
                for name in ("share", "precision", "recall", "f1"):
                    line[f"landslide_{name}"] = 100 * getattr(scores, f"landslide_{name}")
            line["finding"] = next(iter(report.findings[0 if report.consistent else 1 :]), "")
            lines.append(line)
        part = pd.DataFrame(lines)
        if "landslide_share" in part:
            part.insert(len(part.columns) - 1, "table_share", part["landslide_share"].median())
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def _of_the_table(reports: list[Report]) -> Convention | None:
    """The convention that fits most rows; of equals, the one whose landslide shares agree best."""
    shares: dict[Convention, list[float]] = {}
    for report in reports:
        for found in report.fits:
            shares.setdefault(found.convention, []).append(found.landslide_share)
    if not shares:
        return None

    def rank(convention: Convention) -> tuple[int, float]:
        values = shares[convention]
        return len(values), -round((max(values) - min(values)) / max(values), 3)

    return max(shares, key=rank)


def _parameters(values: Mapping[str, Any]) -> list[str]:
    total, trained = values.get("parameters_total"), values.get("parameters_trainable")
    if _missing(total) or _missing(trained):
        return ["The row holds no score that could be checked."]
    if trained > total:
        return [f"Impossible: {trained:g} M of {total:g} M parameters are listed as trained."]
    return [f"{trained:g} of {total:g} million parameters are trained: {trained / total:.1%}."]


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _conventions(given: dict[str, float]) -> list[Convention]:
    """All conventions that differ for these columns, the likelier ones first."""
    averages = list(AVERAGES) if {"precision", "recall"} & set(given) else ["macro"]
    found = []
    for iou in IOUS if "landslide_iou" in given else ("union",):
        for average in averages:
            for f1 in F1S if "f1" in given else ("harmonic",):
                if average == "landslide" and f1 == "harmonic":
                    continue  # the same number as the landslide class's F1
                found.append(Convention(average, f1 if "f1" in given else "harmonic", iou))
    if "f1" not in given and "landslide" in averages:
        found += [Convention("landslide", "landslide", iou) for iou in {c.iou for c in found}]
    return found


def _meaning(given: dict[str, float], fits: list[Recovered]) -> list[str]:
    """Sentences for a row that some convention explains."""
    best, lines = fits[0], []
    kinds = [found.convention for found in fits]
    for title, present, words in (
        ("P and REC", {"precision", "recall"} & set(given), {c.average: AVERAGES for c in kinds}),
        ("F1", "f1" in given, {c.f1: F1S for c in kinds}),
        ("Landslide IoU", "landslide_iou" in given, {c.iou: IOUS for c in kinds}),
    ):
        if present:
            options = " or ".join(table[key] for key, table in words.items())
            fit_all = {1: ".", 2: "; both fit."}.get(len(words), "; all fit.")
            lines.append(f"{title}: {options}{fit_all}")
    if len(given) <= best.rank:
        lines.append(
            f"Nothing here was checked: with no more than {best.rank} independent numbers in the "
            "row, some confusion matrix always fits."
        )
    if best.rank < 3:
        lines.append(
            f"Independent numbers: {best.rank}; a confusion matrix needs 3. So the landslide "
            "class's own scores stay unknown. OA, MIoU or an IoU of one class would help."
        )
        return lines + _by_share(given, best)
    shown: list[Recovered] = []
    for found in fits:
        if any(abs(found.landslide_share - other.landslide_share) < 0.005 for other in shown):
            continue  # the same matrix under another name
        shown.append(found)
        scores, low_high = found.scores(), [100 * end for end in found.landslide_share_range]
        which = "" if len(fits) == 1 else f"With {found.convention.average} P and REC: "
        tp, fp, fn, tn = (100 * value for value in found.confusion.counts())
        lines.append(
            f"{which}TP {tp:.2f}, FP {fp:.2f}, FN {fn:.2f}, TN {tn:.2f} % of the pixels; landslide "
            f"share {100 * found.landslide_share:.2f} % ({low_high[0]:.2f} to {low_high[1]:.2f}); "
            f"the landslide class alone has P {100 * scores.landslide_precision:.2f}, REC "
            f"{100 * scores.landslide_recall:.2f}, F1 {100 * scores.landslide_f1:.2f}, IoU "
            f"{100 * scores.landslide_iou:.2f}."
        )
        for other in found.alternatives:
            share = 100 * other.landslide_share
            lines.append(f"A second matrix fits as well, with a landslide share of {share:.2f} %.")
    share = best.landslide_share
    if "oa" in given:
        lines.append(f"Calling every pixel background would have an OA of {100 - 100 * share:.2f}.")
    return lines


def _by_share(given: dict[str, float], best: Recovered) -> list[str]:
    """What the landslide F1 would be for some landslide shares, where the row leaves that open."""
    if best.rank != 2 or "landslide_share" in given:
        return []
    parts = []
    for share in (2.0, 5.0, 10.0, 20.0, 40.0):
        found = fit(given | {"landslide_share": share}, best.rounding, best.convention)
        if found.fits:
            f1 = 100 * found.scores().landslide_f1
            parts.append(f"{f1:.1f} at a landslide share of {share:g} %")
    return [f"The landslide F1 could be {', '.join(parts)}."] if parts else []
