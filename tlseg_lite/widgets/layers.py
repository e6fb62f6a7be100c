"""A map to pan and zoom, with layers to switch: the scene, probability, landslides."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlseg_lite.plots import KINDS, PREDICTED_OUTLINE
from tlseg_lite.widgets.page import Widget, picture_uri

if TYPE_CHECKING:
    import geopandas as gpd

    from tlseg_lite.maps import Map, MapComparison

WORDS = {"hit": "hits", "miss": "misses", "false alarm": "false alarms"}


def map_layers(
    pictures: Mapping[str, np.ndarray],
    outlines: Mapping[str, list[tuple[list[np.ndarray], str]]],
    colours: Mapping[str, str],
    *,
    alt: str,
    metres: float | None = None,
) -> Widget:
    """A map of pictures that lie on each other and outlines above them.

    Args:
        pictures: name -> uint8 H x W x 3, or H x W x 4 with transparency, the lowest first; each
            is stretched over the whole map, whose size is that of the first.
        outlines: name -> shapes, each as its rings, float (N, 2) of x and y in pixels of the first
            picture, and what is said of it, in words.
        colours: of `outlines`, by name, as "#rrggbb".
        alt: what the map shows, in a sentence.
        metres: of a pixel of the first picture, for the scale; None: no scale.

    Raises:
        ValueError: no picture, an outline without a colour, an alt text of under 15 characters.
    """
    if not pictures or len(alt) < 15:
        raise ValueError(f"{len(pictures)} pictures and alt {alt!r}; expected one and a sentence")
    if missing := [name for name in outlines if name not in colours]:
        raise ValueError(f"no colour for {missing}; there are colours for {list(colours)}")
    height, width = next(iter(pictures.values())).shape[:2]
    groups, shapes, boxes = [], [], []
    for number, (name, pixels) in enumerate(pictures.items()):
        groups.append(
            f'<g data-layer="{escape(name)}"><image href="{picture_uri(pixels)}" width="{width}" '
            f'height="{height}" preserveAspectRatio="none"/></g>'
        )
        boxes.append((name, "", number))
    for name, polygons in outlines.items():
        drawn = []
        for rings, words in polygons:
            drawn.append(f'<path data-shape="{len(shapes)}" d="{_path(rings)}"/>')
            shapes.append([*_box(rings), words])
        groups.append(
            f'<g data-layer="{escape(name)}" fill="none" stroke="{colours[name]}" '
            f'stroke-width="2">{"".join(drawn)}</g>'
        )
        boxes.append((name, colours[name], len(boxes)))
    body = (
        f'<div class="map"><svg viewBox="0 0 {width} {height}" tabindex="0" role="img" '
        f'aria-label="{escape(alt)}">{"".join(groups)}</svg></div>'
        '<p data-live class="tools">'
        '<button type="button" data-do="in" aria-label="zoom in">+</button> '
        '<button type="button" data-do="out" aria-label="zoom out">&minus;</button> '
        '<button type="button" data-do="all">whole map</button> '
        '<button type="button" data-do="previous">previous landslide</button> '
        '<button type="button" data-do="next">next landslide</button></p>'
        f"<fieldset data-live><legend>layers</legend>{''.join(map(_switch, boxes))}</fieldset>"
        f'<p class="state" aria-live="polite">{escape(alt)}</p>'
    )
    data = {"width": width, "height": height, "metres": metres, "shapes": shapes}
    return Widget("layers", "A map to pan and zoom", body, data)


def landslide_map(
    found: Map,
    comparison: MapComparison | None = None,
    *,
    scene: str | Path | None = None,
    side: int = 1400,
    alt: str,
) -> Widget:
    """The map of a scene: its picture, the probability, and its landslides.

    Args:
        found: from `tlseg_lite.maps.predict_scene`.
        comparison: from `tlseg_lite.maps.compare`: hits, misses and false alarms instead of the
            landslides found.
        scene: the file that was mapped, of three bands or more; None: the map's quick look, which
            has the probability in it.
        side: longest side of the pictures, pixels; they are thinned, the outlines are not.
        alt: what the map shows, in a sentence.

    Raises:
        ValueError: as `map_layers`.
        DataError: the map's files cannot be read.
    """
    from tlseg_lite.data.rasters import opened

    with opened(found.probability) as file:
        shrink = max(1.0, max(file.height, file.width) / side)
        shape = round(file.height / shrink), round(file.width / shrink)
        levels = file.read(1, out_shape=shape)
        crs, inverse = file.crs, ~file.transform
        bands = [int(b) for b in file.tags().get("BANDS", "1 2 3").replace(",", " ").split()]
        metres = found.resolution
    if scene is None:
        picture = _quick_look(found.folder / "quicklook.png", shape)
    else:
        picture = _scene(scene, bands, shape)
    pictures = {"scene": picture}
    pictures["probability"] = _tinted(levels)
    polygons = _polygons(found, comparison).to_crs(crs)
    outlines: dict[str, list] = {}
    for row in polygons.itertuples():
        words = f"{row.kind}, {row.area_m2:,.0f} m²"
        name = WORDS.get(row.kind, row.kind)
        outlines.setdefault(name, []).extend(
            (rings, words) for rings in _rings(row.geometry, inverse, shrink)
        )
    colours = {WORDS[kind]: colour for kind, colour in KINDS.items()} | {
        "landslides": PREDICTED_OUTLINE
    }
    metres = None if metres is None else metres * shrink
    return map_layers(pictures, outlines, colours, alt=alt, metres=metres)


def _polygons(found: Map, comparison: MapComparison | None) -> gpd.GeoDataFrame:
    if comparison is not None:
        return comparison.objects
    import geopandas as gpd

    frame = gpd.read_file(found.landslides, layer="landslides")
    return frame.assign(kind="landslides")


def _scene(path: str | Path, bands: list[int], shape: tuple[int, int]) -> np.ndarray:
    """The scene as a picture: 8 bits as they are, else stretched between its percentiles."""
    from tlseg_lite.data.rasters import opened
    from tlseg_lite.data.scaling import scaling_for

    with opened(path) as file:
        values = file.read(bands, out_shape=shape)
    flat = values.reshape(len(bands), -1)
    scaled = scaling_for(None, tuple(bands), values.dtype, [flat])(values)
    return (scaled * 255 + 0.5).astype(np.uint8).transpose(1, 2, 0)


def _quick_look(path: Path, shape: tuple[int, int]) -> np.ndarray:
    from PIL import Image

    from tlseg_lite.core.errors import DataError

    try:
        with Image.open(path) as image:
            picture = image.convert("RGB").resize(shape[::-1], Image.Resampling.LANCZOS)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}; map the scene again") from error
    return np.asarray(picture)


def _tinted(levels: np.ndarray) -> np.ndarray:
    """Levels 0 to 254 of probability (255: none) as a transparent red, H x W x 4."""
    pixels = np.zeros((*levels.shape, 4), np.uint8)
    pixels[..., :3] = (213, 94, 0)
    strong = np.where(levels == 255, 0, levels).astype(np.float32) / 254
    pixels[..., 3] = (8 * np.round(20 * strong)).astype(np.uint8)  # few values: a small file
    return pixels


def _rings(shape: Any, inverse: Any, shrink: float) -> list[list[np.ndarray]]:
    """The polygons of a geometry, each as rings in pixels of the thinned picture."""
    from shapely import get_parts

    found = []
    for polygon in get_parts(shape):
        rings = []
        for ring in (polygon.exterior, *polygon.interiors):
            x, y = np.asarray(ring.coords)[:, :2].T
            column, row = inverse * (x, y)
            rings.append(np.stack([column, row], 1) / shrink)
        found.append(rings)
    return found


def _path(rings: list[np.ndarray]) -> str:
    return "".join("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in ring) + "Z" for ring in rings)


def _box(rings: list[np.ndarray]) -> list[float]:
    """x, y, width and height around the rings."""
    low, high = rings[0].min(0), rings[0].max(0)
    return [round(float(value), 1) for value in (*low, *(high - low))]


def _switch(layer: tuple[str, str, int]) -> str:
    name, colour, number = layer
    swatch = f'<span class="swatch" style="background:{colour}"></span>' if colour else ""
    return (
        f'<label class="beside"><input type="checkbox" checked data-switch="{number}"> '
        f"{swatch}{escape(name)}</label>"
    )
