"""A valley: the same for a seed, georeferenced, with the landslides that its label shows."""

import numpy as np
import pytest
import rasterio

import tlseg_lite as tl
from tlseg_lite.scenes import make_valley


@pytest.fixture(scope="module")
def valley():
    return make_valley(3, (640, 512))


def test_it_depends_on_its_arguments_only(valley):
    again, other = make_valley(3, (640, 512)), make_valley(4, (640, 512))
    assert (again.image == valley.image).all()
    assert (again.label == valley.label).all()
    assert again.corner == valley.corner != other.corner
    assert (other.image != valley.image).mean() > 0.5


def test_files_agree_with_the_arrays(valley, tmp_path):
    folder = valley.write(tmp_path / "v")
    with rasterio.open(folder / "scene.tif") as scene, rasterio.open(folder / "dem.tif") as dem:
        assert (scene.read() == valley.image).all()
        assert (dem.read(1) == valley.height).all()
        assert scene.transform == dem.transform
        assert scene.crs.to_epsg() == 32648
        assert scene.res == (1.6, 1.6)
        assert "synthetic" in scene.tags()["SOURCE"]


def test_the_inventory_is_the_label_in_square_metres(valley, tmp_path):
    inventory = valley.inventory()
    assert len(inventory) >= 3
    assert inventory.area.sum() == pytest.approx(valley.label.sum() * 1.6**2)
    folder = valley.write(tmp_path)
    chips = tl.data.Chips(folder / "scene.tif", folder / "inventory.gpkg", 128, negatives=False)
    row, column = (int(part[1:]) for part in chips.ids[0].split("-"))
    truth = valley.label[row : row + 128, column : column + 128]
    assert (chips[0]["mask"][0].numpy() > 0).tolist() == truth.tolist()


def test_landslides_are_bright_and_on_slopes(valley):
    grey = valley.image.mean(0)
    assert grey[valley.label].mean() > 1.1 * grey[~valley.label].mean()
    slope = np.degrees(np.arctan(np.hypot(*np.gradient(valley.height, 1.6))))
    assert np.median(slope[valley.label]) > 8


@pytest.mark.parametrize("wrong", [{"size": 200}, {"gsd": 5.0}, {"gsd": 0}, {"seed": -1}])
def test_arguments_out_of_range(wrong):
    with pytest.raises(ValueError, match="expected at least 256 pixels"):
        make_valley(**{"seed": 0, "size": 256} | wrong)
