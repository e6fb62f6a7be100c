"""Figures that colour-blind readers can read: the colours used, and how far apart they are."""

import itertools
import json
import re

import numpy as np
import pytest
from course import NOTEBOOKS, ROOT

from tlseg_lite import plots
from tlseg_lite.widgets import confusion

# Okabe and Ito's palette; every other colour of the course is a grey or a tint of one of these
PALETTE = {"#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7"}
MAPS = {"viridis", "cividis", "gray"}  # lightness rises evenly along each
CODE = sorted((ROOT / "tlseg_lite").rglob("*.py")) + NOTEBOOKS


def code_of(path) -> str:
    """Python source: of a module, or of a notebook's code cells."""
    text = path.read_text("utf-8")
    if path.suffix == ".py":
        return text
    cells = json.loads(text)["cells"]
    return "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")


def rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255


def linear(values: np.ndarray) -> np.ndarray:
    """sRGB -> linear light."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(light: np.ndarray) -> np.ndarray:
    """Linear sRGB -> CIELAB (D65), where distance is roughly what an eye sees."""
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    ratio = xyz @ light / [0.9505, 1.0, 1.089]
    f = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


# linear light as people without one kind of cone see it (Vienot, Brettel and Mollon, 1999)
SIGHT = {
    "all cones": np.eye(3),
    "no long cones": np.array([[0.1124, 0.8876, 0], [0.1124, 0.8876, 0], [0.004, -0.004, 1]]),
    "no medium cones": np.array([[0.2928, 0.7072, 0], [0.2928, 0.7072, 0], [-0.0223, 0.0223, 1]]),
}


def distance(one: str, other: str, sight: str) -> float:
    """CIELAB distance of two colours as seen; about 2 is just noticeable."""
    seen = [lab((SIGHT[sight] @ linear(rgb(c))).clip(0, 1)) for c in (one, other)]
    return float(np.linalg.norm(seen[0] - seen[1]))


def test_distance_tells_red_and_green_apart_only_with_all_cones():
    assert distance("#FFFFFF", "#000000", "all cones") == pytest.approx(100, abs=0.5)
    red, green = "#AA5500", "#6E7800"  # alike without medium cones
    assert distance(red, green, "all cones") > 40
    assert distance(red, green, "no medium cones") < 20


@pytest.mark.parametrize("sight", SIGHT)
def test_colours_that_stand_together_differ_for_every_eye(sight):
    together = [
        (plots.LANDSLIDE, plots.PREDICTION),
        (plots.LANDSLIDE, plots.PREDICTED_OUTLINE),
        *itertools.combinations(confusion.KINDS.values(), 2),
    ]
    for one, other in together:
        assert distance(one, other, sight) > 20, f"{one} and {other}, {sight}"


def safe(colour: str) -> bool:
    """Whether a colour is of the palette, a grey, or a tint of one of the palette's."""
    channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    if colour.upper() in PALETTE or np.ptp(channels) == 0:
        return True
    bases = [255 * rgb(base) for base in PALETTE - {"#000000"}]
    return any(np.corrcoef(channels, base)[0, 1] > 0.98 for base in bases)


def test_safe_knows_tints_and_refuses_others():
    assert safe("#777777")
    assert safe("#F6D58B"), "a tint of the orange"
    assert not safe("#FF0000")
    assert not safe("#00FF00")


def test_colours_and_maps_are_safe():
    strange = []
    for path in CODE:
        source = code_of(path)
        found = [c for c in re.findall(r"#[0-9A-Fa-f]{6}\b", source) if not safe(c)]
        found += set(re.findall(r"cmap=[\"'](\w+)", source)) - MAPS
        named = re.findall(r"\bcolors?=\[?[\"']([a-zA-Z]\w*)", source)
        found += set(named) - {"black", "white", "grey"}
        strange += [(path.name, one) for one in found]
    assert strange == []
