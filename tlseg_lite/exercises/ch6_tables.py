"""Checks of chapter 6: invert a row, find the forged one, which F1, a forgery, your own table."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from tlseg_lite.exercises.verdict import (
    Wrong,
    call,
    choice,
    close,
    near,
    number,
    on_fresh_inputs,
    parts,
)
from tlseg_lite.metrics.confusion import ConfusionMatrix

SIX = ("precision", "recall", "f1", "oa", "miou", "landslide_iou")


def check_6_1(answer: Any) -> str:
    answer = parts(answer, ("tp", "tn", "possible"))
    e, i1, miou = 0.04, 0.64, 0.80
    i0 = 2 * miou - i1
    tp, tn = e * i1 / (1 - i1), e * i0 / (1 - i0)
    mistakes = (
        (0.96 * i1 / (1 - i1), "e is the share of wrong pixels, 1 - OA."),
        (e * i1, "an IoU is TP / (TP + e); turned around, e I / (1 - I)."),
        (e * (1 - i1) / i1, "this is upside down: e I / (1 - I)."),
        (e * miou / (1 - miou), "take the landslide's IoU, not MIoU."),
    )
    near(answer["tp"], tp, 0.0006, mistakes, "tp")
    mistakes = (
        (e * miou / (1 - miou), "MIoU is the mean of both IoUs: I0 = 2 MIoU - I1."),
        (1 - e - tp, "this forces the sum to be 1. Compute TN from I0, then add up."),
        (e * i1 / (1 - i1), "this is TP again; the background has I0 = 2 MIoU - I1."),
    )
    near(answer["tn"], tn, 0.006, mistakes, "tn")
    if not isinstance(answer["possible"], (bool, np.bool_)):
        raise Wrong("'possible' should be True or False.")
    if answer["possible"]:
        raise Wrong(f"TP + TN + e is {tp + tn + e:.3f}: that is more pixels than there are.")
    return f"The sum is {tp + tn + e:.2f}. Rounding explains a few thousandths."


MODELS = (  # made up: name, recall, precision
    ("A", 0.62, 0.66),
    ("B", 0.71, 0.69),
    ("C", 0.66, 0.74),
    ("D", 0.78, 0.70),
    ("E", 0.74, 0.81),
    ("F", 0.81, 0.79),
)


@cache
def _suspects() -> tuple[dict[str, dict[str, float]], str, str]:
    """Six rows, the name of the forged one, and of the one from other pixels."""
    rng = np.random.default_rng(4)
    rows = {}
    for name, recall, precision in MODELS:
        share = 0.061 if name == "B" else 0.1
        tp = share * (recall + rng.uniform(-0.01, 0.01))
        fp = tp * (1 / precision - 1)
        scores = ConfusionMatrix(tp, fp, share - tp, 1 - share - fp).scores()
        rows[name] = {column: round(100 * getattr(scores, column), 2) for column in SIX}
    rows["E"]["miou"] = round(rows["E"]["miou"] + 2.4, 2)
    rows["E"]["landslide_iou"] = round(rows["E"]["landslide_iou"] + 2.1, 2)
    return rows, "E", "B"


def given_6_2() -> Any:
    """A made-up results table: six models, scores in percent."""
    import pandas as pd

    rows, _, _ = _suspects()
    table = pd.DataFrame(rows.values()).assign(paper="made up", table="1", row=list(rows))
    return table[["paper", "table", "row", *SIX]]


def check_6_2(answer: Any) -> str:
    from tlseg_lite.audit import check

    answer = parts(answer, ("forged", "other pixels"))
    rows, forged, other = _suspects()
    given = {key: choice(value, tuple(rows), key) for key, value in answer.items()}
    best = max((name for name in rows if name != forged), key=lambda name: rows[name]["miou"])
    if (given["forged"], given["other pixels"]) == (other, forged):
        raise Wrong(
            f"the two are exchanged. Row {other} agrees with itself: it is odd only beside the "
            "others. A forged row need not agree with itself."
        )
    for key, truth in (("forged", forged), ("other pixels", other)):
        name = given[key]
        if name == truth:
            continue
        report = check(title=name, decimals=2, **rows[name])
        share = 100 * report.best.landslide_share
        if key == "forged" and report.consistent:
            extra = " A high score alone is no sign of a forgery." if name == best else ""
            raise Wrong(f"row {name} agrees with itself: some matrix has its scores.{extra}")
        raise Wrong(
            f"row {name} has a landslide share of {share:.1f} %. Look for the share that the "
            "rows of a table have in common, and for the row that does not have it."
        )
    share = 100 * check(title=other, decimals=2, **rows[other]).best.landslide_share
    return (
        f"No matrix has row {forged}'s scores. Row {other} is sound, at a share of {share:.1f} %: "
        "it was measured on other pixels, and cannot be ranked among the rest."
    )


def _rows_of_unknown_f1() -> tuple[list[dict[str, float]], list[str]]:
    rng, rows, kinds = np.random.default_rng(7), [], []
    order = ("harmonic", "mean of classes", "landslide")
    for kind in (*order, "mean of classes", "landslide", "harmonic"):
        name = {"harmonic": "f1", "mean of classes": "f1_mean_of_classes"}.get(kind, "landslide_f1")
        share = rng.uniform(0.02, 0.2)
        tp = share * rng.uniform(0.55, 0.7)
        fp = tp * rng.uniform(0.05, 0.15)
        s = ConfusionMatrix(tp, fp, share - tp, 1 - share - fp).scores()
        row = {c: round(100 * getattr(s, c), 2) for c in SIX if c != "f1"}
        rows.append(row | {"f1": round(100 * getattr(s, name), 2)})
        kinds.append(kind)
    return rows, kinds


def check_6_3(answer: Any) -> str:
    rows, kinds = _rows_of_unknown_f1()
    names = ("harmonic", "mean of classes", "landslide")

    def truth(row):
        return kinds[rows.index(row)]

    def two(row):
        harmonic = 2 * row["precision"] * row["recall"] / (row["precision"] + row["recall"])
        return "harmonic" if abs(row["f1"] - harmonic) < 0.02 else "landslide"

    def no_mean(row):
        iou = row["landslide_iou"]
        return "landslide" if abs(row["f1"] - 200 * iou / (100 + iou)) < 0.02 else "harmonic"

    def of_miou(row):
        miou = row["miou"]
        return "mean of classes" if abs(row["f1"] - 200 * miou / (100 + miou)) < 0.02 else two(row)

    mistakes = (
        (two, "you test the harmonic mean only; what is left has two readings."),
        (no_mean, "you test the landslide's F1 only; what is left has two readings."),
        (of_miou, "2 I / (1 + I) holds for one class: turn each IoU into an F1, then average."),
    )

    def words(row):
        return f"the row with {', '.join(f'{name} {value:.2f}' for name, value in row.items())}"

    on_fresh_inputs(
        answer, [(row,) for row in rows], truth, 0, mistakes, words,
        accept=lambda result: choice(result, names, "the result"),
    )  # fmt: skip
    return "Where P and REC lie apart, the two macro F1s do as well."


def check_6_4(answer: Any) -> str:
    from tlseg_lite.audit import check, published, recover_confusion

    answer = call(answer) if callable(answer) else answer
    answer = {name: number(value, name) for name, value in parts(answer, SIX).items()}
    row = published().query("row == 'TransLandSeg-8'").iloc[0]
    old = recover_confusion(**{name: row[name] for name in SIX})
    moved = {name: answer[name] - float(row[name]) for name in SIX}
    changed = [name for name in SIX if abs(moved[name]) > 0.005]
    if max(abs(value) for value in moved.values()) < 0.5:
        raise Wrong("no column differs from the row by 0.5 points or more.")
    report = check(title="yours", decimals=2, **{n: round(v, 2) for n, v in answer.items()})
    if not report.consistent:
        few = f"you changed {' and '.join(changed)} and left the rest: " if len(changed) < 4 else ""
        raise Wrong(f"{few}tl.audit.check notices. It reports: {report.findings[0]}")
    share, true = 100 * report.best.landslide_share, 100 * old.landslide_share
    if abs(share - true) > 0.1:
        raise Wrong(
            f"the row agrees with itself, but at a landslide share of {share:.2f} %; all rows of "
            f"its table have {true:.2f} %. Move pixels from FN to TP, or from FP to TN."
        )
    return (
        "The numbers do not show it. Consistency does not prove that a row is true; "
        "inconsistency proves that it is not."
    )


def check_6_5(answer: Any) -> str:
    import pandas as pd

    from tlseg_lite.audit import COLUMNS, audit_table

    if not isinstance(answer, pd.DataFrame):
        raise Wrong(f"a DataFrame is wanted, and you gave a {type(answer).__name__}.")
    if missing := [name for name in ("paper", "table", "row") if name not in answer]:
        raise Wrong(f"the columns {', '.join(missing)} are missing: they name a row.")
    columns = [name for name in COLUMNS if name in answer]
    if len(columns) < 3:
        raise Wrong(
            f"the table has {len(columns)} columns of scores by the names used here. Rename yours "
            f"to some of {', '.join(SIX)}; three at least."
        )
    if len(answer) < 2:
        raise Wrong("one row is not a table: the rows together settle the convention. Two or more.")
    values = answer[columns]
    if any(not pd.api.types.is_numeric_dtype(values[name]) for name in columns):
        raise Wrong("a column of scores holds text; turn it into numbers with astype(float).")
    if values.max().max() > 1 and (values.max() <= 1).any():
        raise Wrong("some columns are fractions and some are percent; use percent in all.")
    if values.max().max() > 100 or values.min().min() < 0:
        raise Wrong("a score lies outside 0 to 100 %.")
    audited = audit_table(answer)
    if not len(audited):
        raise Wrong("no row holds a score.")
    verdicts = audited["verdict"].value_counts().to_dict()
    summary = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items())
    if "landslide_share" in audited and audited["landslide_share"].notna().any():
        low, high = audited["landslide_share"].min(), audited["landslide_share"].max()
        same = close(low, high, 0.5)
        summary += f"; landslide shares {low:.1f} to {high:.1f} %"
        summary += ", alike" if same else ", NOT alike: were all rows scored on the same pixels?"
    return f"The audit of your {len(audited)} rows: {summary}."
