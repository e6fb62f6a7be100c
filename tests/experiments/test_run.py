"""The loop that ablations and comparisons share: what diverges, what is done, who writes."""

import json
import shutil

import pandas as pd
import pytest
import torch
from adapter_helpers import busy_sam
from course import ROOT
from distributed_helpers import accelerate, launch
from experiment_helpers import RECIPE, SpotSplits

import tlseg_lite as tl
from tlseg_lite.experiments import ablation, comparison
from tlseg_lite.experiments.results import read_masks
from tlseg_lite.experiments.run import complete_recipe
from tlseg_lite.experiments.splits import FoldSplits, SyntheticSplits

RESULTS = ROOT / "book" / "results"


@pytest.fixture(scope="module")
def mini():
    return busy_sam("sam_mini", 64)


def broken(sam) -> comparison.Model:
    """A model whose loss is NaN in the first step."""

    def build(seed):
        model = tl.TransLandSeg(sam, None, seed=seed)
        with torch.no_grad():
            next(p for p in model.parameters() if p.requires_grad).fill_(torch.nan)
        return model

    return comparison.Model(build, "busy", sam.origin["fingerprint"])


def test_a_model_that_diverges_is_a_row_and_the_comparison_goes_on(mini, tmp_path, monkeypatch):
    out, lines = tmp_path / "rows.csv", []
    models = {"broken": broken(mini), **comparison.models(["decoder-only"], sam=mini)}
    scenes = SyntheticSplits(2, 2, 1, size=64)

    def run():
        settings = {"recipe": RECIPE, "first": RECIPE, "scenes": scenes, "image_size": 64}
        sources = ["real", "synthetic+real"]
        return comparison.run(
            models, sources, 1, SpotSplits(), out, report=lines.append, **settings
        )

    frame = run().set_index(["model", "training_data"])
    assert len(frame) == len(lines) == 4
    assert frame.loc["broken"].status.str.startswith("diverged: ").all()
    assert frame.loc["broken"].test_miou.isna().all()
    assert (frame.loc["decoder-only"].status == "done").all()
    assert lines[0].startswith("broken, real, seed 0, fold 0: diverged")
    monkeypatch.setattr(tl, "fit", lambda *a, **k: pytest.fail("trained again"))
    assert len(run()) == 4
    table = comparison.summary(run())
    assert list(table.model) == ["decoder-only"] * 2


def test_an_ablation_has_a_row_of_what_diverges(mini, tmp_path, monkeypatch):
    def diverge(*args, **kwargs):
        raise FloatingPointError("the loss is nan\nin epoch 0")

    monkeypatch.setattr(tl, "fit", diverge)
    call = ({"d": None}, 1, SpotSplits(), RECIPE, tmp_path / "a.csv")
    frame = ablation.run(*call, sam=mini, progress=False)
    assert frame.status[0] == "diverged: the loss is nan in epoch 0"
    assert pd.isna(frame.test_miou[0])
    assert frame.trainable[0] > 0
    assert len(ablation.summary(frame)) == 0
    monkeypatch.setattr(tl, "fit", lambda *a, **k: pytest.fail("trained again"))
    assert len(ablation.run(*call, sam=mini, progress=False)) == 1


def test_further_counts_of_the_test(mini, tmp_path):
    """Their sums over the images, in a column that is added to the file when it is first there."""

    def images(mask, truth):
        assert mask.shape == truth.shape == (32, 32)
        assert mask.dtype == torch.bool
        return {"images": 1, "landslide_pixels": float(truth.sum())}

    out = tmp_path / "a.csv"
    ablation.run({"d": None}, 1, SpotSplits(), RECIPE, out, sam=mini, progress=False)
    frame = ablation.run(
        {"d": None}, 2, SpotSplits(), RECIPE, out, sam=mini, progress=False, measures=[images]
    )
    assert frame.test_images.tolist() == [3, 3]
    assert frame.test_landslide_pixels.fillna(-1).tolist() == [-1, 300]


# ---------------------------------------------------------------- recorded rows


def recorded_run(name: str, **values):
    """A recorded row with these values, and its recipe's settings."""
    frame = {"ablation": ablation, "comparison": comparison}[name].read(RESULTS / f"{name}.csv")
    own = frame[frame.backbone == tl.load_sam("sam_mini").origin["fingerprint"]]
    for column, value in values.items():
        own = own[own[column] == value]
    assert len(own), "no such row is recorded"
    return own.iloc[0], json.loads(own.iloc[0].recipe)


@pytest.fixture
def no_training(monkeypatch):
    monkeypatch.setattr(tl, "fit", lambda *a, **k: pytest.fail("a recorded run is done again"))


@pytest.mark.parametrize("training_data", ["real", "real-5", "synthetic+real"])
def test_recorded_comparisons_are_not_run_again(
    training_data, real_data, no_training, tmp_path, monkeypatch
):
    row, stages = recorded_run(
        "comparison", data="bijie-samples", model="TransLandSeg", training_data=training_data
    )
    shutil.copy(RESULTS / "comparison.csv", tmp_path)
    scenes = SyntheticSplits(1500, 40, 1, size=None, style="bijie")
    if training_data == "synthetic+real":  # another processor draws scenes with other last bits
        recorded = row.data_version.split("+")[1]
        monkeypatch.setattr(SyntheticSplits, "_version", lambda self: recorded)
    first = {k: v for k, v in stages.get("scenes", stages["real"]).items() if k != "scenes"}
    frame = comparison.run(
        comparison.models(["TransLandSeg"]),
        [training_data],
        [int(row.seed)],
        FoldSplits(tl.data.samples("bijie"), "bijie-samples", val=0.1),
        tmp_path / "comparison.csv",
        recipe=tl.Recipe(**stages["real"]),
        first=tl.Recipe(**first),
        scenes=scenes,
    )
    assert len(frame) == len(comparison.read(RESULTS / "comparison.csv"))


def test_recorded_ablations_are_not_run_again(real_data, no_training, tmp_path):
    row, settings = recorded_run("ablation", data="bijie-samples", design="TransLandSeg-3")
    shutil.copy(RESULTS / "ablation.csv", tmp_path)
    frame = ablation.run(
        "TransLandSeg-3",
        [int(row.seed)],
        ablation.named_data("bijie", 0.1),
        tl.Recipe(**settings),
        tmp_path / "ablation.csv",
        sam=tl.load_sam("sam_mini", image_size=int(row.image_size)),
        progress=False,
    )
    assert len(frame) == len(ablation.read(RESULTS / "ablation.csv"))


def test_a_recipe_that_is_older_than_a_field_had_its_default():
    newest = json.loads(complete_recipe('{"epochs": 3}'))
    assert newest["epochs"] == 3
    assert newest["keep"] == tl.Recipe().keep
    nested = '{"real": {"epochs": 3}, "scenes": {"epochs": 4, "scenes": 600}}'
    stages = json.loads(complete_recipe(nested))
    assert stages["real"] == newest
    assert stages["scenes"]["scenes"] == 600
    assert complete_recipe("{}") == "{}"
    assert complete_recipe(complete_recipe(nested)) == complete_recipe(nested)


def test_files_of_the_first_version_are_read(tmp_path):
    """The column was called diet, and there was no status: a row was a finished run."""
    text = (RESULTS / "comparison.csv").read_text("utf-8")
    head, _, body = text.partition("\n")
    old = tmp_path / "comparison.csv"
    old.write_text(head.replace("training_data", "diet") + "\n" + body, "utf-8")
    pd.testing.assert_frame_equal(comparison.read(old), comparison.read(RESULTS / "comparison.csv"))
    assert (comparison.read(old).status == "done").all()


# ---------------------------------------------------------------- old names


def test_old_names_work_and_warn(tmp_path):
    for old, new in (
        ("Contestant", "Model"),
        ("contestants", "models"),
        ("DIETS", "TRAINING_DATA"),
        ("of_one_start", "with_one_backbone"),
    ):
        with pytest.warns(FutureWarning, match=f"{old} is now {new}"):
            assert getattr(comparison, old) is getattr(comparison, new)
    with pytest.warns(FutureWarning, match="argument 'diets' is now 'training_data'"):
        frame = comparison.run(
            models={}, diets=["real"], seeds=1, data=SpotSplits(), out=tmp_path / "a.csv"
        )
    assert len(frame) == 0
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = comparison.nonsense


# ---------------------------------------------------------------- two processes

SCRIPT = """
import sys
sys.path.append({support!r})
import torch
from adapter_helpers import busy_sam
from experiment_helpers import RECIPE, SpotSplits
import tlseg_lite as tl
from tlseg_lite.experiments.splits import SyntheticSplits

torch.set_num_threads(1)
sam, out = busy_sam("sam_mini", 64), sys.argv[1]
tl.ablation.run({{"decoder-only": None}}, 1, SpotSplits(), RECIPE, out + "/ablation.csv", sam=sam)
tl.comparison.run(
    tl.comparison.models(["decoder-only"], sam=sam), ["real", "soup"], 1, SpotSplits(),
    out + "/comparison.csv", recipe=RECIPE, first=RECIPE, image_size=64,
    scenes=SyntheticSplits(4, 2, 1, size=64), masks=out + "/masks.npz",
)
"""


def test_two_processes_train_together_and_one_writes(mini, tmp_path):
    """Under ``accelerate launch``: the rows of a single process, each once."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(support=str(ROOT / "tests" / "support")))
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    launch([script.stem, str(tmp_path / "one")], tmp_path)
    said = launch(accelerate(str(script), str(tmp_path / "two")), tmp_path)
    assert said.count("decoder-only, soup, seed 0, fold 0") == 1
    for kind in (ablation, comparison):
        name = f"{kind.__name__.rpartition('.')[2]}.csv"
        one, two = (kind.read(tmp_path / folder / name) for folder in ("one", "two"))
        assert set(two.status) == {"done"}
        pd.testing.assert_frame_equal(
            one[["seed", "fold", "test_ids", "train_images", "best_epoch"]],
            two[["seed", "fold", "test_ids", "train_images", "best_epoch"]],
        )
        pd.testing.assert_series_equal(one.test_miou, two.test_miou, atol=0.02)
    masks = [read_masks(tmp_path / folder / "masks.npz") for folder in ("one", "two")]
    assert masks[0].keys() == masks[1].keys()
    assert len(masks[0]) == 2 * 3  # real and soup, three test images
