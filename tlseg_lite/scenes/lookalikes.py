"""What gets taken for a landslide and is none: everything here stays unlabelled."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from tlseg_lite.scenes.ground import Ground
from tlseg_lite.scenes.landslides import Slide, body
from tlseg_lite.scenes.terrain import noise, resize, smooth_noise, smoothstep


def _curve(
    rng: np.random.Generator, ground: Ground, follow: float, winding: float
) -> tuple[np.ndarray, np.ndarray]:
    """Signed distance (pixels, roughly) to a wandering line, and the position along it.

    ``follow`` 0: a line of its own; 1: a contour line of the terrain. ``winding``: about 0 to 0.2.
    """
    h, w = ground.shape
    span = max(h, w)
    y, x = np.mgrid[:h, :w].astype(np.float32)
    angle = rng.uniform(0, np.pi)
    line = (np.cos(angle) * (y - h / 2) - np.sin(angle) * (x - w / 2)) / span
    line = line + np.float32(winding) * smooth_noise(rng, (h, w), 0.45 * span)
    if follow > 0:
        step = max(1, span // 24)
        z = resize(ground.height[::step, ::step], (h, w))
        z = (z - z.mean()) / (4 * z.std() + 1e-6)
        line = line * np.float32(1 - follow) + z * np.float32(follow)
    line = line - np.float32(rng.uniform(-0.4, 0.4))
    gy, gx = np.gradient(line)
    along = (np.cos(angle) * x + np.sin(angle) * y).astype(np.float32)
    return line / (np.hypot(gx, gy) + np.float32(2e-4)), along


def _around_slides(
    rng: np.random.Generator, ground: Ground, half: float, follow: float, winding: float
) -> tuple[np.ndarray, np.ndarray]:
    """A line (see `_curve`) that keeps off the slides that are there, and often skirts one.

    Of some tries the one whose road covers least of them counts; among those that cover next to
    nothing, the nearest in half of the cases.
    """
    best, least = _curve(rng, ground, follow, winding), np.inf
    if not ground.label.any():
        return best
    skirts = rng.random() < 0.5
    line = best
    for _ in range(4):
        near = np.abs(line[0])[ground.label]
        buried = float((near < half + 1).mean())
        gap = max(float(near.min()) - half, 0.0) / max(ground.shape)
        miss = 10 * max(buried - 0.03, 0.0) + (gap if skirts else 0.0)
        if miss < least:
            best, least = line, miss
        if miss < 0.02:
            break
        line = _curve(rng, ground, follow, winding)
    return best


def road(rng: np.random.Generator, ground: Ground) -> None:
    """A track, a road or a highway, sometimes with a bare cutting on its uphill side."""
    gsd = ground.gsd
    kind = rng.choice(3, p=[0.5, 0.35, 0.15])  # track, road, highway
    metres = (rng.uniform(2, 5), rng.uniform(5, 9), rng.uniform(11, 20))[kind]
    half = 0.5 * metres / gsd
    follow, winding = (rng.choice([0.0, 0.3, 0.7]), 0.0, 0.0)[kind], (0.14, 0.09, 0.03)[kind]
    distance, along = _around_slides(rng, ground, half, follow, winding)
    near = np.abs(distance)
    free = np.float32(1) - ndimage.gaussian_filter(ground.label.astype(np.float32), 0.7)
    rough = noise(rng, ground.shape, 0.8, longest=20, shortest=1.5)
    if rng.random() < 0.5:  # cutting
        side = rng.choice([-1, 1])
        width = half + rng.uniform(2, 11) / gsd * smoothstep(
            smooth_noise(rng, ground.shape, max(12, 40 / gsd)), -0.3, 1.3
        )
        cut = smoothstep(side * distance / (width + 1e-3), 1.05, 0.9) * (side * distance > -half)
        cut = free * cut * smoothstep(width, half + 0.6, half + 1.6)
        ground.paint(0.9 * cut, "soil" if rng.random() < 0.6 else "soil2", 1 + 0.12 * rough)
        ground.strip(cut)
    edge = 0.6 if ground.fine else 0.8
    surface = free * smoothstep(near, half + edge, max(half - edge, 0.0)) * min(1.0, 2.2 * half)
    material = ("soil2", "concrete", "asphalt")[kind]
    if kind == 0 and rng.random() < 0.5:
        material = "soil_pale"
    ground.paint(surface, material, (1 + 0.05 * rough) * np.float32(rng.uniform(0.85, 1.15)))
    if kind == 2 and ground.fine:
        for offset in (-0.55, 0.0, 0.55):
            dashed = (np.sin(along * np.float32(0.9 / gsd)) > -0.2) if offset == 0 else 1.0
            mark = free * smoothstep(np.abs(distance - offset * 1.4 * half), 0.9, 0.2) * dashed
            ground.paint(0.45 * mark, "concrete")
    if ground.fine:
        clear = free * smoothstep(near, half + 2, half + 0.5)
        ground.standing *= 1 - clear
        shoulder = free * smoothstep(np.abs(near - half - 1), 1.2, 0.2) * rng.uniform(0, 0.5)
        ground.paint(shoulder * smoothstep(rough, -0.5, 0.5), "straw")
    ground.note_bare(surface, "roads")


def _polygon(rng: np.random.Generator, shape: tuple[int, int], centre, radius: float, sides: int):
    """Signed distance-like field of a convex polygon: below 0 inside, in pixels."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    y, x = y - np.float32(centre[0]), x - np.float32(centre[1])
    turn, squeeze = rng.uniform(0, 2 * np.pi), rng.uniform(0.45, 1.0)
    u = np.cos(turn) * x + np.sin(turn) * y
    v = (np.cos(turn) * y - np.sin(turn) * x) / np.float32(squeeze)
    field = np.full(shape, -np.inf, np.float32)
    for k in range(sides):
        a = 2 * np.pi * (k + rng.uniform(-0.18, 0.18)) / sides
        reach = radius * rng.uniform(0.7, 1.1)
        np.maximum(field, np.cos(a) * u + np.sin(a) * v - np.float32(reach), out=field)
    return field, u, v


def bare_field(rng: np.random.Generator, ground: Ground) -> None:
    """A ploughed or cleared plot: straight sides, furrows, soil of the same colours."""
    radius = np.exp(rng.normal(np.log(14), 0.45)) / min(ground.gsd, 4)
    radius = min(radius, 0.22 * max(ground.shape))
    centre = rng.uniform(0.05, 0.95, 2) * ground.shape
    field, u, _ = _polygon(rng, ground.shape, centre, radius, int(rng.integers(4, 6)))
    rough = noise(rng, ground.shape, 0.8, longest=20, shortest=1.5)
    alpha = smoothstep(field + 0.4 * rough, 1.0, -1.0) * rng.uniform(0.75, 1)
    furrow = np.sin(u * np.float32(rng.uniform(0.7, 2.0))) * np.float32(rng.uniform(0, 0.10))
    name = rng.choice(np.array(["soil", "soil2", "soil_brown", "soil_red", "straw"]))
    tone = np.float32(np.exp(rng.normal(0, 0.15)))
    ground.paint(alpha, str(name), (1 + 0.06 * rough + furrow) * tone)
    ground.strip(alpha, "bare fields")


def quarry(rng: np.random.Generator, ground: Ground) -> None:
    """A pit or a building site: angular, benches in straight steps, a flat pale floor."""
    radius = rng.uniform(0.08, 0.2) * max(ground.shape) * (1 if ground.fine else 0.45)
    centre = rng.choice([0.12, 0.88], 2) + rng.uniform(-0.1, 0.15, 2)
    sides = int(rng.integers(4, 8))
    field, u, v = _polygon(rng, ground.shape, centre * ground.shape, radius, sides)
    rough = noise(rng, ground.shape, 0.8, longest=20, shortest=1.5)
    alpha = smoothstep(field + 0.8 * rough, 1.2, -1.2)
    bench = max(5.0 / ground.gsd, 3.0)
    depth = np.clip(-field / bench, 0, 5)
    riser = smoothstep(np.abs(depth - np.round(depth)), 0.3, 0.1) * (depth < 4.5)
    name = str(rng.choice(np.array(["soil_pale", "gravel", "soil", "soil_grey", "soil_tan"])))
    ground.paint(alpha, name, 1 + 0.06 * rough - 0.16 * riser)
    tracks = smoothstep(np.abs(np.sin((u + 0.2 * v) * np.float32(0.14))), 0.15, 0.0)
    ground.paint(0.35 * alpha * tracks * (depth > 3), "concrete")
    ground.height -= alpha * np.floor(depth).astype(np.float32) * np.float32(2.5)
    ground.strip(alpha, "quarry")


def river(rng: np.random.Generator, ground: Ground) -> None:
    """Water and gravel bars along the largest stream of the image."""
    gsd, area = ground.gsd, ground.land.area.ravel()
    starts = rng.choice(area.size, 60)
    paths = ground.land.path(starts, 90)
    pixels = ground.to_pixels(paths)
    inside = ((pixels > 0) & (pixels < np.array(ground.shape))).all(-1)
    best = int(np.argmax((inside * np.sqrt(area[paths])).sum(0)))
    moving = np.append(True, np.diff(paths[:, best]) != 0)
    line = ndimage.gaussian_filter1d(pixels[moving, best], 2.0, axis=0, mode="nearest")
    if len(line) < 6:
        return
    t = np.linspace(0, len(line) - 1, 70)
    line = np.stack([np.interp(t, np.arange(len(line)), line[:, k]) for k in (0, 1)], 1)
    drained = np.interp(t, np.arange(moving.sum()), area[paths[moving, best]])
    widest = rng.uniform(3, 11) if ground.fine else rng.uniform(18, 60)
    half = 0.5 * widest / gsd * np.clip((drained / drained.max()) ** 0.35, 0.15, 1)
    found = body(Slide(line, half, "river", 0.0, 0.0), ground.shape)
    if found is None:
        return
    box, q, _, across = found
    rough = noise(rng, q.shape, 1.0, longest=40, shortest=1.5)
    bank = smooth_noise(rng, q.shape, max(6.0, 3 * half.max()))
    bed = smoothstep(q + 0.25 * bank + 0.08 * rough, 1.15, 0.85) * min(1.0, 1.3 * half.max())
    ground.paint(bed, "gravel", 0.95 + 0.10 * rough, box)
    if rng.random() < 0.7:
        wet = smoothstep(np.abs(across + 0.5 * bank), 0.75, 0.45)
        ground.paint(0.9 * bed * wet, "water", 1 + 0.05 * rough, box)
    ground.strip(bed, "river", box)


def pond(rng: np.random.Generator, ground: Ground) -> None:
    """Still, dark water in the lowest corner of the image."""
    low = np.quantile(ground.height, rng.uniform(0.04, 0.15))
    scale = ground.height.std() + 1e-3
    water = smoothstep((low - ground.height) / np.float32(scale), -0.01, 0.02)
    ground.paint(water, "water")
    ground.standing *= 1 - water
    ground.height = np.maximum(ground.height, np.float32(low))
    ground.layers["water"] = water


def buildings(rng: np.random.Generator, ground: Ground) -> None:
    """A few houses with light roofs and yards, sides parallel to each other."""
    gsd = ground.gsd
    angle = rng.uniform(0, np.pi)
    centre = rng.uniform(0.05, 0.95, 2) * ground.shape
    built = np.zeros(ground.shape, np.float32)
    roofs = ["roof_white", "roof_blue", "roof_grey", "roof_red", "concrete"]
    for _ in range(int(rng.integers(1, 9))):
        cy, cx = centre + rng.normal(0, 22 / min(gsd, 5), 2)
        a, b = rng.uniform(4, 12) / gsd / 2 + 0.3, rng.uniform(4, 9) / gsd / 2 + 0.3
        reach = int(np.hypot(a, b)) + 4
        y0, y1 = max(0, int(cy) - reach), min(ground.shape[0], int(cy) + reach)
        x0, x1 = max(0, int(cx) - reach), min(ground.shape[1], int(cx) + reach)
        if y1 - y0 < 2 or x1 - x0 < 2:
            continue
        box = (slice(y0, y1), slice(x0, x1))
        if ground.label[box].mean() > 0.25:  # nobody builds on a slide
            continue
        y, x = np.mgrid[y0:y1, x0:x1].astype(np.float32)
        u = np.cos(angle) * (x - cx) + np.sin(angle) * (y - cy)
        v = np.cos(angle) * (y - cy) - np.sin(angle) * (x - cx)
        gap = np.maximum(np.abs(u) - np.float32(a), np.abs(v) - np.float32(b))
        yard = smoothstep(gap, 3.5 / gsd, 2.0 / gsd) if ground.fine else 0 * gap
        roof = smoothstep(gap, 0.5, -0.5)
        ground.paint(0.6 * yard, "soil_pale", None, box)
        ridge = 1 + 0.12 * np.sign(v) if rng.random() < 0.6 else None
        ground.paint(roof, str(rng.choice(np.array(roofs))), ridge, box)
        ground.standing[box] *= 1 - np.maximum(yard, roof)
        if ground.fine:
            ground.standing[box] += roof * np.float32(rng.uniform(3, 8))
        built[box] = np.maximum(built[box], roof)
    ground.note_bare(built, "buildings")


def worn_patch(rng: np.random.Generator, ground: Ground) -> None:
    """Thin grass and worn soil in blotches: bright, but no slide."""
    broad = smooth_noise(rng, ground.shape, max(10.0, max(ground.shape) * rng.uniform(0.08, 0.25)))
    rough = noise(rng, ground.shape, 1.0, longest=30, shortest=1.5)
    limit = np.quantile(broad, rng.uniform(0.88, 0.985))
    alpha = smoothstep(broad + 0.1 * rough, limit, limit + rng.uniform(0.4, 1.2))
    alpha = alpha * rng.uniform(0.3, 0.95)
    name = str(rng.choice(np.array(["soil", "soil2", "straw", "grass", "soil_tan", "crop"])))
    ground.paint(alpha, name, 1 + 0.10 * rough)
    ground.standing *= 1 - 0.8 * alpha
    ground.note_bare(alpha, "worn ground")


def clouds(rng: np.random.Generator, shape: tuple[int, int], amount: float) -> np.ndarray:
    """Opacity of clouds, (h, w) in 0..1; ``amount`` is the share of the sky."""
    span = max(shape)
    field = noise(rng, shape, 1.9, longest=span * rng.uniform(0.3, 0.7), shortest=1.5)
    limit = np.quantile(field, 1 - amount)
    return smoothstep(field, limit - 0.3, limit + 1.2) * np.float32(rng.uniform(0.4, 0.95))
