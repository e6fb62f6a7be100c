"""What rasters say inside of each polygon, in one pass over their rows however many there are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlseg_lite.core.errors import DataError
from tlseg_lite.data.rasters import Raster, corners, opened, same_planet
from tlseg_lite.maps.output import LEVELS, NODATA

if TYPE_CHECKING:
    import geopandas as gpd

ROWS = 256  # of a raster that are looked at together


def probabilities(path: Path, polygons: gpd.GeoSeries) -> np.ndarray:
    """Mean and largest probability of the pixels of each polygon: (N, 2), in [0, 1]."""
    total, count, largest = np.zeros((3, len(polygons)))
    with opened(path) as file:
        for values, owner, core in _zones(file, polygons, small=False):
            inside = (owner[core] >= 0) & (values[core] != NODATA)
            who, levels = owner[core][inside], values[core][inside]
            total += np.bincount(who, levels, len(polygons))
            count += np.bincount(who, minlength=len(polygons))
            np.maximum.at(largest, who, levels)
    return np.stack([total / np.maximum(count, 1), largest], 1) / LEVELS


def check_dem(dem: str | Path, scene: Raster) -> None:
    """DataError unless the DEM and the scene have systems of one planet, and some ground in common.

    Also MissingDataError, where there is no DEM.
    """
    import geopandas as gpd
    from shapely.geometry import MultiPoint, Polygon

    grid = _on_one_planet(dem, scene.crs and scene.crs.to_wkt())
    h, w = scene.height, scene.width
    edge = [(h * i / 8, w * j / 8) for i in range(9) for j in range(9) if {i, j} & {0, 8}]
    x, y = zip(*corners(scene.transform, edge), strict=True)
    spots = gpd.GeoSeries.from_xy(x, y, crs=scene.crs.to_wkt()).to_crs(grid.crs.to_wkt())
    known = np.isfinite(spots.x) & np.isfinite(spots.y)  # else far from where the system holds
    place = MultiPoint(list(spots[known])).convex_hull
    h, w = grid.height, grid.width
    ground = Polygon(corners(grid.transform, [(0, 0), (0, w), (h, w), (h, 0)]))
    if not place.intersects(ground):
        raise DataError(
            f"{dem} lies elsewhere: it covers {np.round(ground.bounds, 5).tolist()} in its system, "
            f"and the scene {np.round(place.bounds, 5).tolist()}; give the DEM of the scene's place"
        )


def _on_one_planet(dem: str | Path, crs: Any) -> Raster:
    """The DEM, if the scene, which has the system `crs`, is on its planet."""
    grid = Raster(dem, (1,))
    if grid.crs is None or crs is None:
        raise DataError(f"{dem} and the scene both need a coordinate system to lay one on another")
    same_planet(crs, grid.crs.to_wkt(), "the scene and its DEM")
    return grid


def heights(dem: str | Path, polygons: gpd.GeoSeries) -> np.ndarray:
    """Mean slope in degrees, lowest and highest elevation of each polygon: (N, 3).

    NaN outside of the DEM and where it has no data. A polygon smaller than its pixels takes the one
    that it lies in.

    Raises:
        DataError: the DEM or the polygons have no system, or they lie on different planets.
    """
    grid = _on_one_planet(dem, polygons.crs)
    size = len(polygons)
    total, count = np.zeros((2, size))
    lowest, highest = np.full(size, np.inf), np.full(size, -np.inf)
    with opened(dem) as file:
        for values, owner, core in _zones(file, polygons.to_crs(grid.crs.to_wkt())):
            z = values.astype(np.float64)
            if file.nodata is not None:
                z[values == file.nodata] = np.nan
            slope = _slope(z, *grid.native)[core]
            z, owner = z[core], owner[core]
            known = (owner >= 0) & np.isfinite(slope)
            total += np.bincount(owner[known], slope[known], size)
            count += np.bincount(owner[known], minlength=size)
            known = (owner >= 0) & np.isfinite(z)
            np.minimum.at(lowest, owner[known], z[known])
            np.maximum.at(highest, owner[known], z[known])
    found = np.full((size, 3), np.nan)
    found[:, 0] = np.divide(total, count, out=found[:, 0], where=count > 0)
    some = np.isfinite(lowest)
    found[some, 1], found[some, 2] = lowest[some], highest[some]
    return found


def _slope(z: np.ndarray, across: float, down: float) -> np.ndarray:
    """Degrees; NaN where there are no neighbours."""
    if min(z.shape) < 2:
        return np.full(z.shape, np.nan)
    return np.degrees(np.arctan(np.hypot(*np.gradient(z, down, across))))


def _zones(
    file: Any, polygons: gpd.GeoSeries, small: bool = True
) -> Iterator[tuple[np.ndarray, np.ndarray, tuple[slice, slice]]]:
    """Values (h, w) of some rows, the polygon that each pixel is in (-1: none), what of it counts.

    A pixel is in the polygon that its middle is in; polygons do not overlap. Where some may be
    `small`, between the middles of all pixels, each also has the pixel that it lies in. Rows and
    columns beside those that count are neighbours, for slopes.
    """
    from rasterio.features import rasterize
    from rasterio.windows import Window

    if not len(polygons):
        return
    boxes = pixel_boxes(file.transform, polygons.bounds.to_numpy(), file.shape)
    inside = (boxes[:, :2] < boxes[:, 2:]).all(1)
    if not inside.any():
        return
    shapes = [list(polygons)]
    if small:
        shapes.insert(0, list(polygons.representative_point()))
    top, left = boxes[inside, :2].min(0)
    bottom, right = boxes[inside, 2:].max(0)
    for start in range(top, bottom, ROWS):
        stop = min(start + ROWS, bottom)
        here = np.flatnonzero(inside & (boxes[:, 0] < stop) & (boxes[:, 2] > start))
        if not here.size:
            continue
        x, y = max(left - 1, 0), max(start - 1, 0)
        window = Window(x, y, min(right + 1, file.width) - x, min(stop + 1, file.height) - y)
        values = file.read(1, window=window)
        burnt = [(several[i], i) for several in shapes for i in here.tolist()]
        owner = rasterize(
            burnt, values.shape, -1, transform=file.window_transform(window), dtype="int32"
        )
        yield values, owner, np.s_[start - y : stop - y, left - x : right - x]


def pixel_boxes(transform: Any, bounds: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The pixels that boxes of coordinates touch, on a grid that may be rotated.

    Args:
        transform: affine transform of the grid.
        bounds: (N, 4), smallest x and y, largest x and y.
        shape: of the grid; a box outside of it is empty.

    Returns:
        int (N, 4): first row, first column, and the row and column behind the last.
    """
    a, b, c, d, e, f = tuple(~transform)[:6]
    x, y = bounds[:, [0, 0, 2, 2]], bounds[:, [1, 3, 1, 3]]
    columns, rows = a * x + b * y + c, d * x + e * y + f
    first = np.floor(np.stack([rows.min(1), columns.min(1)], 1) + 1e-6)
    last = np.ceil(np.stack([rows.max(1), columns.max(1)], 1) - 1e-6)
    return np.clip(np.concatenate([first, last], 1), 0, [*shape, *shape]).astype(np.int64)
