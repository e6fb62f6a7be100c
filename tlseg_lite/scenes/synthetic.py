"""Synthetic landslide scenes: the course's default data, computed on the fly, with exact labels.

A scene is built in the order of nature and of the sensor: terrain, land cover, what people and
rivers do to it, landslides, light, air, camera. `terrain`, `landcover`, `lookalikes`, `landslides`
and `rendering` hold one step each; this module puts them together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from tlseg_lite.data.base import LandslideDataset
from tlseg_lite.scenes import landcover, landslides, lookalikes, rendering, terrain
from tlseg_lite.scenes.ground import Ground
from tlseg_lite.scenes.palettes import RGB, SENTINEL, Palette

STYLES = ("bijie", "landslide4sense")
GSD = {"bijie": 0.8, "landslide4sense": 10.0}  # metres per native pixel
MARGIN = 0.15  # of the image, on every side: terrain from which slides may come in


@dataclass
class Scene:
    """One synthetic scene at its native size (h, w)."""

    image: np.ndarray  # float32 (3, h, w) in 0..1
    label: np.ndarray  # bool (h, w)
    height: np.ndarray  # float32 (h, w), metres
    bands: np.ndarray | None  # float32 (14, h, w) raw channels; landslide4sense only
    ground: Ground
    slides: list[landslides.Slide]
    layers: dict[str, np.ndarray]


def _ground(rng: np.random.Generator, style: str, shape: tuple[int, int]) -> Ground:
    gsd = GSD[style] if style == "bijie" else GSD[style] * 128 / max(shape)
    if style == "bijie":
        settings = dict(relief=rng.uniform(0.04, 0.12), steepest=rng.uniform(0.35, 0.85))
        settings.update(tilt=rng.uniform(2, 5), roughness=rng.uniform(1.6, 2.2), creep=1.3)
    else:
        settings = dict(relief=rng.uniform(0.4, 0.9), steepest=rng.uniform(0.55, 1.05))
        settings.update(tilt=rng.uniform(0, 1), roughness=rng.uniform(2.2, 3.2), creep=1.4)
    return bare_ground(rng, style, shape, gsd, 40 if style == "bijie" else 60, settings)


def bare_ground(
    rng: np.random.Generator,
    style: str,
    shape: tuple[int, int],
    gsd: float,
    cells: int,
    settings: dict[str, float],
) -> Ground:
    """Terrain that nothing grows on yet: `cells` of a coarse landscape along the longest side.

    Args:
        rng: draws it.
        style: of `STYLES`.
        shape: (h, w) in pixels of `gsd` metres.
        gsd: metres of a pixel.
        cells: of the landscape and its margin.
        settings: of `terrain.landscape`.
    """
    full = [s * (1 + 2 * MARGIN) for s in shape]
    cell_px = max(full) / cells
    grid = tuple(max(12, int(np.ceil(s / cell_px))) for s in full)
    cell = cell_px * gsd
    land = terrain.landscape(rng, grid, cell, **settings)
    big = tuple(round(g * cell_px) for g in grid)
    cut = [slice(round(MARGIN * s), round(MARGIN * s) + s) for s in shape]
    origin = tuple(c.start / cell_px for c in cut)
    height = terrain.resize(land.height, big)[cut[0], cut[1]].copy()
    rough = terrain.noise(rng, shape, 2.0, longest=max(shape) / 3, shortest=3.0)
    height += rough * np.float32(rng.uniform(0.003, 0.008) * max(shape) * gsd)
    area = np.log10(terrain.resize(np.maximum(land.area, 1.0), big, smooth=False))
    channels = 3 if style == "bijie" else 12
    table = RGB if style == "bijie" else SENTINEL
    zero = np.zeros(shape, np.float32)
    return Ground(
        gsd=gsd,
        land=land,
        origin=origin,
        height=height,
        slope=terrain.slope_of(height, gsd),
        wetness=area[cut[0], cut[1]],
        palette=Palette(rng, table, float(rng.beta(0.8, 2.4))),
        colour=np.zeros((channels, *shape), np.float32),
        standing=zero.copy(),
        bare=zero.copy(),
        label=np.zeros(shape, bool),
    )


def _plan_bijie(
    rng: np.random.Generator, ground: Ground, light: rendering.Light
) -> list[tuple[landslides.Slide, bool]]:
    """Mostly one slide near the middle, as crops around an inventory's slides have it."""
    count = rng.choice(4, p=[0.05, 0.86, 0.07, 0.02])
    pixels = ground.shape[0] * ground.shape[1]
    share = float(np.clip(np.exp(rng.normal(np.log(0.078), 0.58)), 0.015, 0.42))
    plan = []
    for k in range(count):
        part = share if k == 0 else share * rng.uniform(0.08, 0.5)
        area = part * pixels
        spread = 0.09 if k == 0 else 0.3
        middle = (0.5 + rng.normal(0, spread, 2)) * ground.shape
        head = _head_near(rng, ground, middle, 0.55 * np.sqrt(1.8 * area))
        age = float(rng.beta(0.9, 2.2))
        plan.append((landslides.make_slide(rng, ground, head, area, age), True))
    return plan


def _head_near(
    rng: np.random.Generator, ground: Ground, middle: np.ndarray, half_length: float
) -> int:
    """A start cell whose path down passes near ``middle`` after ``half_length`` pixels."""
    n = ground.land.height.size
    start = np.arange(n)
    per_cell = ground.land.cell / ground.gsd
    steps = max(1, round(half_length / (1.15 * per_cell)))
    paths = ground.land.path(start, steps)
    ends = ground.to_pixels(paths[-1])
    miss = np.hypot(*(ends - middle).T) / max(ground.shape)
    z = ground.land.height.ravel()
    run = np.hypot(*(ends - ground.to_pixels(start)).T) * ground.gsd
    steep = (z[start] - z[paths[-1]]) / (run + ground.land.cell)
    return int(start[np.argmin(miss - 0.08 * steep + 0.3 * (run < 0.3 * half_length * ground.gsd))])


def _plan_landslide4sense(
    rng: np.random.Generator, ground: Ground, light: rendering.Light
) -> list[tuple[landslides.Slide, bool]]:
    """None, or a swarm of slides with a heavy-tailed size, clustered on steep slopes."""
    scale = (max(ground.shape) / 128) ** 2
    plan = []
    z = ground.land.height
    steep = terrain.slope_of(z, ground.land.cell)
    cluster = np.exp(1.8 * terrain.smooth_noise(rng, z.shape, 20))
    hollow = 1 / np.sqrt(1 + ground.land.area / 4e4)
    grid = np.stack(np.divmod(np.arange(z.size), z.shape[1]), 1)
    spot = ground.to_pixels(np.arange(z.size)) / max(ground.shape)
    seen = ((spot > -0.04) & (spot < 1.04)).all(1)  # elsewhere they would hardly show
    # an inventory mapped from images has few slides on the dark side of the mountain
    lit = terrain.hillshade(z.astype(np.float32), ground.land.cell, light.azimuth, light.elevation)
    lit = np.clip(lit, 0.04, 0.8) ** 1.5
    weight = (np.clip(steep - 12, 0.01, 18) ** 2 * cluster * hollow * lit).ravel() * seen
    weight /= weight.sum()
    mapped = 0 if rng.random() < 0.36 else 1 + min(rng.negative_binomial(1.2, 0.16), 30)
    vague = min(rng.negative_binomial(1.0, 0.16), 18)
    age = rng.beta(0.7, 4.0)
    for k in range(mapped + vague):
        size = 20.0 * (1 - rng.random()) ** (-1 / 0.9)
        size = np.clip(size, 20, 1400) if k < mapped else np.clip(0.2 * size, 3, 16)
        heads = [int(rng.choice(weight.size, p=weight))]
        if size > 60:  # large ones have several heads that join in one hollow
            away = np.hypot(*(grid - grid[heads[0]]).T)
            close = weight * (away < 0.9 * np.sqrt(size) * ground.gsd / ground.land.cell)
            if close.sum() > 0:
                heads += list(rng.choice(weight.size, rng.integers(1, 4), p=close / close.sum()))
        parts = rng.dirichlet(np.full(len(heads), 2.0)) if len(heads) > 1 else [1.0]
        own = float(np.clip(age + rng.normal(0, 0.15) + 0.3 * (k >= mapped), 0, 1))
        for head, part in zip(heads, parts, strict=True):
            kind = landslides.KINDS[rng.choice(4, p=[0.07, 0.28, 0.55, 0.10])]
            area = float(size * part * scale)
            slide = landslides.make_slide(rng, ground, int(head), area, own, kind)
            plan.append((slide, k < mapped))
    return plan


def _people_and_rivers(rng: np.random.Generator, ground: Ground, style: str, late: bool) -> None:
    """The look-alikes: those that slides may bury first, those built afterwards later."""
    fine = style == "bijie"
    chance = {
        "worn_patch": (0.48, 0.3),
        "river": (0.12, 0.5),
        "pond": (0.06, 0.05),
        "bare_field": (0.36, 0.3),
        "quarry": (0.15, 0.12),
        "road": (0.50, 0.45),
        "buildings": (0.28, 0.2),
    }
    names = ("road", "buildings") if late else tuple(chance)[:5]
    for name in names:
        most = {"bare_field": 4, "worn_patch": 2, "road": 2}.get(name, 1)
        for _ in range(most):
            if rng.random() > chance[name][0 if fine else 1]:
                break
            getattr(lookalikes, name)(rng, ground)


def make_scene(seed: int, style: str, shape: tuple[int, int], key: list[int]) -> Scene:
    """Make one scene of ``shape`` native pixels; ``key`` makes it differ from its neighbours."""

    def stream(step: int) -> np.random.Generator:
        return np.random.default_rng([seed, STYLES.index(style), *key, step])

    ground = _ground(stream(1), style, shape)
    layers = {"terrain": ground.height.copy()}
    landcover.plant(stream(2), ground, landcover.draw_biome(stream(3), style))
    layers["cover"] = ground.colour.copy()
    _people_and_rivers(stream(4), ground, style, late=False)
    layers["look-alikes"] = ground.colour.copy()
    light = rendering.draw_light(stream(8), style)
    plan = {"bijie": _plan_bijie, "landslide4sense": _plan_landslide4sense}[style](
        stream(5), ground, light
    )
    rng = stream(6)
    for slide, mapped in plan:
        landslides.apply(rng, ground, slide, mapped)
    layers["slides"] = ground.colour.copy()
    _people_and_rivers(stream(7), ground, style, late=True)
    layers["albedo"] = ground.colour.copy()
    bands = None
    if style == "bijie":
        image = rendering.render_rgb(stream(9), ground, light)
    else:
        bands = rendering.render_bands(stream(9), ground, light)
        image = rendering.bands_to_rgb(bands)
    layers.update(ground.layers)
    return Scene(
        image, ground.label, ground.height, bands, ground, [s for s, m in plan if m], layers
    )


class SyntheticLandslides(LandslideDataset):
    """Synthetic landslide images with masks; item ``i`` depends on (seed, style, size, i) only.

    Args:
        n: number of images, at least 1.
        size: side of the square images in pixels, at least 32. None: native sizes, as the real
            sets come: 61 to 349 pixels a side and not square ("bijie"), 128 ("landslide4sense").
        seed: 0 or larger.
        style: "bijie" (0.8 m, one slide near the middle, about 10 % of the pixels) or
            "landslide4sense" (10 m, 1.28 km, many small slides or none, about 2.4 %).

    Items: ``{"image": float32 (3, h, w) in [0, 1], "mask": float32 (1, h, w) of 0/1, "id": str}``.

    Raises:
        ValueError: for a number out of range or an unknown style.
    """

    def __init__(self, n: int, size: int | None = 256, seed: int = 0, style: str = "bijie") -> None:
        if n < 1:
            raise ValueError(f"n={n}: expected the number of images, at least 1")
        if size is not None and size < 32:
            raise ValueError(f"size={size}: expected at least 32 pixels, or None for native sizes")
        if seed < 0:
            raise ValueError(f"seed={seed}: expected 0 or larger")
        if style not in STYLES:
            raise ValueError(f"style={style!r}: expected one of {', '.join(STYLES)}")
        self.n, self.size, self.seed, self.style = n, size, seed, style
        self.ids = [f"synthetic-{style}-{seed}-{i:05d}" for i in range(n)]
        self.source = f"{n} synthetic scenes in the style of {style} (seed {seed})"
        self.ground_width = None if style == "bijie" else 1280.0

    def native_size(self, i: int) -> tuple[int, int]:
        """Rows and columns at which scene ``i`` is made before it is brought to ``size``."""
        if self.style != "bijie":
            return 128, 128
        rng = np.random.default_rng([self.seed, 0, self.size or 0, i, 0])
        side = float(np.clip(np.exp(rng.normal(np.log(158), 0.48)), 61, 349))
        if self.size is not None:
            return round(side), round(side)
        aspect = np.exp(rng.normal(0, 0.14) / 2)
        h, w = np.clip([side * aspect, side / aspect], 61, 349)
        return round(h), round(w)

    def scene(self, i: int) -> Scene:
        """Scene ``i`` at its native size, with everything that it was made of."""
        i = range(self.n)[i]
        return make_scene(self.seed, self.style, self.native_size(i), [self.size or 0, i])

    def __getitem__(self, i: int) -> dict:
        i = range(self.n)[i]
        return self.finish(self.scene(i), i)

    def finish(self, scene: Scene, i: int) -> dict:
        """The dataset's item from a scene: brought to ``size`` as a reader would do it."""
        image = torch.from_numpy(np.ascontiguousarray(scene.image))
        mask = torch.from_numpy(scene.label[None].astype(np.float32))
        if self.size is not None and image.shape[-2:] != (self.size, self.size):
            image, mask = _to_size(image, self.size), (_to_size(mask, self.size) >= 0.5).float()
        return {"image": image.clamp(0, 1), "mask": mask, "id": self.ids[i]}

    def layers(self, i: int) -> dict[str, np.ndarray]:
        """The steps of scene ``i``, in order, at its native size: name -> array.

        2-D arrays are fields (heights in metres, shares in 0..1), 3-D ones are colours (3, h, w).
        """
        scene = self.scene(i)
        return {**scene.layers, "image": scene.image, "mask": scene.label}


def _to_size(image: torch.Tensor, size: int) -> torch.Tensor:
    return torch.nn.functional.interpolate(
        image[None], (size, size), mode="bilinear", antialias=True, align_corners=False
    )[0]
