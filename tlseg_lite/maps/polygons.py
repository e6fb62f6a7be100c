"""From a mask to polygons: areas, outlines, what the model was sure of, a file for QGIS."""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlseg_lite.core.files import write_atomically
from tlseg_lite.data.rasters import Raster, corners, equal_area, opened
from tlseg_lite.maps.output import CORRECTED, LEVELS, NODATA, mapped_rows, write_plain
from tlseg_lite.maps.zonal import heights, probabilities

if TYPE_CHECKING:
    import geopandas as gpd

LAYER = "landslides"


def write_polygons(
    folder: Path,
    raster: Raster,
    *,
    min_area: float = 0.0,
    simplify: float | None = None,
    dem: str | Path | None = None,
    fields: Mapping[str, str] | None = None,
) -> int:
    """landslides.gpkg and footprint.gpkg from the mask.tif and probability.tif in `folder`.

    A landslide is a connected set of mask pixels (neighbours in eight directions). Columns:
    ``id``, ``area_m2`` and ``perimeter_m`` (of the outline as written, in an equal-area system
    around the scene), ``mean_probability`` and ``max_probability`` (of the pixels, in [0, 1]), with
    `dem` also ``slope_mean_deg``, ``elevation_min_m``, ``elevation_max_m``, and `fields`;
    ``origin`` is "automatic", or "corrected" where corrected.tif changed a pixel in it or beside
    it. Without a coordinate system areas go by the raster's resolution, or are pixels where nobody
    knows it.

    Args:
        folder: of the map.
        raster: its grid.
        min_area: smaller ones are left out, square metres; corrected ones stay.
        simplify: how far an outline may move, metres; None: half a pixel.
        dem: a raster of heights in metres, in any system of the same planet.
        fields: text columns to add.

    Returns:
        the number of landslides.

    Raises:
        DataError: `dem` has no system, or lies elsewhere.
    """
    frame = outlines(folder / "mask.tif", raster)
    frame["origin"] = _origins(folder, frame, raster)
    names = ["mean_probability", "max_probability"]
    frame[names] = probabilities(folder / "probability.tif", frame.geometry)
    if dem is not None:
        names = ["slope_mean_deg", "elevation_min_m", "elevation_max_m"]
        frame[names] = heights(dem, frame.geometry)
    side = 0.5 * (raster.resolution or 1.0) if simplify is None else simplify
    frame = measured(frame, raster, side)
    smallest = np.where(frame.origin == "corrected", 1e-9, max(min_area, 1e-9))
    frame = frame[frame.area_m2 >= smallest].sort_values("area_m2", ascending=False)
    frame.insert(0, "id", np.arange(1, len(frame) + 1))
    for name, value in (fields or {}).items():
        frame[name] = value
    save(frame, folder / "landslides.gpkg", LAYER, STYLE)
    _write_footprint(folder, raster)
    return len(frame)


def outlines(mask: Path, raster: Raster) -> gpd.GeoDataFrame:
    """A polygon of each connected set of pixels that hold 1, read block by block."""
    import geopandas as gpd
    import rasterio
    from rasterio.features import shapes
    from shapely.geometry import shape

    with opened(mask) as file:
        band = rasterio.band(file, 1)
        found = shapes(band, mask=band, connectivity=8, transform=raster.transform)
        found = [shape(outline) for outline, value in found if value == 1]
    crs = raster.crs and raster.crs.to_wkt()
    return gpd.GeoDataFrame(geometry=gpd.GeoSeries(found, crs=crs))


def _traced(folder: Path, rows: Iterator[np.ndarray], raster: Raster) -> gpd.GeoDataFrame:
    """Polygons of the pixels that are 1 in uint8 rows of the map."""
    plain = folder / ".traced.part.tif"
    try:
        write_plain(plain, rows, raster)
        return outlines(plain, raster)
    finally:
        plain.unlink(missing_ok=True)


def _origins(folder: Path, frame: gpd.GeoDataFrame, raster: Raster) -> np.ndarray:
    """ "automatic" or "corrected" for each polygon of the mask."""
    origins = np.full(len(frame), "automatic", object)
    if not (folder / CORRECTED).is_file():
        return origins
    with opened(folder / "mask.tif") as file:
        cut = float(file.tags()["THRESHOLD"]) * LEVELS

    def changed(levels: np.ndarray, decided: np.ndarray) -> np.ndarray:
        known = (levels != NODATA) & (decided != NODATA)
        return (known & (decided != (levels > cut))).astype(np.uint8)

    rows = mapped_rows(changed, folder / "probability.tif", folder / CORRECTED)
    places = _traced(folder, rows, raster)  # of the same corners, so neighbours touch
    origins[frame.sindex.query(places.geometry, predicate="intersects")[1]] = "corrected"
    return origins


def _write_footprint(folder: Path, raster: Raster) -> None:
    """footprint.gpkg: one multipolygon of the pixels that are not nodata."""
    import geopandas as gpd
    from shapely.geometry import Polygon

    def valid() -> Iterator[np.ndarray]:
        return mapped_rows(lambda v: (v != NODATA).astype(np.uint8), folder / "mask.tif")

    if all(rows.all() for rows in valid()):  # most scenes; tracing takes its time
        h, w = raster.height, raster.width
        shape = Polygon(corners(raster.transform, [(0, 0), (h, 0), (h, w), (0, w)]))
        parts = gpd.GeoSeries([shape], crs=raster.crs and raster.crs.to_wkt())
    else:
        parts = _traced(folder, valid(), raster)
    whole = gpd.GeoDataFrame(geometry=[parts.union_all()], crs=parts.crs)
    save(measured(whole, raster, 0), folder / "footprint.gpkg", "footprint")


def measured(frame: gpd.GeoDataFrame, raster: Raster, simplify: float) -> gpd.GeoDataFrame:
    """The frame, outlines simplified by at most `simplify` metres, ``area_m2``, ``perimeter_m``."""
    frame = frame.copy()
    if frame.crs is None:
        metres = raster.resolution or 1.0  # of a pixel; its size in the file's own unit:
        unit = abs(np.linalg.det(np.reshape(tuple(raster.transform)[:6], (2, 3))[:, :2])) ** 0.5
        factor = metres / unit
        if simplify:
            frame.geometry = frame.geometry.simplify(simplify / factor)
        frame["area_m2"] = frame.area * factor**2
        frame["perimeter_m"] = frame.length * factor
        return frame
    metric = local_metric(frame.crs, raster)
    flat = frame.geometry.to_crs(metric)
    if simplify:
        flat = flat.simplify(simplify)
        frame.geometry = flat.to_crs(frame.crs)
    frame["area_m2"], frame["perimeter_m"] = flat.area, flat.length
    return frame


def local_metric(crs: Any, raster: Raster):
    """An equal-area system in metres around the middle of a scene."""
    ((x, y),) = corners(raster.transform, [(raster.height / 2, raster.width / 2)])
    return equal_area(crs, x, y)


def save(frame: gpd.GeoDataFrame, path: Path, layer: str, style: str = "") -> None:
    """A GeoPackage of one layer, written whole or not at all, with its style for QGIS."""

    def write(temporary: Path) -> None:
        named = temporary.with_suffix(".gpkg")  # GDAL wants the suffix
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "'crs' was not provided")
            frame.to_file(named, layer=layer, driver="GPKG", engine="pyogrio")
        if style:
            _add_style(named, layer, style)
        named.replace(temporary)

    write_atomically(path, write)


def _add_style(path: Path, layer: str, qml: str) -> None:
    """QGIS reads its default style from the table layer_styles of the GeoPackage."""
    from contextlib import closing

    with closing(sqlite3.connect(path)) as base, base:
        base.execute(
            "CREATE TABLE layer_styles (id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, "
            "f_table_catalog TEXT, f_table_schema TEXT, f_table_name TEXT, f_geometry_column TEXT, "
            "styleName TEXT, styleQML TEXT, styleSLD TEXT, useAsDefault BOOLEAN, "
            "description TEXT, owner TEXT, ui TEXT, "
            "update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')))"
        )
        base.execute(
            "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, "
            "f_geometry_column, styleName, styleQML, styleSLD, useAsDefault, description, owner) "
            "VALUES ('', '', ?, 'geom', 'landslides', ?, '', 1, '', '')",
            (layer, qml),
        )
        base.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier, description, srs_id) "
            "VALUES ('layer_styles', 'attributes', 'layer_styles', '', 0)"
        )


STYLE = """<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis styleCategories="Symbology" version="3.22">
 <renderer-v2 type="singleSymbol" symbollevels="0" enableorderby="0">
  <symbols>
   <symbol type="fill" name="0" alpha="1" clip_to_extent="1">
    <layer class="SimpleFill" enabled="1" pass="0" locked="0">
     <Option type="Map">
      <Option type="QString" name="color" value="230,159,0,70"/>
      <Option type="QString" name="style" value="solid"/>
      <Option type="QString" name="outline_color" value="230,159,0,255"/>
      <Option type="QString" name="outline_style" value="solid"/>
      <Option type="QString" name="outline_width" value="0.5"/>
      <Option type="QString" name="outline_width_unit" value="MM"/>
     </Option>
     <prop k="color" v="230,159,0,70"/>
     <prop k="style" v="solid"/>
     <prop k="outline_color" v="230,159,0,255"/>
     <prop k="outline_style" v="solid"/>
     <prop k="outline_width" v="0.5"/>
     <prop k="outline_width_unit" v="MM"/>
    </layer>
   </symbol>
  </symbols>
 </renderer-v2>
</qgis>
"""
"""Orange outlines with a transparent filling, as in the book's figures."""
