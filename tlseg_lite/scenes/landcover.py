"""Land cover that follows the terrain: forest, shrub, grass, terraced fields, bare rock."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft

from tlseg_lite.scenes.ground import Ground
from tlseg_lite.scenes.terrain import noise, resize, smooth_noise, smoothstep


@dataclass(frozen=True)
class Biome:
    """How much of a scene each cover takes: thresholds, not shares; all in about -2..2."""

    forest: float  # larger: more forest
    fields: float
    rock: float
    conifer: float  # 0..1 share of dark trees
    crown: float  # metres, radius of a crown
    gaps: float  # 0..1 how open the forest is


def draw_biome(rng: np.random.Generator, style: str) -> Biome:
    """A random biome: mostly wooded hills, sometimes farmland, scrub or rocky ground."""
    often = [0.64, 0.12, 0.17, 0.07] if style == "bijie" else [0.76, 0.09, 0.11, 0.04]
    kind = rng.choice(4, p=often)
    forest = (1.6, 0.0, -0.4, -0.2)[kind] + rng.normal(0, 0.4)
    fields = (-1.4, 0.7, -0.9, -2.0)[kind] + rng.normal(0, 0.4)
    rock = (-2.4, -2.4, -1.8, -0.6)[kind] + rng.normal(0, 0.3)
    if style == "landslide4sense":
        forest, fields, rock = forest + 0.5, fields - 0.4, rock - 0.2
    return Biome(
        forest=forest,
        fields=fields,
        rock=rock,
        conifer=float(rng.beta(0.7, 0.9)),
        crown=float(np.exp(rng.normal(np.log(2.1), 0.3))),
        gaps=float(rng.beta(1.2, 3.0)),
    )


def canopy(rng: np.random.Generator, shape: tuple[int, int], radius: float) -> np.ndarray:
    """Tree tops: domes of about ``radius`` pixels on a jittered lattice, (h, w) in 0..1.

    The domes are merged with a soft maximum: the fourth root of a sum of fourth powers, which
    is one convolution.
    """
    pitch = max(1.35 * radius, 1.6)
    ny, nx = int(shape[0] / pitch) + 2, int(shape[1] / pitch) + 2
    y, x = np.mgrid[:ny, :nx]
    y = ((y + rng.uniform(-0.1, 0.9, y.shape) + 0.5 * (x % 2)) * pitch).astype(int).ravel()
    x = ((x + rng.uniform(0, 0.9, x.shape)) * pitch).astype(int).ravel()
    keep = (y >= 0) & (y < shape[0]) & (x >= 0) & (x < shape[1])
    top = rng.uniform(0.45, 1.0, y.size)
    dots = np.zeros(shape, np.float32)
    dots[y[keep], x[keep]] = top[keep] ** 4
    reach = int(np.ceil(1.25 * radius)) + 1
    u = np.arange(-reach, reach + 1) / (1.25 * radius)
    dome = np.sqrt(np.clip(1 - (u[:, None] ** 2 + u[None, :] ** 2), 0, None)) ** 4
    h, w = (fft.next_fast_len(s + 2 * reach + 1, real=True) for s in shape)
    product = fft.rfft2(dots, s=(h, w)) * fft.rfft2(dome.astype(np.float32), s=(h, w))
    sum4 = fft.irfft2(product, s=(h, w))[reach : reach + shape[0], reach : reach + shape[1]]
    return np.clip(sum4, 0, None) ** np.float32(0.25)


def plant(rng: np.random.Generator, ground: Ground, biome: Biome) -> None:
    """Cover the bare ground with plants and rock, and keep the shares in ``ground.layers``."""
    shape, gsd = ground.shape, ground.gsd
    span = max(shape)
    broad = smooth_noise(rng, shape, span * rng.uniform(0.2, 0.5))
    medium = noise(rng, shape, 1.4, longest=span / 4, shortest=3.5)
    fine = noise(rng, shape, 0.5, longest=24, shortest=1.2)
    wet = (ground.wetness - ground.wetness.mean()) / (ground.wetness.std() + 1e-6)
    steep = (ground.slope - 28) / 12

    # grass and shrub everywhere; straw where it is dry
    shrubby = smoothstep(broad + 0.7 * medium + 0.3 * wet, -0.9, 0.7)
    texture = 1 + 0.09 * fine + 0.05 * medium
    ground.colour[:] = ground.palette["grass"][:, None, None] * texture
    ground.paint(shrubby, "shrub", 1 + 0.16 * fine)
    patchy = smoothstep(-broad + 0.8 * medium - 0.4 * wet, 0.7, 1.6)
    ground.paint((0.5 if ground.fine else 0.25) * patchy, "straw", texture)
    ground.standing += np.clip(0.35 * shrubby * (0.7 + fine), 0, None) * ground.fine

    # bare rock on the steepest ground, in bands
    rock = smoothstep(0.9 * medium + 0.5 * steep + 0.3 * broad + biome.rock, 0.5, 1.3)
    ground.paint(0.9 * rock, "rock", 1 + 0.14 * fine + 0.08 * medium)
    ground.height += rock * medium * np.float32(0.8 if ground.fine else 2.0)

    # terraced fields on gentle ground
    flat = biome.fields - 0.8 * steep + 0.7 * broad
    share = smoothstep(flat + 0.15 * medium, 0.2, 0.45)
    if share.mean() > 0.01:
        _terraces(rng, ground, share, fine)

    # forest where neither fields nor rock are
    free = 1 - np.maximum(ground.layers.get("fields", np.float32(0)), rock)
    wooded = biome.forest + 0.8 * broad + 0.4 * wet + 0.2 * steep
    if ground.fine:
        share = smoothstep(wooded + 0.45 * medium, 0.15, 0.6) * free
    else:
        share = smoothstep(wooded + 0.3 * medium, -0.2, 0.9) * free
    if ground.fine:
        tops = canopy(rng, shape, biome.crown / gsd)
        opening = smoothstep(tops + 0.10 * fine, 0.25 + 0.5 * biome.gaps, 0.05 + 0.5 * biome.gaps)
        share *= 1 - opening * smoothstep(biome.gaps + 0.2 * medium, 0.1, 0.6)
        dark = smoothstep(smooth_noise(rng, shape, span / 5) + 3 * biome.conifer - 1.5, -0.4, 0.4)
        crown_tone = 0.72 + 0.45 * tops + 0.06 * fine
        ground.paint(share * (1 - dark), "forest", crown_tone)
        ground.paint(share * dark, "conifer", crown_tone)
        ground.standing *= 1 - share
        ground.standing += share * tops * np.float32(biome.crown * 1.25)
    else:
        dark = smoothstep(broad + 3 * biome.conifer - 1.5, -0.6, 0.6)
        ground.paint(share * (1 - dark), "forest", 1 + 0.10 * fine)
        ground.paint(share * dark, "conifer", 1 + 0.12 * fine)
        ground.height += share * fine * np.float32(1.1)
    ground.bare = np.maximum(ground.bare, rock)
    ground.layers.update(forest=share, rock=rock, shrub=shrubby)


def _terraces(
    rng: np.random.Generator, ground: Ground, alpha: np.ndarray, fine: np.ndarray
) -> None:
    """Fields in steps along the contours, each parcel with its own crop, some of them bare."""
    shape, gsd = ground.shape, ground.gsd
    width = rng.uniform(5, 16) if ground.fine else rng.uniform(35, 110)
    slope = np.tan(np.radians(np.clip(np.median(ground.slope), 4, 35)))
    warp = 0.25 * smooth_noise(rng, shape, max(8, 4 * width / gsd))
    step = max(1, int(2.5 * width / gsd))  # farmers even out what is smaller than a field
    hill = resize(resize(ground.height, tuple(max(4, s // step) for s in shape), False), shape)
    level = hill / np.float32(width * slope) + warp
    step = np.floor(level)  # which terrace
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    angle = rng.uniform(0, np.pi)
    along = (np.cos(angle) * x + np.sin(angle) * y) * np.float32(gsd / (width * rng.uniform(2, 6)))
    key = (step - step.min()).astype(np.int32) & 63
    along = along - along.min() + rng.uniform(0, 1, 64).astype(np.float32)[key]
    parcel = (7 * key + 13 * along.astype(np.int32)) & 63
    crops = np.array(["crop", "grass", "straw", "soil"])
    bare = rng.uniform(0.0, 0.5)
    chosen = rng.choice(4, 64, p=[0.45 * (1 - bare), 0.3 * (1 - bare), 0.25 * (1 - bare), bare])
    tone = np.exp(rng.normal(0, 0.13, 64)).astype(np.float32)
    table = np.stack([ground.palette[crops[c]] for c in chosen], 1) * tone  # (channels, 64)
    inside = level - step
    wall = smoothstep(np.minimum(inside, 1 - inside), 0.10, 0.02) if ground.fine else 0.0
    rows = 1 + 0.06 * fine
    if ground.fine:
        furrow = np.sin(along * np.float32(rng.uniform(40, 90)))
        rows = rows + 0.05 * furrow * (tone[parcel] > 1)
    rows = rows - 0.35 * wall
    for channel, tones in zip(ground.colour, table.astype(np.float32), strict=True):
        channel += alpha * (tones[parcel] * rows - channel)
    ground.standing *= 1 - alpha
    if ground.fine:
        ground.standing += alpha * wall * np.float32(0.8)
    soil = (chosen == 3)[parcel]
    ground.bare = np.maximum(ground.bare, alpha * soil)
    ground.layers["fields"] = alpha
