"""Checks of chapter 8: windows of a scene, blending, square metres, a threshold with a price."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tlseg_lite.exercises.verdict import Wrong, near, number, on_fresh_inputs, parts
from tlseg_lite.maps.windows import Windows

if TYPE_CHECKING:
    import pandas as pd

SCENE = (2816, 6016)  # rows and columns
SIDE = 256
LATITUDE, DEGREE, PIXELS = 60.0, 1e-4, 40_000
MISS = 10.0  # the price of a missed landslide; a false alarm costs 1


def check_8_1(answer: Any) -> str:
    answer = parts(answer, ("none", "half", "times"))
    counts = {}
    for overlap in (0.0, 0.5):
        grid = Windows.of(*SCENE, SIDE, overlap)
        counts[overlap] = len(grid.rows) * len(grid.columns)
    rows, columns = SCENE[0] / SIDE, SCENE[1] / SIDE
    mistakes = (
        (rows * columns, "the last window of a row or column is moved inwards, not cut: round up."),
        (int(rows) * int(columns), "the last row and column of pixels would have no window."),
    )
    near(answer["none"], counts[0.0], 0, mistakes, "none")
    mistakes = (
        (4 * counts[0.0], "four times as many would lie beyond the edge, too: count the starts."),
        (2 * counts[0.0], "the overlap is along both sides: rows and columns are closer."),
        (
            math.ceil(2 * rows) * math.ceil(2 * columns),
            "the last window ends with the scene; count its starts at every 128 pixels.",
        ),
    )
    near(answer["half"], counts[0.5], 0, mistakes, "half")
    near(answer["times"], counts[0.5] / counts[0.0], 0.02, (), "times")
    return "Half of a window's overlap costs nearly four times the windows, on any large scene."


def _blended(starts: Any, values: Any, weights: Any, length: int) -> np.ndarray:
    total, weight = np.zeros(length), np.zeros(length)
    for start, own in zip(starts, values, strict=True):
        total[start : start + len(own)] += weights * own
        weight[start : start + len(own)] += weights
    return total / weight


def check_8_2(answer: Any) -> str:
    random = np.random.default_rng(8)
    cases = []
    for side, stride, count in ((8, 4, 3), (10, 5, 4), (12, 9, 2)):
        starts = [stride * i for i in range(count)]
        edge = np.minimum(np.arange(side), np.arange(side)[::-1]) + 0.5
        weights = np.sin(0.5 * np.pi * np.minimum(edge / (side - stride), 1)) ** 2
        values = random.uniform(0, 1, (count, side))
        cases.append((starts, values, weights, starts[-1] + side))

    def plain(starts, values, weights, length):
        return _blended(starts, values, np.ones_like(weights), length)

    def unweighted_sum(starts, values, weights, length):
        total = np.zeros(length)
        for start, own in zip(starts, values, strict=True):
            total[start : start + len(own)] += weights * own
        return total

    def last_wins(starts, values, weights, length):
        total = np.zeros(length)
        for start, own in zip(starts, values, strict=True):
            total[start : start + len(own)] = own
        return total

    def largest(starts, values, weights, length):
        total = np.full(length, -np.inf)
        for start, own in zip(starts, values, strict=True):
            part = slice(start, start + len(own))
            total[part] = np.maximum(total[part], own)
        return total

    mistakes = (
        (plain, "this is the plain mean: a window's edge counts as much as its middle."),
        (
            unweighted_sum,
            "divide by the sum of the weights: at the ends of the line it is not one.",
        ),
        (last_wins, "later windows overwrite earlier ones; that is what makes seams."),
        (largest, "the largest value wins: the map would grow with the overlap."),
    )
    on_fresh_inputs(answer, cases, _blended, 1e-6, mistakes, lambda s, *_: f"{len(s)} windows")
    return "Sum of weight times value over sum of weights: nothing else is in `tl.maps.Blend`."


def check_8_3(answer: Any) -> str:
    metres = DEGREE * 2 * math.pi * 6_371_000 / 360
    across = metres * math.cos(math.radians(LATITUDE))
    area = PIXELS * metres * across
    mistakes = (
        (PIXELS * metres * metres, "towards the pole the meridians come together: cos(latitude)."),
        (PIXELS * across * across, "only the east-west side shrinks with the cosine."),
        (
            PIXELS * metres * metres * math.sin(math.radians(LATITUDE)),
            "the sine is that of the distance from the pole; take the cosine of the latitude.",
        ),
        (area / 1e4, "these are hectares, or square degrees; square metres are asked for."),
    )
    near(answer, area, 0.01 * area, mistakes, "the area")
    return (
        "Squares of a degree are twice as high as wide there. `landslides.gpkg` measures in an "
        "equal-area system around the scene, on the ellipsoid."
    )


def given_8_4() -> Any:
    """Landslides found and false alarms of a validation valley at five thresholds (made up)."""
    import pandas as pd

    return pd.DataFrame(
        {
            "threshold": [0.1, 0.3, 0.5, 0.7, 0.9],
            "mapped": [80] * 5,
            "found": [71, 66, 58, 47, 30],
            "false_alarms": [190, 112, 61, 33, 12],
        }
    )


def _costs(table: pd.DataFrame, miss: float = MISS) -> pd.Series:
    return miss * (table.mapped - table.found) + table.false_alarms


def check_8_4(answer: Any) -> str:
    answer = parts(answer, ("threshold", "cost", "f1"))
    table = given_8_4()
    costs, best = _costs(table), int(_costs(table).argmin())
    f1 = 2 * table.found / (table.mapped + table.found + table.false_alarms)
    equal = int(_costs(table, 1).argmin())
    mistakes = (
        (table.threshold[equal], "there a missed landslide and a false alarm cost the same."),
        (table.threshold[int(f1.argmax())], "this is the threshold of the best F1."),
        (table.threshold[0], "it finds most, and sends people to 190 places for nothing."),
    )
    near(answer["threshold"], table.threshold[best], 1e-6, mistakes, "threshold")
    mistakes = (
        (MISS * table.found[best] + table.false_alarms[best], "it is the missed ones that cost."),
        (costs[best] / 80, "this is the cost for each landslide; the sum is asked for."),
    )
    near(answer["cost"], costs[best], 1e-6, mistakes, "cost")
    precision = table.found / (table.found + table.false_alarms)
    mistakes = (
        (f1.max(), "this is the best F1 of the table, not the one at your threshold."),
        (precision[best], "this is the precision."),
        (table.found[best] / 80, "this is the recall."),
    )
    given = number(answer["f1"], "f1")
    if given > 1:
        raise Wrong(f"f1 is {given:g}; give a fraction, such as 0.47.")
    near(given, f1[best], 0.005, mistakes, "f1")
    return "The threshold follows from the price of the errors, and F1 prices both alike."
