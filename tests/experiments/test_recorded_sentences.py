"""Sentences about recorded rows follow the rows, whoever wins."""

import json

import numpy as np
import pandas as pd
import pytest

from tlseg_lite.experiments import words
from tlseg_lite.experiments.summary import scenes_first, seeds_needed


def table(**means):
    """A summary of one protocol with a mean for each model; one seed, paired with the reference."""
    names = {"own": "TransLandSeg", "random": "TransLandSeg on random weights"}
    models = [names.get(name, name.replace("_", "-")) for name in means]
    values = list(means.values())
    own = means["own"]
    return pd.DataFrame(
        {
            "model": models,
            "mean": values,
            "lead": [own - value for value in values],
            "lead_low": np.nan,
            "lead_high": np.nan,
            "pairs": [0 if name == "TransLandSeg" else 1 for name in models],
            "seeds": 1,
            "trainable": 10,
            "data": "d", "training_data": "real", "data_version": "v", "image_size": 128,
            "recipe": "{}",
        }
    )  # fmt: skip


def test_ranking_names_who_is_ahead():
    text = words.ranking(table(own=0.795, unet=0.799, pspnet=0.816, decoder_only=0.767))
    assert "PSPNet 81.6, UNet 79.9, TransLandSeg 79.5, mask decoder only 76.7." in text
    assert "All networks from scratch (PSPNet, UNet) are ahead" in text
    assert "One seed each" in text
    assert "All networks from scratch are behind" in words.ranking(table(own=0.9, unet=0.7))
    mixed = words.ranking(table(own=0.8, unet=0.7, pspnet=0.9))
    assert "Of the networks from scratch PSPNet is ahead of TransLandSeg by their" in mixed
    with pytest.raises(ValueError, match="no row of TransLandSeg"):
        words.ranking(table(own=0.8, unet=0.7).query("model == 'unet'"))


def test_ranking_with_seeds_does_not_call_the_order_open():
    rows = table(own=0.8, unet=0.7).assign(seeds=3, pairs=[0, 3], lead_low=0.05, lead_high=0.15)
    text = words.ranking(rows)
    assert "One seed" not in text
    assert text.endswith("Decided, with an interval without zero: UNet is behind by 10.0 points.")


def test_ranking_says_what_is_open_and_what_it_would_take():
    rows = table(own=0.8, unet=0.79, pspnet=0.81, decoder_only=0.7).assign(seeds=3)
    rows["pairs"] = [0, 3, 1, 3]
    rows["lead_low"], rows["lead_high"] = (
        [np.nan, -0.01, np.nan, 0.05],
        [np.nan, 0.03, np.nan, 0.15],
    )
    text = words.ranking(rows)
    assert "Decided, with an interval without zero: mask decoder only is behind by 10.0 po" in text
    assert "Open against TransLandSeg: PSPNet (one seed); UNet (about 5 seeds would dec" in text
    short = words.ranking(rows, short=True)
    assert short.startswith("Of the networks from scratch PSPNet is ahead")
    assert short.endswith("by 10.0 points. All other leads are open.")
    rows["lead_low"] = -0.01
    assert words.ranking(rows, short=True).endswith("No lead is decided.")
    assert "No lead is decided. Open against" in words.ranking(rows)


def test_ranking_goes_by_pairs_and_not_by_means_of_different_seeds():
    rows = table(own=0.78, unet=0.77).assign(seeds=[3, 1])
    rows.loc[1, "lead"] = -0.02  # on the one seed that both have, UNet is ahead
    assert "(UNet) are ahead" in words.ranking(rows)


def test_seeds_that_a_difference_needs():
    """Student's t by hand: s = .0145 * 2 / 3.182 = .0091; n = 23 is the first with t s / sqrt(n) <
    .004, as 22 gives .0040."""
    assert seeds_needed(-0.004, -0.0185, 0.0105, 4) == 23
    assert seeds_needed(0.1, 0.05, 0.15, 3) <= 3
    assert seeds_needed(0.0, -0.01, 0.01, 3) == np.inf
    assert np.isnan(seeds_needed(0.1, np.nan, np.nan, 1))


def test_points_have_a_sign_and_no_negative_zero():
    assert [words.points(v) for v in (-0.015, 0.004, -0.0002)] == ["-1.5", "+0.4", "+0.0"]


def test_designs_say_what_is_decided():
    rows = pd.DataFrame(
        {
            "design": ["TransLandSeg", "TransLandSeg-7", "decoder-only", "LoRA-4"],
            "pairs": [0, 5, 5, 1],
            "difference": [np.nan, -0.13, -0.004, 0.01],
            "difference_low": [np.nan, -0.15, -0.0005 - 0.019, np.nan],
            "difference_high": [np.nan, -0.11, 0.0115, np.nan],
        }
    )
    text = words.designs(rows)
    assert "Decided: TransLandSeg-7 -13.0 (-15.0 to -11.0)." in text
    assert "Open: mask decoder only -0.4 (about 40 seeds would decide it), LoRA of" in text
    assert text.endswith("LoRA of rank 4 +1.0 (one seed).")
    assert "No design" in words.designs(rows[:1])


def test_parts_have_the_sign_of_the_rows():
    text = words.parts(table(own=0.795, decoder_only=0.767, random=0.81))
    assert "+2.8 points are what the adapters add" in text
    assert "-1.5 points are what the pre-trained weights add" in text
    assert "one seed" in text
    ends = table(own=0.8, decoder_only=0.7).assign(lead_low=0.05, lead_high=0.15, pairs=3)
    assert "+10.0 (+5.0 to +15.0) points" in words.parts(ends)
    assert "nothing to compare" in words.parts(table(own=0.8, unet=0.7))
    design = {"design": "decoder-only", "pairs": 4, "difference": -0.004}
    designs = pd.DataFrame([design | {"difference_low": -0.019, "difference_high": 0.01}])
    both = words.parts(table(own=0.795, decoder_only=0.767), designs=designs)
    assert both == (
        "+0.4 (-1.0 to +1.9) points are what the adapters add to the mask decoder alone, 4 seeds "
        "of the ablation, open, about 23 seeds would decide it."
    )


def test_residual_falls_or_rises_with_the_rows():
    designs = ["TransLandSeg", "TransLandSeg-7", "TransLandSeg-2", "TransLandSeg-3"]
    frame = pd.DataFrame({"design": designs, "mean": [0.786, 0.657, 0.79, 0.80]})
    text = words.residual(frame)
    assert "falls from 78.6 to 65.7 (TransLandSeg, TransLandSeg-7)" in text
    assert "rises from 79.0 to 80.0 (TransLandSeg-2, TransLandSeg-3)" in text
    assert "No design" in words.residual(frame[:1])


def test_protocol_with_the_most_models():
    one, other = table(own=0.8, unet=0.7), table(own=0.7).assign(image_size=256)
    assert words.most_models(pd.concat([other, one])).image_size.tolist() == [128, 128]
    with pytest.raises(ValueError, match="no rows"):
        words.most_models(one[:0])


def curve(leads):
    """Rows of UNet, with TransLandSeg's lead by number of images."""
    rows = [
        {"model": model, "train_images": n, "lead": lead, "lead_low": low, "lead_high": high}
        | {"pairs": 3 if model == "unet" else 0, "verdict": verdict}
        for n, (lead, low, high, verdict) in leads.items()
        for model in ("TransLandSeg", "unet")
    ]
    return pd.DataFrame(rows)


def test_a_curve_says_where_who_is_ahead():
    leads = {40: (0.001, -0.01, 0.012, "open"), 5: (0.08, 0.05, 0.11, "ahead")}
    text = words.by_images(curve(leads))
    assert text == (
        "TransLandSeg against UNet, points: with 5 images ahead, +8.0 (+5.0 to +11.0); "
        "with 40 images open (about 78 seeds would decide it), +0.1 (-1.0 to +1.2)."
    )
    one = curve(leads).assign(pairs=1, lead_low=np.nan, lead_high=np.nan)
    assert "with 5 images open, +8.0;" in words.by_images(one)
    assert "No model" in words.by_images(curve({5: leads[5]}))


def test_a_transfer_says_what_helps():
    ious = {"as it is": 0.1, "colours": 0.15, "ten labels": 0.3, "only the ten": 0.25}
    rows = [
        {
            "source_data": "nothing" if way == "only the ten" else "bijie-blocks",
            "data": "landslide4sense-blocks", "window": 32, "model": "unet", "adaptation": way,
            "seed": seed, "test_landslide_iou": iou + 0.01 * seed,
        }
        for way, iou in ious.items()
        for seed in (0, 2)
    ]  # fmt: skip
    text = words.transfer(pd.DataFrame(rows))
    assert text.startswith("UNet, Bijie to Landslide4Sense, in windows of 32 pixels: landslide IoU")
    assert "0.11 as it is; +0.05 (+0.05 to +0.05) by matched colours; +0.20" in text
    assert "+0.05 (+0.05 to +0.05) over a model that has seen the ten alone (0.26" in text
    assert "by both" not in text
    single = pd.DataFrame(rows[:1])
    assert "landslide IoU 0.10 as it is." in words.transfer(single)
    assert "No row" in words.transfer(pd.DataFrame(rows).query("source_data == 'nothing'"))


def test_alarms_are_counted_over_all_seeds():
    rows = pd.DataFrame(
        {
            "model": ["unet", "unet", "sam_mini, box"],
            "test_negatives": [10, 10, np.nan],
            "test_negatives_with_alarm": [10, 8, np.nan],
            "test_negative_pixels": [1000, 1000, np.nan],
            "test_negative_pixels_alarmed": [100, 50, np.nan],
        }
    )
    text = words.alarms(rows)
    assert text == (
        "10 images without a landslide. Something is marked by UNet on 90 % of them, 7.5 % of the "
        "pixels."
    )
    assert "No row" in words.alarms(rows[rows.model != "unet"])
    assert "10 images without a landslide" in words.alarms(rows, short=True)
    assert "90 % get an alarm" in words.alarms(rows, short=True)
    both = pd.concat([rows, rows.head(1).assign(model="pspnet")])
    assert "90 to 100 % get an alarm" in words.alarms(both, short=True)


def counts(miou):
    """Pixels with this IoU of both classes."""
    right = round(1e6 * miou)
    return {"test_tp": right, "test_tn": right, "test_fp": 10**6 - right, "test_fn": 0}


def scene_rows():
    """Of UNet and TransLandSeg with 5 and all images, without and after scenes, two seeds."""
    gains = {("unet", 5): 0.03, ("unet", 300): -0.01, ("TransLandSeg", 5): 0.0}
    rows = []
    for (model, images), gain in gains.items():
        for seed in (0, 1):
            name = "real" if images == 300 else f"real-{images}"
            about = {
                "data": "bijie-blocks", "image_size": 128, "model": model, "backbone": "",
                "seed": seed, "fold": 0, "folds": 1, "status": "done",
            }  # fmt: skip
            score = 0.7 + 0.01 * seed
            recipe = {"real": {"epochs": 3}}
            rows.append(
                about
                | {"training_data": name, "train_images": images, **counts(score)}
                | {"recipe": json.dumps(recipe)}
            )
            more = {"training_data": f"synthetic+{name}", "train_images": 1500 + images}
            more |= counts(score + gain + 0.0008 * seed)
            rows.append(about | more | {"recipe": json.dumps(recipe | {"scenes": {"epochs": 4}})})
    return pd.DataFrame(rows)


def test_what_scenes_add_is_paired_by_seed_and_number_of_images():
    table = scenes_first(scene_rows())
    assert table[["model", "images", "pairs"]].to_numpy().tolist() == [
        ["TransLandSeg", 5, 2],
        ["unet", 5, 2],
        ["unet", 300, 2],
    ]
    assert table.gain.tolist() == pytest.approx([0.0004, 0.0304, -0.0096])
    assert table.without.tolist() == pytest.approx([0.705] * 3)
    text = words.scenes(table)
    # by hand: 12.706 * .0008 / 2 = .0051
    assert "UNet at 128 px after synthetic scenes: +3.0 (+2.5 to +3.5) with 5 real" in text
    assert "-1.0 (-1.5 to -0.5) with 300 real images (decided)" in text
    assert "+0.0 (-0.5 to +0.5) with 5 real images (open, about" in text


def test_scenes_are_not_paired_with_another_recipe_or_dataset():
    rows = scene_rows()
    first = rows.training_data.str.startswith("synthetic+")
    for name, value in (("recipe", json.dumps({"real": {"epochs": 9}})), ("data", "other")):
        other = rows.copy()
        other.loc[first, name] = value
        assert scenes_first(other).empty
    diverged = rows.assign(status="diverged: loss is nan")
    assert "No row" in words.scenes(scenes_first(diverged))


def test_scenes_count_the_pixels_of_all_folds_and_leave_incomplete_seeds_out():
    rows = scene_rows().query("model == 'unet'")
    rows = rows[rows.train_images.isin((5, 1505))].assign(folds=2)
    other = rows.assign(fold=1)
    names = ["test_tp", "test_fp", "test_fn", "test_tn"]
    other[names] = 3 * other[names].to_numpy()[:, [0, 2, 1, 3]]
    both = pd.concat([rows, other[other.seed == 0]])
    (one,) = scenes_first(both).itertuples()
    assert one.pairs == 1
    assert one.gain == pytest.approx(0.03)  # both folds have it: so has their sum
    assert scenes_first(rows).empty


def test_designs_of_the_ablation_have_names_for_readers():
    named = {"bottleneck-24": "bottleneck of 24", "last-2-blocks": "ATL in the last 2 blocks"}
    assert {name: words.name_of(name) for name in named} == named
    assert words.name_of("unet") == "UNet"
    assert words.name_of("TransLandSeg-7") == "TransLandSeg-7"


def test_training_data_have_names_for_readers():
    assert [words.trained_on(name) for name in ("real", "real-5", "synthetic+real-20")] == [
        "all real images",
        "5 real images",
        "synthetic scenes, then 20 real images",
    ]
    assert words.trained_on("synthetic+real") == "synthetic scenes, then all real images"
    assert words.trained_on("soup") == "soup"


def test_landslides_by_size_are_paired_by_seed():
    rows = pd.DataFrame(
        {
            "data": "landslide4sense-blocks",
            "seed": [0, 1, 0, 1, 0],
            "model": ["TransLandSeg"] * 2 + ["unet"] * 2 + ["ccnet"],
            "test_miou": 0.7,
            "test_small": 100, "test_small_found": [10, 12, 30, 30, 50],
            "test_middle": 10, "test_middle_found": [5, 5, 5, 7, 9],
            "test_large": 4, "test_large_found": [2, 4, 2, 4, 4],
        }
    )  # fmt: skip
    text = words.by_size(rows)
    assert "the small (under 20 pixels), the middle and the large ones (from 100)" in text
    assert "CCNet 50, 90, 100; UNet 30, 60, 75; TransLandSeg 11, 50, 75." in text
    assert "TransLandSeg minus UNet, points: small -19.0 (-31.7 to -6.3); middle -10.0 (" in text
    assert "large +0.0 (+0.0 to +0.0)." in text
    assert "CCNet, points" not in text
    assert "minus CCNet, points: small -40.0; middle -40.0" in words.by_size(rows, others=["ccnet"])
    assert words.by_size(rows.drop(columns="test_small")) == "No row has landslides by size."
    assert words.by_size(rows[:0]) == "No row has landslides by size."


def test_trials_of_a_recipe_have_their_settings():
    plain = {"learning_rate": 2e-3, "batch_size": 4, "augment": True, "precision": "bf16"}
    other = {"learning_rate": 5e-4, "batch_size": 8, "augment": False, "precision": "no"}
    frame = pd.DataFrame(
        {
            "trial": ["short", "scenes-ema"],
            "model": ["unet", "TransLandSeg"],
            "image_size": 256,
            "epochs": [6, 30],
            "recipe": [json.dumps(other), json.dumps(plain | {"ema": 0.99})],
            "val_miou": [0.7, 0.8],
            "val_miou_8_views": [0.71, 0.82],
        }
    )
    text = words.trials(frame)
    own = "TransLandSeg at 256 px, 30 epochs, rate 0.002, weights averaged (0.99), after synthetic"
    assert f"one seed each. {own} scenes: 80.0, 82.0; UNet at 256 px, 6 epochs" in text
    assert text.endswith("rate 0.0005, in float32, batches of 8, no augmentation: 70.0, 71.0.")
    assert "No trial" in words.trials(frame[:0])


def test_augmentation_that_is_left_out_is_said():
    assert words.augmentation('{"augment": true}') == words.augmentation("{}") == ""
    assert words.augmentation('{"augment": false}') == ", no augmentation"
    stages = {"scenes": {"augment": True}, "real": {"augment": "turns"}}
    assert words.augmentation(json.dumps(stages)) == ", flips and quarter turns only"
