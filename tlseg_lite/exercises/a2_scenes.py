"""Checks of the appendix on synthetic scenes: flow, light, stored bands, sizes of landslides."""

from __future__ import annotations

from typing import Any

import numpy as np

from tlseg_lite.exercises.verdict import near, on_fresh_inputs, parts

NEIGHBOURS = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)]


def check_A2_1(answer: Any) -> str:
    rng = np.random.default_rng(11)
    cases = [(np.round(100 + 8 * rng.standard_normal((3, 3)), 1),) for _ in range(12)]
    cases.append((np.array([[9.0, 8.5, 8.0], [9.5, 10.0, 8.4], [9.0, 8.8, 7.9]]),))  # a near tie
    for (height,) in cases:
        height[1, 1] = max(height[1, 1], height.min() + 1)  # no pits here

    def steepest(height, weigh, sign=1):
        def drop(step):
            dy, dx = step
            length = np.hypot(dy, dx) if weigh else 1.0
            return sign * (height[1, 1] - height[1 + dy, 1 + dx]) / length

        return max(NEIGHBOURS, key=drop)

    mistakes = (
        (lambda h: steepest(h, False), "this is the lowest neighbour. A diagonal one is farther "
         "away, by the root of two: water takes the steepest path."),
        (lambda h: steepest(h, True, -1), "this is the steepest path up."),
        (lambda h: steepest(h, True)[::-1], "dx and dy are exchanged: rows (dy) come first."),
        (lambda h: tuple(v + 1 for v in steepest(h, True)), "give the step from the middle, -1 to "
         "1, not the place in the array."),
        (lambda h: max([w for w in NEIGHBOURS if 0 in w],
                       key=lambda w: h[1, 1] - h[1 + w[0], 1 + w[1]]),
         "water may leave in eight directions; you compare four."),
    )  # fmt: skip

    def words(height):
        return f"the heights {height.tolist()}"

    on_fresh_inputs(answer, cases, lambda h: steepest(h, True), 1e-9, mistakes, words)
    return "This is D8, flow in eight directions. The package adds a path out of pits."


def _lit(slope: float, elevation: float, towards: bool) -> float:
    """The hillshade of a plane that falls towards the sun, or away from it; angles in degrees."""
    from tlseg_lite.scenes.terrain import hillshade

    x = np.arange(9, dtype=np.float32)[None, :].repeat(9, 0)
    fall = -1 if towards else 1  # the sun stands at azimuth 0, where x grows
    height = fall * np.float32(np.tan(np.radians(slope))) * x
    return float(hillshade(height, 1.0, 0.0, np.radians(elevation))[4, 4])


def check_A2_2(answer: Any) -> str:
    answer = parts(answer, ("towards", "away"))
    slope, sun = 30.0, 40.0
    towards, away = _lit(slope, sun, True), _lit(slope, sun, False)
    degrees = float(np.cos(90 - sun - slope))
    mistakes = (
        (away, "towards and away are exchanged: a slope that faces the sun is brighter."),
        (float(np.sin(np.radians(90 - sun - slope))), "the cosine is taken of the angle between "
         "the light and the slope's perpendicular; you took the sine."),
        (float(np.sin(np.radians(sun))), "this is flat ground."),
        (towards / np.sin(np.radians(sun)), "this is relative to flat ground."),
        (degrees, "numpy's cosine wants radians."),
        (float(np.cos(np.radians(sun - slope))), "the sun is 40 degrees above the horizon: 50 from "
         "the zenith."),
    )  # fmt: skip
    near(answer["towards"], towards, 0.006, mistakes, "towards")
    mistakes = (
        (towards, "towards and away are exchanged."),
        (float(np.cos(np.radians(sun + slope))), "from the zenith the sun is at 50 degrees, not "
         "40: 50 + 30."),
        (-away, "the sign: nothing is darker than 0."),
        (0.0, "the slope is gentler than the sun is high: it still gets some light."),
    )  # fmt: skip
    near(answer["away"], away, 0.006, mistakes, "away")
    return f"{towards / away:.1f} times as bright, and the ground is the same."


def check_A2_3(answer: Any) -> str:
    from tlseg_lite.data.landslide4sense import BANDS

    stored, band = 1.2, BANDS[7]
    truth = stored * band.divisor / 1e4
    mistakes = (
        (stored / band.divisor * 1e4, "stored = raw / divisor: multiply to get the raw value."),
        (stored / band.divisor, "stored = raw / divisor: multiply to get the raw value."),
        (stored * band.divisor, "this is the raw value; its unit is 1/10000 of the reflectance."),
        (stored * BANDS[8].divisor / 1e4, "this is the ninth band, B9. Channels count from 0, and "
         "B8 is channel 7."),
        (stored * BANDS[6].divisor / 1e4, "this is channel 6, which is B7."),
        (stored, "this is the stored value; its divisor is missing."),
    )  # fmt: skip
    near(answer, truth, 0.0015, mistakes, "the reflectance")
    return f"B8 reflects {100 * truth:.0f} %: grass or a crop. A fresh scar is darker there."


def check_A2_4(answer: Any) -> str:
    from tlseg_lite.data.landslide4sense import BANDS

    rng = np.random.default_rng(1)
    cases = [(rng.uniform(0.4, 1.8, (14, 6, 8)),) for _ in range(2)]
    divisors = np.array([band.divisor for band in BANDS])[:, None, None]

    def ndvi(raw, nir=7, red=3):
        return (raw[nir] - raw[red]) / (raw[nir] + raw[red])

    def raw(stored):
        return stored * divisors

    mistakes = (
        (lambda s: ndvi(s), "you took the stored values. Red and near infrared were divided by "
         "different numbers; multiply first."),
        (lambda s: ndvi(s / divisors), "multiply by the divisors: stored = raw / divisor."),
        (lambda s: -ndvi(raw(s)), "the sign: near infrared minus red."),
        (lambda s: ndvi(raw(s), 8, 4), "channels count from 0: B4 is channel 3, B8 is channel 7."),
        (lambda s: ndvi(raw(s), 7, 4), "red is B4, channel 3."),
        (lambda s: ndvi(raw(s), 8, 3), "near infrared is B8, channel 7."),
        (lambda s: raw(s)[7] / raw(s)[3], "this is the ratio; NDVI is difference over sum."),
        (lambda s: (raw(s)[7] - raw(s)[3]) / raw(s)[7] + raw(s)[3], "brackets: divide by the sum."),
        (lambda s: s[[7]][0] * 0 + ndvi(raw(s), 7, 2), "red is B4, channel 3; you took green."),
    )  # fmt: skip
    on_fresh_inputs(answer, cases, lambda s: ndvi(raw(s)), 1e-4, mistakes)
    return "An index mixes bands, so their scales have to be right."


def check_A2_5(answer: Any) -> str:
    rng = np.random.default_rng(6)
    cases = [(np.sort(1e3 * (1 - rng.random(600)) ** (-1 / steep)),) for steep in (0.7, 1.0, 1.6)]

    def line(x, y):
        return float(np.polyfit(x, y, 1)[0])

    def slope(areas, low=2e3, high=2e4, rank=np.log10):
        """Of the number that is at least as large (the rank), over the area between two limits."""
        keep = (areas > low) & (areas < high)
        return line(np.log10(areas[keep]), rank(np.arange(1, areas.size + 1))[keep])

    def falling(areas):
        return np.sort(areas)[::-1]

    def truth(areas):
        return slope(falling(areas))

    def histogram(areas):
        edges = np.logspace(np.log10(2e3), np.log10(2e4), 11)
        count = np.histogram(areas, edges)[0]
        middle = np.sqrt(edges[1:] * edges[:-1])
        keep = count > 0
        return line(np.log10(middle[keep]), np.log10((count / np.diff(edges))[keep]))

    mistakes = (
        (lambda a: -truth(a), "the sign: the number falls with the area."),
        (lambda a: slope(falling(a), 0, np.inf), "fit between 2,000 and 20,000 "
         "square metres only."),
        (lambda a: slope(falling(a), rank=lambda n: np.log10(n[::-1])), "count the "
         "landslides that are at least as large: the largest has rank 1."),
        (slope, "sort the areas first, the largest first: its rank is 1."),
        (lambda a: slope(falling(a), rank=lambda n: n), "take the logarithm of the number as "
         "well."),
        (histogram, "this is the density of sizes, one steeper than the number at least as large."),
        (lambda a: 1 / truth(a), "x and y are exchanged: the area lies on the x axis."),
    )  # fmt: skip
    on_fresh_inputs(answer, cases, truth, 0.02, mistakes)
    return "Near -1 on the scenes above: ten times the area, a tenth of the number."
