"""Sen12Landslides: patches in the publisher's layout, the image after the event, regions."""

import json

import h5py
import numpy as np
import pytest

import tlseg_lite as tl
from tlseg_lite.cli.commands import main
from tlseg_lite.core.errors import DataError, MissingDataError
from tlseg_lite.data.sen12landslides import BANDS

STEPS = 4


def write(path, *, order=("time", "y", "x"), post=2, change=None):
    """A patch whose step t has B04 = 300 + 100 t; cloudless from step 2 on but for the third."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros((STEPS, 128, 128), "u1")
    mask[:, 20:60, 90:120] = 1  # rows 20 to 59, columns 90 to 119
    arrays = {"MASK": mask, "SCL": np.full(mask.shape, 4, "i2")}
    arrays["SCL"][2, :64] = 9  # clouds over half of the first image after the event
    for number, band in enumerate(BANDS):
        arrays[band] = np.zeros(mask.shape, "i2")
        arrays[band] += np.arange(STEPS, dtype="i2")[:, None, None] * 100 + 300 + number
    arrays |= change or {}
    with h5py.File(path, "w") as file:
        for name in ("time", "x", "y"):
            file[name] = np.arange(STEPS if name == "time" else 128, dtype=float)
            file[name].make_scale(name)
        for name, values in arrays.items():
            axes = [("time", "y", "x").index(axis) for axis in order]
            file[name] = values.transpose(axes) if values.ndim == 3 else values
            if values.ndim == 3:
                for axis, scale in enumerate(order):
                    file[name].dims[axis].attach_scale(file[scale])
        if post is not None:
            file.attrs["pre_post_dates"] = str({"pre": post - 1, "post": post})
    return path


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("sen12") / "data" / "s2"
    for region, count in (("italy", 6), ("usa_puertorico", 3), ("china", 3)):
        for number in range(count):
            write(root / f"{region}_s2_{number + 8}.nc")
    return root.parent.parent


def test_the_clearest_image_after_the_event(root):
    data = tl.data.Sen12Landslides(root)
    assert len(data) == 12
    assert data.ids[3:5] == ["italy_s2_8", "italy_s2_9"]
    assert set(data.regions) == {"italy", "usa_puertorico", "china"}
    item = data[3]
    red = (300 + 100 * 3 + BANDS.index("B04")) / 3000
    assert item["image"].shape == (3, 128, 128)
    assert float(item["image"][0, 0, 0]) == pytest.approx(red)
    assert float(item["image"][2, 0, 0]) == pytest.approx((600 + BANDS.index("B02")) / 3000)
    assert item["mask"][0, 20:60, 90:120].all()
    assert int(item["mask"].sum()) == 40 * 30
    assert bool(item["valid"].all())
    data.check()


def test_arrays_that_lie_on_their_side_are_turned(root, tmp_path):
    write(tmp_path / "s2" / "italy_s2_1.nc", order=("time", "x", "y"))
    turned = tl.data.Sen12Landslides(tmp_path)[0]
    assert bool((turned["mask"] == tl.data.Sen12Landslides(root)[0]["mask"]).all())


def test_pixels_without_data_do_not_count(tmp_path):
    red = np.full((STEPS, 128, 128), 500, "i2")
    red[3, :5, :7] = -9999
    write(tmp_path / "italy_s2_1.nc", change={"B04": red})
    item = tl.data.Sen12Landslides(tmp_path)[0]
    assert int((item["valid"] == 0).sum()) == 35
    assert float(item["image"][:, :5, :7].max()) == 0


def test_a_file_that_does_not_date_the_event_gives_its_clearest_image(tmp_path):
    classes = np.full((STEPS, 128, 128), 9, "i2")
    classes[1] = 4
    write(tmp_path / "chile_s2_1.nc", post=None, change={"SCL": classes})
    image = tl.data.Sen12Landslides(tmp_path, white=1000)[0]["image"]
    assert float(image[0, 0, 0]) == pytest.approx((400 + BANDS.index("B04")) / 1000)


def test_regions_and_the_publisher_s_split(root, tmp_path):
    assert tl.data.Sen12Landslides(root, ["china"]).ids == [f"china_s2_{n}" for n in (8, 9, 10)]
    split = tmp_path / "splits.json"
    lists = {"train": ["data/s2/italy_s2_8.nc"], "val": [], "test": ["data/s2/china_s2_9.nc"]}
    split.write_text(json.dumps(lists))
    assert tl.data.Sen12Landslides(root, split=split).ids == ["china_s2_9", "italy_s2_8"]
    assert tl.data.Sen12Landslides(root, split=split, part="test").ids == ["china_s2_9"]
    with pytest.raises(ValueError, match="unknown regions mars; there are china, italy"):
        tl.data.Sen12Landslides(root, ["mars"])
    with pytest.raises(ValueError, match="give the split"):
        tl.data.Sen12Landslides(root, part="test")
    with pytest.raises(ValueError, match="has train, val, test"):
        tl.data.Sen12Landslides(root, split=split, part="all")
    split.write_text(json.dumps({"test": ["data/s2/peru_s2_1.nc"]}))
    with pytest.raises(MissingDataError, match="1 of the 1 files"):
        tl.data.Sen12Landslides(root, split=split)
    split.write_text("[")
    with pytest.raises(DataError, match="no split"):
        tl.data.Sen12Landslides(root, split=split)


@pytest.mark.parametrize(
    ("change", "post", "told"),
    [
        ({"MASK": np.full((STEPS, 128, 128), 7, "u1")}, 2, "7"),
        ({"SCL": np.zeros(3, "i2")}, 2, "no SCL over time"),
        ({"B04": np.zeros((STEPS, 64, 64), "i2")}, 2, "expected 4x128x128"),
        ({}, 9, "number 9 of 4"),
    ],
)
def test_what_is_not_as_published_is_refused(change, post, told, tmp_path):
    write(tmp_path / "italy_s2_1.nc", change=change, post=post)
    with pytest.raises(DataError, match=told):
        tl.data.Sen12Landslides(tmp_path)[0]


def test_folders_that_hold_no_patches(tmp_path):
    with pytest.raises(MissingDataError, match="is empty"):
        tl.data.Sen12Landslides(tmp_path)
    (tmp_path / "part1.tar.gz").touch()
    with pytest.raises(MissingDataError, match="unpacked"):
        tl.data.Sen12Landslides(tmp_path)
    with pytest.raises(MissingDataError, match="no folder"):
        tl.data.Sen12Landslides(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="unknown bands"):
        tl.data.Sen12Landslides(tmp_path, bands=["B01"])
    with pytest.raises(ValueError, match="white"):
        tl.data.Sen12Landslides(tmp_path, white=0)


def test_one_command_trains_on_some_regions_and_tests_on_others(root, tmp_path, capsys):
    data = ["--data", "sen12landslides", "--root", str(root), "--test-regions", "china"]
    model = ["--model", "unet", "--recipe", "laptop", "--epochs", "1", "--quiet"]
    assert main(["train", *data, *model, "--out", str(tmp_path / "run")]) == 0
    assert ": 7, 2, 3 for training, validation, test" in capsys.readouterr().out
    report = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert sorted(report["test_ids"]) == ["china_s2_10", "china_s2_8", "china_s2_9"]
    with pytest.raises(SystemExit):
        main(["train", "--data", "synthetic", "--test-regions", "china", "--out", str(tmp_path)])
    assert "sen12landslides" in capsys.readouterr().err
    assert main(["train", *data, "--blocks", "5", *model, "--out", str(tmp_path / "b")]) == 1
    assert "leave --blocks out" in capsys.readouterr().err
    assert main(["train", *data[:-1], "mars", *model, "--out", str(tmp_path / "b")]) == 1
    assert "unknown regions mars" in capsys.readouterr().err
