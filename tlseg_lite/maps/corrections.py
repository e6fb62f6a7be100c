"""A person's corrections of a map: kept beside it, so that polygons say where they come from.

The folder's ``corrected.tif`` holds what was decided (1 landslide, 0 background, 255 undecided) on
the grid of the map. mask.tif and the polygons follow from it and from the probability, now and
whenever the map is made again with another threshold. The probability stays the model's.
"""

from __future__ import annotations

import json
from pathlib import Path
from shutil import copyfile
from typing import TYPE_CHECKING, Any

import numpy as np

from tlseg_lite.core.errors import DataError, MissingDataError
from tlseg_lite.core.files import write_atomically
from tlseg_lite.data.rasters import Raster, opened
from tlseg_lite.data.vectors import read_polygons
from tlseg_lite.maps.output import (
    BLOCK,
    CORRECTED,
    MANIFEST,
    NODATA,
    mapped_rows,
    write_mask,
    write_plain,
)
from tlseg_lite.maps.polygons import LAYER, write_polygons
from tlseg_lite.maps.zonal import pixel_boxes

if TYPE_CHECKING:
    import geopandas as gpd


def write_corrected(
    found: Any,
    mask: Any,
    window: tuple[int, int] | None = None,
    *,
    transform: Any = None,
    valid: Any = None,
    area: Any = None,
    dem: str | Path | None = None,
) -> int:
    """Write a corrected mask into a map: its mask.tif and its polygons follow.

    Inside the window the mask replaces the map; a polygon that reaches out of it keeps its part
    outside. Polygons with a pixel that differs from what the model said, in them or beside them,
    get the `origin` "corrected"; the others stay "automatic". Area, perimeter and probabilities
    are computed anew. A later correction of the same pixels counts; a rectangle that is corrected
    to what it was changes nothing. Corrected polygons stay whatever the map's smallest area.

    Rewrites landslides.gpkg: give changes that were made in that file in a GIS as polygons,
    from a copy.

    Args:
        found: a `Map`, its folder, or the landslides.gpkg in it.
        mask: (H, W), bool or 0 and above 0 (landslide), on pixels of the map; or polygons of
            landslides: a vector file or a GeoDataFrame, in any system of the same planet.
        window: row and column of the mask's first pixel on the map; it may reach out of the map.
        transform: affine transform of the mask, instead of `window`; of the map's pixels.
        valid: bool (H, W), the pixels that are decided; None: all.
        area: with polygons: the ground that is decided, as polygons; without any landslide on it,
            give an empty GeoDataFrame. None: the polygons and those of the map that they touch.
        dem: heights, as for `predict_scene`; needed again where the polygons have slopes.

    Returns:
        the number of corrected polygons in the map.

    Raises:
        DataError: no finished map, or polygons that cannot be used or lie outside of it.
        ValueError: a mask, window or transform that does not fit.
    """
    folder, about = open_map(found)
    raster = _grid(folder)
    if dem is None and _has_slopes(folder):
        raise ValueError(f"the polygons in {folder} have slopes and elevations; give dem= again")
    if isinstance(mask, (str, Path)) or hasattr(mask, "geometry"):
        if window is not None or transform is not None or valid is not None:
            raise ValueError("polygons lie where they are: give area=, not a window")
        top, left, values = _burnt(folder, raster, mask, area)
    else:
        if area is not None:
            raise ValueError("area is for polygons; a mask has a window, and valid=")
        top, left = _place(window, transform, raster)
        values = _levels(mask, valid)
    _keep(folder, raster, top, left, values)
    write_mask(folder, raster, about["threshold"], about["tags"])
    about["polygons"] = write_polygons(folder, raster, dem=dem, **about["polygon_settings"])
    text = json.dumps(about, indent=1)
    write_atomically(folder / MANIFEST, lambda t: t.write_text(text, encoding="utf-8"))
    return int((_polygons(folder).origin == "corrected").sum())


def open_map(found: Any) -> tuple[Path, dict[str, Any]]:
    """The folder of a finished map and its manifest."""
    path = Path(getattr(found, "folder", found))
    folder = path if path.is_dir() else path.parent
    if not (path.exists() and (folder / MANIFEST).is_file()):
        raise MissingDataError(
            f"{path} is no map: expected a folder that predict_scene wrote, or the landslides.gpkg "
            "in one"
        )
    about = json.loads((folder / MANIFEST).read_text("utf-8"))
    if "polygon_settings" not in about:
        raise DataError(
            f"the map in {folder} is not finished, or of an older version; make it again with the "
            "same call, it goes on from where it stopped"
        )
    return folder, about


def _grid(folder: Path) -> Raster:
    """The grid of a map, as `predict_scene` had it."""
    with opened(folder / "probability.tif") as file:
        metres = file.tags().get("RESOLUTION_M")
    return Raster(folder / "probability.tif", (1,), pixel_size=float(metres) if metres else None)


def _polygons(folder: Path) -> gpd.GeoDataFrame:
    import geopandas as gpd

    return gpd.read_file(folder / "landslides.gpkg", layer=LAYER, engine="pyogrio")


def _has_slopes(folder: Path) -> bool:
    from pyogrio import read_info

    return "slope_mean_deg" in read_info(folder / "landslides.gpkg", layer=LAYER)["fields"]


def _place(window: Any, transform: Any, raster: Raster) -> tuple[int, int]:
    """Row and column of a mask's first pixel."""
    if (window is None) == (transform is None):
        raise ValueError("say where the mask lies: window=(row, column), or its transform")
    if window is not None:
        row, column = window
        if row != int(row) or column != int(column):
            raise ValueError(f"window is {window}; expected a whole row and column")
        return int(row), int(column)
    from rasterio import Affine

    own = ~raster.transform * Affine(*tuple(transform)[:6])
    column, row = own.c, own.f
    steps = np.array([own.a - 1, own.b, own.d, own.e - 1])
    if np.abs(steps).max() > 1e-4 or max(abs(row - round(row)), abs(column - round(column))) > 0.01:
        raise ValueError(
            f"the mask's transform {tuple(transform)[:6]} is not on the pixels of the map, "
            f"{tuple(raster.transform)[:6]}; resample the mask, or give polygons"
        )
    return round(row), round(column)


def _levels(mask: Any, valid: Any) -> np.ndarray:
    """uint8 (H, W): 1, 0, and `NODATA` where nothing is decided."""
    mask = np.asarray(mask)
    if mask.ndim != 2 or not mask.size:
        raise ValueError(f"the mask has the shape {mask.shape}; expected (rows, columns)")
    if mask.dtype.kind == "f" and not np.isin(mask, (0, 1)).all():
        raise ValueError("the mask holds fractions; expected bool or 0 and 1: cut a probability")
    decided = np.ones(mask.shape, bool) if valid is None else np.asarray(valid) > 0
    if decided.shape != mask.shape:
        raise ValueError(f"valid has the shape {decided.shape}, the mask {mask.shape}")
    return np.where(decided, mask > 0, NODATA).astype(np.uint8)


def _burnt(folder: Path, raster: Raster, polygons: Any, area: Any) -> tuple[int, int, np.ndarray]:
    """First row and column, and levels (H, W), of polygons on the map's grid."""
    from rasterio import Affine
    from rasterio.features import rasterize

    crs = raster.crs and raster.crs.to_wkt()
    shapes: list = []
    if area is None or isinstance(polygons, (str, Path)) or len(polygons):
        shapes = list(read_polygons(polygons, crs, "the corrected polygons")[0].geometry)
    if area is None:
        own = _polygons(folder).geometry
        ground = shapes + list(own.iloc[np.unique(own.sindex.query(shapes, "intersects")[1])])
    else:
        ground = list(read_polygons(area, crs, "the polygons of the area")[0].geometry)
    bounds = np.array([shape.bounds for shape in ground])
    boxes = pixel_boxes(raster.transform, bounds, (raster.height, raster.width))
    (top, left), (bottom, right) = boxes[:, :2].min(0), boxes[:, 2:].max(0)
    if left >= right or top >= bottom:
        raise DataError(
            "the corrected polygons lie outside of the map: another place, or the wrong coordinate "
            "system"
        )
    about = {
        "out_shape": (bottom - top, right - left),
        "transform": raster.transform * Affine.translation(left, top),
        "dtype": "uint8",
    }
    values = rasterize(ground, fill=NODATA, default_value=0, **about)
    if shapes:
        values[(rasterize(shapes, **about) == 1) & (values == 0)] = 1
    return int(top), int(left), values


def _keep(folder: Path, raster: Raster, top: int, left: int, values: np.ndarray) -> None:
    """Add what is decided to corrected.tif."""
    rows = slice(max(top, 0), min(top + values.shape[0], raster.height))
    columns = slice(max(left, 0), min(left + values.shape[1], raster.width))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        raise ValueError(
            f"the mask of {values.shape[1]} x {values.shape[0]} pixels at row {top}, column {left} "
            f"lies outside of the map of {raster.width} x {raster.height}"
        )
    values = values[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    path = folder / CORRECTED
    place = (rows.start, rows.stop), (columns.start, columns.stop)

    def write(temporary: Path) -> None:
        if path.is_file():
            copyfile(path, temporary)
        else:
            empty = mapped_rows(lambda own: np.full_like(own, NODATA), folder / "probability.tif")
            write_plain(temporary, empty, raster, words="decided: 1 landslide, 0 background")
        with opened(temporary, "r+") as file:
            for start in range(*place[0], BLOCK):
                stop = min(start + BLOCK, place[0][1])
                where = (start, stop), place[1]
                new = values[start - place[0][0] : stop - place[0][0]]
                old = file.read(1, window=where)
                file.write(np.where(new == NODATA, old, new), 1, window=where)

    write_atomically(path, write)
