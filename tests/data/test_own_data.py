"""Own data: folders of images of many kinds, and chips from a scene and its polygons."""

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from map_helpers import METRES, UTM, two_slides, write_scene
from PIL import Image
from shapely.geometry import Polygon, box

import tlseg_lite as tl
from tlseg_lite.core.errors import DataError


def slides(*boxes, crs=UTM):
    """Rectangles by their pixels: left, top, right, bottom."""
    shapes = []
    for left, top, right, bottom in boxes:
        (x0, y0), (x1, y1) = METRES * (left, top), METRES * (right, bottom)
        shapes.append(box(x0, y1, x1, y0))
    return gpd.GeoDataFrame(geometry=shapes, crs=UTM).to_crs(crs)


BOTH = ((90, 60, 150, 100), (20, 20, 25, 25))


# ---- a folder ----------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """Two images of 16 bits and four bands with masks."""
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for number in (1, 2):
        values = np.full((4, 20, 30), 1000 * number, np.uint16)
        values[3] = 7
        values[:, 0, 0] = 500
        write_scene(tmp_path / "images" / f"tile{number}.tif", values)
        mask = np.zeros((20, 30), np.uint8)
        mask[5:10, 5:15] = 255
        Image.fromarray(mask).save(tmp_path / "masks" / f"tile{number}.png")
    return tmp_path


def test_sixteen_bits_are_scaled_by_the_percentiles_of_the_whole_set(folder):
    data = tl.data.Folder(folder / "images", folder / "masks")
    assert data.ids == ["tile1", "tile2"]
    high = np.percentile(np.array([1000.0, 2000.0] * 599 + [500.0, 500.0]), 99)
    assert data.scaling.high[0] == pytest.approx(high, rel=0.02)
    one, two = data[0], data[1]
    assert one["image"].shape == (3, 20, 30)
    assert float(one["mask"].sum()) == 50
    assert float(two["image"][0, 10, 10]) > float(one["image"][0, 10, 10])
    again = tl.data.Folder(folder / "images", folder / "masks", scale=data.scaling)
    assert bool((again[0]["image"] == one["image"]).all())


def test_bands_and_white_are_chosen(folder):
    data = tl.data.Folder(folder / "images", folder / "masks", bands=(4, 1, 1), scale=4000)
    assert data[0]["image"][:, 10, 10].tolist() == pytest.approx([7 / 4000, 0.25, 0.25])
    with pytest.raises(DataError, match="5"):
        tl.data.Folder(folder / "images", folder / "masks", bands=(5, 1, 1))


def test_eight_bits_are_divided_by_255(tmp_path):
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    Image.fromarray(np.full((8, 8, 3), 51, np.uint8)).save(tmp_path / "images" / "a.png")
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "masks" / "a.png")
    data = tl.data.Folder(tmp_path / "images", tmp_path / "masks")
    assert float(data[0]["image"].max()) == pytest.approx(0.2)
    (tmp_path / "masks" / "a.png").rename(tmp_path / "masks" / "b.png")
    with pytest.raises(DataError, match="a"):
        tl.data.Folder(tmp_path / "images", tmp_path / "masks")


# ---- chips -------------------------------------------------------------------------------------


@pytest.fixture
def scene(tmp_path):
    return write_scene(tmp_path / "scene.tif", two_slides(256, 256))


def test_masks_of_chips_are_the_polygons(scene):
    chips = tl.data.Chips(scene, slides(*BOTH), 64)
    assert len(chips) == 16
    total = sum(float(item["mask"].sum()) for item in chips)
    assert total == 60 * 40 + 5 * 5
    row, column = 64, 64
    item = chips[chips.ids.index(f"r{row:05d}-c{column:05d}")]
    assert bool((item["mask"][0] > 0)[:36, 26:].all())  # rows 64 to 99, columns 90 to 127


def test_polygons_in_another_system_and_crossed_ones_are_mended(scene, capsys):
    there = tl.data.Chips(scene, slides(*BOTH, crs="EPSG:4326"), 64)
    assert sum(float(item["mask"].sum()) for item in there) == pytest.approx(2425, abs=8)
    (x, y), (a, b) = METRES * (90, 60), METRES * (150, 100)
    crossed = gpd.GeoDataFrame(geometry=[Polygon([(x, y), (a, b), (a, y), (x, b)])], crs=UTM)
    chips = tl.data.Chips(scene, crossed, 64)
    assert any("repaired" in note for note in chips.notes)
    assert sum(float(item["mask"].sum()) for item in chips) == pytest.approx(1200, rel=0.05)


def test_no_pixel_is_in_two_parts(tmp_path):
    values = np.random.default_rng(0).integers(0, 255, (3, 512, 512)).astype(np.uint8)
    scene = write_scene(tmp_path / "s.tif", values)
    many = [(x, y, x + 20, y + 20) for x in range(10, 480, 60) for y in range(10, 480, 60)]
    chips = tl.data.Chips(scene, slides(*many), 32, 16, block=4)
    seen = np.zeros((3, 512, 512), bool)
    for part, subset in enumerate(tl.data.split(chips, (0.5, 0.25, 0.25), seed=1)):
        assert len(subset)
        for name in subset.ids:
            row, column = (int(p[1:]) for p in name.split("-"))
            seen[part, row : row + 32, column : column + 32] = True
    assert seen.sum(0).max() == 1


def test_ground_is_never_divided_by_the_numbers_of_the_chips(scene, tmp_path, capsys):
    from tlseg_lite.cli.commands import main

    polygons = tmp_path / "inventory.gpkg"
    slides(*BOTH).to_file(polygons)
    data = ["--data", "scene", "--scene", str(scene), "--polygons", str(polygons), "--chip", "64"]
    how = ["--recipe", "laptop", "--blocks", "5", "--out", str(tmp_path / "run")]
    assert main(["train", *data, *how, "--quiet"]) == 1
    assert "leave --blocks out" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_negatives_are_all_none_or_a_share(scene):
    every, positive, half, equal = (
        len(tl.data.Chips(scene, slides(*BOTH), 64, negatives=n)) for n in (True, False, 0.5, 1)
    )
    assert every == 16
    assert equal == 2 * positive
    assert half == positive + round(0.5 * positive)


def test_what_cannot_be_cut_is_refused(scene, tmp_path):
    with pytest.raises(DataError, match="none of the 1 polygons"):
        tl.data.Chips(scene, slides((9000, 9000, 9100, 9100)), 64)
    with pytest.raises(DataError, match="less than a chip"):
        tl.data.Chips(scene, slides(*BOTH), 512)
    with pytest.raises(ValueError, match="stride"):
        tl.data.Chips(scene, slides(*BOTH), 64, 0)
    with rasterio.open(scene) as file:
        empty = np.zeros((3, file.height, file.width), np.uint8)
    nothing = write_scene(tmp_path / "empty.tif", empty, nodata=0)
    with pytest.raises(DataError, match="holds a landslide"):
        tl.data.Chips(nothing, slides(*BOTH), 64)
