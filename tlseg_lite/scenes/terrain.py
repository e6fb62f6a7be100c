"""Terrain for synthetic scenes: noise, a landscape carved by its own rivers, light and shadow.

The landscape is the steady state of a drainage network: water follows the lowest path to the
edge, the slope of each cell falls with the area that drains through it (Flint's law,
``S = k A ** -theta``) and no hillside is steeper than its material allows. Three rounds of
"find the rivers, rebuild the heights" turn a random surface into ridges, hollows and valleys.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import fft, ndimage, sparse
from scipy.sparse import csgraph

CONCAVITY = 0.42
"""theta in Flint's law."""


@lru_cache(maxsize=64)
def _frequencies(h: int, w: int) -> tuple[np.ndarray, np.ndarray]:
    fy = np.fft.fftfreq(h).astype(np.float32)[:, None]
    fx = np.fft.rfftfreq(w).astype(np.float32)[None, :]
    return fy, fx


def noise(
    rng: np.random.Generator,
    shape: tuple[int, int],
    beta: float = 1.0,
    *,
    longest: float = np.inf,
    shortest: float = 0.0,
) -> np.ndarray:
    """A random field of ``shape``, float32, mean 0, standard deviation 1.

    Its amplitude spectrum falls as ``f ** -beta`` for wavelengths between ``shortest`` and
    ``longest`` (pixels) and is damped outside.
    """
    # rounded up to a size that the FFT likes; the surplus is cut off, so the field never wraps
    h, w = (fft.next_fast_len(s + 8, real=True) for s in shape)
    fy, fx = _frequencies(h, w)
    f2 = fx * fx + fy * fy
    f2[0, 0] = 1.0
    gain = f2 ** np.float32(-beta / 2)
    if np.isfinite(longest):
        gain *= f2 / (f2 + np.float32(longest**-2))
    if shortest > 0:
        gain *= np.exp(-f2 * np.float32((0.5 * shortest) ** 2 * 2))
    gain[0, 0] = 0.0
    spectrum = fft.rfft2(rng.standard_normal((h, w), dtype=np.float32)) * gain
    field = fft.irfft2(spectrum, s=(h, w))[: shape[0], : shape[1]]
    return (field - field.mean()) / (field.std() + np.float32(1e-12))


def resize(field: np.ndarray, shape: tuple[int, int], smooth: bool = True) -> np.ndarray:
    """Resample a 2-D field to ``shape`` (bicubic, or bilinear), float32."""
    from PIL import Image

    method = Image.Resampling.BICUBIC if smooth else Image.Resampling.BILINEAR
    image = Image.fromarray(np.ascontiguousarray(field, dtype=np.float32))
    return np.asarray(image.resize((shape[1], shape[0]), method))


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, int], wavelength: float, beta: float = 2.0
) -> np.ndarray:
    """Noise without detail below ``wavelength`` pixels, made on a coarse grid (fast)."""
    step = max(1, int(wavelength / 3))
    coarse = (max(8, -(-shape[0] // step)), max(8, -(-shape[1] // step)))
    return resize(noise(rng, coarse, beta, shortest=3.0), shape)


def smoothstep(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below ``low``, 1 above ``high``, smooth in between; ``low`` > ``high`` falls instead."""
    t = np.clip((x - np.float32(low)) / np.float32(high - low), 0, 1)
    return t * t * (3 - 2 * t)


# ---------------------------------------------------------------- drainage on a grid of cells


@lru_cache(maxsize=32)
def _edges(h: int, w: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both ends and the length of every link between a cell and its eight neighbours."""
    index = np.arange(h * w).reshape(h, w)
    pairs = [
        (index[:, :-1], index[:, 1:], 1.0),
        (index[:-1], index[1:], 1.0),
        (index[:-1, :-1], index[1:, 1:], np.sqrt(2)),
        (index[1:, :-1], index[:-1, 1:], np.sqrt(2)),
    ]
    i = np.concatenate([a.ravel() for a, _, _ in pairs])
    j = np.concatenate([b.ravel() for _, b, _ in pairs])
    d = np.concatenate([np.full(a.size, s) for a, _, s in pairs])
    return i, j, d


def drain(height: np.ndarray, outlets: np.ndarray, wander: np.ndarray) -> np.ndarray:
    """Downstream neighbour of every cell: D8, and out of pits over the lowest pass.

    Both come out of one minimum spanning tree. A link costs the height of its higher end, less a
    part of its slope: the cheapest link of a cell leads down its steepest side, and where there
    is no path down, the tree crosses the lowest pass. height (h, w) in metres; outlets bool
    (h, w); ``wander`` (links,) near 1 varies the slopes, so that rivers do not follow the grid.
    Returns int64 (h * w,): flat index of the next cell, ``h * w`` ("outside") for an outlet.
    """
    h, w = height.shape
    n = h * w
    i, j, length = _edges(h, w)
    z = height.ravel() - height.min() + 1.0  # a stored zero would mean "no link"
    cost = np.maximum(z[i], z[j]) - 0.5 * np.abs(z[i] - z[j]) / length * wander
    out = np.flatnonzero(outlets.ravel())
    rows, columns = np.concatenate([i, np.full(out.size, n)]), np.concatenate([j, out])
    graph = sparse.csr_matrix(
        (np.concatenate([cost, np.full(out.size, 0.1)]), (rows, columns)), shape=(n + 1, n + 1)
    )
    tree = csgraph.minimum_spanning_tree(graph)
    _, before = csgraph.breadth_first_order(tree, n, directed=False)
    return before[:n].astype(np.int64)


def accumulate(downstream: np.ndarray, amount: np.ndarray | float = 1.0) -> np.ndarray:
    """Flow accumulation: what each cell and all cells upstream of it hold together.

    Path doubling: after round k each cell has collected from 2 ** k steps upstream, so a network
    with paths of length L needs log2(L) rounds of array work and no loop over cells.
    downstream (n,) as from `drain`; returns float64 (n,).
    """
    n = downstream.size
    after = np.append(downstream, n)
    total = np.append(np.broadcast_to(np.asarray(amount, dtype=float), (n,)), 0.0)
    while (after < n).any():
        total = total + np.bincount(after, weights=total, minlength=n + 1)
        total[n] = 0.0
        after = after[after]
    return total[:n]


def descend(downstream: np.ndarray, drop: np.ndarray) -> np.ndarray:
    """Heights from drops: the sum of ``drop`` along the path down from each cell, float64 (n,)."""
    n = downstream.size
    after = np.append(downstream, n)
    total = np.append(drop.astype(float), 0.0)
    while (after < n).any():
        total = total + total[after]
        after = after[after]
    return total[:n]


@dataclass
class Landscape:
    """Heights and drainage on a coarse grid, and how large its cells are."""

    height: np.ndarray  # (h, w) metres
    downstream: np.ndarray  # (h * w,) flat index of the next cell, h * w outside
    area: np.ndarray  # (h, w) drained area, square metres
    cell: float  # metres

    def path(self, start: np.ndarray, steps: int) -> np.ndarray:
        """Flow paths: flat start cells (k,) -> (steps + 1, k) flat cells, ends repeated."""
        n = self.downstream.size
        here, out = np.asarray(start), [np.asarray(start)]
        for _ in range(steps):
            following = self.downstream[here]
            here = np.where(following < n, following, here)
            out.append(here)
        return np.stack(out)


def landscape(
    rng: np.random.Generator,
    shape: tuple[int, int],
    cell: float,
    *,
    relief: float,
    steepest: float = 0.9,
    tilt: float = 1.0,
    roughness: float = 1.5,
    creep: float = 1.0,
) -> Landscape:
    """A mountain landscape in equilibrium with its rivers.

    cell in metres; ``relief`` is the slope (m/m) of a channel that drains one hectare;
    ``steepest`` the threshold slope; ``tilt`` the strength of the regional slope that decides
    where water leaves (0: any edge; large: one side); ``roughness`` the spectral exponent of the
    surface on which the first rivers form; ``creep`` (cells) rounds the divides.
    """
    h, w = shape
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[:h, :w] / max(h, w)
    height = noise(rng, shape, roughness) + 4 * tilt * (np.cos(angle) * x + np.sin(angle) * y)
    edge = np.ones(shape, bool)
    edge[1:-1, 1:-1] = False
    outlets = edge & (height <= np.quantile(height[edge], rng.uniform(0.25, 0.5)))
    hardness = np.exp(0.3 * noise(rng, shape, 1.4)).ravel()
    wander = rng.uniform(0.5, 1.0, _edges(h, w)[0].size)
    for _ in range(3):
        down = drain(height, outlets, wander)
        area = accumulate(down) * cell**2
        here = np.flatnonzero(down < h * w)
        away = np.abs(down[here] - here)
        slope = relief * (area / 1e4) ** -CONCAVITY
        slope = slope / (1 + (slope / steepest) ** 4) ** 0.25 * hardness
        drop = np.zeros(h * w)
        drop[here] = slope[here] * cell * np.where((away == 1) | (away == w), 1.0, np.sqrt(2))
        height = ndimage.gaussian_filter(descend(down, drop).reshape(shape), creep)
    return Landscape(height, down, area.reshape(shape), cell)


# ------------------------------------------------------------------------------------- light


def slope_of(height: np.ndarray, gsd: float) -> np.ndarray:
    """Slope in degrees, float32, from heights (h, w) in metres and the pixel size in metres."""
    gy, gx = np.gradient(height.astype(np.float32), np.float32(gsd))
    return np.degrees(np.arctan(np.hypot(gx, gy)))


def hillshade(height: np.ndarray, gsd: float, azimuth: float, elevation: float) -> np.ndarray:
    """Cosine of the sun's angle of incidence, clipped at 0; 1 = facing the sun.

    azimuth: radians from the x axis towards y (down), where the sun stands; elevation: radians.
    """
    gy, gx = np.gradient(height, np.float32(gsd))
    flat = np.float32(np.cos(elevation))
    towards = gx * np.float32(-np.cos(azimuth)) + gy * np.float32(-np.sin(azimuth))
    lit = (np.float32(np.sin(elevation)) + flat * towards) / np.sqrt(1 + gx * gx + gy * gy)
    return np.clip(lit, 0, None)


def cast_shadow(
    height: np.ndarray, gsd: float, azimuth: float, elevation: float, reach: int
) -> np.ndarray:
    """How far (metres) each pixel lies under the shadow of others, up to ``reach`` pixels away."""
    dy, dx = np.sin(azimuth), np.cos(azimuth)
    deepest = np.zeros_like(height)
    h, w = height.shape
    rise = np.tan(elevation) * gsd
    for k in range(1, reach + 1):
        oy, ox = round(k * dy), round(k * dx)
        ys, xs = slice(max(0, -oy), min(h, h - oy)), slice(max(0, -ox), min(w, w - ox))
        yt, xt = slice(max(0, oy), min(h, h + oy)), slice(max(0, ox), min(w, w + ox))
        if ys.start >= ys.stop or xs.start >= xs.stop:
            break
        over = height[yt, xt] - height[ys, xs] - np.float32(rise * np.hypot(oy, ox))
        np.maximum(deepest[ys, xs], over, out=deepest[ys, xs])
    return deepest
