"""Is the map right? Landslides found and missed, false alarms, areas, distances between outlines.

Landslides are compared as in `tlseg_lite.metrics.objects`, outlines as in `metrics.boundary`: on
pixels. Only groups of polygons that lie together are drawn, one after another, on one fixed grid,
so the memory follows the largest group and not the scene.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlseg_lite.core.errors import DataError
from tlseg_lite.data.rasters import equal_area
from tlseg_lite.data.vectors import read_polygons
from tlseg_lite.metrics.boundary import BoundaryMatch, boundary, boundary_f1
from tlseg_lite.metrics.objects import Detections, detect

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd

SIZES = (100.0, 1000.0, 10000.0)
"""Between the size classes, square metres."""

MOST = 200_000_000  # pixels of one group


@dataclass(frozen=True, eq=False)
class MapComparison:
    """What `compare` found. Areas are square metres, distances metres.

    Attributes:
        detections: the landslides one by one, as of `metrics.detect`.
        outlines: how much of the outlines lies within the tolerance, as of `metrics.boundary_f1`.
        objects: all polygons in the system of the map, with ``kind``: "hit" (found and mapped; the
            outline found), "miss", "false alarm", and ``area_m2``.
        area_found, area_mapped, area_common: of the map, of the inventory, of both.
        scene_area: of the ground that was compared.
        distances: from each pixel of the found outlines of hits to the outline mapped.
        sizes: the limits of the size classes.
        pixel_size: of the grid, metres.
        notes: what was assumed or repaired, in words.
    """

    detections: Detections
    outlines: BoundaryMatch
    objects: gpd.GeoDataFrame
    area_found: float
    area_mapped: float
    area_common: float
    scene_area: float
    distances: np.ndarray
    sizes: tuple[float, ...]
    pixel_size: float
    notes: list[str] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        """Landslides by kind, as in `objects`; but polygons that touch are one."""
        found, correct = self.detections.found, self.detections.correct
        numbers = {"hit": found.sum(), "miss": (~found).sum(), "false alarm": (~correct).sum()}
        return {kind: int(number) for kind, number in numbers.items()}

    @property
    def false_alarms_per_km2(self) -> float:
        """Polygons found that match no landslide, for each square kilometre of the scene."""
        return self.counts["false alarm"] / (self.scene_area / 1e6)

    @property
    def boundary_distance(self) -> float:
        """Median distance of the outlines of found landslides, metres; NaN without a hit."""
        return float(np.median(self.distances)) if self.distances.size else float("nan")

    @property
    def iou(self) -> float:
        """Common area over the area of either, in [0, 1]; 1 where both are empty."""
        either = self.area_found + self.area_mapped - self.area_common
        return self.area_common / either if either else 1.0

    @property
    def by_size(self) -> pd.DataFrame:
        """Landslides of the inventory by size class, how many and how many found."""
        return self.detections.recall_by_size(self.sizes)

    def table(self) -> pd.DataFrame:
        """All in one: a row for each size class, and below them what holds for the scene."""
        import pandas as pd

        rows, counts = [], self.counts
        for row in self.by_size.itertuples():
            last = np.isinf(row.to_area)
            name = f"from {row.from_area:g}" + ("" if last else f" to {row.to_area:g}") + " m2"
            rows.append((f"found of {row.landslides}, {name}", row.found))
        rows += [
            ("landslides mapped", len(self.detections.found)),
            ("found", counts["hit"]),
            ("missed", counts["miss"]),
            ("false alarms", counts["false alarm"]),
            ("false alarms per km2", self.false_alarms_per_km2),
            ("area found, m2", self.area_found),
            ("area mapped, m2", self.area_mapped),
            ("area in both, m2", self.area_common),
            ("IoU of the areas", self.iou),
            ("median distance of outlines, m", self.boundary_distance),
            ("boundary F1", self.outlines.f1),
        ]
        return pd.DataFrame(rows, columns=["what", "value"]).set_index("what")

    def __repr__(self) -> str:
        counts = self.counts
        return (
            f"MapComparison: {counts['hit']} of {len(self.detections.found)} landslides found, "
            f"{counts['false alarm']} false alarms "
            f"({self.false_alarms_per_km2:.2f} per km2), IoU of the areas {self.iou:.2f}"
        )


def compare(
    found: Any,
    inventory: Any,
    *,
    extent: Any = None,
    pixel_size: float | None = None,
    min_iou: float = 0.5,
    min_area: float = 0.0,
    tolerance: float | None = None,
    sizes: tuple[float, ...] = SIZES,
) -> MapComparison:
    """Compare a map with an inventory of the same ground.

    A polygon of the map and one of the inventory match when their IoU reaches `min_iou`, each at
    most once; polygons that touch count as one landslide (`metrics.detect`).

    Args:
        found: a `Map`, its folder, a vector file or a GeoDataFrame.
        inventory: a vector file or a GeoDataFrame, in any system of the same planet.
        extent: the ground that was looked at, as polygons; what lies outside is cut off. None: the
            footprint of the map, or, of bare polygons, the box around both.
        pixel_size: metres; None: that of the map, or, of bare polygons, a 20th of the side of a
            typical landslide.
        min_iou: smallest IoU of a match, in (0, 1].
        min_area: smaller landslides are left out on both sides, square metres.
        tolerance: how far apart outlines may be, metres; None: two pixels.
        sizes: limits of the size classes, square metres, rising.

    Raises:
        DataError: polygons that cannot be used, or none of the inventory lies in the extent.
        ValueError: an argument out of range.
    """
    frames = _flat(found, inventory, extent)
    pixel = pixel_size or frames.pixel_size or _typical(frames.mapped)
    if not pixel > 0:
        raise ValueError(f"pixel_size is {pixel}; expected metres above 0")
    reach = 2 * pixel if tolerance is None else tolerance
    if reach < 0:
        raise ValueError(f"tolerance is {tolerance}; expected 0 or more metres")
    none, nothing = np.zeros(0), np.zeros(0, bool)
    detections = Detections(none, nothing, none, nothing, none)
    outlines, distances, kinds = BoundaryMatch(0, 0, 0, 0), [], {}
    for group in _groups(frames.found, frames.mapped, reach + 2 * pixel):
        masks = _drawn(group, pixel)
        these = detect(*masks, min_iou=min_iou, min_area=min_area, pixel_size=pixel)
        detections += these
        outlines += boundary_f1(*masks, tolerance=reach, pixel_size=pixel)
        distances.append(_distances(masks, these, min_area / pixel**2, pixel))
        kinds |= _kinds(group, masks, these, min_area / pixel**2, pixel)
    ours, theirs = frames.found.union_all(), frames.mapped.union_all()
    return MapComparison(
        detections,
        outlines,
        _objects(frames, kinds),
        float(ours.area),
        float(theirs.area),
        float(ours.intersection(theirs).area),
        float(frames.extent.area),
        np.concatenate([none, *distances]),
        tuple(sizes),
        float(pixel),
        frames.notes,
    )


@dataclass
class _Frames:
    """Both sets of polygons in one metric system, cut to the extent, and that extent."""

    found: gpd.GeoSeries
    mapped: gpd.GeoSeries
    extent: Any
    crs: Any  # of the map
    pixel_size: float | None
    notes: list[str]


def _flat(found: Any, inventory: Any, extent: Any) -> _Frames:
    import geopandas as gpd
    from shapely.geometry import box

    found, extent, pixel = _opened(found, extent)
    crs, empty = _system(found)
    if empty:  # a map without a landslide is a map
        own, notes = gpd.GeoDataFrame(geometry=[], crs=crs), []
    else:
        own, notes = read_polygons(found, crs, "the polygons of the map")
    mapped, more = read_polygons(inventory, crs, "the polygons of the inventory")
    notes = [*notes, *more]
    ground = None
    if extent is not None:
        ground, more = read_polygons(extent, crs, "the polygons of the extent")
        notes, ground = [*notes, *more], ground.geometry
    else:
        notes.append("no extent is given: the box around all polygons is taken for the scene")
    if crs is not None:
        bounds = (mapped if ground is None else ground).total_bounds
        metric = equal_area(crs, bounds[[0, 2]].mean(), bounds[[1, 3]].mean())
        own, mapped = own.to_crs(metric), mapped.to_crs(metric)
        ground = None if ground is None else ground.to_crs(metric)
    if ground is None:
        both = [b for b in (own.total_bounds, mapped.total_bounds) if np.isfinite(b).all()]
        ground = gpd.GeoSeries([box(*np.min(both, 0)[:2], *np.max(both, 0)[2:])], crs=mapped.crs)
    area = ground.union_all()
    inside = [_cut(frame.geometry, area) for frame in (own, mapped)]
    if not len(inside[1]):
        raise DataError(
            f"none of the {len(mapped)} polygons of the inventory lies in the scene: another "
            "place, or the wrong coordinate system of one of them"
        )
    if len(inside[1]) < len(mapped):
        notes.append(f"{len(mapped) - len(inside[1])} polygons outside of the scene left out")
    return _Frames(*inside, area, crs, pixel, notes)


def _opened(found: Any, extent: Any) -> tuple[Any, Any, float | None]:
    """The polygons of a `Map`, its folder or its file; its footprint; its resolution."""
    folder = getattr(found, "folder", found)
    if not isinstance(folder, (str, Path)):
        return found, extent, None
    path = Path(folder)
    if path.is_dir():
        path = path / "landslides.gpkg"
    beside, pixel = path.parent / "footprint.gpkg", None
    if extent is None and beside.is_file():
        extent = beside
    mask = path.parent / "mask.tif"
    if mask.is_file():
        from tlseg_lite.data.rasters import opened

        with opened(mask) as file:
            pixel = float(file.tags().get("RESOLUTION_M") or 0) or None
    return path, extent, pixel


def _system(found: Any) -> tuple[Any, bool]:
    """The system of the map's polygons, and whether there are none."""
    if isinstance(found, Path):
        from pyogrio import list_layers, read_info

        if not found.exists():
            return None, False  # read_polygons says so
        about = read_info(found, layer=str(list_layers(found)[0][0]))
        crs = about["crs"]
        return (None if crs is None or "Undefined" in crs else crs), about["features"] == 0
    return found.crs, len(found) == 0


def _cut(polygons: gpd.GeoSeries, area: Any) -> gpd.GeoSeries:
    """The polygons inside `area`; those on its border are cut, single ones, index from 0."""
    parts = polygons[polygons.intersects(area)]
    inside = parts.within(area)
    cut = parts.where(inside, parts.intersection(area)).explode(ignore_index=True)
    return cut[cut.area > 0].reset_index(drop=True)


def _typical(mapped: gpd.GeoSeries) -> float:
    return float(np.sqrt(np.median(mapped.area)) / 20)


@dataclass
class _Group:
    """Polygons that lie together: their numbers in both sets, their shapes, the box around."""

    found: list[int]
    mapped: list[int]
    shapes: tuple[list, list]
    box: tuple[float, float, float, float]


def _groups(found: gpd.GeoSeries, mapped: gpd.GeoSeries, gap: float) -> Iterator[_Group]:
    """Sets of polygons that are more than `gap` metres from all others."""
    import pandas as pd
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    both = pd.concat([found, mapped], ignore_index=True)
    near = both.sindex.query(both.buffer(gap / 2).values, predicate="intersects")
    near = np.concatenate([near, near[::-1]], 1)
    size = len(both), len(both)
    _, label = connected_components(coo_matrix((np.ones(near.shape[1]), near), size), False)
    for members in pd.Series(range(len(both))).groupby(label).agg(list):
        ours = [i for i in members if i < len(found)]
        theirs = [i - len(found) for i in members if i >= len(found)]
        shapes = list(found.iloc[ours]), list(mapped.iloc[theirs])
        low_x, low_y, high_x, high_y = both.iloc[members].total_bounds
        yield _Group(ours, theirs, shapes, (low_x, low_y, high_x, high_y))


def _frame(group: _Group, pixel: float) -> tuple[tuple[int, int], Any]:
    """Shape and transform of a group's pixels, on the grid that all groups share."""
    from rasterio import Affine

    left, low, right, high = group.box
    column, row = np.floor(left / pixel) - 2, np.floor(-high / pixel) - 2
    width = int(np.ceil(right / pixel) + 2 - column)
    height = int(np.ceil(-low / pixel) + 2 - row)
    if height * width > MOST:
        raise DataError(
            f"a group of polygons covers {width} x {height} pixels of {pixel:g} m; give a larger "
            "pixel_size"
        )
    return (height, width), Affine(pixel, 0, column * pixel, 0, -pixel, -row * pixel)


def _drawn(group: _Group, pixel: float) -> tuple[np.ndarray, np.ndarray]:
    """Both sets of a group as masks, bool (H, W); a polygon has one pixel at least."""
    from rasterio.features import rasterize

    shape, transform = _frame(group, pixel)
    masks = []
    for polygons in group.shapes:
        mask = np.zeros(shape, np.uint8)
        if polygons:
            rasterize(polygons, out=mask, transform=transform, default_value=1)
        masks.append(mask > 0)
    for mask, polygons in zip(masks, group.shapes, strict=True):
        for place in _pixels(polygons, transform, shape):
            mask[place] = True
    return masks[0], masks[1]


def _pixels(polygons: list, transform: Any, shape: tuple[int, int]) -> list[tuple[int, int]]:
    """Row and column of a pixel inside of each polygon."""
    places = []
    for polygon in polygons:
        spot = polygon.representative_point()
        row = int((transform.f - spot.y) // -transform.e)
        column = int((spot.x - transform.c) // transform.a)
        places.append((min(max(row, 0), shape[0] - 1), min(max(column, 0), shape[1] - 1)))
    return places


def _components(mask: np.ndarray, smallest: float) -> np.ndarray:
    """Labels from 1 as `detect` counts its landslides; 0 outside and for those left out."""
    from scipy import ndimage

    labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
    keep = np.bincount(labels.ravel(), minlength=count + 1) >= smallest
    keep[0] = False
    return np.where(keep, np.cumsum(keep), 0)[labels]


def _kinds(
    group: _Group, masks: tuple, found: Detections, smallest: float, pixel: float
) -> dict[tuple[str, int], str]:
    """("found" or "mapped", number) -> what the polygon is."""
    shape, transform = _frame(group, pixel)
    kinds = {}
    sides = (
        ("found", group.found, group.shapes[0], masks[0], found.correct, "false alarm"),
        ("mapped", group.mapped, group.shapes[1], masks[1], found.found, "miss"),
    )
    for name, numbers, polygons, mask, good, otherwise in sides:
        labels = _components(mask, smallest)
        for number, place in zip(numbers, _pixels(polygons, transform, shape), strict=True):
            label = labels[place]
            if label:
                kinds[name, number] = "hit" if good[label - 1] else otherwise
    return kinds


def _distances(masks: tuple, found: Detections, smallest: float, pixel: float) -> np.ndarray:
    """Metres from the outline of each hit to the nearest outline of the inventory."""
    from scipy import ndimage

    hits = np.flatnonzero(found.correct) + 1
    if not hits.size:
        return np.zeros(0)
    edge, other = boundary(masks[0]), boundary(masks[1])
    ours = edge & np.isin(_components(masks[0], smallest), hits)
    return ndimage.distance_transform_edt(~other, sampling=pixel)[ours]


def _objects(frames: _Frames, kinds: dict[tuple[str, int], str]) -> gpd.GeoDataFrame:
    import geopandas as gpd

    rows = []
    for name, series in (("found", frames.found), ("mapped", frames.mapped)):
        for number, shape in enumerate(series):
            kind = kinds.get((name, number))
            if kind is None or (name, kind) == ("mapped", "hit"):
                continue
            rows.append((kind, shape.area, shape))
    table = {"kind": [r[0] for r in rows], "area_m2": [r[1] for r in rows]}
    frame = gpd.GeoDataFrame(table, geometry=[r[2] for r in rows], crs=frames.mapped.crs)
    return frame if frames.crs is None else frame.to_crs(frames.crs)
