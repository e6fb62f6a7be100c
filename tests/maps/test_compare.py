"""Is the map right? Squares whose hits, misses, areas and distances are known."""

import geopandas as gpd
import pytest
from shapely.geometry import box

import tlseg_lite as tl
from tlseg_lite.core.errors import DataError

UTM = "EPSG:32648"
GROUND = gpd.GeoDataFrame(geometry=[box(500_000, 3_000_000, 501_000, 3_001_000)], crs=UTM)


def squares(*places, side=40.0, crs=UTM):
    """Squares by their lower left corners, metres from the ground's."""
    shapes = [box(5e5 + x, 3e6 + y, 5e5 + x + side, 3e6 + y + side) for x, y in places]
    return gpd.GeoDataFrame(geometry=shapes, crs=crs)


def test_hits_misses_and_false_alarms():
    found = squares((100, 100), (400, 400), (700, 100))
    truth = squares((110, 100), (400, 700))  # the first is 10 m off: IoU 0.6
    result = tl.maps.compare(found, truth, extent=GROUND, pixel_size=1.0)
    assert result.detections.found.tolist() == [True, False]
    assert result.objects.kind.value_counts().to_dict() == {"false alarm": 2, "hit": 1, "miss": 1}
    assert result.false_alarms_per_km2 == pytest.approx(2.0, rel=0.01)
    assert result.area_found == pytest.approx(4800, rel=0.01)
    assert result.area_mapped == pytest.approx(3200, rel=0.01)
    assert result.area_common == pytest.approx(1200, rel=0.01)
    assert result.iou == pytest.approx(1200 / 6800, rel=0.01)
    assert 0 <= result.boundary_distance <= 10
    assert "1 of 2 landslides found" in repr(result)
    table = result.table()
    assert table.loc["missed", "value"] == 1


def test_size_classes_and_the_smallest_area():
    found = squares((100, 100)).geometry.tolist() + squares((500, 500), side=5).geometry.tolist()
    found = gpd.GeoDataFrame(geometry=found, crs=UTM)
    result = tl.maps.compare(found, found, extent=GROUND, pixel_size=1.0, sizes=(100.0, 1000.0))
    assert result.by_size.landslides.tolist() == [1, 0, 1]
    assert result.by_size.found.tolist() == [1, 0, 1]
    without = tl.maps.compare(found, found, extent=GROUND, pixel_size=1.0, min_area=100)
    assert len(without.detections.found) == 1


def test_another_system_of_the_inventory_changes_nothing(tmp_path):
    found, truth = squares((100, 100), (400, 400)), squares((100, 100))
    file = tmp_path / "inventory.geojson"
    truth.to_crs("EPSG:4326").to_file(file)
    result = tl.maps.compare(found, file, extent=GROUND, pixel_size=1.0)
    assert result.detections.found.tolist() == [True]
    assert result.area_common == pytest.approx(1600, rel=0.01)


def test_polygons_outside_of_the_ground_do_not_count():
    truth = squares((100, 100), (5000, 100))
    result = tl.maps.compare(squares((100, 100)), truth, extent=GROUND, pixel_size=1.0)
    assert len(result.detections.found) == 1
    assert any("outside" in note for note in result.notes)
    with pytest.raises(DataError, match="none of the 1 polygons"):
        tl.maps.compare(squares((100, 100)), squares((9000, 9000)), extent=GROUND)


def test_an_empty_map_misses_everything():
    none = gpd.GeoDataFrame(geometry=[], crs=UTM)
    result = tl.maps.compare(none, squares((100, 100)), extent=GROUND, pixel_size=1.0)
    assert (result.iou, len(result.detections.correct)) == (0.0, 0)
    assert result.boundary_distance != result.boundary_distance  # NaN: no hit


def test_arguments_out_of_range():
    both = squares((100, 100)), squares((100, 100))
    with pytest.raises(ValueError, match="pixel_size"):
        tl.maps.compare(*both, extent=GROUND, pixel_size=-1)
    with pytest.raises(ValueError, match="tolerance"):
        tl.maps.compare(*both, extent=GROUND, tolerance=-1)


def test_the_picture_counts_landslides_as_the_comparison_does(tmp_path):
    """Two polygons of the inventory that touch are one landslide in the words and in the legend."""
    import matplotlib.pyplot as plt
    import rasterio
    from map_helpers import Red, two_slides, write_scene

    scene = write_scene(tmp_path / "scene.tif", two_slides())
    found = tl.maps.predict_scene(Red(), scene, tmp_path / "map", progress=False)
    with rasterio.open(found.probability) as file:
        left, _, _, top = file.bounds
    one, other = (box(left + x, top - 60, left + x + 30, top - 30) for x in (20, 50))
    truth = gpd.GeoDataFrame(geometry=[one, other], crs=gpd.read_file(found.landslides).crs)
    result = tl.maps.compare(found, truth)
    assert len(result.objects[result.objects.kind != "false alarm"]) == 2
    figure = tl.plots.map_comparison(found, result)
    told = [text.get_text() for text in figure.legends[0].get_texts()]
    seen = result.detections
    assert told == [
        f"hit ({int(seen.found.sum())})",
        f"miss ({int((~seen.found).sum())})",
        f"false alarm ({int((~seen.correct).sum())})",
    ]
    assert len(seen.found) == 1
    plt.close(figure)
