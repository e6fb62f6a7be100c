"""Hundreds of real images: one division by blocks, and what is counted beside pixels."""

import numpy as np
import pandas as pd
import pytest
import torch
from adapter_helpers import busy_sam
from experiment_helpers import RECIPE
from PIL import Image

import tlseg_lite as tl
from tlseg_lite.core.errors import DataError
from tlseg_lite.experiments import comparison
from tlseg_lite.experiments.measures import false_alarms, landslides, measures_for, outlines
from tlseg_lite.experiments.splits import BlockSplits, named_data


def write(folder, name, mask=None, size=64):
    """An image of noise, and its mask beside it."""
    pixels = np.random.default_rng(len(name) + int(name[-2:])).integers(0, 255, (size, size, 3))
    (folder / "image").mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype("uint8")).save(folder / "image" / f"{name}.png")
    if mask is not None:
        (folder / "mask").mkdir(exist_ok=True)
        Image.fromarray((mask * 255).astype("uint8")).save(folder / "mask" / f"{name}.png")


def spot(size=64):
    mask = np.zeros((size, size), bool)
    mask[10:30, 10:30] = True
    return mask


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """40 images of a Bijie, and 3 without a landslide."""
    root = tmp_path_factory.mktemp("full")
    for number in range(2, 42):
        write(root / "Bijie-landslide-dataset" / "landslide", f"df{number:03d}", spot())
    for number in range(3):
        write(root / "Bijie-landslide-dataset" / "non-landslide", f"no{number:03d}")
    return root


def blocks_of(ids):
    return {(int(name[2:]) - 2) // 5 for name in ids}


def test_no_block_is_in_two_parts_and_the_seed_draws_the_order(root):
    (data,) = named_data("bijie-blocks", root=root)
    train, val, test = data.parts(0, 0)
    assert [len(train), len(val), len(test)] == [30, 5, 5]
    assert not blocks_of(train.ids) & blocks_of(val.ids)
    assert not (blocks_of(train.ids) | blocks_of(val.ids)) & blocks_of(test.ids)
    again = data.parts(1, 0)
    assert set(again[0].ids) == set(train.ids)
    assert again[0].ids != train.ids
    assert (again[1].ids, again[2].ids) == (val.ids, test.ids)
    assert [name.split("/")[0] for name in data.negatives.ids] == ["non-landslide"] * 3
    assert named_data("bijie-blocks", root=root)[0].version == data.version


def test_the_root_is_given_or_named_by_the_environment(root, tmp_path, monkeypatch):
    monkeypatch.setenv("TLSEG_REAL", str(root))
    assert len(named_data("bijie-blocks")[0].parts(0, 0)[0]) == 30
    monkeypatch.delenv("TLSEG_REAL")
    with pytest.raises(ValueError, match="TLSEG_REAL"):
        named_data("bijie-blocks")
    with pytest.raises(DataError, match="expected"):
        named_data("bijie-blocks", root=tmp_path)


def test_landslide4sense_is_tested_on_its_validation_part(tmp_path):
    for part, number in (("train", 20), ("validation", 4)):
        for i in range(number):
            write(tmp_path / part, f"{part}_{i + 1:02d}", spot(128), 128)
    (data,) = named_data("landslide4sense-blocks", root=tmp_path)
    train, val, test = data.parts(0, 0)
    assert [len(train), len(val)] == [15, 5]
    assert all(name.startswith("validation") for name in test.ids)
    assert len(test) == 4
    assert data.negatives is None


def test_landslides_are_counted_by_size():
    truth = np.zeros((200, 200), bool)
    truth[:10, :10] = True  # 100 pixels: small
    truth[50:100, 50:100] = True  # 2,500: middle, found
    mask = np.zeros_like(truth)
    mask[50:100, 50:90] = True
    mask[150:160, 150:160] = True  # nothing there
    counts = landslides((1_000, 10_000))(torch.as_tensor(mask), torch.as_tensor(truth).float())
    assert counts == {
        "predicted": 2,
        "predicted_correct": 1,
        "small": 1,
        "small_found": 0,
        "middle": 1,
        "middle_found": 1,
        "large": 0,
        "large_found": 0,
    }


def test_outlines_count_near_pixels():
    truth = torch.zeros(64, 64)
    truth[20:40, 20:40] = 1
    near, far = (torch.roll(truth, by, 1) > 0 for by in (2, 8))
    assert (
        outlines(near, truth)["boundary_true_near"] == outlines(near, truth)["boundary_true"] == 76
    )
    assert outlines(far, truth)["boundary_true_near"] < 40


def test_false_alarms_count_images_and_pixels():
    quiet, loud = torch.zeros(8, 8, dtype=torch.bool), torch.zeros(8, 8, dtype=torch.bool)
    loud[:2, :3] = True
    assert list(false_alarms([quiet, loud, quiet]).values()) == [3, 1, 192, 6]


def test_a_row_has_them_all(root, tmp_path):
    (data,) = named_data("bijie-blocks", root=root)
    models = comparison.models(["decoder-only"], sam=busy_sam("sam_mini", 64))
    settings = {"recipe": RECIPE, "image_size": 64, "report": None}
    out = tmp_path / "rows.csv"
    sources = ["real-5", "real"]
    frame = comparison.run(
        models, sources, [0], data, out, measures=measures_for(data.name), **settings
    )
    row = frame.set_index("training_data").loc["real"]
    assert row.test_negatives == 3
    assert row.test_negative_pixels == 3 * 64 * 64
    assert row.test_small == 5
    assert 0 <= row.test_small_found <= 5
    assert row.test_boundary_true == 5 * 76
    assert frame.train_images.tolist() == [5, 30]
    first = data.parts(0, 0)[0].ids[:5]
    assert frame.train_ids[0] == " ".join(first)
    assert frame.val_ids[0] == " ".join(data.parts(0, 0)[1].ids[:5])  # no more than for training
    assert pd.isna(frame.test_large).sum() == 0


def test_ten_images_too_few_for_blocks_say_so():
    class Few(tl.data.LandslideDataset):
        ids, source = [f"i{n}" for n in range(10)], "ten"

    with pytest.raises(ValueError, match="2 items cannot be divided into 3"):
        BlockSplits(Few(), "few")
