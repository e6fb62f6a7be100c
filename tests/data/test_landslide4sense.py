"""The Landslide4Sense reader: HDF5 layout, channels, values, and errors that name the file."""

import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from tlseg_lite.data import DataError, Landslide4Sense, MissingDataError
from tlseg_lite.data.landslide4sense import BANDS

RNG = np.random.default_rng(0)


def write(path, **arrays):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values
    return path


def patch():
    return RNG.uniform(0.5, 2.5, (128, 128, 14))


def mask(top=1):
    values = np.zeros((128, 128), np.uint8)
    values[10:20, 30:50] = top
    return values


@pytest.fixture
def root(tmp_path):
    """Three training patches, numbered so that plain sorting would be wrong, and two for test."""
    for number in (1, 2, 10):
        write(tmp_path / f"TrainData/img/image_{number}.h5", img=patch())
        top = 255 if number == 2 else 1
        write(tmp_path / f"TrainData/mask/mask_{number}.h5", mask=mask(top))
    write(tmp_path / "ValidData/img/image_1.h5", img=patch())
    write(tmp_path / "TestData/img/image_5.h5", img=patch())
    write(tmp_path / "TestData/mask/mask_5.h5", mask=mask())
    return tmp_path


def test_layout_and_order(root):
    data = Landslide4Sense(root)
    assert data.ids == ["image_1", "image_2", "image_10"]
    assert data.source == "3 Landslide4Sense train patches"
    assert Landslide4Sense(root, "test").ids == ["image_5"]
    assert Landslide4Sense(root / "TrainData").ids == data.ids
    assert Landslide4Sense(str(root.parent / root.name), "valid", masks=False).ids == ["image_1"]
    data.check()


def test_layout_with_images_and_annotations(root, tmp_path):
    shutil.move(root / "TrainData/img", tmp_path / "images/train")
    shutil.move(root / "TrainData/mask", tmp_path / "annotations/train")
    assert len(Landslide4Sense(tmp_path)) == 3


def test_rgb_is_the_stored_value_with_one_gain(root):
    item = Landslide4Sense(root)[2]
    with h5py.File(root / "TrainData/img/image_10.h5") as file:
        stored = file["img"][()]
    assert item["image"].dtype == item["mask"].dtype == torch.float32
    assert item["image"].shape == (3, 128, 128)
    for place, channel in enumerate((3, 2, 1)):  # red, green, blue
        expected = (stored[..., channel] * 37 / 255).clip(0, 1)
        np.testing.assert_allclose(item["image"][place], expected, atol=1e-6)
    assert [BANDS[channel].name for channel in (3, 2, 1)] == ["B4", "B3", "B2"]
    np.testing.assert_array_equal(item["mask"][0].numpy(), mask())


def test_masks_with_255_are_the_same(root):
    data = Landslide4Sense(root)
    assert torch.equal(data[1]["mask"], data[0]["mask"])


def test_other_bands_are_as_stored(root):
    with h5py.File(root / "TrainData/img/image_1.h5") as file:
        stored = file["img"][()].astype(np.float32)
    every = Landslide4Sense(root, bands="all")[0]["image"]
    np.testing.assert_array_equal(every.numpy(), stored.transpose(2, 0, 1))
    two = Landslide4Sense(root, bands=(12, 7))[0]["image"]
    np.testing.assert_array_equal(two.numpy(), stored[..., [12, 7]].transpose(2, 0, 1))
    assert (BANDS[12].name, BANDS[13].name, len(BANDS)) == ("slope", "elevation", 14)


def test_workers_open_files_of_their_own(root):
    batch = next(iter(DataLoader(Landslide4Sense(root), batch_size=3, num_workers=1)))
    assert batch["image"].shape == (3, 3, 128, 128)


def test_two_original_files(real_data, tmp_path):
    for number in (1, 2):
        source = real_data / f"landslide4sense_h5/{number}.h5"
        (tmp_path / "TrainData/img").mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, tmp_path / f"TrainData/img/image_{number}.h5")
        write(tmp_path / f"TrainData/mask/mask_{number}.h5", mask=mask())
    data = Landslide4Sense(tmp_path)
    data.check()
    for item in data:
        red, green, blue = item["image"].mean(dim=(1, 2)).tolist()
        assert 0.1 < min(red, green, blue) < max(red, green, blue) < 0.3  # as the PNG samples
        assert item["image"].max() < 1  # nothing cut off
    every = Landslide4Sense(tmp_path, bands="all")[0]["image"]
    means = every.mean(dim=(1, 2))
    assert means.min() > 0.8
    assert means.max() < 1.9  # stored values lie around 1
    alone = Landslide4Sense(real_data / "landslide4sense_h5", masks=False)
    assert alone.ids == ["1", "2"]
    assert set(alone[0]) == {"image", "id"}
    assert torch.equal(alone[0]["image"], data[0]["image"])
    with pytest.raises(MissingDataError, match="masks=False"):
        Landslide4Sense(real_data / "landslide4sense_h5")


def test_pairs_are_made_by_number(root):
    folder = root / "TrainData"
    (folder / "mask/mask_2.h5").rename(folder / "mask/mask_3.h5")
    with pytest.raises(MissingDataError, match=r"no mask in .* for 1 of 3 images: image_2\.h5"):
        Landslide4Sense(root)
    write(folder / "mask/mask_2.h5", mask=mask())
    with pytest.raises(DataError, match=r"belong to no image: mask_3\.h5"):
        Landslide4Sense(root)
    (folder / "mask/mask_3.h5").unlink()
    write(folder / "img/picture_2.h5", img=patch())
    with pytest.raises(DataError, match="same number"):
        Landslide4Sense(root)
    (folder / "img/picture_2.h5").rename(folder / "img/picture.h5")
    with pytest.raises(DataError, match="no number at its end"):
        Landslide4Sense(root)


def test_missing_folders_are_named(root, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Landslide4Sense(tmp_path / "nowhere")
    with pytest.raises(MissingDataError, match="no folder with their masks"):
        Landslide4Sense(root, "validation")
    with pytest.raises(MissingDataError, match="holds img, mask, which is not where part 'test'"):
        Landslide4Sense(root / "TrainData", "test")
    (tmp_path / "empty/TrainData/img").mkdir(parents=True)
    with pytest.raises(MissingDataError, match=r"no \.h5 files"):
        Landslide4Sense(tmp_path / "empty")
    with pytest.raises(MissingDataError, match="is empty"):
        Landslide4Sense(tmp_path / "empty/TrainData/img")


def test_wrong_settings_are_refused(root):
    with pytest.raises(ValueError, match="part is 'training'"):
        Landslide4Sense(root, "training")
    for bands in ("RGB", (), (0, 14), (-1,), (1.0,), (True,)):
        with pytest.raises(ValueError, match="bands is"):
            Landslide4Sense(root, bands=bands)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"img": np.zeros((128, 128, 12))}, "shape 128x128x12; expected 128x128x14"),
        ({"img": np.zeros((14, 128, 128))}, "shape 14x128x128"),
        ({"img": np.float64(1)}, "shape scalar"),
        ({"mask": np.zeros((128, 128))}, "no dataset 'img' but mask"),
        ({}, "but nothing"),
        ({"img": "text"}, "no array of numbers"),
        ({"img/inside": np.zeros(3)}, "no array of numbers"),
        ({"img": np.full((128, 128, 14), np.nan)}, "229376 NaN or infinite"),
    ],
)
def test_bad_images_are_named(root, arrays, words):
    path = write(root / "TrainData/img/image_2.h5", **arrays)
    data = Landslide4Sense(root)
    with pytest.raises(DataError, match=words) as caught:
        data[1]
    assert str(path) in str(caught.value)
    assert data[0]["id"] == "image_1"


def test_infinity_in_an_unused_channel_is_found_too(root):
    values = patch()
    values[3, 4, 13] = np.inf
    write(root / "TrainData/img/image_1.h5", img=values)
    with pytest.raises(DataError, match="1 NaN or infinite"):
        Landslide4Sense(root)[0]


def test_bad_masks_and_damaged_files_are_reported_at_once(root):
    write(root / "TrainData/mask/mask_1.h5", mask=np.zeros((64, 64), np.uint8))
    write(root / "TrainData/mask/mask_2.h5", mask=np.full((128, 128), -1, np.int16))
    path = root / "TrainData/img/image_10.h5"
    path.write_bytes(path.read_bytes()[:3000])
    data = Landslide4Sense(root)
    with pytest.raises(DataError, match="3 of 3 items") as caught:
        data.check()
    for words in (
        "64x64; expected 128x128",
        "has values -1;",
        "image_10.h5 cannot be read as HDF5",
    ):
        assert words in str(caught.value)
    path.unlink()
    with pytest.raises(MissingDataError, match="is gone"):
        data[2]


DIVISORS = np.array([band.divisor for band in BANDS])


def part(values, fill):
    changed = values.copy()
    changed[:3, :5] = fill
    return changed


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: x * DIVISORS, r"channel 0 \(B1\) .*stored values are raw / 1111\.81"),
        (lambda x: x * DIVISORS / 1e4, "Reflectances from 0 to 1: multiply by 10000"),
        (lambda x: x / x.max() * 255, r"channel 0 \(B1\) holds"),
        (lambda x: x - x.mean(), "Normalised values: undo that"),
        (lambda x: part(x, -9999), r"holds -9999 to .*missing pixels"),
        (lambda x: part(x, 65535), "to 65535; .*missing pixels"),
        (lambda x: part(x, 0), "15 pixels are 0 in all 12 optical channels"),
        (lambda x: np.where(np.arange(14) == 12, 60.0, x), r"channel 12 \(slope\) .*degrees"),
        (lambda x: np.where(np.arange(14) == 13, 800.0, x), r"channel 13 \(elevation\) .*metres"),
    ],
)
def test_other_units_and_fill_values_are_named(root, change, words):
    path = write(root / "TrainData/img/image_1.h5", img=change(patch()))
    for bands in ("rgb", "all"):
        with pytest.raises(DataError, match=words) as caught:
            Landslide4Sense(root, bands=bands)[0]
        assert str(path) in str(caught.value)


def test_clouds_water_and_the_sea_are_no_other_unit(root):
    """Reflectance 1.2 in every band; 0.09 and less as the air over water has; 3 m below the sea."""
    cloud = np.ones((128, 128, 14)) * 12_000 / DIVISORS
    water = np.ones((128, 128, 14)) * ([1000, 750, 500, 300] + [100] * 8 + [0, -3]) / DIVISORS
    for values in (cloud, water):
        values[..., 12] = 0
        values[..., 13] = np.minimum(values[..., 13], 1)
        write(root / "TrainData/img/image_1.h5", img=values)
        assert Landslide4Sense(root)[0]["image"].isfinite().all()


def test_masks_are_not_guessed(root):
    path = root / "TrainData/mask/mask_1.h5"
    for values, words in (
        (mask() + 3 * (mask() == 0), "values 1, 3;"),
        (part(mask(), 255), "values 0, 1, 255; .*ignore=255"),
        (part(mask(), 0.5).astype(float) * 0.5, "values 0, 0.5; .*binarise"),
    ):
        write(path, mask=values)
        with pytest.raises(DataError, match=rf"mask_1\.h5 has {words}"):
            Landslide4Sense(root)[0]
    write(path, mask=part(mask(), 255))
    item = Landslide4Sense(root, ignore=255)[0]
    np.testing.assert_array_equal(item["mask"][0].numpy(), mask())
    assert item["valid"].numel() - item["valid"].sum() == 15


def test_good_files_that_cannot_be_read_now(root):
    path = root / "TrainData/img/image_1.h5"
    code = f"import h5py; f = h5py.File({str(path)!r}, 'a'); print(1, flush=True); input()"
    other = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    other.stdout.readline()
    with pytest.raises(DataError, match=r"image_1\.h5 is locked: another program") as caught:
        Landslide4Sense(root)[0]
    other.communicate(b"\n")
    assert "damaged" not in str(caught.value)
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_chunk((128, 128, 14))
    settings.set_filter(32004, h5py.h5z.FLAG_OPTIONAL)  # LZ4, which h5py does not bring
    with h5py.File(path, "w") as file:
        space = h5py.h5s.create_simple((128, 128, 14))
        made = h5py.h5d.create(file.id, b"img", h5py.h5t.NATIVE_DOUBLE, space, settings)
        made.write_direct_chunk((0, 0, 0), patch().tobytes())
    with pytest.raises(DataError, match=r"image_1\.h5: /img .*not installed \(32004") as caught:
        Landslide4Sense(root)[0]
    assert "damaged" not in str(caught.value)
    path.unlink()
    path.mkdir()
    with pytest.raises(DataError, match=r"image_1\.h5 cannot be opened: Is a directory"):
        Landslide4Sense(root)[0]


@settings(max_examples=40, deadline=None)
@given(
    dtype=st.sampled_from(["u1", "i1", "u2", "i4", "f2", "f4", "f8", "bool"]),
    values=st.lists(st.sampled_from([0, 1, 2, 100, 255, -1]), min_size=1, max_size=3),
    seed=st.integers(0, 99),
)
def test_any_hdf5_mask_is_read_exactly_or_refused(tmp_path_factory, dtype, values, seed):
    folder = tmp_path_factory.mktemp("any") / "TrainData"
    stored = np.random.default_rng(seed).choice(np.array(values), (128, 128))
    stored = stored.astype(dtype)
    write(folder / "img/image_1.h5", img=patch())
    write(folder / "mask/mask_1.h5", mask=stored)
    plain = any(set(np.unique(stored).tolist()) <= pair for pair in ({0, 1}, {0, 255}))
    if plain:
        item = Landslide4Sense(folder)[0]
        np.testing.assert_array_equal(item["mask"][0].numpy(), stored > 0)
    else:
        with pytest.raises(DataError, match=r"mask_1\.h5 has values"):
            Landslide4Sense(folder)[0]
