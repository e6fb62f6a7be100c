"""Landslides as processes: where they start, how far they run, what they leave behind.

A slide starts on a steep slope, follows the flow path of the terrain until the ground is too
gentle to carry it, and leaves a scar (eroded, bright, a steep head), a track (streaked) and a
deposit (lobed, blocky). Its area is heavy-tailed. Plants return with age. The label is the
outline that a mapper would draw: smooth, around the whole body, healed parts included.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from tlseg_lite.scenes.ground import Ground
from tlseg_lite.scenes.terrain import noise, resize, smooth_noise, smoothstep

_AREA = {3.0: 1.1247, 6.0: 1.2261}  # of a superellipse with this exponent, in circles, about

KINDS = ("slump", "debris slide", "flow", "rock slide")


@dataclass(frozen=True)
class Slide:
    """One landslide's plan. Lengths in pixels."""

    path: np.ndarray  # (k, 2) rows and columns from head to toe
    half_width: np.ndarray  # (k,)
    kind: str
    age: float  # 0 this season .. 1 healed over
    depth: float  # metres
    corners: float = 2.0  # exponent of the outline's superellipses: 2 round, larger angular
    turn: float = 0.0  # radians, how these are turned


def width_profile(kind: str, t: np.ndarray) -> np.ndarray:
    """Half width along the path, 1 = widest; ``t`` runs from 0 (head) to 1 (toe)."""
    if kind == "slump":
        return 0.86 + 0.14 * np.sin(np.pi * t)
    if kind == "debris slide":
        return 0.42 + 0.58 * t**0.8
    if kind == "rock slide":
        return 1.0 - 0.55 * t
    scar = 0.34 * np.exp(-(((t - 0.05) / 0.22) ** 2))
    lobe = 0.42 * np.exp(-(((t - 0.95) / 0.28) ** 2))
    return 0.44 + scar + lobe  # flow


def follow(rng: np.random.Generator, ground: Ground, head: int, length: float) -> np.ndarray:
    """The path down from a cell: a smooth line of ``length`` pixels, (k, 2) rows and columns.

    It ends early where the ground becomes too gentle (8 degrees) for a while.
    """
    per_cell = ground.land.cell / ground.gsd
    steps = int(np.ceil(1.3 * length / per_cell)) + 3
    cells = ground.land.path(np.array([head]), steps)[:, 0]
    line = ground.to_pixels(cells)
    line = line + rng.normal(0, 0.2 * per_cell, line.shape)
    line = ndimage.gaussian_filter1d(line, 2.6, axis=0, mode="nearest")
    hop = np.hypot(*np.diff(line, axis=0).T)
    run = np.concatenate([[0.0], np.cumsum(hop)])
    z = ground.land.height.ravel()[cells]
    gentle = np.diff(z) > -np.tan(np.radians(8)) * np.maximum(hop, 1e-3) * ground.gsd
    gentle = ndimage.uniform_filter1d(gentle.astype(float), 5) > 0.7
    stop = min(length, run[np.argmax(gentle)] + 0.15 * length) if gentle.any() else length
    if run[-1] < 1e-3 or stop < 0.35 * length:  # in a pit or at the edge: straight down the slope
        t = np.linspace(0, 0.6 * length, 12)[:, None]
        return ground.to_pixels(np.array(head)) + t * _fall_line(ground, head)
    want = np.linspace(0, min(stop, run[-1]), 24)
    return np.stack([np.interp(want, run, line[:, k]) for k in (0, 1)], 1)


def _fall_line(ground: Ground, head: int) -> np.ndarray:
    """Unit vector (row, column) downhill at a cell, over a wide neighbourhood."""
    z = ground.land.height
    r, c = divmod(head, z.shape[1])
    part = z[max(0, r - 4) : r + 5, max(0, c - 4) : c + 5]
    g = np.array([np.gradient(part, axis=0).mean(), np.gradient(part, axis=1).mean()])
    return -g / (np.hypot(*g) + 1e-9)


def make_slide(
    rng: np.random.Generator,
    ground: Ground,
    head: int,
    area: float,
    age: float,
    kind: str | None = None,
) -> Slide:
    """A slide of about ``area`` pixels from the cell ``head``."""
    kind = kind or KINDS[rng.choice(4, p=[0.32, 0.30, 0.20, 0.18])]
    typical = {
        "slump": 1.5,
        "debris slide": 2.2,
        "flow": 3.4 if ground.fine else 5.5,
        "rock slide": 2.0,
    }[kind]
    ratio = np.clip(typical * np.exp(rng.normal(0, 0.35)), 1.05, 14)  # length : width
    width = np.sqrt(area / (0.8 * ratio)) * 0.5
    length = max(2 * width * (ratio - 1), 0.6)
    path = follow(rng, ground, head, length)
    t = np.linspace(0, 1, len(path))
    wobble = np.exp(0.10 * ndimage.gaussian_filter1d(rng.standard_normal(len(path)), 2.0) * 3)
    half = width * width_profile(kind, t) * wobble
    run = np.hypot(*np.diff(path, axis=0).T).sum()
    drawn = 2 * np.mean(half) * run + np.pi * np.mean(half[[0, -1]] ** 2)
    half = half * np.clip(np.sqrt(area / max(drawn, 1e-3)), 0.6, 1.2)
    if not ground.fine:
        half = np.maximum(half, 0.9)  # a pixel or two: nobody maps anything thinner
    depth = float(np.clip(0.06 * np.sqrt(area) * ground.gsd * np.exp(rng.normal(0, 0.4)), 0.3, 25))
    corners = float(rng.choice([2.0, 3.0, 6.0]))  # mappers' outlines are rounded or angular
    down = path[-1] - path[0]
    turn = float(np.arctan2(*down) + rng.normal(0, 0.35))
    return Slide(path, half, kind, float(age), depth, corners, turn)


class Body(NamedTuple):
    """Coordinates in and around a slide, each float32 on the pixels of its box."""

    box: tuple[slice, slice]
    q: np.ndarray  # 0 on the path, 1 on the ideal outline
    s: np.ndarray  # 0 (head) to 1 (toe)
    across: np.ndarray  # -1 to 1 over the width

    @property
    def scar(self) -> np.ndarray:
        """1 in the upper part, which was eroded, 0 below."""
        return smoothstep(self.s, 0.62, 0.22)

    @property
    def deposit(self) -> np.ndarray:
        """1 in the lower part, where it came to rest, 0 above."""
        return smoothstep(self.s, 0.5, 0.85)


def body(slide: Slide, shape: tuple[int, int]) -> Body | None:
    """Where a slide lies, or None outside the image: discs, or squares with rounded corners."""
    reach = 1.7 * slide.half_width.max() + 3
    low = np.floor(slide.path.min(0) - reach).astype(int)
    high = np.ceil(slide.path.max(0) + reach).astype(int) + 1
    low, high = np.maximum(low, 0), np.minimum(high, shape)
    if (high - low).min() < 2:
        return None
    box = (slice(low[0], high[0]), slice(low[1], high[1]))
    size = tuple(int(v) for v in high - low)
    step = max(1.0, max(size) / 40)
    coarse = tuple(max(2, int(np.ceil(v / step))) for v in size)
    y = low[0] + (np.arange(coarse[0]) + 0.5) * size[0] / coarse[0] - 0.5
    x = low[1] + (np.arange(coarse[1]) + 0.5) * size[1] / coarse[1] - 0.5
    dy = y[:, None, None] - slide.path[:, 0]
    dx = x[None, :, None] - slide.path[:, 1]
    if slide.corners == 2:
        q2 = (dy * dy + dx * dx) / slide.half_width**2
    else:  # superellipses of the same area
        cos, sin = np.cos(slide.turn), np.sin(slide.turn)
        p = slide.corners
        u, v = np.abs(cos * dx + sin * dy), np.abs(cos * dy - sin * dx)
        q2 = ((u**p + v**p) ** (2 / p)) * _AREA[p] / slide.half_width**2
    nearest = q2.argmin(-1)
    q = np.sqrt(np.take_along_axis(q2, nearest[..., None], -1)[..., 0])
    tangent = np.gradient(slide.path, axis=0)
    tangent /= np.hypot(*tangent.T)[:, None] + 1e-9
    oy = y[:, None] - slide.path[nearest, 0]
    ox = x[None, :] - slide.path[nearest, 1]
    t = tangent[nearest]
    run = np.hypot(*np.diff(slide.path, axis=0).T).sum() + slide.half_width[[0, -1]].sum()
    s = (nearest / (len(slide.path) - 1)) * (1 - slide.half_width[[0, -1]].sum() / run)
    s = s + (slide.half_width[0] + oy * t[..., 0] + ox * t[..., 1]) / run
    across = (ox * t[..., 0] - oy * t[..., 1]) / slide.half_width[nearest]
    return Body(box, *(resize(v, size, smooth=False) for v in (q, np.clip(s, 0, 1), across)))


def apply(rng: np.random.Generator, ground: Ground, slide: Slide, fresh: bool = True) -> None:
    """Let the slide happen: move ground, strip plants, lay its materials, draw its outline.

    ``fresh=False`` leaves the label alone: erosion too small or too vague for a mapper.
    """
    found = body(slide, ground.shape)
    if found is None:
        return
    box, deposit, fine = found.box, found.deposit, ground.fine
    outline, inside, rough, blotch = _edges(rng, slide, found.q, fine)
    green = _regrown(rng, slide, found, rough, blotch, fine)

    # the ground moves: down in the scar, up in the deposit
    bowl = smoothstep(outline, 1.08, 0.55)
    lumps = blotch * np.float32(rng.uniform(0.03, 0.2) * slide.depth)
    ground.height[box] += bowl * (
        -slide.depth * (found.scar + 0.25)
        + slide.depth * (0.8 * deposit)
        + (0.3 + deposit) * lumps * 0.6
    ).astype(np.float32)

    texture = _surface(rng, slide, found, rough, blotch, fine)
    ground.standing[box] *= 1 - inside
    soil = ground.palette["soil"] * np.exp(rng.normal(0, 0.07, ground.palette["soil"].shape))
    low = rng.choice(np.array(["soil", "soil2", "soil2", "gravel", "rock"]))
    cover = np.float32(rng.uniform(0.8, 1.0))
    if fine and rng.random() < 0.2:  # thin debris or thin grass: what was there shows through
        cover = np.float32(rng.uniform(0.45, 0.8))
    ground.paint(cover * inside, soil, texture, box)
    ground.paint(cover * inside * deposit * rng.uniform(0.2, 0.9), low, texture, box)
    ground.paint(inside * green, "grass", 0.9 + 0.12 * rough, box)
    ground.paint(0.7 * inside * green * smoothstep(rough, 0.2, 0.9), "shrub", None, box)
    if fine:
        blocks = np.clip(rough - 0.9, 0, None) * deposit * np.float32(rng.uniform(0.2, 1.0))
        bushes = green * np.clip(0.5 + rough, 0, 2) * np.float32(0.3 + 0.9 * slide.age)
        ground.standing[box] += inside * (blocks * (1 - green) + bushes)
    ground.bare[box] = np.maximum(ground.bare[box] * (1 - inside), inside * (1 - green))
    if fresh:
        generous = rng.uniform(1.0, 1.18) if fine else 1.04  # mappers draw around the body
        ground.label[box] |= outline < np.float32(generous)


def _edges(rng: np.random.Generator, slide: Slide, q: np.ndarray, fine: bool) -> tuple:
    """(outline, inside, rough, blotch): the body with a wavy edge and two kinds of noise."""
    radius = float(slide.half_width.max())
    edge = smooth_noise(rng, q.shape, max(3.0, 1.4 * radius)) if radius > 1.5 else 0.0
    wavy = rng.uniform(0.10, 0.28) if fine else rng.uniform(0.15, 0.4)
    outline = q + np.float32(wavy) * edge
    if fine:
        outline += np.float32(rng.uniform(0.0, 0.25)) * smooth_noise(rng, q.shape, 3 * radius)
    rough = noise(rng, q.shape, 0.9, longest=max(6.0, 2 * radius), shortest=1.3)
    blotch = noise(rng, q.shape, 1.8, longest=max(8.0, 1.5 * radius), shortest=2.0)
    softness = np.float32(np.clip(0.8 / max(radius, 1), 0.06, 0.5))
    ragged = outline + np.float32(rng.uniform(0.03, 0.14)) * rough
    return outline, smoothstep(ragged, 1 + softness, 1 - softness), rough, blotch


def _regrown(
    rng: np.random.Generator,
    slide: Slide,
    found: Body,
    rough: np.ndarray,
    blotch: np.ndarray,
    fine: bool,
) -> np.ndarray:
    """Share of plants that have come back, 0..1.

    From the sides and the toe first, in patches; the head stays open longest. Some slides keep a
    bright scar above a body that is green again, and the mapper draws both.
    """
    q, s = found.q, found.s
    age = slide.age + rng.uniform(-0.1, 0.1)
    below = np.float32(rng.uniform(1.2, 2.8) if fine and rng.random() < 0.5 else 0.35)
    shelter = 0.55 * q + below * (s - 0.5) + 0.175 + 0.55 * blotch
    healed = smoothstep(shelter + 2.6 * (age - 0.55), 0.05, 0.75) if age > 0.12 else 0.0 * q
    scattered = smoothstep(rough + 1.2 * blotch, 1.6 - age, 2.3 - age)
    return np.maximum(0.95 * healed, 0.7 * scattered)


def _surface(
    rng: np.random.Generator,
    slide: Slide,
    found: Body,
    rough: np.ndarray,
    blotch: np.ndarray,
    fine: bool,
) -> np.ndarray:
    """Brightness near 1: streaks down the slope, blocks on the deposit, a tone of its own."""
    s, scar, deposit = found.s, found.scar, found.deposit
    radius = float(slide.half_width.max())
    streak = rough
    if radius > 3:
        tile = noise(rng, (64, 64), 0.7, shortest=1.5)
        rows = found.across * np.float32(radius * rng.uniform(0.5, 1.0)) + 32
        cols = s * np.float32(max(0.5 * len(s) / rng.uniform(4, 10), 3))
        streak = ndimage.map_coordinates(tile, np.stack([rows, cols]), order=1, mode="grid-wrap")
    streaky = np.float32(rng.uniform(0.03, 0.16))
    blocky = np.float32(rng.uniform(0.02, 0.14))
    texture = 1 + streaky * streak * (1.1 - deposit) + blocky * rough * (0.5 + deposit)
    texture += np.float32(rng.uniform(0.02, 0.10)) * blotch
    tone = np.float32(np.exp(rng.normal(0.22 if fine else 0.34, 0.2) - 0.25 * slide.age))
    head = np.float32(1 + rng.normal(0.05, 0.10)) * scar + (1 - scar)
    toe = np.float32(1 + rng.normal(-0.04, 0.10)) * deposit + (1 - deposit)
    return np.clip(texture * tone * head * toe, 0.3, 1.7)
