"""Scenes, DEMs and polygons that cannot be used, said before hours of prediction; real ones too."""

import os

import geopandas as gpd
import numpy as np
import pytest
from map_helpers import Red, two_slides, write_scene
from rasterio import Affine

import tlseg_lite as tl
from tlseg_lite.core.errors import DataError, MissingDataError
from tlseg_lite.data.rasters import opened
from tlseg_lite.maps import predict_scene as predict_function

GEO = os.environ.get("TLSEG_REAL")
real = pytest.mark.skipif(GEO is None, reason="TLSEG_REAL does not say where the scenes are")


def mapped(model, scene, out, **options):
    return tl.maps.predict_scene(model, scene, out, progress=False, **options)


def levels(path):
    with opened(path) as file:
        return file.read(1)


@pytest.fixture
def scene(tmp_path):
    return write_scene(tmp_path / "scene.tif", two_slides())


@pytest.fixture
def never(monkeypatch):
    """What is wrong has to be said before hours of prediction."""

    def predicted(*_):
        raise AssertionError("a window was predicted")

    monkeypatch.setitem(predict_function.__globals__, "_predict_rows", predicted)


def test_a_dem_of_another_place_is_said_before_the_prediction(scene, tmp_path, never):
    plane = np.ones((1, 150, 220), np.float32)
    north = Affine(2, 0, 500000, 0, -2, 3500000)
    for name, about, words in (
        ("far.tif", {"transform": north}, "far.tif lies elsewhere"),
        ("world.tif", {"crs": "EPSG:4326", "transform": Affine(1e-3, 0, 10, 0, -1e-3, 60)}, "else"),
        ("none.tif", {"crs": None, "transform": None}, "both need a coordinate system"),
        ("mars.tif", {"crs": "+proj=eqc +R=3396190"}, "radii of 6378 and 3396 km"),
    ):
        dem = write_scene(tmp_path / name, plane, **about)
        with pytest.raises(DataError, match=words):
            mapped(Red(), scene, tmp_path / "map", dem=dem)
    with pytest.raises(MissingDataError, match="no raster file"):
        mapped(Red(), scene, tmp_path / "map", dem=tmp_path / "gone.tif")
    assert not (tmp_path / "map").exists()


def test_a_huge_scene_is_refused_before_it_is_sampled(tmp_path, never, monkeypatch):
    vrt = tmp_path / "huge.vrt"
    bands = "".join(f'<VRTRasterBand dataType="UInt16" band="{b}"/>' for b in (1, 2, 3))
    vrt.write_text(
        '<VRTDataset rasterXSize="8000000" rasterYSize="8000000"><SRS>EPSG:32648</SRS>'
        f"<GeoTransform>500000, 0.1, 0, 3400000, 0, -0.1</GeoTransform>{bands}</VRTDataset>"
    )
    monkeypatch.setattr("tlseg_lite.data.rasters.Raster.samples", lambda _: 1 / 0)
    with pytest.raises(OSError, match=r"needs up to \d+.* GB"):
        mapped(Red(), vrt, tmp_path / "map" / "below")
    assert not (tmp_path / "map").exists()


def test_sixteen_bits_that_are_cut_off_name_the_scene(tmp_path, never):
    values = np.random.default_rng(0).integers(1, 9000, (3, 400, 400)).astype(np.uint16)
    scene = write_scene(tmp_path / "cut.tif", values)
    scene.write_bytes(scene.read_bytes()[: scene.stat().st_size // 2])
    with pytest.raises(DataError, match=r"cut\.tif is damaged: .*Copy it again"):
        mapped(Red(), scene, tmp_path / "map")


def test_sixteen_bits_of_nothing_name_the_scene(tmp_path, never):
    nothing = write_scene(tmp_path / "zeros.tif", np.zeros((3, 80, 80), np.uint16), nodata=0)
    with pytest.raises(DataError, match=r"zeros\.tif: no valid value to take percentiles from"):
        mapped(Red(), nothing, tmp_path / "map")


@real
def test_real_scenes_with_what_does_not_belong_to_them(tmp_path, never):
    iburi, mars = f"{GEO}/geo/iburi/image/post_B4B3B2.tif", f"{GEO}/geo/mars/image/rgb.tif"
    slides = f"{GEO}/geo/balakot/inventory/landslides.shp"
    dem = f"{GEO}/geo/balakot/image/AW3D30_dem.tif"
    for scene, options, words in (
        (iburi, {"bands": (4, 3, 2)}, "has 3 bands, numbered from 1"),
        (dem, {}, "has 1 bands"),
        (iburi, {"dem": dem}, "AW3D30_dem.tif lies elsewhere"),
        (mars, {"dem": dem}, "radii of 3396 and 6378 km"),
    ):
        with pytest.raises(DataError, match=words):
            mapped(Red(), scene, tmp_path / "map", **options)
    with pytest.raises(DataError, match=r"none of the .* polygons lies in"):
        tl.data.Chips(iburi, slides, 64)
    with pytest.raises(DataError, match="different planets"):
        tl.data.Chips(mars, slides, 64)
    half = tmp_path / "half.tif"
    with open(iburi, "rb") as file:
        half.write_bytes(file.read()[: os.path.getsize(iburi) // 2])
    with pytest.raises(DataError, match=r"half\.tif is damaged"):
        mapped(Red(), half, tmp_path / "map")


@real
def test_a_real_photo_without_a_system(tmp_path, capsys):
    """A strip of a drone's photo: its pixel size is said, or taken from the training."""
    with opened(f"{GEO}/uav_scene/image.png") as file:
        strip = file.read(window=((1000, 1300), (2000, 2600)))
    scene = write_scene(tmp_path / "photo.tif", strip, crs=None, transform=None)
    model = Red()
    found = mapped(model, scene, tmp_path / "a", nodata=0, pixel_size=0.5, resolution=1.0)
    assert (found.resolution, levels(found.mask).shape) == (1.0, (150, 300))
    model.trained_on = {"ground_width": 64 * 2.0}
    found = mapped(model, scene, tmp_path / "b", nodata=0)
    assert "photo.tif has no coordinate system: a pixel is taken for 2 m" in capsys.readouterr().out
    frame = gpd.read_file(found.landslides, layer="landslides")
    total = (levels(found.mask) == 1).sum() * 2.0**2
    assert frame.area_m2.sum() == pytest.approx(total, rel=0.05)
