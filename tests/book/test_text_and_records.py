"""What the chapters say about recorded rows is compared with the rows: both change as one.

A sentence is quoted here with the numbers that it needs. A record that comes out differently makes
its test fail, and the text has to be written anew.
"""

import json

import nbformat
import pandas as pd
import pytest
from course import ROOT

import tlseg_lite as tl
from tlseg_lite.experiments.splits import BLOCKS
from tlseg_lite.experiments.summary import FINDINGS, interval
from tlseg_lite.experiments.words import FROM_SCRATCH, augmentation, most_models


def says(chapter, sentence):
    """Whether a chapter's text has a sentence."""
    path = next((ROOT / "notebooks").glob(f"{chapter}_*.ipynb"))
    cells = nbformat.read(path, as_version=nbformat.NO_CONVERT).cells
    return any(sentence in c.source for c in cells if c.cell_type == "markdown")


def usual(rows):
    """Those of a comparison that were trained with all changes of the images."""
    return rows[rows.recipe.map(augmentation) == ""]


@pytest.fixture(scope="module")
def summary():
    rows = tl.comparison.read(ROOT / "book" / "results" / "comparison.csv")
    rows, _ = tl.comparison.with_one_backbone(rows)
    return tl.comparison.summary(rows, reference="TransLandSeg")


def column(summary, data, training, name="lead"):
    """model -> a column of one protocol's rows; leads and means in points."""
    part = summary[(summary.data == data) & (summary.training_data == training)]
    values = part.set_index("model")[name]
    return values if name == "verdict" else 100 * values


BIJIE = "bijie-samples"


def test_chapter_7_real_images_alone(summary):
    assert says("07", "With real images alone it leads all six by the mean over the seeds: "
                "TransUNet and SegFormer by about ten points, PSPNet by about five, the other "
                "three by one to two.")  # fmt: skip
    lead = column(summary, BIJIE, "real")
    assert lead[["transunet", "segformer"]].between(8.5, 11.5).all()
    assert 4 < lead["pspnet"] < 6
    assert lead[["unet", "ccnet", "deeplabv3plus"]].between(0.5, 2.5).all()


def test_chapter_7_scenes_and_real_images(summary):
    assert says("07", "TransLandSeg is behind UNet and DeepLabv3+; its soup is level with UNet and "
                "ahead of the others by the mean, of none with the whole interval")  # fmt: skip
    verdict = column(summary, BIJIE, "synthetic+real", "verdict")
    assert set(verdict[verdict == "behind"].index) == {"unet", "deeplabv3plus"}
    means = column(summary, BIJIE, "synthetic+real", "mean")
    soup = column(summary, BIJIE, "soup", "mean")["TransLandSeg"]
    assert abs(soup - means["unet"]) < 1
    assert (means[[n for n in FROM_SCRATCH if n != "unet"]] < soup).all()


def test_chapter_7_few_images(summary):
    assert says("07", "With ten images the best of the networks has caught up.")
    five, ten = (column(summary, BIJIE, f"real-{n}") for n in (5, 10))
    assert five[list(FROM_SCRATCH)].min() > 10
    assert ten[list(FROM_SCRATCH)].min() < 1


def test_chapter_7_few_scenes(summary):
    assert says("07", "it leads all six networks by three to six points, three of them with the "
                "whole interval, and the pre-trained weights lead the random ones by nearly "
                "nine")  # fmt: skip
    lead = column(summary, "synthetic-bijie", "real")
    verdict = column(summary, "synthetic-bijie", "real", "verdict")
    assert lead[list(FROM_SCRATCH)].between(2.5, 6.5).all()
    assert (verdict[list(FROM_SCRATCH)] == "ahead").sum() == 3
    assert 8.5 < lead["TransLandSeg on random weights"] < 9


def test_chapter_7_landslide4sense(summary):
    assert says("07", "all of them lie within about two points of TransLandSeg, most of them above")
    lead = column(summary, "landslide4sense-samples", "real")[list(FROM_SCRATCH)]
    assert lead.abs().max() < 2.5
    assert (lead < 0).sum() > 3


def test_chapter_7_soup_of_random_starts(summary):
    assert says("07", "The soup of UNet scores what the all-negative baseline scores.")
    assert column(summary, BIJIE, "soup", "mean")["unet"] < 50


def test_appendix_1_transfer(summary):
    assert says("90", "in our record by seven to eight points on average")
    assert 7 <= column(summary, BIJIE, "real")["TransLandSeg on random weights"] <= 8
    assert says("90", "The adapters themselves add little here")
    assert abs(column(summary, BIJIE, "real")["decoder-only"]) < 1


def test_appendix_1_transfer_holds_with_every_seed():
    assert says("90", "ahead of the random ones with every seed")
    rows = tl.comparison.read(ROOT / "book" / "results" / "comparison.csv")
    rows, _ = tl.comparison.with_one_backbone(rows)
    rows = rows[(rows.data == BIJIE) & (rows.training_data == "real")]
    own, random = (
        tl.comparison.pooled(rows[rows.model == name])
        for name in ("TransLandSeg", "TransLandSeg on random weights")
    )
    assert all(own[seed] > random[seed] for seed in set(own) & set(random))


def test_appendix_2_training_data(summary):
    assert says("91", "on Landslide4Sense even level with it")
    bijie, sense = (
        {k: column(summary, data, k, "mean")["TransLandSeg"]
         for k in ("real", "synthetic", "synthetic+real", "soup")}
        for data in (BIJIE, "landslide4sense-samples")
    )  # fmt: skip
    assert 0 < bijie["real"] - bijie["synthetic"] < 4
    assert abs(sense["real"] - sense["synthetic"]) < 1
    assert says("91", "On Bijie it is no better than the scenes alone.")
    assert bijie["synthetic+real"] <= bijie["synthetic"]
    assert max(bijie, key=bijie.get) == "soup"
    assert says("91", "On Landslide4Sense it is the other way round: one after the other is best, "
                "and the soup is by the mean behind both of its parts.")  # fmt: skip
    assert max(sense, key=sense.get) == "synthetic+real"
    assert sense["soup"] < min(sense["real"], sense["synthetic"])


def page(name):
    return (ROOT / "book" / name).read_text("utf-8")


def test_introduction_says_what_the_rows_on_hundreds_of_images_say():
    text = page("intro.md")
    rows = tl.comparison.read(ROOT / "book" / "results" / "comparison_real.csv")
    done = rows[rows.status == "done"]
    first = most_models(tl.comparison.summary(done[done.training_data == "real"]))
    mean = first.set_index("model")["mean"]
    assert "and UNet, which starts from nothing, is ahead by a point and a half, as much as" in text
    lead = first.set_index("model")[["lead", "lead_high"]].T * 100
    for opponent in ("unet", "full-fine-tuning-tenth-rate"):
        assert lead[opponent].lead == pytest.approx(-1.5, abs=0.25)
        assert lead[opponent].lead_high < 0
    assert "training SAM's mask decoder does nearly all of the work" in text
    untrained = done[done.training_data == "none"].set_index("model").test_miou
    gain = mean["decoder-only"] - untrained["sam_mini, automatic masks"]
    grid = tl.ablation.read(ROOT / "book" / "results" / "ablation_real.csv")
    lead = tl.ablation.summary(grid).set_index("design").difference
    assert "the adapters and the pre-trained weights add little to it" in text
    assert abs(lead["decoder-only"]) < 0.1 * gain
    assert mean["TransLandSeg"] - mean["TransLandSeg on random weights"] < 0.1 * gain
    elsewhere = done[(done.training_data == "real") & done.data.str.startswith("landslide4sense")]
    other = most_models(tl.comparison.summary(elsewhere)).set_index("model")
    assert "there the adapters add several points to the decoder alone, more than the" in text
    assert other.lead_low["decoder-only"] > 0.02
    assert other.lead["decoder-only"] > other.lead["TransLandSeg on random weights"]
    assert "UNet from scratch is ahead all the same: of the small landslides" in text
    assert other.lead_high["unet"] < 0
    found = tl.ablation.findings(grid).set_index("finding")
    assert found.verdict["the residual matters"] == "holds"
    assert "costs about as much here as it does in the paper" in text
    table = tl.audit.published()
    paper = table[table.table == "IV"].set_index("row").miou
    pairs = FINDINGS["the residual matters"]
    theirs = (paper[list(pairs[0])].mean() - paper[list(pairs[1])].mean()) / 100
    assert found.difference["the residual matters"] == pytest.approx(theirs, abs=0.03)


def test_chapter_7_says_what_the_rows_on_landslide4sense_say():
    rows = tl.comparison.read(ROOT / "book" / "results" / "comparison_real.csv")
    rows = usual(rows[(rows.status == "done") & (rows.data == "landslide4sense-blocks")])
    names = ["training_data", "image_size", "model"]
    table = tl.comparison.summary(rows).set_index(names).sort_index()
    lead = table.lead["real", 128]
    assert says("07", "the decoder alone is nearly five points behind, more than random frozen")
    assert 0.04 < lead["decoder-only"] < 0.05
    assert table.lead_low["real", 128]["decoder-only"] > 0.04
    assert lead["TransLandSeg on random weights"] < lead["decoder-only"]
    assert says("07", "the lead does not shrink, it grows")
    assert table.lead["real", 256]["decoder-only"] > lead["decoder-only"]
    assert says("07", "the lead is the same, and so is TransLandSeg's score")
    assert table.lead["real-378", 128]["decoder-only"] == pytest.approx(
        lead["decoder-only"], abs=0.005
    )
    means = table["mean"].xs("TransLandSeg", level="model")
    assert means["real-378", 128] == pytest.approx(means["real", 128], abs=0.005)
    grid = tl.ablation.read(ROOT / "book" / "results" / "ablation_real.csv")
    own = tl.ablation.summary(grid).set_index("design").loc["decoder-only"]
    assert says("07", "next to nothing that could be told from chance on hundreds of Bijie's")
    assert own.difference_low < 0 < own.difference_high


def test_chapter_7_says_what_the_rows_of_another_place_say():
    """TransLandSeg on whole images, paired by seed."""
    rows = pd.read_csv(ROOT / "book" / "results" / "transfer.csv")
    rows = rows[(rows.model == "TransLandSeg") & (rows.window == 0)]
    as_it_is = rows[rows.adaptation == "as it is"].groupby(["data", "source_data"])
    means = as_it_is.test_landslide_iou.mean()
    assert says("07", "Of all elsewheres the synthetic scenes are the best one as it is")
    for target, source in (BLOCKS, BLOCKS[::-1]):
        assert means[target, "scenes"] > means[target, source] + 0.05
    assert says("07", "they are about level with the ten alone")
    both = rows[(rows.source_data == "scenes") & (rows.adaptation == "ten labels")]
    alone = rows[rows.adaptation == "only the ten"]
    for target in BLOCKS:
        scores = (part[part.data == target].set_index("seed") for part in (both, alone))
        first, ten = (part.test_landslide_iou for part in scores)
        assert (first - ten).dropna().abs().max() < 0.03
    rows = rows[rows.source_data != "scenes"]
    gains = {}
    for target, group in rows.groupby("data"):
        ways = group.pivot(index="seed", columns="adaptation", values="test_landslide_iou")
        assert ways["as it is"].max() < 0.2
        for way in ("colours", "ten labels"):
            gains[target, way] = interval(ways[way] - ways["as it is"])
        gains[target, "elsewhere first"] = interval(ways["ten labels"] - ways["only the ten"])
    bijie, sense = "bijie-blocks", "landslide4sense-blocks"
    assert says("07", "they help from Landslide4Sense to Bijie and not the other way")
    assert gains[bijie, "colours"][1] > 0
    assert gains[sense, "colours"][0] < 0.02
    assert says("07", "Ten labelled images help far more, in both directions")
    for place in (bijie, sense):
        assert gains[place, "ten labels"][1] > 0
        assert gains[place, "ten labels"][0] > 2 * gains[place, "colours"][0]
    assert says("07", "is no worse than one that has learned from hundreds of images")
    assert gains[sense, "elsewhere first"][0] < 0.02
    assert says("07", "on Bijie it is better by more than the interval")
    assert gains[bijie, "elsewhere first"][2] < 0


def test_data_page_says_what_validation_prefers():
    text = page("data.md")
    trials = pd.read_csv(ROOT / "book" / "results" / "recipe_search.csv").set_index("trial")
    score = 100 * trials.val_miou
    assert "TransLandSeg loses three points on Bijie's validation images" in text
    assert 2.5 < score["rate-2e-3-turns"] - score["rate-2e-3"] < 3.5
    assert score["rate-2e-3-turns"] > score["rate-2e-3-no-augment"]
    rows = tl.ablation.read(ROOT / "book" / "results" / "ablation_real.csv")
    assert set(rows.recipe.map(lambda text: json.loads(text)["augment"])) == {True}
    nine = [name for name in tl.DESIGNS if tl.DESIGNS[name].source == "block"]
    wide = rows.pivot(index="seed", columns="design", values="val_miou")[nine]
    assert "`TransLandSeg-1` was the best of the nine designs on validation, by two points" in text
    assert wide.mean().idxmax() == "TransLandSeg-1"
    mean, low, _ = interval(wide["TransLandSeg-1"] - wide["TransLandSeg"])
    assert low > 0
    assert mean == pytest.approx(0.02, abs=0.003)
    assert "and on the test part by less than one" in text
    tested = rows.pivot(index="seed", columns="design", values="test_miou")
    assert 0 < (tested["TransLandSeg-1"] - tested["TransLandSeg"]).mean() < 0.01


def test_chapter_7_landslides_of_few_pixels():
    assert says("07", "At 128 pixels TransLandSeg finds one in a hundred of the small landslides, "
                "UNet nearly one in five, and of the middle ones UNet finds three times as "
                "many. What the adapters add is found among the large ones.")  # fmt: skip
    assert says("07", "Enlarged to 256 pixels TransLandSeg finds one in thirteen of the small and "
                "a third of the middle ones, and its MIoU rises by four points, at three times the "
                "cost.")  # fmt: skip
    sentence = "it finds one in five, and TransLandSeg, whose decoder has one value for every 16"
    assert f"{sentence} pixels, one in a hundred" in page("intro.md")
    rows = tl.comparison.read(ROOT / "book" / "results" / "comparison_real.csv")
    rows = usual(rows[(rows.data == "landslide4sense-blocks") & (rows.training_data == "real")])
    sums = rows.groupby(["image_size", "model"]).sum(numeric_only=True)
    found = {s: sums[f"test_{s}_found"] / sums[f"test_{s}"] for s in ("small", "middle", "large")}
    own, unet, decoder = (128, "TransLandSeg"), (128, "unet"), (128, "decoder-only")
    assert 0.005 < found["small"][own] < 0.015
    assert 0.18 < found["small"][unet] < 0.2
    assert 2.5 < found["middle"][unet] / found["middle"][own] < 3.5
    added = {size: 100 * (share[own] - share[decoder]) for size, share in found.items()}
    assert added["large"] > 10
    assert added["middle"] < 6
    assert added["small"] < 1
    fine = (256, "TransLandSeg")
    assert 1 / 14 < found["small"][fine] < 1 / 12
    assert 0.3 < found["middle"][fine] < 0.36
    assert says("07", "they are a third of what there is, and with the middle ones three quarters.")
    small, middle, large = (sums[f"test_{size}"][own] for size in found)
    assert 0.31 < small / (small + middle + large) < 0.36
    assert 0.73 < (small + middle) / (small + middle + large) < 0.78
    means = rows.groupby(["image_size", "model"])[["test_miou", "seconds"]].mean()
    assert 3.5 < 100 * (means.test_miou[fine] - means.test_miou[own]) < 4.5
    assert 2.5 < means.seconds[fine] / means.seconds[own] < 3.5


def test_chapter_7_at_twice_the_side():
    assert says("07", "the paper's design gets 79.3, and `TransLandSeg-1`, which validation "
                "preferred with 83.2, gets 79.5.")  # fmt: skip
    rows = tl.comparison.read(ROOT / "book" / "results" / "comparison_real.csv")
    rows = rows[(rows.data == "bijie-blocks") & (rows.training_data == "real")]
    means = 100 * usual(rows).groupby(["image_size", "model"]).test_miou.mean()
    assert round(means[256, "TransLandSeg"], 1) == 79.3
    assert round(means[256, "TransLandSeg-1"], 1) == 79.5
    trials = pd.read_csv(ROOT / "book" / "results" / "recipe_search.csv").set_index("trial")
    score = 100 * trials.val_miou
    assert round(score["rate-2e-3-middle-1"], 1) == 83.2
    assert says("07", "on validation none of them was better. Test-time augmentation adds about a "
                "point.")  # fmt: skip
    tried = ["rate-2e-3-60-epochs", "ema-384px", "scenes-ema"]
    assert (score[tried] < score["rate-2e-3"]).all()
    assert score["short-rate-4e-3"] < score["short-rate-2e-3"]
    own = trials.model.str.startswith("TransLandSeg")
    assert 0.5 < (100 * trials.val_miou_8_views - score)[own].mean() < 1.5
    assert says("07", "TransLandSeg has 84.4 on validation instead of 81.0, and on the test images "
                "82.3 instead of 79.3 (one seed each).")  # fmt: skip
    turned = rows[rows.recipe.str.contains('"turns"')]
    assert [round(100 * score, 1) for score in turned.test_miou] == [82.3]
    assert says("07", "In trials of six epochs UNet gains two points by the turns alone and nearly "
                "four without any augmentation, so its own 82.3 is not")  # fmt: skip
    assert round(means[256, "unet"], 1) == 82.3
    assert 1.7 < score["short-unet-turns"] - score["short-unet"] < 2.3
    assert round(score["rate-2e-3-turns"], 1) == 84.4
    assert round(score["rate-2e-3"], 1) == 81.0
    assert 3.5 < score["short-unet-no-augment"] - score["short-unet"] < 4
    assert tl.Recipe.laptop(378).augment == "turns"
    assert says("07", "the turns alone are worth half a point on validation (one seed).")
    sense = tl.comparison.read(ROOT / "book" / "results" / "comparison_real.csv")
    sense = sense[(sense.data == "landslide4sense-blocks") & (sense.training_data == "real")]
    sense = sense[(sense.model == "TransLandSeg") & (sense.image_size == 128) & (sense.seed == 0)]
    turned = sense.recipe.str.contains('"turns"')
    gain = sense.val_miou[turned].item() - sense.val_miou[~turned].item()
    assert gain == pytest.approx(0.005, abs=0.001)


def test_chapter_4_bottlenecks_and_depth():
    assert says("04", "about a point with two of eight; a bottleneck of one, two or three loses "
                "half a point or less, and a wider one than $d = 6$ gains as much. None of these "
                "steps is decided.")  # fmt: skip
    grid = tl.ablation.read(ROOT / "book" / "results" / "ablation_real.csv")
    table = tl.ablation.summary(grid).set_index("design")
    assert table.pairs.drop("TransLandSeg").min() == 5
    points = 100 * table.difference
    by_blocks = [points[[f"first-{n}-blocks", f"last-{n}-blocks"]].mean() for n in (2, 4, 6)]
    assert by_blocks == sorted(by_blocks)
    assert -1.2 < by_blocks[0] < -0.8
    assert all(-0.6 < points[f"bottleneck-{d}"] < 0 for d in (1, 2, 3))
    assert all(0 < points[f"bottleneck-{d}"] < 0.6 for d in (12, 24))
    parts = table[table.index.str.contains("bottleneck|blocks")]
    assert (parts.difference_low < 0).all()
    assert (parts.difference_high > 0).all()
    assert says("04", "are ahead of the paper's choice, by an interval that ends at zero")
    assert 0 < 100 * table.difference_low["TransLandSeg-1"] < 0.05


def test_chapter_7_where_the_lines_cross():
    assert says("07", "The lines cross at about 40 images. With five or ten the mean of "
                "TransLandSeg is several points above UNet's; with 80 and more UNet's is "
                "above, by half a point to a point and a half, and with all images the "
                "interval just leaves zero out.")  # fmt: skip
    assert "With fewer than forty images the pre-trained model is ahead of" in page("intro.md")
    rows = tl.comparison.read(ROOT / "book" / "results" / "comparison_real.csv")
    rows = rows[(rows.data == "bijie-blocks") & (rows.image_size == 128)]
    rows = rows[rows.training_data.str.fullmatch(r"real(-\d+)?")]
    scores = rows.pivot(index=["train_images", "seed"], columns="model", values="test_miou") * 100

    def lead(other):
        pairs = (scores["TransLandSeg"] - scores[other]).dropna()
        return pairs.groupby("train_images").mean()

    unet, decoder = lead("unet"), lead("decoder-only")
    assert (unet[[5, 10]] > 2.5).all()
    assert unet[20] > 0.5
    assert abs(unet[40]) < 0.5
    assert unet[[80, 160, 378]].between(-1.7, -0.4).all()
    high = interval((scores["TransLandSeg"] - scores["unet"])[378].dropna())[2]
    assert -0.3 < high < 0
    assert says("07", "With five images UNet's score moves by seventeen points from one draw to "
                "the next, TransLandSeg's by four")  # fmt: skip
    spread = scores.loc[5].max() - scores.loc[5].min()
    assert spread["unet"] == pytest.approx(17, abs=0.6)
    assert spread["TransLandSeg"] == pytest.approx(4, abs=0.5)
    assert says("07", "with up to 20 the mask decoder alone is as good.")
    assert (decoder[[5, 10, 20]] < 0.3).all()
    assert (decoder[[40, 80, 378]] > 0.5).all()
    assert says(
        "07", "ahead of random frozen ones by two to eight points, the most with five images."
    )
    weights = lead("TransLandSeg on random weights")
    assert weights.between(1.8, 8.2).all()
    assert weights.idxmax() == 5
