"""A valley: a synthetic scene of any size, georeferenced, with its heights and its inventory.

The images of `synthetic` are as large as a model's input; a map needs a scene that is larger than
any model. A valley is made by the same steps (terrain, land cover, look-alikes, landslides, light)
with as many landslides as its area asks for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tlseg_lite.scenes import landcover, landslides, lookalikes, rendering, terrain
from tlseg_lite.scenes.ground import Ground
from tlseg_lite.scenes.synthetic import bare_ground

if TYPE_CHECKING:
    import geopandas as gpd

CRS = "EPSG:32648"
"""UTM zone 48 north, where Bijie lies; the valleys are nowhere."""

CELL = 26.0  # metres of a cell of the coarse landscape
PER_KM2 = 12.0  # landslides
CROPS = 512  # pixels; a piece of this side gets its own fields and houses


@dataclass(frozen=True, eq=False)
class Valley:
    """A synthetic scene with all that is known of it.

    Attributes:
        image: uint8 (3, h, w), RGB.
        label: bool (h, w), what a mapper would draw.
        height: float32 (h, w), metres.
        gsd: metres of a pixel.
        corner: east and north of the upper left corner, metres in `CRS`.
        seed: it was drawn from.
    """

    image: np.ndarray
    label: np.ndarray
    height: np.ndarray
    gsd: float
    corner: tuple[float, float]
    seed: int

    def inventory(self) -> gpd.GeoDataFrame:
        """The landslides as polygons in `CRS`; those that touch are one."""
        import geopandas as gpd
        from rasterio.features import shapes
        from shapely.geometry import shape

        label = self.label.astype(np.uint8)
        found = shapes(label, self.label, connectivity=8, transform=self._transform())
        outlines = [shape(outline) for outline, _ in found]
        number = range(1, len(outlines) + 1)
        return gpd.GeoDataFrame({"landslide": number}, geometry=outlines, crs=CRS)

    def write(self, folder: str | Path) -> Path:
        """``scene.tif``, ``dem.tif`` and ``inventory.gpkg`` in `folder`, which is returned."""
        import rasterio

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        height, width = self.label.shape
        common = {"driver": "GTiff", "height": height, "width": width, "crs": CRS}
        common |= {"transform": self._transform(), "tiled": True, "compress": "deflate"}
        common |= {"blockxsize": 256, "blockysize": 256}
        note = {"SOURCE": f"synthetic valley, seed {self.seed}: no real place"}
        layers = (("scene.tif", self.image, {}), ("dem.tif", self.height[None], {"predictor": 3}))
        for name, values, own in layers:
            about = {**common, **own, "count": len(values), "dtype": values.dtype}
            with rasterio.open(folder / name, "w", **about) as file:
                file.write(values)
                file.update_tags(**note)
        inventory = folder / "inventory.gpkg"
        inventory.unlink(missing_ok=True)
        self.inventory().to_file(inventory, layer="landslides", engine="pyogrio")
        return folder

    def _transform(self):
        from rasterio.transform import from_origin

        return from_origin(*self.corner, self.gsd, self.gsd)


def make_valley(seed: int = 0, size: int | tuple[int, int] = 3072, gsd: float = 1.6) -> Valley:
    """Make a valley; it depends on the arguments only.

    Args:
        seed: 0 or larger; another seed, another valley, elsewhere in `CRS`.
        size: side in pixels, or (h, w); at least 256.
        gsd: metres of a pixel, above 0 and below 3: single trees and houses are drawn.

    Returns:
        a `Valley`. 3072 x 3072 pixels take some ten seconds and two gigabytes.

    Raises:
        ValueError: an argument out of range.
    """
    shape = (size, size) if isinstance(size, int) else tuple(size)
    if min(shape) < 256 or not 0 < gsd < 3 or seed < 0:
        raise ValueError(
            f"size {size}, gsd {gsd}, seed {seed}: expected at least 256 pixels, metres above 0 "
            "and below 3, and a seed of 0 or larger"
        )

    def stream(step: int) -> np.random.Generator:
        return np.random.default_rng([seed, *shape, round(1000 * gsd), step])

    ground = _terrain(stream(1), shape, gsd)
    landcover.plant(stream(2), ground, landcover.draw_biome(stream(3), "bijie"))
    _people(stream(4), ground)
    rng = stream(5)
    for slide in _slides(rng, ground):
        landslides.apply(rng, ground, slide, fresh=True)
    rng = stream(6)
    for _ in range(2):
        lookalikes.road(rng, ground)
    light = rendering.draw_light(stream(7), "bijie")
    light = rendering.Light(light.azimuth, light.elevation, light.haze, 0.0)  # no clouds
    image = rendering.render_rgb(stream(8), ground, light)
    pixels = (image * 255 + 0.5).astype(np.uint8)
    east, north = stream(9).integers((400, 2900), (600, 3100)) * 1000.0
    return Valley(pixels, ground.label, ground.height, gsd, (float(east), float(north)), seed)


def _terrain(rng: np.random.Generator, shape: tuple[int, int], gsd: float) -> Ground:
    settings = {"relief": rng.uniform(0.2, 0.35), "steepest": rng.uniform(0.6, 0.85)}
    settings |= {"tilt": rng.uniform(1, 3), "roughness": 2.2, "creep": 1.4}
    cells = max(40, round(1.3 * max(shape) * gsd / CELL))
    return bare_ground(rng, "bijie", shape, gsd, cells, settings)


def _people(rng: np.random.Generator, ground: Ground) -> None:
    """Look-alikes: a river and a road along the valley, worn ground, fields and houses all over."""
    lookalikes.river(rng, ground)
    lookalikes.road(rng, ground)
    lookalikes.worn_patch(rng, ground)
    for _ in range(max(1, ground.label.size // CROPS**2)):
        part = _piece(rng, ground)
        for make, chance in ((lookalikes.bare_field, 0.7), (lookalikes.buildings, 0.6)):
            if rng.random() < chance:
                make(rng, part)


def _piece(rng: np.random.Generator, ground: Ground) -> Ground:
    """A square of the ground that shares its arrays: what is painted on it is painted there."""
    side = min(CROPS, *ground.shape)
    top, left = (int(rng.integers(0, s - side + 1)) for s in ground.shape)
    box = (slice(top, top + side), slice(left, left + side))
    fields = ("height", "slope", "wetness", "standing", "bare", "label")
    views = {name: getattr(ground, name)[box] for name in fields}
    return replace(ground, **views, colour=ground.colour[(slice(None), *box)], layers={})


def _slides(rng: np.random.Generator, ground: Ground) -> list[landslides.Slide]:
    """Landslides of all sizes, in clusters on steep ground: many small ones, few large ones."""
    z = ground.land.height
    steep = terrain.slope_of(z, ground.land.cell)
    cluster = np.exp(1.2 * terrain.smooth_noise(rng, z.shape, 20))
    spot = ground.to_pixels(np.arange(z.size)) / np.array(ground.shape)
    seen = ((spot > 0.01) & (spot < 0.99)).all(1)
    weight = (np.clip(steep - 12, 0.01, 18) ** 2 * cluster).ravel() * seen
    weight /= weight.sum()
    km2 = ground.label.size * ground.gsd**2 / 1e6
    number = max(3, int(rng.poisson(PER_KM2 * km2)))
    found = []
    for _ in range(number):
        square_metres = float(np.clip(900 * (1 - rng.random()) ** (-1 / 1.1), 900, 40_000))
        head = int(rng.choice(weight.size, p=weight))
        age = float(rng.beta(0.9, 2.2))
        area = square_metres / ground.gsd**2
        found.append(landslides.make_slide(rng, ground, head, area, age))
    return found
