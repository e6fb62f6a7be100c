"""The audit on the papers' own tables, on matrices that are known, and on numbers that lie."""

import math
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import tlseg_lite as tl
from tlseg_lite.audit import (
    Convention,
    UnderdeterminedError,
    check,
    explain,
    recover_confusion,
)

SIX = ["precision", "recall", "f1", "oa", "miou", "landslide_iou"]


@pytest.fixture(scope="module")
def published():
    return tl.audit.published()


@pytest.fixture(scope="module")
def audited(published):
    return tl.audit.audit_table(published)


def nineteen():
    frame = tl.audit.published()
    rows = frame[frame["table"].isin(["I", "II", "IV"])]
    return [pytest.param(row, id=f"{row.table}-{row.row}") for row in rows.itertuples()]


def printed(tp, fp, fn, tn, *names, decimals=2, convention=None):
    """A row as a paper would print it."""
    scores = tl.ConfusionMatrix(tp, fp, fn, tn).scores()
    convention = convention or Convention()
    return {n: round(100 * convention.value(n, scores), decimals) for n in names}


# ---- the published tables


def test_published_holds_every_row_with_its_source(published):
    sizes = Counter(zip(published["paper"], published["table"], strict=True))
    assert sizes == {
        ("TransLandSeg", "I"): 5,
        ("TransLandSeg", "II"): 5,
        ("TransLandSeg", "III"): 5,
        ("TransLandSeg", "IV"): 9,
        ("LandslideNet", "1"): 5,
        ("LandslideNet", "2"): 5,
        ("LandslideNet", "3"): 5,
    }
    assert published["source"].is_unique
    assert published["source"].str.contains("Table").all()
    scored = published[published["miou"].notna()]
    assert scored[["precision", "recall", "f1"]].notna().all().all()
    assert published.loc[published["miou"].isna(), "parameters_total"].notna().all()
    best = published.query("table == 'II' and row == 'TransLandSeg'").iloc[0]
    assert best[SIX].tolist() == [84.99, 83.93, 84.46, 98.59, 75.99, 53.41]
    garbled = published.query("row == 'TransLandSeg-6'").iloc[0]
    assert (garbled["residual"], garbled["placement"]) == ("yes", "inside")
    assert "text version" in garbled["note"]


def test_designs_of_table_iv_are_those_of_the_package(published):
    for row in published[published["table"] == "IV"].itertuples():
        config = tl.DESIGNS[row.row]
        assert " ".join(config.middle) == row.middle
        assert config.residual == (row.residual == "yes")
        assert config.placement == row.placement


@pytest.mark.parametrize("row", nineteen())
def test_every_row_of_tables_i_ii_and_iv_is_recovered(row):
    found = recover_confusion(row.precision, row.recall, row.oa, row.miou, row.landslide_iou)
    assert found.tp + found.fp + found.fn + found.tn == pytest.approx(1)
    assert abs(found.closure - 1) < 0.006
    scores = found.scores()
    assert abs(100 * scores.precision - row.precision) < 0.03
    assert abs(100 * scores.recall - row.recall) < 0.03
    assert found.residual < 0.01
    assert found.fits
    share = 100 * found.landslide_share
    low, high = (2.35, 2.45) if row.table == "II" else (10.0, 10.1)
    assert low <= round(share, 2) <= high
    assert found.landslide_share_range[0] <= found.landslide_share <= found.landslide_share_range[1]


def test_miou_of_75_99_is_a_landslide_f1_of_69_6(published):
    row = published.query("table == 'II' and row == 'TransLandSeg'").iloc[0]
    found = recover_confusion(**{name: row[name] for name in SIX})
    assert 100 * found.scores().landslide_f1 == pytest.approx(69.6, abs=0.05)


def test_the_tables_agree_on_their_conventions(audited):
    paper = audited[audited["paper"] == "TransLandSeg"]
    assert len(paper) == 19
    assert (paper["verdict"] == "consistent").all()
    assert set(zip(paper["average"], paper["f1"], strict=True)) == {("macro", "harmonic")}
    assert np.ptp(paper.loc[paper["table"] != "II", "landslide_share"]) < 0.05
    assert np.ptp(paper.loc[paper["table"] == "II", "landslide_share"]) < 0.05


def test_the_article_has_one_row_that_contradicts_itself(audited):
    article = audited[audited["paper"] == "LandslideNet"]
    bad = article[article["verdict"] != "consistent"]
    assert bad[["table", "row", "verdict"]].to_numpy().tolist() == [
        ["1", "LandslideNet", "contradicts itself"]
    ]
    good = article.drop(bad.index)
    assert set(good["average"]) == {"macro"}
    assert set(good["f1"]) == {"mean_of_classes"}
    share = good.groupby("table")["landslide_share"].median()
    assert share["1"] == pytest.approx(10.05, abs=0.1)
    assert share["2"] == pytest.approx(2.36, abs=0.1)


def test_explain_says_what_the_inconsistent_row_breaks(published):
    row = published.query("paper == 'LandslideNet' and table == '1' and row == 'LandslideNet'")
    report = explain(row.iloc[0])
    assert not report.consistent
    text = repr(report)
    assert "Impossible" in text
    assert "F1 92.18 is too low for MIoU 87.75" in text
    assert "between 93.02 and 93.48" in text  # the closed form: one class perfect, or both equal


def test_explain_takes_any_kind_of_row_and_says_what_the_columns_hold(published):
    row = published.iloc[0]
    named = next(published.itertuples(index=False))
    for kind in (row, row.to_dict(), named):
        report = explain(kind)
        assert report.title == "TransLandSeg, Table I, row CCNet"
        assert report.verdict == "consistent"
        assert "P and REC: mean of the two classes." in report.findings
        assert "Landslide IoU: TP / (TP + FP + FN)." in report.findings
    assert "CCNet" in report._repr_html_()
    assert "OA of 89.9" in repr(report)  # what calling everything background would score
    with pytest.raises(TypeError, match="expected a row"):
        explain(3)


def test_explain_reads_parameter_rows_too(published):
    row = published.query("table == 'III' and row == 'TransLandSeg'").iloc[0]
    report = explain(row)
    assert report.verdict == "no scores"
    assert report.consistent
    assert "1.3%" in repr(report)
    assert "Impossible" in repr(explain({"parameters_total": 4.0, "parameters_trainable": 5.0}))
    assert "no score" in repr(explain({"row": "x"}))


def test_official_results_are_landslide_f1():
    frame = tl.audit.official_results()
    assert frame["landslide_f1"].between(0, 100).all()
    assert frame["landslide_f1"].max() == 74.54


# ---- matrices that are known

fractions = st.tuples(*[st.floats(0.004, 1) for _ in range(4)])


@given(fractions)
@settings(max_examples=20, deadline=None)
def test_an_exact_row_gives_its_matrix_back(parts):
    true = tl.ConfusionMatrix(*parts).normalised()
    scores = true.scores()
    assume(scores.landslide_recall + scores.background_recall > 1.1)  # better than guessing
    found = recover_confusion(**{name: getattr(scores, name) for name in SIX})
    matrices = [found.confusion, *found.alternatives]  # FP and FN may swap where P equals REC
    assert any(m.counts() == pytest.approx(true.counts(), abs=1e-5) for m in matrices)
    assert found.closure == pytest.approx(1, abs=1e-6)


@given(st.floats(0.01, 0.4), st.floats(0.3, 0.95), st.floats(0.3, 0.95))
@settings(max_examples=12, deadline=None)
def test_a_rounded_row_gives_its_matrix_back_within_rounding(share, precision, recall):
    tp = share * recall
    fp = tp * (1 / precision - 1)
    true = tl.ConfusionMatrix(tp, fp, share - tp, max(1 - share - fp, 0.2)).normalised()
    found = recover_confusion(**printed(*true.counts(), *SIX))
    assert found.fits
    assert found.residual <= 0.0101
    low, high = found.landslide_share_range
    assert low - 2e-4 <= true.landslide_share <= high + 2e-4


def test_percent_and_fractions_are_the_same_row():
    row = printed(8, 2, 3, 87, *SIX)
    a = recover_confusion(**row)
    b = recover_confusion(**{name: value / 100 for name, value in row.items()})
    assert a.confusion.counts() == pytest.approx(b.confusion.counts())
    assert (a.residual, a.rounding) == pytest.approx((b.residual, b.rounding))
    assert a.rounding == 0.005


@pytest.mark.parametrize(
    "names",
    [
        ["recall", "miou", "landslide_iou"],
        ["precision", "recall", "miou"],
        ["precision", "recall", "oa"],
        ["recall", "oa", "landslide_iou"],
        ["landslide_precision", "landslide_recall", "oa"],
        ["landslide_f1", "landslide_recall", "landslide_share"],
    ],
)
def test_three_independent_columns_are_enough(names):
    true = tl.ConfusionMatrix(0.06, 0.02, 0.04, 0.88)
    scores = true.scores()
    found = recover_confusion(**{name: getattr(scores, name) for name in names})
    matrices = [found.confusion, *found.alternatives]
    assert any(m.counts() == pytest.approx(true.counts(), abs=1e-4) for m in matrices)
    assert found.rank == 3


def test_other_conventions_are_recovered_when_named():
    true = (0.06, 0.02, 0.04, 0.88)
    for convention in (
        Convention("landslide", "landslide"),
        Convention("macro", "mean_of_classes"),
        Convention("macro", "harmonic", "eq20"),
    ):
        row = printed(*true, *SIX, convention=convention)
        found = recover_confusion(**row, convention=convention)
        assert found.confusion.counts() == pytest.approx(true, abs=2e-4)


def test_too_few_columns_are_said_to_be_too_few():
    with pytest.raises(UnderdeterminedError, match=r"2 independent numbers.*add P, REC"):
        recover_confusion(precision=90.0, recall=80.0, f1=84.71)
    with pytest.raises(UnderdeterminedError, match="1 independent"):
        recover_confusion(oa=97.5, miou=None, f1=math.nan)
    with pytest.raises(UnderdeterminedError, match="2 independent"):  # FP and FN stay unsplit
        recover_confusion(oa=94.0, miou=71.81, landslide_iou=50.0)
    with pytest.raises(UnderdeterminedError):  # perfect scores fit any share
        recover_confusion(precision=100, recall=100, oa=100, miou=100, landslide_iou=100)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match=r"precision is 120 %"):
        recover_confusion(precision=120, recall=90, oa=90)
    with pytest.raises(ValueError, match="no column 'dice'; there are precision"):
        check(dice=80)
    with pytest.raises(ValueError, match="no column has a value"):
        recover_confusion()
    with pytest.raises(TypeError, match="oa is '97'"):
        recover_confusion(oa="97")
    with pytest.raises(ValueError, match="f1 is 'macro'"):
        Convention(f1="macro")


# ---- rows of one's own


@pytest.mark.parametrize("average", ["macro", "landslide"])
@pytest.mark.parametrize("f1", ["harmonic", "mean_of_classes", "landslide"])
def test_check_finds_the_convention_a_row_was_made_with(average, f1):
    convention = Convention(average, f1)
    report = check(**printed(5, 3, 1.5, 90.5, *SIX, convention=convention))
    assert report.verdict == "consistent"
    same = "landslide" if average == "landslide" and f1 == "harmonic" else f1
    assert (report.best.convention.average, report.best.convention.f1) == (average, same)
    assert report.best.landslide_share == pytest.approx(0.065, abs=2e-4)


def test_check_finds_an_iou_by_the_misprinted_equation():
    convention = Convention(iou="eq20")
    report = check(**printed(8, 2, 3, 87, *SIX, convention=convention))
    assert report.best.convention.iou == "eq20"
    assert "Eq. 20 as printed" in repr(report)


@pytest.mark.parametrize("column", SIX)
def test_one_changed_digit_is_found(column):
    row = printed(7, 1.5, 3, 88.5, *SIX)
    row[column] = round(row[column] - 1, 2)
    report = check(**row)
    assert report.verdict == "contradicts itself"
    assert "Impossible" in report.findings[0]
    name = {"miou": "MIoU", "oa": "OA"}.get(column, column)
    mended = [f for f in report.findings if f.startswith("Without")]
    short = tl.audit.SHORT[column]
    assert any(f"Without {short} the rest agrees" in f for f in mended), (name, mended)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"landslide_iou": 75.0, "landslide_f1": 70.0}, "Landslide IoU 75 is above landslide F1"),
        ({"landslide_iou": 75.0, "f1": 70.0}, "Landslide IoU 75 is above F1 70"),
        ({"landslide_iou": 50.0, "landslide_f1": 70.0}, "whose F1 is 66.67"),
        ({"miou": 40.0, "landslide_iou": 90.0}, "leave -10.00 for the background"),
        ({"miou": 75.0, "landslide_iou": 40.0}, "leave 110.00 for the background"),
        (
            {"oa": 99.9, "miou": 90.0, "landslide_iou": 82.0},
            "OA 99.9 is too high.*need an OA of 98.17",
        ),
        ({"oa": 90.0, "miou": 90.0, "landslide_iou": 82.0}, "OA 90 is too low"),
        (
            {"precision": 90.0, "recall": 80.0, "f1": 86.0, "oa": 96, "miou": 75},
            "above 84.71, the harmonic mean",
        ),
        ({"precision": 101.0, "recall": 80.0}, "precision is 101 %"),
        ({"oa": -3.0}, "oa is -3 %"),
    ],
)
def test_impossible_numbers_are_said_to_be_impossible(row, words):
    report = check(**row, decimals=2)
    assert not report.consistent
    assert "Impossible" in repr(report)
    assert pd.Series(report.findings).str.contains(words).any(), report


@pytest.mark.parametrize("drop", [(), ("oa",), ("miou", "f1"), ("precision", "recall")])
def test_true_rows_break_no_rule(drop):
    rng = np.random.default_rng(0)
    for _ in range(2):
        share, p, r = rng.uniform(0.01, 0.3), *rng.uniform(0.4, 0.95, 2)
        tp = share * r
        true = (tp, tp * (1 / p - 1), share - tp, 1 - share - tp * (1 / p - 1))
        row = {k: v for k, v in printed(*true, *SIX).items() if k not in drop}
        report = check(**row, title="Mine")
        assert report.consistent, report
        assert repr(report).startswith("Mine: ")


def test_too_few_numbers_are_possible_but_not_checked():
    report = check(precision=90.1, recall=80.2)
    assert report.verdict == "possible"
    assert "Nothing here was checked" in repr(report)
    assert "at a landslide share of 10 %" in repr(report)
    assert check(precision=90.1, recall=80.2, oa=95.1).verdict == "possible"
    assert check(precision=90.10, recall=80.20, f1=84.86).verdict == "consistent"


def test_a_table_settles_what_its_rows_leave_open():
    rows = []  # landslide-class scores on one test set; each row alone fits macro averages as well
    for name, tp, fp in (("A", 0.030, 0.010), ("B", 0.035, 0.020), ("C", 0.025, 0.004)):
        true = (tp, fp, 0.045 - tp, 0.955 - fp)
        names = ["precision", "recall", "f1", "oa"]
        row = printed(*true, *names, convention=Convention("landslide", "landslide"))
        rows.append({"paper": "mine", "table": "1", "row": name, **row})
    frame = pd.DataFrame(rows)
    assert all(len({f.convention.average for f in explain(r).fits}) == 2 for r in rows)
    audited = tl.audit.audit_table(frame)
    assert set(audited["average"]) == {"landslide"}
    assert audited["landslide_share"].tolist() == pytest.approx([4.5] * 3, abs=0.02)
    assert audited["table_share"].tolist() == pytest.approx([4.5] * 3, abs=0.02)


def test_recovered_prints_itself_in_percent():
    text = repr(recover_confusion(**printed(8, 2, 3, 87, *SIX)))
    assert "TP 8.00, FP 2.00, FN 3.00, TN 87.00 %" in text
    assert "closure 0.999" in text
