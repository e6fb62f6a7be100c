"""The results page: numbers from records and from counting, and an honest word for the rest."""

import json
import re
import shutil

import pandas as pd
import pytest
from course import ROOT

import tlseg_lite as tl

RESULTS = ROOT / "book" / "results"


@pytest.fixture
def tables():
    import results_tables

    return results_tables


@pytest.fixture
def recorded():
    import recorded

    return recorded


def comparison_run(seed, fold, tp, fp, fn, tn, **other):
    """A row of comparison.csv, as far as the page reads it."""
    return {
        "data": "bijie-samples",
        "model": "unet",
        "training_data": "real",
        "data_version": "0",
        "folds": 2,
        "seed": seed,
        "fold": fold,
        "test_tp": tp,
        "test_fp": fp,
        "test_fn": fn,
        "test_tn": tn,
        "image_size": 256,
        "weights": "random",
        "backbone": "",
        "recipe": "{}",
        "commit": "0123456789",
        "device": "CPU",
        "finished": "2026-01-02T03:04:05+00:00",
        **other,
    }


def test_page_asks_for_every_table_once_and_types_no_number(tables):
    text = (ROOT / "book" / "results.md").read_text("utf-8")
    guide = (ROOT / "book" / "teaching.md").read_text("utf-8")
    first = (ROOT / "book" / "intro.md").read_text("utf-8")
    asked = re.findall(r"^```\{results\} (\w+)$", first + guide + text, re.M)
    assert asked == list(tables.TABLES)
    assert not re.findall(r"\d+\.\d+", text), "a measured number is typed"


def test_without_records_everything_measured_is_not_run(tables, tmp_path):
    for name in ("scores", "designs", "findings", "records"):
        (table,) = tables.TABLES[name](tmp_path)
        assert table.rows
        for row in table.rows:
            assert row[-1] == "not run"
            assert len(row) == len(table.headers)
    assert list(tables.others(tmp_path)) == []
    for name in ("mask_choice.csv", "encoder_speed.csv", "data_loading.csv"):
        assert name in [row[0] for row in next(tables.records(tmp_path)).rows]


def test_budgets_are_counted_and_only_the_released_structure_fits(tables, tmp_path):
    (table,) = tables.budgets(tmp_path)
    status = {(row[0].split(",")[0], "released" in row[1]): row[-1] for row in table.rows}
    assert status[("TransLandSeg", True)] == status[("LandslideNet", True)] == "reproduced"
    assert status[("TransLandSeg", False)] == status[("LandslideNet", False)] == "not reproduced"
    released = next(row for row in table.rows if "one generator" in row[1])
    counts = tl.model.budget("vit_l", tl.DESIGNS["TransLandSeg-released"])
    assert released[3] == f"{counts.trainable / 1e6:.2f} / {counts.total / 1e6:.2f}"


def test_audit_names_the_one_row_that_contradicts_itself(tables, tmp_path):
    (table,) = tables.audit(tmp_path)
    odd = [row for row in table.rows if row[-1] != "none"]
    assert [row[0] for row in odd] == ["LandslideNet, Table 1"]
    assert sum(int(row[2].split()[-1]) for row in table.rows) == 19 + 10, "rows with scores"


def test_scores_keep_two_sets_of_weights_apart(tables, tmp_path):
    now = tl.load_sam("sam_mini").origin["fingerprint"]
    runs = [
        comparison_run(
            seed, fold, 10, 10, 0, 80, model="TransLandSeg", weights="default", backbone=b
        )
        for b in (now, "0123456789abcdef")
        for seed in (0, 1)
        for fold in (0, 1)
    ]
    pd.DataFrame(runs).to_csv(tmp_path / "comparison.csv", index=False)
    (table,) = tables.scores(tmp_path)
    found = [row[5] for row in table.rows if row[:2] == ["Bijie", "TransLandSeg"]]
    assert found == [
        f"20 samples of Bijie, 2 folds, default {start} at 256 px" for start in (now[:6], "012345")
    ]
    assert f"begins with {now[:6]}" in table.note


def test_scores_add_the_folds_of_a_seed_and_leave_incomplete_seeds_out(tables, tmp_path):
    runs = [
        comparison_run(0, 0, 10, 10, 0, 80),
        comparison_run(0, 1, 30, 0, 10, 60),
        comparison_run(1, 0, 20, 0, 0, 80),
        comparison_run(1, 1, 20, 0, 20, 60),
        comparison_run(2, 0, 50, 0, 0, 50),  # its second fold is missing
    ]
    pd.DataFrame(runs).to_csv(tmp_path / "comparison.csv", index=False)
    (table,) = tables.scores(tmp_path)
    row = next(r for r in table.rows if r[:2] == ["Bijie", "UNet"])
    both = [(40 / 60 + 140 / 160) / 2, (40 / 60 + 140 / 160) / 2]  # counts (40, 10, 10, 140) twice
    assert row[3].startswith(f"{100 * sum(both) / 2:.1f} (")
    assert row[4] == "2"
    assert "20 samples of Bijie, 2 folds, random at 256 px" in row[5]
    assert row[6] == "partial"
    assert "commit 0123456" in table.note
    assert "2026-01-02" in table.note
    others = [r for r in table.rows if r[:2] != ["Bijie", "UNet"]]
    assert {r[-1] for r in others} == {"not run"}


@pytest.mark.parametrize(("better", "status"), [(0, "reproduced"), (0.5, "not reproduced")])
def test_only_the_papers_own_scale_is_called_reproduced(tables, tmp_path, better, status):
    """Three runs around the matrix behind the printed 88.10, or around a far better one."""
    found = tl.audit.recover_confusion(93.14, 93.69, 97.60, 88.10, 78.83)
    tp, fp, fn, tn = (10_000 * share for share in found.confusion.counts())
    scale = {"data": "bijie-full", "model": "TransLandSeg", "folds": 1}
    scale |= {"weights": "sam_vit_l_0b3195.pth", "image_size": 1024}
    runs = []
    for seed, shift in enumerate((-4, 0, 4)):
        missed = (1 - better) * fn + shift
        counts = (round(tp + fn - missed), round((1 - better) * fp), round(missed), round(tn))
        runs.append(comparison_run(seed, 0, *counts, **scale))
    pd.DataFrame(runs).to_csv(tmp_path / "comparison.csv", index=False)
    (table,) = tables.scores(tmp_path)
    row = next(r for r in table.rows if r[:2] == ["Bijie", "TransLandSeg"])
    assert row[-1] == status, row
    smaller = pd.DataFrame(runs).assign(weights="sam_mini")
    smaller.to_csv(tmp_path / "comparison.csv", index=False)
    row = next(r for r in next(tables.scores(tmp_path)).rows if r[:2] == ["Bijie", "TransLandSeg"])
    assert row[-1] == "partial"


def test_numbers_have_no_minus_zero(tables):
    assert tables.number(-0.04, sign=True) == tables.number(0.04, sign=True) == "0.0"
    assert tables.number(-0.06, sign=True) == "-0.1"
    assert tables.number(1.25, 2, sign=True) == "+1.25"
    assert tables.number(float("nan")) == "–"


def test_designs_and_findings_are_those_of_the_recorded_grid(tables, tmp_path):
    shutil.copy(RESULTS / "ablation.csv", tmp_path)
    (table,) = tables.designs(tmp_path)
    setting = next(iter(tables._settings(tmp_path)))[1]
    expected = tl.ablation.summary(setting).set_index("design")
    for row in table.rows:
        difference = expected.loc[row[0]].difference
        if row[0] != "TransLandSeg":
            assert row[2].startswith(f"{tables.number(100 * difference, sign=True)} (")
        assert row[-1] == "partial", "synthetic scenes and sam_mini are not the paper's scale"
    assert re.search(r"fingerprint [0-9a-f]+, (the package's present|older)", table.note)
    (told,) = tables.findings(tmp_path)
    verdicts = tl.ablation.findings(setting)
    assert [row[0] for row in told.rows[: len(verdicts)]] == verdicts.finding.tolist()
    assert {row[-1] for row in told.rows} <= {"partial", "not run"}
    shutil.copy(RESULTS / "ablation_real.csv", tmp_path)
    (both,) = tables.designs(tmp_path)
    assert both.headers[2].startswith("hundreds of Bijie, ")
    assert [row[:2] + row[3:] for row in both.rows] == table.rows


def test_every_record_in_the_folder_is_listed_with_its_provenance(recorded):
    (table,) = recorded.records(RESULTS)
    listed = {row[0]: row for row in table.rows}
    for path in RESULTS.glob("*.csv"):
        row = listed[path.name]
        assert row[-1] == "recorded"
        assert int(row[2]) == len(pd.read_csv(path))
        assert re.search(r"commit|version", row[4]), f"{path.name}: which code made it?"


def test_contents_leave_out_constants_and_long_lists(recorded, tmp_path):
    frame = pd.DataFrame(
        {
            "way": ["a", "b"],
            "images_per_second": [1.23456, 12345.6],
            "side": [256, 256],
            "ids": ["x" * 500, "y"],
            "settings": [json.dumps({"a": 1})] * 2,
            "commit": ["12345e6789", "12345e6789"],
        }
    )
    frame.to_csv(tmp_path / "data_loading.csv", index=False)
    frame.to_csv(tmp_path / "unheard_of.csv", index=False)
    known, unknown = recorded.others(tmp_path)
    assert known.headers == ["way", "images_per_second"]
    assert known.rows == [["a", "1.235"], ["b", "12,346"]]
    assert "side: 256" in known.note
    assert "commit 12345e6" in known.note
    assert unknown.title.startswith("unheard_of.csv")
    assert recorded.contents(tmp_path, "separability.csv") is None


def test_table_becomes_nodes_with_the_status_in_bold(recorded):
    import results_page
    from docutils import nodes

    table = recorded.Table(["a", "status"], [["<b>1 & 2</b>", "not run"], ["3", "recorded"]])
    node = results_page.table_node(table)
    assert len(list(node.findall(nodes.row))) == 3
    assert [s.astext() for s in node.findall(nodes.strong)] == ["not run"]
    assert "<b>1 & 2</b>" in node.astext(), "text stays text"


def test_every_program_that_the_page_names_is_there(recorded):
    for name, (_, how) in recorded.RECORDS.items():
        if how.endswith(".py"):
            assert (ROOT / "benchmarks" / how).is_file(), f"{name} is made by {how}"


def test_main_result_is_the_rows_in_order_with_sentences_from_them(tables, tmp_path):
    (table,) = tables.TABLES["main"](ROOT / "book" / "results")
    scores = [float(row[1]) for row in table.rows]
    assert scores == sorted(scores, reverse=True)
    assert re.search(r"networks from scratch .*TransLandSeg", table.text)
    assert "open" in table.text or "Decided" in table.text
    here, elsewhere = table.text.split("\n\n")  # a paragraph for each dataset
    assert "Without the residual" in here
    assert elsewhere.startswith("On Landslide4Sense (")
    assert "128 pixels" in table.note
    (empty,) = tables.TABLES["main"](tmp_path)
    assert [row[-1] for row in empty.rows] == ["not run"]


def test_every_expectation_has_its_measurement(tmp_path, recorded):
    import expected

    text = expected.PREDICTIONS.read_text(encoding="utf-8")
    questions = expected.predictions(text)
    assert len(questions) == text.count("\n| ") - 1 == 21
    (table,) = expected.expected(RESULTS)
    assert [row[:2] for row in table.rows] == [list(pair) for pair in questions]
    answers = {row[0]: row[2] for row in table.rows}
    found = tl.ablation.findings(tl.ablation.read(RESULTS / "ablation_real.csv"))
    residual = found.set_index("finding").loc["the residual matters"]
    assert answers["Does the residual matter?"].startswith(f"{100 * residual.difference:+.1f} (")
    assert "decided" in answers["Does the residual matter?"]
    assert "one seed" in expected._points(0.01, float("nan"), float("nan"), 1)
    (nothing,) = expected.expected(tmp_path)  # no record is there
    assert {row[2] for row in nothing.rows} == {recorded.NOT_RUN}
