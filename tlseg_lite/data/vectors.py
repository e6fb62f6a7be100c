"""Polygons from a file: read, repaired, brought into a system, with what was done in words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlseg_lite.core.errors import DataError, MissingDataError
from tlseg_lite.data.rasters import need_maps, same_planet

if TYPE_CHECKING:
    import geopandas as gpd


def read_polygons(
    source: Any, crs: Any, what: str = "the polygons", layer: str | None = None
) -> tuple[gpd.GeoDataFrame, list[str]]:
    """The polygons of a file or a GeoDataFrame in the system `crs`, and what was done to them.

    Invalid outlines are repaired (`shapely.make_valid`), empty ones left out, parts that are no
    areas dropped; each is counted in the notes.

    Args:
        source: GeoPackage, GeoJSON, shapefile, anything that GDAL reads; or a GeoDataFrame.
        crs: the system wanted; None where the scene has none, and then the polygons may have none.
        what: opens error messages.
        layer: of a file with several.

    Raises:
        MissingDataError: there is no such file.
        DataError: it cannot be read, is empty, holds points or lines, has no system where one is
            needed (or one where the scene has none), or lies on another planet.
    """
    need_maps()
    frame = _read(source, what, layer)
    if crs is None and frame.crs is not None:
        raise DataError(
            f"{what} have the system {frame.crs.name!r} and the scene has none: they cannot be "
            "laid on it. Give the scene its system in a GIS, or polygons in its own coordinates as "
            "a GeoPackage without a system (a GeoJSON always has one)"
        )
    if crs is not None and frame.crs is None:
        raise DataError(
            f"{what} have no coordinate system; say which, e.g. frame.set_crs('EPSG:32648'), or "
            "add the .prj file of the shapefile"
        )
    notes = []
    if crs is not None:
        same_planet(crs, frame.crs, f"the scene and {what}")
        if frame.crs != crs:
            notes.append(f"{what} brought from {frame.crs.name} to the scene's system")
            frame = _moved(frame, crs, what)
    return _repaired(frame, what, notes), notes


def _read(source: Any, what: str, layer: str | None) -> gpd.GeoDataFrame:
    import geopandas as gpd
    import pyogrio

    if isinstance(source, gpd.GeoDataFrame):
        frame = source
    elif not Path(source).exists():
        raise MissingDataError(f"no file {source}; give a GeoPackage, GeoJSON or shapefile")
    else:
        try:
            layer = layer or str(pyogrio.list_layers(source)[0][0])
            frame = gpd.read_file(source, layer=layer, engine="pyogrio")
        except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, IndexError) as error:
            raise DataError(
                f"{source} cannot be read as vector data ({error}); give a GeoPackage, GeoJSON or "
                "shapefile"
            ) from error
    if not isinstance(frame, gpd.GeoDataFrame) or not len(frame):
        raise DataError(f"{what} are empty: {source if not hasattr(source, 'crs') else 'no rows'}")
    return frame


def _moved(frame: gpd.GeoDataFrame, crs: Any, what: str) -> gpd.GeoDataFrame:
    import numpy as np

    try:
        moved = frame.to_crs(crs)
    except Exception as error:  # PROJ raises whatever a pair of systems leads to
        raise DataError(
            f"{what} cannot be brought from {frame.crs.name!r} to the scene's system: {error}"
        ) from error
    if len(moved) and not np.isfinite(moved.total_bounds).all():
        raise DataError(
            f"{what} lie outside of where the scene's system is defined; is their own system "
            f"({frame.crs.name!r}) the right one?"
        )
    return moved


def _repaired(frame: gpd.GeoDataFrame, what: str, notes: list[str]) -> gpd.GeoDataFrame:
    import shapely

    frame = (
        frame[["geometry"]]
        if frame.geometry.name == "geometry"
        else frame.rename_geometry("geometry")[["geometry"]]
    )
    empty = frame.geometry.isna() | frame.geometry.is_empty
    if empty.any():
        notes.append(f"{int(empty.sum())} empty rows of {what} left out")
        frame = frame[~empty]
    kinds = set(frame.geometry.geom_type)
    if not kinds <= {"Polygon", "MultiPolygon", "GeometryCollection"}:
        raise DataError(f"{what} are {', '.join(sorted(kinds))}; expected polygons")
    invalid = ~frame.geometry.is_valid
    if invalid.any():
        notes.append(f"{int(invalid.sum())} of {len(frame)} outlines of {what} repaired")
        frame = frame.copy()
        fixed = shapely.make_valid(frame.geometry[invalid].values)
        frame.loc[invalid, "geometry"] = fixed
    frame = frame.explode(ignore_index=True)
    frame = frame[frame.geometry.geom_type.isin(["Polygon", "MultiPolygon"])]
    frame = frame.explode(ignore_index=True)
    if not len(frame):
        raise DataError(f"{what} hold no area")
    return frame.reset_index(drop=True)
