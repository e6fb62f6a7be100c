"""The grid of designs and seeds: complete, resumable, and summed up correctly."""

import json
import math
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import torch
from adapter_helpers import busy_sam
from course import ROOT
from experiment_helpers import RECIPE, Spots, SpotSplits

import tlseg_lite as tl
from tlseg_lite.experiments import ablation
from tlseg_lite.experiments.splits import FoldSplits, SyntheticSplits
from tlseg_lite.experiments.summary import interval, per_seed, verdict
from tlseg_lite.metrics.confusion import ConfusionMatrix


@pytest.fixture(scope="module")
def mini():
    return busy_sam("sam_mini", 64)


def test_a_grid_gives_a_row_for_each_run(mini, tmp_path):
    out = tmp_path / "new" / "ablation.csv"
    designs = {"TransLandSeg": tl.DESIGNS["TransLandSeg"], "decoder-only": None}
    frame = ablation.run(designs, 2, SpotSplits(), RECIPE, out, sam=mini, progress=False)
    assert list(zip(frame.seed, frame.design, strict=True)) == [
        (seed, name) for seed in (0, 1) for name in designs
    ]
    assert set(frame.status) == {"done"}
    for name in ("test_miou", "val_miou", "test_landslide_iou"):
        assert frame[name].between(0, 1).all()
    counts = frame[["test_tp", "test_fp", "test_fn", "test_tn"]]
    assert (counts.sum(axis=1) == 3 * 32 * 32).all()  # every test pixel once, at native size
    again = [ConfusionMatrix(*map(int, row)).scores().miou for row in counts.to_numpy()]
    np.testing.assert_allclose(frame.test_miou, again, atol=1e-6)
    expected = tl.count_parameters(tl.TransLandSeg(mini, None))
    assert frame[frame.design == "decoder-only"].trainable.iloc[0] == expected.trainable
    assert (frame.backbone == mini.origin["fingerprint"]).all()
    assert (frame.torch == torch.__version__).all()
    assert frame.test_ids[0] == "spot-2-0 spot-2-1 spot-2-2"
    assert not set(frame.test_ids[0].split()) & set(
        f"{frame.train_ids[0]} {frame.val_ids[0]}".split()
    )
    assert json.loads(frame.recipe[0])["epochs"] == 2
    assert not (tmp_path / "new" / "ablation.csv.runs").exists()
    # the same call again trains nothing
    before = out.read_bytes()
    ablation.run(designs, 2, SpotSplits(), RECIPE, out, sam=mini, progress=False)
    assert out.read_bytes() == before
    # the same numbers as fit and evaluate give, step by step
    train, val, test = SpotSplits().parts(1, 0)
    model = tl.TransLandSeg(mini, designs["TransLandSeg"], seed=1)
    recipe = tl.Recipe(**{**RECIPE.as_dict(), "seed": 1})
    tl.fit(model, train, val, recipe, tmp_path / "by-hand", progress=False)
    assert frame.test_miou[2] == pytest.approx(tl.evaluate(model, test).miou, abs=1e-6)


def test_what_is_done_depends_on_the_run_not_on_the_file(mini, tmp_path):
    """Another recipe, backbone or design under the same name is another run."""
    out = tmp_path / "a.csv"

    def rows(designs, recipe, sam):
        return len(ablation.run(designs, 1, SpotSplits(), recipe, out, sam=sam, progress=False))

    short = tl.Recipe(epochs=1, batch_size=2)
    assert rows({"d": None}, short, mini) == 1
    assert rows({"d": None}, tl.Recipe(epochs=1, batch_size=2, seed=5, workers=0), mini) == 1
    assert rows({"d": None}, tl.Recipe(epochs=1, batch_size=4), mini) == 2
    assert rows({"d": None}, short, busy_sam("sam_mini", 64, seed=4)) == 3
    assert rows({"d": tl.ATLConfig(bottleneck=2)}, short, mini) == 4


KILLED = """
import sys, torch
sys.path[:0] = {paths!r}
from experiment_helpers import RECIPE, SpotSplits
from adapter_helpers import busy_sam
import tlseg_lite as tl
torch.set_num_threads(1)
designs = {{"TransLandSeg": tl.DESIGNS["TransLandSeg"], "decoder-only": None}}
tl.ablation.run(designs, 2, SpotSplits(), RECIPE, {out!r}, sam=busy_sam("sam_mini", 64),
                progress=False)
"""


def test_killed_and_run_again(mini, tmp_path):
    """SIGKILL in the middle; the next call ends with the rows of an undisturbed one."""
    out, whole = tmp_path / "killed.csv", tmp_path / "whole.csv"
    paths = [str(ROOT / "tests" / "support")]
    code = KILLED.format(paths=paths, out=str(out))
    child = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and child.poll() is None:  # wait for the first epoch's state
        if list(tmp_path.glob("killed.csv.runs/*/state.pt")):
            break
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    designs = {"TransLandSeg": tl.DESIGNS["TransLandSeg"], "decoder-only": None}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the killed process: sums depend on it in the last digits
    try:
        run = ablation.run(designs, 2, SpotSplits(), RECIPE, out, sam=mini, progress=False)
        plain = ablation.run(designs, 2, SpotSplits(), RECIPE, whole, sam=mini, progress=False)
    finally:
        torch.set_num_threads(threads)
    columns = ["design", "seed", "test_miou", "val_miou", "best_epoch", "test_tp", "test_fp"]
    pd.testing.assert_frame_equal(run[columns], plain[columns])
    assert not list(tmp_path.glob("*.runs"))


def test_minutes_stops_before_a_run(mini, tmp_path):
    out = tmp_path / "a.csv"
    frame = ablation.run(
        {"d": None}, 1, SpotSplits(), RECIPE, out, sam=mini, minutes=0, progress=False
    )
    assert len(frame) == 0


# ---------------------------------------------------------------- designs and data


def test_named_designs():
    assert list(ablation.named_designs("table4")) == [
        name for name, config in tl.DESIGNS.items() if config.source == "block"
    ]
    assert set(ablation.named_designs(["released", "table4"])) == set(tl.DESIGNS)
    assert list(ablation.named_designs(["LoRA-4", "TransLandSeg"])) == ["LoRA-4", "TransLandSeg"]
    every = ablation.named_designs("all")
    assert len(every) == sum(len(group) for group in ablation.groups().values())
    with pytest.raises(ValueError, match=r"unknown design 'x'; groups: all, table4.*LoRA-4"):
        ablation.named_designs(["x"])


@pytest.mark.parametrize("variant", tl.sam.VARIANTS)
def test_groups_fit_every_variant(variant):
    from tlseg_lite.adapters.translandseg import budget

    named = ablation.groups(variant)
    depth, d = tl.sam.VARIANTS[variant].depth, tl.sam.VARIANTS[variant].width // 32
    chosen = {n: design.config.blocks for n, design in named["depth"].items()}
    assert chosen[f"first-{depth // 2}-blocks"] == tuple(range(depth // 2))
    assert chosen[f"last-{depth // 2}-blocks"] == tuple(range(depth // 2, depth))
    assert d not in {design.config.bottleneck for design in named["bottleneck"].values()}
    half = budget(variant, named["depth"][f"last-{depth // 2}-blocks"].config).adapters
    assert 2 * half == budget(variant, tl.DESIGNS["TransLandSeg"]).adapters


def test_every_named_design_trains(mini, tmp_path):
    """One step of each tuning design: LoRA, full fine-tuning and the others run in the grid."""
    pytest.importorskip("peft", reason="the extra 'lora' is not installed")
    recipe = tl.Recipe(epochs=1, batch_size=4)
    frame = ablation.run(
        "tuning", 1, SpotSplits(), recipe, tmp_path / "a.csv", sam=mini, progress=False
    )
    by_name = frame.set_index("design")
    assert set(by_name.index) == set(ablation.groups()["tuning"])
    full, alone = by_name.trainable["full-fine-tuning"], by_name.trainable["decoder-only"]
    assert full == alone + sum(p.numel() for p in mini.image_encoder.parameters())
    assert by_name.trainable["LoRA-8"] - alone == 2 * (by_name.trainable["LoRA-4"] - alone)


def test_synthetic_parts_share_nothing():
    splits = SyntheticSplits(3, 2, 2, size=64)
    parts = [splits.parts(seed, 0) for seed in (0, 1)]
    ids = [id_ for three in parts for part in three for id_ in part.ids]
    assert len(set(ids)) == len(ids) == 14
    again = SyntheticSplits(3, 2, 2, size=64)
    assert torch.equal(again.parts(0, 0)[0][1]["image"], parts[0][0][1]["image"])
    assert again.version == splits.version
    assert SyntheticSplits(3, 2, 3, size=64).version != splits.version


def test_folds_test_every_image_once_a_seed():
    splits = FoldSplits(Spots(11, 0), "spots", folds=4)
    for seed in (0, 1):
        tested = []
        for fold in range(4):
            train, val, test = (set(part.ids) for part in splits.parts(seed, fold))
            assert not train & val
            assert not (train | val) & test
            assert train | val | test == set(Spots(11, 0).ids)
            tested += test
        assert sorted(tested) == sorted(Spots(11, 0).ids)
    assert splits.parts(0, 0)[2].ids != splits.parts(1, 0)[2].ids
    with pytest.raises(ValueError, match="k is 4"):
        FoldSplits(Spots(3, 0), "spots", folds=4)


def test_named_data(real_data):
    names = [splits.name for splits in ablation.named_data("real")]
    assert names == ["bijie-samples", "landslide4sense-samples"]
    assert all(splits.folds == 5 for splits in ablation.named_data("real"))
    fewer = [[len(part) for part in s.parts(0, 0)] for s in ablation.named_data("real", val=0.1)]
    assert fewer == [[14, 2, 4], [14, 2, 4]]
    with pytest.raises(ValueError, match=r"unknown data 'x'.*synthetic"):
        ablation.named_data("x")


# ---------------------------------------------------------------- the summary


def rows_of(values: dict[str, list[float]], folds: int = 1, **settings_) -> pd.DataFrame:
    """Rows as `run` writes them, for landslide IoUs by design and seed, with 1000 pixels each."""
    rows = []
    for design, ious in values.items():
        for seed, iou in enumerate(ious):
            for fold in range(folds):
                row = dict.fromkeys(ablation.COLUMNS, 0) | {"status": "done", "design": design}
                row |= {"seed": seed, "fold": fold, "folds": folds, "data": "d", "recipe": "{}"}
                tp = round(1000 * iou)
                row |= {"test_tp": tp, "test_fp": 1000 - tp, "test_fn": 0, "test_tn": 0}
                rows.append(row | settings_)
    return pd.DataFrame(rows)


def test_interval_is_students():
    """Against scipy's own, and a case by hand: t(0.975, 2) = 4.303."""
    from scipy import stats

    mean, low, high = interval([1.0, 2.0, 3.0])
    assert (mean, low, high) == pytest.approx((2, 2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), 1e-4)
    values = [0.3, 0.8, 0.5, 0.1]
    expected = stats.t.interval(0.9, 3, np.mean(values), stats.sem(values))
    assert interval(values, 0.9)[1:] == pytest.approx(expected)
    assert interval([5.0])[0] == 5
    assert math.isnan(interval([5.0])[1])
    assert math.isnan(interval([])[0])


def test_summary_pairs_by_seed():
    values = {"TransLandSeg": [0.5, 0.6, 0.7], "other": [0.41, 0.5, 0.59], "new": [0.9]}
    table = ablation.summary(rows_of(values), score="landslide_iou").set_index("design")
    assert list(table.index) == ["new", "TransLandSeg", "other"]  # best first
    other = table.loc["other"]
    assert (other["mean"], other.difference) == pytest.approx((0.5, -0.1))
    _, low, high = interval([-0.09, -0.1, -0.11])
    assert (other.difference_low, other.difference_high) == pytest.approx((low, high))
    assert (other.seeds, other.pairs, table.pairs["new"]) == (3, 3, 1)
    assert math.isnan(table.difference["TransLandSeg"])
    assert table.high["other"] - table.low["other"] > other.difference_high - other.difference_low


def test_settings_are_never_mixed():
    frame = pd.concat(
        [
            rows_of({"TransLandSeg": [0.5, 0.6]}, data="a"),
            rows_of({"TransLandSeg": [0.7, 0.8], "x": [0.1, 0.2]}, data="b"),
            rows_of({"x": [0.9, 0.9]}, data="b", backbone="other weights"),
        ]
    )
    table = ablation.summary(frame, score="landslide_iou")
    assert len(table) == 4
    assert table[(table.data == "b") & (table.design == "x")].pairs.tolist() == [2, 0]


def test_folds_are_pooled_and_incomplete_seeds_wait():
    frame = rows_of({"TransLandSeg": [0.5, 0.7]}, folds=3)
    frame.loc[0, ["test_tp", "test_fp"]] = [200, 800]
    values = per_seed(frame, "landslide_iou").value.tolist()
    assert values == pytest.approx([(200 + 500 + 500) / 3000, 0.7])
    assert per_seed(frame.iloc[:-1], "landslide_iou").seed.tolist() == [0]
    only_one_fold_yet = frame[frame.fold == 0]
    assert len(per_seed(only_one_fold_yet)) == 0


def test_rows_of_two_settings_under_one_name_are_refused():
    """Their pixels must not be added up as if they were folds."""
    frame = pd.concat([rows_of({"d": [0.5]}), rows_of({"d": [0.7]})])
    with pytest.raises(ValueError, match="seed 0 has 2 rows for 1 folds"):
        ablation.summary(frame)


def test_verdicts():
    assert [verdict(low, high) for low, high in ((0.1, 2), (-2, -0.1), (-1, 1), (0, 1))] == [
        *("ahead", "behind", "open", "open")
    ]
    assert verdict(*interval([0.3])[1:]) == "open"
    assert verdict(-2, -1, "holds", "reversed") == "reversed"


def findings_for(values):
    frame = rows_of(values)
    table = ablation.findings(frame, score="landslide_iou").set_index("finding")
    return table.verdict.to_dict()


def test_findings_follow_the_rows():
    wiggle = [0.0, 0.004, -0.003]

    def around(mean):
        return [mean + w for w in wiggle]

    paper = {
        "TransLandSeg": around(0.70),
        "TransLandSeg-1": [0.69, 0.70, 0.692],
        "TransLandSeg-2": [0.70, 0.69, 0.693],
        "TransLandSeg-4": [0.70, 0.70, 0.70],
        "TransLandSeg-5": [0.70, 0.71, 0.70],
        "TransLandSeg-3": around(0.40),
        "TransLandSeg-7": around(0.38),
        "TransLandSeg-6": [0.62, 0.60, 0.61],
        "TransLandSeg-8": [0.60, 0.61, 0.62],
    }
    names = ["the residual matters", "outside beats inside", "the middle does not matter much"]
    assert findings_for(paper) == dict.fromkeys(names, "holds")
    upside_down = paper | {
        "TransLandSeg-3": around(0.9),
        "TransLandSeg-7": around(0.9),
        "TransLandSeg-6": [0.8, 0.8, 0.81],
        "TransLandSeg-8": [0.8, 0.81, 0.8],
    }
    told = findings_for(upside_down)
    assert told["the residual matters"] == told["outside beats inside"] == "reversed"
    assert told["the middle does not matter much"] == "open"  # nothing to measure it by
    one_bad_middle = paper | {"TransLandSeg-1": around(0.2)}
    assert findings_for(one_bad_middle)["the middle does not matter much"] == "reversed"
    few = {name: values[:1] for name, values in paper.items()}
    assert set(findings_for(few).values()) == {"open"}
    half = {name: paper[name] for name in ("TransLandSeg", "TransLandSeg-7", "TransLandSeg-8")}
    told = ablation.findings(rows_of(half), score="landslide_iou").set_index("finding")
    assert told.designs["the residual matters"] == "TransLandSeg - TransLandSeg-7"
    assert told.difference["the residual matters"] == pytest.approx(0.32)
    assert len(told) == 2  # no other middle is there
    alone = ablation.findings(rows_of({"TransLandSeg": [0.5, 0.6]}))
    assert set(alone.verdict) == {"open"}
    assert set(alone.pairs) == {0}
