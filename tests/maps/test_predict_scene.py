"""A scene becomes a map: the same whoever makes it, without seams, with clear errors."""

import itertools
import os
import warnings

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import torch
from map_helpers import METRES, Near, Red, two_slides, write_scene
from rasterio import Affine

import tlseg_lite as tl
from tlseg_lite.core.errors import DataError, MissingDataError
from tlseg_lite.data.scaling import Scaling
from tlseg_lite.maps import output
from tlseg_lite.maps import predict_scene as predict_function
from tlseg_lite.maps.output import beside
from tlseg_lite.maps.windows import Blend, Windows

GEO = os.environ.get("TLSEG_REAL")
real = pytest.mark.skipif(GEO is None, reason="TLSEG_REAL does not say where the scenes are")


def mapped(model, scene, out, **options):
    return tl.maps.predict_scene(model, scene, out, progress=False, **options)


def levels(path):
    with rasterio.open(path) as file:
        return file.read(1)


@pytest.fixture
def scene(tmp_path):
    return write_scene(tmp_path / "scene.tif", two_slides())


# ---- windows and blending ----------------------------------------------------------------------


@pytest.mark.parametrize("overlap", [0, 0.25, 0.5, 0.7])
@pytest.mark.parametrize("size", [(64, 64), (65, 200), (30, 90), (133, 64)])
def test_windows_cover_every_pixel_and_stay_inside(size, overlap):
    windows = Windows.of(*size, 64, overlap)
    seen = np.zeros(size, int)
    for row in windows.rows:
        for column in windows.columns:
            assert row + 64 <= max(size[0], 64)
            assert column + 64 <= max(size[1], 64)
            seen[row : row + 64, column : column + 64] += 1
    assert seen.min() >= 1
    ends = [windows.finished(i) for i in range(len(windows.rows))]
    assert ends[0][0] == 0
    assert ends[-1][1] == size[0]
    assert all(a[1] == b[0] for a, b in itertools.pairwise(ends))


@pytest.mark.parametrize("overlap", [0.125, 0.25, 0.5])
def test_weights_of_neighbours_add_up_to_one(overlap):
    windows = Windows.of(64, 1000, 64, overlap)
    line = np.sqrt(np.diag(windows.weights()))
    stride = windows.stride
    assert np.allclose(line[stride:] + line[: 64 - stride], 1, atol=1e-6)


def test_blending_gives_back_what_all_windows_agree_on():
    windows = Windows.of(100, 130, 64, 0.4)
    truth = np.random.default_rng(0).normal(size=(100, 130)).astype(np.float32)
    blend, parts = Blend(windows, 1), []
    for index, row in enumerate(windows.rows):
        for column in windows.columns:
            part = truth[None, row : row + 64, column : column + 64]
            blend.add(row, column, part, np.ones((64, 64), bool))
        parts.append(blend.take(windows.finished(index)[1])[0][0])
    assert np.allclose(np.concatenate(parts), truth, atol=1e-5)


# ---- the map -----------------------------------------------------------------------------------


def test_every_pixel_is_what_the_model_says(scene, tmp_path):
    found = mapped(Red(), scene, tmp_path / "map")
    truth = 1 / (1 + np.exp(-20 * (two_slides()[0] / 255 - 0.5)))
    with rasterio.open(found.probability) as file:
        stored = file.read(1)
        assert (file.crs, file.transform, file.nodata) == ("EPSG:32648", METRES, 255)
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert file.scales[0] == pytest.approx(1 / 254)
        assert {"MODEL", "SCENE", "COMMIT", "OVERLAP"} <= set(file.tags())
    assert np.abs(stored / 254 - truth).max() <= 0.5 / 254 + 1e-6  # rounding, nothing else
    assert (levels(found.mask) == (truth > 0.5)).all()
    assert (found.folder / "quicklook.png").is_file()
    assert not (found.folder / "parts").exists()


def test_polygons_have_the_area_of_the_ground(scene, tmp_path):
    found = mapped(Red(), scene, tmp_path / "map", simplify=0)
    frame = gpd.read_file(found.landslides, layer="landslides")
    assert frame.crs == "EPSG:32648"
    # at the central meridian a metre of UTM is 1 / 0.9996 m of ground
    areas = np.array([40 * 60, 5 * 5]) * 4 / 0.9996**2
    assert frame.area_m2.to_numpy() == pytest.approx(areas, rel=1e-4)
    assert frame.perimeter_m[0] == pytest.approx(400 / 0.9996, rel=1e-4)
    assert frame.mean_probability[0] == pytest.approx(1, abs=0.01)
    assert list(frame.scene) == ["scene.tif"] * 2
    large = mapped(Red(), scene, tmp_path / "map", min_area=1000)  # only the polygons change
    assert large.polygons == 1
    assert not (large.folder / "parts").exists()


def test_the_style_is_in_the_geopackage(scene, tmp_path):
    import sqlite3
    from contextlib import closing

    found = mapped(Red(), scene, tmp_path / "map")
    with closing(sqlite3.connect(found.landslides)) as base:
        rows = base.execute("SELECT f_table_name, useAsDefault, styleQML FROM layer_styles")
        name, default, qml = rows.fetchone()
    assert (name, default) == ("landslides", 1)
    assert "<qgis" in qml


def test_batches_workers_and_restarts_do_not_change_the_map(scene, tmp_path, monkeypatch):
    torch.manual_seed(0)
    model = tl.TransLandSeg(tl.load_sam("sam_mini", image_size=64), tl.DESIGNS["TransLandSeg"])
    whole = levels(mapped(model, scene, tmp_path / "a").probability)
    assert len(np.unique(whole)) > 20
    for size in (1, 6, 64):
        other = levels(mapped(model, scene, tmp_path / f"b{size}", batch_size=size).probability)
        assert (whole == other).all()

    kept = output.Folder.keep

    def killed(self, index, values):
        kept(self, index, values)
        if index == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(output.Folder, "keep", killed)
    with pytest.raises(KeyboardInterrupt):
        mapped(model, scene, tmp_path / "c")
    assert not (tmp_path / "c" / "probability.tif").exists()
    monkeypatch.setattr(output.Folder, "keep", kept)
    calls = []
    answers = predict_function.__globals__["tasks"]
    monkeypatch.setitem(
        predict_function.__globals__, "tasks", lambda *a: calls.append(a[1]) or answers(*a)
    )
    assert (levels(mapped(model, scene, tmp_path / "c").probability) == whole).all()
    assert min(calls) > 0, "finished rows were predicted again"


def test_two_processes_make_the_same_map(scene, tmp_path):
    pytest.importorskip("distributed")
    model = tl.build_baseline("transunet", image_size=64, seed=0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as many as a worker has
    try:
        here = levels(mapped(model, scene, tmp_path / "a").probability)
    finally:
        torch.set_num_threads(threads)
    there = levels(mapped(model, scene, tmp_path / "b", workers=2, batch_size=4).probability)
    assert (here == there).all()


def seams(model, folder, overlap, seed=3):
    """How much more a map of one texture varies at the borders of windows than anywhere.

    A texture of 16 x 16 pixels is repeated, with noise on it, and windows begin with its period,
    so without noise and borders all periods would look the same. Returns the root mean square
    deviation from the mean period on the two pixels beside each border of a window, and that on as
    many lines of pixels at random places, many times over.
    """
    random = np.random.default_rng(seed)
    tile = np.tile(random.integers(90, 200, (16, 16)), (40, 40))
    values = np.clip(tile + random.normal(0, 12, tile.shape), 0, 255).astype(np.uint8)
    scene = write_scene(folder / f"texture-{overlap}-{seed}.tif", np.stack([values] * 3))
    found = mapped(model, scene, folder / f"map-{overlap}-{seed}", overlap=overlap)
    inner = levels(found.probability)[64:-64, 64:-64] / 254
    mean = inner.reshape(32, 16, 32, 16).mean((0, 2))
    columns = ((inner - np.tile(mean, (32, 32))) ** 2).mean(0)
    stride = round(64 * (1 - overlap))
    at = np.array([c + side for c in range(stride, len(columns), stride) for side in (-1, 0)])
    # the same phases of the texture, elsewhere
    others = np.arange(0, len(columns), 16)
    elsewhere = [
        columns[(at + random.choice(others, len(at))) % len(columns)].mean() for _ in range(500)
    ]
    return np.sqrt(columns[at].mean()), np.sqrt(elsewhere)


def test_overlap_takes_the_seams_away(tmp_path):
    """Without overlap borders stand out of the noise by far; blended they are within it."""
    cut, elsewhere = seams(Near(), tmp_path, 0)
    assert cut > elsewhere.max()
    for seed in (3, 4, 5):
        blended, elsewhere = seams(Near(), tmp_path, 0.5, seed)
        assert blended < np.quantile(elsewhere, 0.99)
        assert cut > 20 * blended


def test_eight_views_and_their_spread(scene, tmp_path):
    found = mapped(Red(), scene, tmp_path / "map", views=8, uncertainty=True)
    spread = levels(found.folder / "uncertainty.tif")
    assert (spread == 0).all()  # turning changes nothing for a model of single pixels
    pair = [Red(), Red()]
    with torch.no_grad():
        pair[1].gain.mul_(0.1)
    found = mapped(pair, scene, tmp_path / "two", uncertainty=True)
    a, b = (1 / (1 + np.exp(-gain * (220 / 255 - 0.5))) for gain in (20, 2))
    spread = levels(found.folder / "uncertainty.tif")[80, 120] * 0.5 / 254
    assert spread == pytest.approx(abs(a - b) / 2, abs=0.002)
    with pytest.raises(ValueError, match="views=8, or several models"):
        mapped(Red(), scene, tmp_path / "none", uncertainty=True)


def test_the_ground_resolution_of_the_training_counts(tmp_path):
    model = Red()
    model.trained_on = {"ground_width": 64 * 4.0}
    fine = np.repeat(np.repeat(two_slides(), 2, 1), 2, 2)  # the same ground with 1 m pixels
    steps = Affine(1, 0, 500000, 0, -1, 3400000)
    found = mapped(model, write_scene(tmp_path / "fine.tif", fine, transform=steps), tmp_path / "a")
    assert found.resolution == pytest.approx(4)
    assert levels(found.probability).shape == (75, 110)
    found = mapped(model, tmp_path / "fine.tif", tmp_path / "b", resolution=1.0)
    assert levels(found.probability).shape == (300, 440)
    coarse = write_scene(tmp_path / "coarse.tif", two_slides(), transform=METRES)
    model.trained_on = {"ground_width": 64 * 1.0}
    found = mapped(model, coarse, tmp_path / "c")  # keeps its pixels; windows are 32 of them
    assert levels(found.probability).shape == (150, 220)
    assert found.windows > 80


def test_threshold_and_scaling_are_kept_with_the_model(tmp_path):
    values = (two_slides().astype(np.uint16)) * 10
    scene = write_scene(tmp_path / "scene.tif", values)
    model = Red()
    scaling = Scaling((1, 2, 3), (0.0,) * 3, (2550.0,) * 3)
    model.trained_on = {"scaling": scaling.as_dict(), "threshold": 1.0}
    model.save(tmp_path / "model.safetensors")
    again = tl.load_model(tmp_path / "model.safetensors")
    assert again.trained_on == model.trained_on
    found = mapped(again, scene, tmp_path / "map")
    assert found.threshold == pytest.approx(1 / (1 + np.exp(-1)))
    assert found.polygons == 2
    with pytest.raises(DataError, match="8 bits"):
        mapped(again, write_scene(tmp_path / "8.tif", two_slides()), tmp_path / "other")


# ---- what is missing, odd, or wrong ------------------------------------------------------------


def test_nodata_stays_nodata_also_inside_a_window(tmp_path):
    values = two_slides()
    values[:, 70:90, 100:120] = 0  # a hole in the landslide
    values[:, :, 200:] = 0
    scene = write_scene(tmp_path / "scene.tif", values, nodata=0)
    found = mapped(Red(), scene, tmp_path / "map", simplify=0)
    assert ((levels(found.probability) == 255) == (values == 0).all(0)).all()
    area = gpd.read_file(found.landslides, layer="landslides").area_m2.max()
    assert area == pytest.approx((2400 - 400) * 4 / 0.9996**2, rel=1e-4)
    valid = gpd.read_file(found.footprint).area_m2[0]
    assert valid == pytest.approx((values != 0).all(0).sum() * 4 / 0.9996**2, rel=1e-4)
    plain = write_scene(tmp_path / "plain.tif", values)
    assert (levels(mapped(Red(), plain, tmp_path / "b", nodata=0).probability) == 255).any()


def test_a_scene_without_a_system_says_what_it_assumes(tmp_path, capsys):
    scene = write_scene(tmp_path / "s.tif", two_slides(), crs=None, transform=None)
    model = Red()
    model.trained_on = {"ground_width": 64 * 3.0}
    found = mapped(model, scene, tmp_path / "map", simplify=0)
    assert "a pixel is taken for 3 m" in capsys.readouterr().out
    assert found.resolution == 3
    frame = gpd.read_file(found.landslides, layer="landslides")
    assert frame.area_m2[0] == pytest.approx(2400 * 9)


def test_degrees_are_measured_in_metres(tmp_path):
    """10 m pixels at 60 degrees north: a degree of longitude is half as long as on the equator."""
    step = 1e-4
    place = Affine(step, 0, 10, 0, -step, 60)
    scene = write_scene(tmp_path / "s.tif", two_slides(), crs="EPSG:4326", transform=place)
    found = mapped(Red(), scene, tmp_path / "map", simplify=0)
    assert found.resolution == pytest.approx(5.58, abs=0.02)
    assert levels(found.probability).shape == (299, 220)  # square pixels: rows are halved
    frame = gpd.read_file(found.landslides, layer="landslides")
    assert frame.crs == "EPSG:4326"
    assert frame.area_m2[0] == pytest.approx(2400 * 11.14 * 5.58, rel=0.01)


def test_a_turned_scene_stays_turned(tmp_path):
    angle = np.radians(30)
    c, s = 2 * np.cos(angle), 2 * np.sin(angle)
    turned = Affine(c, s, 500000, s, -c, 3400000)
    scene = write_scene(tmp_path / "s.tif", two_slides(), transform=turned)
    found = mapped(Red(), scene, tmp_path / "map", simplify=0)
    with rasterio.open(found.probability) as file:
        assert tuple(file.transform) == pytest.approx(tuple(turned))
    frame = gpd.read_file(found.landslides, layer="landslides")
    assert frame.area_m2[0] == pytest.approx(2400 * 4 / 0.9996**2, rel=1e-4)
    corner = frame.geometry[0].bounds[0]
    assert corner == pytest.approx(500000 + c * 90 + s * 60, abs=0.1)


def test_smaller_than_a_window(tmp_path):
    scene = write_scene(tmp_path / "s.tif", two_slides()[:, 50:90, 80:120])
    found = mapped(Red(), scene, tmp_path / "map")
    assert (levels(found.mask) == (two_slides()[0, 50:90, 80:120] > 127)).all()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"bands": (1, 2, 9)}, DataError, "has 3 bands"),
        ({"bands": (1,)}, ValueError, "three"),
        ({"overlap": 1.0}, ValueError, "overlap is 1.0"),
        ({"threshold": 2}, ValueError, "probability between 0 and 1"),
        ({"views": 4}, ValueError, "views is 4"),
        ({"batch_size": 0}, ValueError, "batch_size is 0"),
        ({"min_area": -1}, ValueError, "min_area is -1"),
        ({"resolution": 0}, ValueError, "resolution is 0"),
        ({"resolution": 1e6}, DataError, r"1e\+06 m is larger than .*150 pixels of 2"),
        ({"scheduler": "tcp://127.0.0.1:1"}, OSError, "no Dask scheduler answers at 'tcp"),
        ({"workers": 1, "scheduler": "tcp://here:1"}, ValueError, "give one"),
    ],
)
def test_bad_arguments(scene, tmp_path, options, error, words):
    with pytest.raises(error, match=words):
        mapped(Red(), scene, tmp_path / "map", **options)


def test_bad_scenes(tmp_path):
    with pytest.raises(MissingDataError, match="no raster file"):
        mapped(Red(), tmp_path / "none.tif", tmp_path / "map")
    (tmp_path / "text.tif").write_text("no raster")
    with pytest.raises(DataError, match="cannot be read as a raster"):
        mapped(Red(), tmp_path / "text.tif", tmp_path / "map")
    nothing = write_scene(tmp_path / "0.tif", np.zeros((3, 80, 80), np.uint8), nodata=0)
    with pytest.raises(DataError, match="all is nodata"):
        mapped(Red(), nothing, tmp_path / "map")
    cut = write_scene(tmp_path / "cut.tif", two_slides())
    data = cut.read_bytes()
    cut.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"damaged|cannot be read"):
        mapped(Red(), cut, tmp_path / "broken")


def test_a_raster_larger_than_the_disk(tmp_path):
    vrt = tmp_path / "huge.vrt"
    bands = "".join(f'<VRTRasterBand dataType="Byte" band="{b}"/>' for b in (1, 2, 3))
    vrt.write_text(
        '<VRTDataset rasterXSize="8000000" rasterYSize="8000000"><SRS>EPSG:32648</SRS>'
        f"<GeoTransform>500000, 0.1, 0, 3400000, 0, -0.1</GeoTransform>{bands}</VRTDataset>"
    )
    with pytest.raises(OSError, match=r"needs up to \d+.* GB"):
        mapped(Red(), vrt, tmp_path / "map")


def test_the_folder_of_another_run_is_refused(scene, tmp_path):
    mapped(Red(), scene, tmp_path / "map")
    with pytest.raises(ValueError, match=r"overlap was 0\.5, now 0\.25"):
        mapped(Red(), scene, tmp_path / "map", overlap=0.25)
    other = Red()
    with torch.no_grad():
        other.gain.mul_(2)
    with pytest.raises(ValueError, match="models was"):
        mapped(other, scene, tmp_path / "map")
    mapped(other, scene, tmp_path / "map", restart=True)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    with pytest.raises(FileExistsError, match="no map"):
        mapped(Red(), scene, tmp_path / "photos", restart=True)


def test_heights_of_polygons(scene, tmp_path):
    x = np.arange(220) * 2.0
    plane = np.repeat(x[None] * 0.5, 150, 0)[None].astype(np.float32)  # rises by one half
    dem = write_scene(tmp_path / "dem.tif", plane)
    found = mapped(Red(), scene, tmp_path / "map", dem=dem)
    row = gpd.read_file(found.landslides, layer="landslides").iloc[0]
    assert row.slope_mean_deg == pytest.approx(np.degrees(np.arctan(0.5)), abs=0.05)
    assert (row.elevation_min_m, row.elevation_max_m) == pytest.approx((90, 149), abs=0.1)


def test_a_scene_without_nodata_has_its_corners_as_footprint(tmp_path):
    turned = METRES @ Affine.rotation(25)
    scene = write_scene(tmp_path / "s.tif", two_slides(), transform=turned)
    (shape,) = gpd.read_file(mapped(Red(), scene, tmp_path / "map").footprint).geometry
    (whole,) = shape.geoms if hasattr(shape, "geoms") else (shape,)
    corners = {(round(x, 6), round(y, 6)) for x, y in whole.exterior.coords}
    assert corners == {
        tuple(round(v, 6) for v in turned @ (x, y)) for x in (0, 220) for y in (0, 150)
    }


# ---- real scenes -------------------------------------------------------------------------------


@real
def test_mars(tmp_path):
    scene = f"{GEO}/geo/mars/image/rgb.tif"
    found = mapped(Red(), scene, tmp_path / "map", threshold=0.01)
    with rasterio.open(scene) as a, rasterio.open(found.probability) as b:
        assert (a.crs, a.shape) == (b.crs, b.shape)
    frame = gpd.read_file(found.footprint)
    assert frame.area_m2[0] == pytest.approx(512 * 640 * 230.5 * 232, rel=0.01)
    with pytest.raises(DataError, match="different planets"):
        mapped(Red(), scene, tmp_path / "map", dem=f"{GEO}/geo/balakot/image/AW3D30_dem.tif",
               threshold=0.01)  # fmt: skip


@real
def test_sixteen_bits_in_degrees_with_nodata(tmp_path, capsys):
    scene = f"{GEO}/geo/iburi/image/pre_B4B3B2.tif"
    found = mapped(Red(), scene, tmp_path / "map", overlap=0, resolution=20.0)
    assert "percentiles of the scene" in capsys.readouterr().out
    assert found.resolution == pytest.approx(20)
    nothing = (levels(found.probability) == 255).mean()
    assert 0.3 < nothing < 0.5


def test_gdal_s_cache_holds_the_tiles_of_a_window(scene):
    from rasterio.env import getenv

    from tlseg_lite.data.rasters import opened

    with opened(scene):
        assert getenv()["GDAL_CACHEMAX"] >= 16 * 2**20  # bytes; with less each read decodes anew


def test_the_quick_look_is_made_beside_and_its_error_is_not_lost():
    """What either of both says is heard, and the filters of warnings are as before."""
    filters, done = list(warnings.filters), []
    with beside(lambda: done.append("beside")):
        done.append("body")
    assert sorted(done) == ["beside", "body"]

    def fail():
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"), beside(fail):
        pass
    with pytest.raises(ValueError, match="own"), beside(lambda: None):
        raise ValueError("own")
    assert list(warnings.filters) == filters
