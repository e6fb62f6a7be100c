"""Corrections by hand: polygons follow, say where they come from, and nothing is lost."""

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from map_helpers import METRES, UTM, Red, two_slides, write_scene
from rasterio import Affine
from shapely.geometry import box

import tlseg_lite as tl
from tlseg_lite.core.errors import DataError, MissingDataError

PIXEL = 4 / 0.9996**2  # square metres of ground: at the central meridian


@pytest.fixture
def made(tmp_path):
    """A map of a slide of 40 x 60 pixels at (60, 90) and one of 5 x 5 at (20, 10)."""
    scene = write_scene(tmp_path / "scene.tif", two_slides())
    return tl.maps.predict_scene(Red(), scene, tmp_path / "map", simplify=0, progress=False)


def polygons(made):
    return gpd.read_file(made.landslides, layer="landslides")


def mask_of(made):
    with rasterio.open(made.mask) as file:
        return file.read(1)


def on_map(left, top, right, bottom):
    """A box of pixels in the map's coordinates."""
    return box(*(METRES * (left, bottom)), *(METRES * (right, top)))


def test_a_window_replaces_what_it_covers(made):
    assert set(polygons(made).origin) == {"automatic"}
    window = np.zeros((40, 30), bool)  # over the right half of the larger one, and nothing there
    window[10:20, :10] = True
    assert tl.maps.write_corrected(made, window, (60, 120)) == 1
    frame = polygons(made)
    pixels = 40 * 30 + 100
    assert frame.area_m2.to_numpy() == pytest.approx(np.array([pixels, 25]) * PIXEL, rel=1e-4)
    assert frame.perimeter_m[0] == pytest.approx(2 * (160 / 0.9996), rel=1e-4)  # 40 + 40 wide, high
    assert frame.origin.tolist() == ["corrected", "automatic"]
    assert frame.scene.tolist() == ["scene.tif"] * 2
    expected = two_slides()[0] > 127
    expected[60:100, 120:150] = window
    assert (mask_of(made) == expected).all()


def test_a_new_one_and_one_that_goes(made):
    new = np.ones((8, 6), np.uint8)
    assert tl.maps.write_corrected(made.folder, new, (130, 200)) == 1
    assert tl.maps.write_corrected(made.landslides, np.zeros((30, 30)), (10, 0)) == 1
    frame = polygons(made)
    assert frame.area_m2.to_numpy() == pytest.approx(np.array([2400, 48]) * PIXEL, rel=1e-4)
    assert frame.origin.tolist() == ["automatic", "corrected"]
    assert frame.mean_probability[1] < 0.5  # the model's, who saw none there


def test_what_is_confirmed_or_undecided_stays_automatic(made):
    seen = mask_of(made)[50:110, 80:160]
    assert tl.maps.write_corrected(made, seen, (50, 80)) == 0
    nothing = np.zeros((20, 20), bool)
    assert tl.maps.write_corrected(made, nothing, (60, 90), valid=nothing) == 0
    assert polygons(made).area_m2[0] == pytest.approx(2400 * PIXEL, rel=1e-4)
    # an edge that lost pixels is a corrected edge, also where the polygon holds none of them
    assert tl.maps.write_corrected(made, np.zeros((40, 5)), (60, 90)) == 1
    assert tl.maps.write_corrected(made, np.ones((40, 5)), (60, 90)) == 0  # taken back


def test_it_may_reach_out_of_the_map(made):
    assert tl.maps.write_corrected(made, np.ones((20, 20)), (-10, -10)) == 1
    assert tl.maps.write_corrected(made, np.ones((300, 300)), (149, 219)) == 2
    assert mask_of(made)[:10, :10].all()
    with pytest.raises(ValueError, match="outside of the map of 220 x 150"):
        tl.maps.write_corrected(made, np.ones((20, 20)), (200, 0))


def test_a_transform_says_where(made):
    place = METRES * Affine.translation(200, 130)
    assert tl.maps.write_corrected(made, np.ones((8, 6)), transform=place) == 1
    assert polygons(made).geometry[1].equals(on_map(200, 130, 206, 138))
    for other in (place * Affine.scale(2), place * Affine.translation(0.5, 0)):
        with pytest.raises(ValueError, match="not on the pixels of the map"):
            tl.maps.write_corrected(made, np.ones((8, 6)), transform=other)


def test_polygons_replace_those_that_they_touch(made, tmp_path):
    redrawn = gpd.GeoDataFrame(geometry=[on_map(100, 70, 160, 90)], crs=UTM)
    redrawn.to_crs("EPSG:4326").to_file(tmp_path / "redrawn.geojson")
    assert tl.maps.write_corrected(made, tmp_path / "redrawn.geojson") == 1
    frame = polygons(made)
    assert frame.area_m2.to_numpy() == pytest.approx(np.array([1200, 25]) * PIXEL, rel=0.03)
    none = gpd.GeoDataFrame(geometry=[], crs=UTM)
    area = gpd.GeoDataFrame(geometry=[on_map(0, 0, 30, 30)], crs=UTM)
    assert tl.maps.write_corrected(made, none, area=area) == 1
    assert len(polygons(made)) == 1
    far = gpd.GeoDataFrame(geometry=[box(0, 0, 10, 10)], crs=UTM)
    with pytest.raises(DataError, match="outside of the map"):
        tl.maps.write_corrected(made, far)


def test_another_threshold_keeps_them_and_a_restart_refuses(made, tmp_path):
    scene = tmp_path / "scene.tif"
    tl.maps.write_corrected(made, np.ones((8, 6)), (130, 200))
    options = {"simplify": 0, "progress": False}
    again = tl.maps.predict_scene(
        Red(), scene, made.folder, threshold=0.9, min_area=1000, **options
    )
    assert polygons(again).origin.tolist() == ["automatic", "corrected"]  # 48 pixels: they stay
    with pytest.raises(FileExistsError, match="corrections by hand"):
        tl.maps.predict_scene(Red(), scene, made.folder, restart=True, **options)
    (made.folder / "corrected.tif").unlink()
    again = tl.maps.predict_scene(Red(), scene, made.folder, **options)
    assert set(polygons(again).origin) == {"automatic"}


def test_nodata_stays_nodata(tmp_path):
    values = two_slides()
    values[:, :, 200:] = 0
    scene = write_scene(tmp_path / "scene.tif", values, nodata=0)
    found = tl.maps.predict_scene(Red(), scene, tmp_path / "map", simplify=0, progress=False)
    tl.maps.write_corrected(found, np.ones((10, 20)), (130, 190))
    assert (mask_of(found)[:, 200:] == 255).all()
    assert polygons(found).area_m2[1] == pytest.approx(100 * PIXEL, rel=1e-4)


def test_slopes_need_the_heights_again(tmp_path):
    scene = write_scene(tmp_path / "scene.tif", two_slides())
    heights = np.zeros((1, 150, 220), np.float32)
    heights[0] = np.arange(220) * 2.0
    dem = write_scene(tmp_path / "dem.tif", heights)
    found = tl.maps.predict_scene(Red(), scene, tmp_path / "map", dem=dem, progress=False)
    with pytest.raises(ValueError, match="give dem= again"):
        tl.maps.write_corrected(found, np.ones((8, 6)), (130, 200))
    tl.maps.write_corrected(found, np.ones((8, 6)), (130, 200), dem=dem)
    assert polygons(found).slope_mean_deg[1] == pytest.approx(45, abs=0.1)


def test_a_scene_without_a_system(tmp_path):
    scene = write_scene(tmp_path / "s.tif", two_slides(), crs=None, transform=None)
    options = {"simplify": 0, "progress": False, "pixel_size": 3.0}
    found = tl.maps.predict_scene(Red(), scene, tmp_path / "map", **options)
    assert tl.maps.write_corrected(found, np.ones((10, 10)), (130, 200)) == 1
    assert polygons(found).area_m2.to_numpy() == pytest.approx(np.array([2400, 100, 25]) * 9)


def test_bad_masks(made, tmp_path):
    good, here = np.ones((4, 4), bool), (10, 10)
    for mask, options, words in (
        (np.ones((1, 4, 4)), {"window": here}, r"expected \(rows, columns\)"),
        (np.full((4, 4), 0.3), {"window": here}, "holds fractions"),
        (good, {}, "say where the mask lies"),
        (good, {"window": here, "transform": METRES}, "say where the mask lies"),
        (good, {"window": (0.5, 1)}, "whole row and column"),
        (good, {"window": here, "valid": np.ones((4, 5))}, "valid has the shape"),
        (good, {"window": here, "area": "ground.gpkg"}, "area is for polygons"),
        ("redrawn.gpkg", {"window": here}, "give area="),
    ):
        with pytest.raises(ValueError, match=words):
            tl.maps.write_corrected(made, mask, **options)
    with pytest.raises(MissingDataError, match="is no map"):
        tl.maps.write_corrected(tmp_path / "other.gpkg", good, here)
    (made.folder / "map.json").write_text('{"about": {}}')
    with pytest.raises(DataError, match="not finished, or of an older version"):
        tl.maps.write_corrected(made, good, here)
