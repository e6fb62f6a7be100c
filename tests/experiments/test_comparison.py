"""The protocol of the comparison: what is trained on what, counted once, resumed, summarised."""

from dataclasses import replace

import pandas as pd
import pytest
import torch

import tlseg_lite as tl
from tlseg_lite.experiments import comparison
from tlseg_lite.experiments.models import prompted_mask
from tlseg_lite.experiments.results import read_masks
from tlseg_lite.experiments.run import Job
from tlseg_lite.experiments.splits import FoldSplits, SyntheticSplits
from tlseg_lite.experiments.summary import interval
from tlseg_lite.metrics.confusion import ConfusionMatrix

QUICK = replace(tl.Recipe.laptop(), epochs=1, batch_size=4)


class Scenes(torch.utils.data.Dataset):
    """Ten tiny pictures, the left part of each a landslide."""

    source = "ten pictures made by a test"

    def __init__(self, n: int = 10, name: str = "p"):
        self.ids = [f"{name}{i:02d}" for i in range(n)]

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, i):
        g = torch.Generator().manual_seed(i)
        mask = torch.zeros(1, 64, 64)
        mask[..., : 8 + 4 * i] = 1
        image = 0.3 + 0.4 * mask.expand(3, -1, -1) + 0.05 * torch.rand(3, 64, 64, generator=g)
        return {"image": image.clamp(0, 1), "mask": mask, "id": self.ids[i]}


@pytest.fixture(scope="module")
def sam():
    return tl.load_sam("sam_mini", image_size=64)


@pytest.fixture(scope="module")
def recorded(sam, tmp_path_factory):
    """One model on all training data, two seeds, two folds."""
    out = tmp_path_factory.mktemp("comparison") / "rows.csv"
    lines = []

    def run(**changes):
        settings = {
            "models": comparison.models(["TransLandSeg"], sam=sam),
            "training_data": ["real", "synthetic", "synthetic+real", "soup"],
            "seeds": 2,
            "data": FoldSplits(Scenes(), "tiny", folds=2),
            "recipe": QUICK,
            "first": QUICK,
            "scenes": SyntheticSplits(4, 2, 1, size=64),
            "image_size": 64,
            "report": lines.append,
        }
        return comparison.run(out=out, **settings | changes)

    return out, run, run(), lines


def test_all_training_data_have_their_runs(recorded):
    _, _, frame, lines = recorded
    assert len(frame) == len(lines) == 2 * (2 + 1 + 2 + 2)
    by_data = frame.groupby("training_data")
    assert by_data.size().to_dict() == {"real": 4, "soup": 4, "synthetic": 2, "synthetic+real": 4}
    assert set(by_data.get_group("synthetic").test_images) == {10}
    assert set(by_data.get_group("synthetic").train_images) == {4}
    assert set(by_data.get_group("real").test_images) == {5}
    assert set(by_data.get_group("real").train_images) == {4}
    assert set(by_data.get_group("synthetic+real").train_images) == {8}
    assert set(by_data.get_group("soup").train_images) == {8}


def test_every_pixel_is_tested_once_for_each_seed(recorded):
    _, _, frame, _ = recorded
    counts = [f"test_{c}" for c in ("tp", "fp", "fn", "tn")]
    pixels = frame.groupby(["training_data", "seed"])[counts].sum().sum(axis=1)
    assert (pixels == 10 * 64 * 64).all()
    landslide = sum(64 * (8 + 4 * i) for i in range(10))
    sums = frame.groupby(["training_data", "seed"])[["test_tp", "test_fn"]].sum().sum(axis=1)
    assert (sums == landslide).all()


def test_nothing_is_done_twice(recorded, monkeypatch):
    _, run, frame, _ = recorded
    monkeypatch.setattr(tl, "fit", lambda *a, **k: pytest.fail("trained again"))
    assert len(run()) == len(frame)


def test_only_what_the_scenes_taught_is_kept(recorded):
    """The states of a finished training would fill a disk: a hundred megabytes for each row."""
    out, _, frame, _ = recorded
    kept = [path.name for path in out.with_name(out.name + ".runs").iterdir()]
    assert len(kept) == frame[frame.training_data != "real"].seed.nunique()
    assert all(name.startswith("scenes-") for name in kept)


def test_interrupted_grid_goes_on(recorded, tmp_path):
    out, run, frame, _ = recorded
    lines = out.read_text().splitlines(keepends=True)
    out.write_text("".join(lines[:-2]))
    again = run()
    assert len(again) == len(frame)
    columns = ["training_data", "seed", "fold", "test_tp", "test_fp"]
    order = ["training_data", "seed", "fold"]
    left, right = (f.sort_values(order)[columns].reset_index(drop=True) for f in (frame, again))
    assert left.equals(right)  # on one machine a run repeats itself
    assert run(minutes=1e-9, seeds=3).equals(again)  # no time: nothing is started


def test_summary_counts_pixels_of_all_folds_together(recorded):
    _, _, frame, _ = recorded
    table = comparison.summary(frame)
    assert set(table.training_data) == {"real", "soup", "synthetic", "synthetic+real"}
    row = table[table.training_data == "real"].iloc[0]
    values = []
    for seed in (0, 1):
        runs = frame[(frame.training_data == "real") & (frame.seed == seed)]
        tp, fp, fn, tn = (int(runs[f"test_{c}"].sum()) for c in ("tp", "fp", "fn", "tn"))
        values.append(ConfusionMatrix(tp, fp, fn, tn).scores().miou)
    assert row["mean"] == pytest.approx(sum(values) / 2)
    assert row.seeds == 2
    assert row.low < row["mean"] < row.high
    half = frame[~((frame.training_data == "real") & (frame.seed == 1) & (frame.fold == 1))]
    left = comparison.summary(half)
    real = left[left.training_data == "real"].iloc[0]
    assert real.seeds == 1  # a seed with a missing fold is left out


def rows_of(values, **settings):
    """Rows of models, each of one fold, for landslide IoUs by (model, backbone) and seed."""
    rows = []
    for (model, backbone), ious in values.items():
        for seed, iou in enumerate(ious):
            row = dict.fromkeys(comparison.COLUMNS, 0) | {"model": model, "backbone": backbone}
            row |= {"seed": seed, "folds": 1, "status": "done", "weights": backbone or "random"}
            tp = round(1000 * iou)
            rows.append(row | {"test_tp": tp, "test_fp": 1000 - tp} | settings)
    return pd.DataFrame(rows)


def test_the_lead_is_paired_by_seed_and_judged():
    values = {("TransLandSeg", "a"): [0.70, 0.60, 0.65], ("unet", ""): [0.60, 0.51, 0.54]}
    values |= {("ccnet", ""): [0.75, 0.50, 0.65], ("late", ""): [0.9]}
    table = comparison.summary(rows_of(values), score="landslide_iou").set_index("model")
    assert list(table.index) == ["late", "TransLandSeg", "ccnet", "unet"]  # best first
    assert table.verdict.to_dict() == {
        "late": "open",  # one pair has no interval
        "TransLandSeg": "",
        "ccnet": "open",
        "unet": "ahead",
    }
    mean, low, high = interval([0.10, 0.09, 0.11])
    unet = table.loc["unet"]
    assert (unet.lead, unet.lead_low, unet.lead_high) == pytest.approx((mean, low, high))
    assert table.pairs.to_dict() == {"late": 1, "TransLandSeg": 0, "ccnet": 3, "unet": 3}
    other = comparison.summary(rows_of(values), score="landslide_iou", reference="unet")
    assert other.set_index("model").verdict["TransLandSeg"] == "behind"


def test_each_set_of_weights_is_compared_with_its_own_reference():
    values = {("TransLandSeg", "a"): [0.7, 0.7], ("TransLandSeg", "b"): [0.5, 0.5]}
    values |= {("decoder-only", "b"): [0.4, 0.4], ("unet", ""): [0.6, 0.6]}
    table = comparison.summary(rows_of(values), score="landslide_iou").set_index("model")
    assert table.lead["decoder-only"] == pytest.approx(0.1)
    assert table.pairs["unet"] == 0, "which of the two would be its opponent?"
    settings = [rows_of(values, recipe="{}"), rows_of(values, recipe="[]")]
    assert len(comparison.summary(pd.concat(settings))) == 8


def test_of_several_sets_of_weights_the_one_with_the_most_rows_is_taken():
    starts = pd.DataFrame({"backbone": ["a", "", "b", None, "b"], "model": list("vwxyz")})
    rows, chosen = comparison.with_one_backbone(starts)
    assert chosen == "b"
    assert list(rows.model) == ["w", "x", "y", "z"]  # random weights (empty) are always in
    rows, chosen = comparison.with_one_backbone(starts[starts.model == "w"])
    assert (len(rows), chosen) == (1, "")
    assert comparison.with_one_backbone(starts[:0])[1] == ""


def test_fewer_real_images_and_their_masks(recorded, tmp_path):
    _, run, _, _ = recorded
    frame = run(training_data=["real-2"], seeds=[0], masks=tmp_path / "masks.npz")
    rows = frame[frame.training_data == "real-2"]
    assert set(rows.train_images) == {2}
    masks = read_masks(tmp_path / "masks.npz")
    assert {key[:3] for key in masks} == {("tiny", "TransLandSeg", "real-2")}
    assert {key[3] for key in masks} == set(Scenes().ids)
    predicted = sum(int(mask.sum()) for mask in masks.values())
    assert predicted == int(rows.test_tp.sum() + rows.test_fp.sum())


def test_scenes_first_and_then_a_few_real_images(recorded):
    _, run, _, _ = recorded
    frame = run(training_data=["synthetic+real-2"], seeds=[0])
    rows = frame[frame.training_data == "synthetic+real-2"]
    assert set(rows.train_images) == {4 + 2}
    assert set(rows.scenes_rate) == {1.0}
    assert set(rows.train_ids.str.split().map(len)) == {2}
    with pytest.raises(ValueError, match="unknown training data 'soup-2'"):
        run(training_data=["soup-2"], seeds=[0])


def test_scenes_at_another_rate_are_another_start(sam):
    """Networks learn the scenes at a rate of their own, whatever the real images' rate is."""
    scenes, data = SyntheticSplits(4, 2, 1, size=64), FoldSplits(Scenes(), "tiny", folds=2)
    keys = {}
    for rate, on_scenes in ((1.0, None), (0.25, None), (1.0, 0.25)):
        models = comparison.models(
            ["unet"], sam=sam, network_rate=rate, network_scenes_rate=on_scenes
        )
        given = (models["unet"], data, 0, 0, QUICK, 64, "synthetic+real", scenes, QUICK)
        keys[rate, on_scenes] = Job("unet", *given).scenes_key()
    assert keys[0.25, None] == keys[1.0, 0.25] != keys[1.0, None]


def test_random_weights_differ_and_stay_frozen(sam):
    models = comparison.models(["TransLandSeg", "TransLandSeg on random weights"], sam=sam)
    good, blank = (model.build(0) for model in models.values())
    assert models["TransLandSeg"].backbone == sam.origin["fingerprint"]
    assert models["TransLandSeg on random weights"].weights == "random"
    assert tl.count_parameters(good) == tl.count_parameters(blank)
    a, b = (m.image_encoder.blocks[0].attn.qkv.weight for m in (good, blank))
    assert not torch.equal(a, b)
    assert not b.requires_grad


def test_other_designs_by_name(sam):
    models = comparison.models(["TransLandSeg-1"], sam=sam)
    assert list(models) == ["TransLandSeg-1"]
    assert models["TransLandSeg-1"].build(0).description()["config"]["middle"] == ("c", "c", "c")
    with pytest.raises(ValueError, match="unknown model 'TransLandSeg-99'"):
        comparison.models(["TransLandSeg-99"], sam=sam)


def test_full_fine_tuning_trains_a_copy_of_everything(sam):
    name = "full-fine-tuning-tenth-rate"
    one = comparison.models([name], sam=sam)[name]
    model = one.build(0)
    assert one.backbone == sam.origin["fingerprint"]
    assert one.rate == 0.1
    assert tl.count_parameters(model).trainable == tl.count_parameters(model).total
    assert not any(weight.requires_grad for weight in sam.parameters())


def test_another_image_size_is_another_run(sam):
    """What a model learned from scenes of one size is no start at another size."""
    model = comparison.models(["TransLandSeg"], sam=sam)["TransLandSeg"]
    scenes = SyntheticSplits(4, 2, 1, size=64)
    data = FoldSplits(Scenes(), "tiny", folds=2)
    given = (data, 0, 0, QUICK)
    jobs = [Job("TransLandSeg", model, *given, side, "soup", scenes, QUICK) for side in (64, 128)]
    assert jobs[0].scenes_key() != jobs[1].scenes_key()


def test_holdout_tests_on_images_that_it_did_not_see():
    train, test = Scenes(6), Scenes(10)
    data = comparison.Holdout(train, test, "tiny-full")
    parts = data.parts(0, 0)
    assert [len(part.ids) for part in parts] == [5, 1, 4]
    assert not set(parts[2].ids) & set(train.ids)
    with pytest.raises(ValueError, match="all 6 test images are training images"):
        comparison.Holdout(train, Scenes(6), "same")


def test_every_baseline_is_built_alike(sam):
    models = comparison.models(sam=sam)
    assert len(models) == 14
    first, again, other = (models["unet"].build(seed).state_dict() for seed in (0, 0, 1))
    key = "net.decoder.blocks.0.conv1.0.weight"
    assert torch.equal(first[key], again[key])
    assert not torch.equal(first[key], other[key])


def test_a_soup_is_the_average_of_two_trainings_from_one_start(recorded, sam, tmp_path):
    _, _, frame, _ = recorded
    row = frame[(frame.training_data == "soup") & (frame.seed == 1) & (frame.fold == 0)].iloc[0]
    train, val, test = FoldSplits(Scenes(), "tiny", folds=2).parts(1, 0)
    scenes = SyntheticSplits(4, 2, 1, size=64).parts(1, 0)
    model = comparison.models(["TransLandSeg"], sam=sam)["TransLandSeg"].build(1)
    start = {name: tensor.clone() for name, tensor in model.trained_state().items()}
    states = []
    for name, data in (("scenes", scenes[:2]), ("real", (train, val))):
        model.load_trained_state(start, "start")
        tl.fit(model, *data, replace(QUICK, seed=1), tmp_path / name, progress=False)
        states.append({name: tensor.clone() for name, tensor in model.trained_state().items()})
    model.load_trained_state({k: (v + states[1][k]) / 2 for k, v in states[0].items()}, "both")
    assert tl.evaluate(model, test).miou == pytest.approx(row.test_miou, abs=1e-4)
    assert tl.evaluate(model, val).miou == pytest.approx(row.val_miou, abs=1e-4)


@pytest.mark.parametrize("unknown", ["unreal", "real-0", "real-x", "synthetic-5"])
def test_unknown_training_data(unknown, tmp_path):
    with pytest.raises(ValueError, match="unknown training data"):
        comparison.run({}, [unknown], 1, "bijie", tmp_path / "x.csv")


def test_errors_name_the_choices(tmp_path):
    with pytest.raises(ValueError, match="unknown model 'sam2'; choose from TransLandSeg"):
        comparison.models(["sam2"])
    (tmp_path / "x.csv").write_text("a,b\n")
    with pytest.raises(ValueError, match="other columns"):
        comparison.read(tmp_path / "x.csv")
    assert len(comparison.read(tmp_path / "none.csv")) == 0


def test_a_baseline_runs_under_the_same_protocol(recorded):
    _, run, _, _ = recorded
    models = comparison.models(["unet"], image_size=64)
    frame = run(models=models, training_data=["real"], seeds=[0])
    row = frame[frame.model == "unet"].iloc[0]
    assert row.trainable == row.total > 10**7
    assert row.weights == "random"


def test_sam_with_prompts_is_scored_on_the_same_images(tmp_path):
    sam = tl.load_sam("sam_mini")
    data = FoldSplits(Scenes(4), "tiny", folds=2)
    frame = comparison.prompted(sam, data, tmp_path / "rows.csv")
    assert list(frame.model) == [f"sam_mini, {how}" for how in ("automatic masks", "click", "box")]
    counts = [f"test_{c}" for c in ("tp", "fp", "fn", "tn")]
    assert (frame[counts].sum(axis=1) == 4 * 64 * 64).all()
    assert set(frame.trainable) == {0}
    box = frame.set_index("model").loc["sam_mini, box"]
    assert box.test_landslide_iou > 0.5  # half of a two-coloured picture, with its box given
    assert len(comparison.prompted(sam, data, tmp_path / "rows.csv")) == 3


def test_no_landslide_no_prompt():
    sample = {"image": torch.rand(3, 64, 64), "mask": torch.zeros(1, 64, 64), "id": "none"}
    for how in ("automatic masks", "click", "box"):
        assert not prompted_mask(tl.load_sam("sam_mini", weights=None), sample, how).any()
