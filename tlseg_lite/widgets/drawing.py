"""Boxes and arrows as SVG, in two layouts: one for a wide page, one for a phone.

A diagram is a list of `Box`es on a grid and of `Arrow`s between them. Text takes the page's colour,
so it is legible on light and on dark pages; what a colour says is also said in words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

KINDS = {
    "frozen": ("#56b4e9", "6 4"),
    "trained": ("#e69f00", ""),
    "data": ("#808080", ""),
    "step": ("#009e73", ""),
}
"""Colour and dashes of a box's frame, by what it is."""
SIZE = 13.0  # of the text, in pixels
LINE = 17.0
PAD = 9.0
LETTER = 0.52  # mean width of a letter, in units of its height
PHONE = "(max-width: 600px)"


@dataclass(frozen=True)
class Box:
    """One box: a title, more lines, and where it lies.

    Attributes:
        title: its first line, bold.
        lines: what stands below.
        kind: ``"frozen"``, ``"trained"``, ``"data"`` or ``"step"``.
        wide, narrow: column and row on a wide page and on a phone; halves are allowed.
    """

    title: str
    lines: tuple[str, ...]
    kind: str
    wide: tuple[float, float]
    narrow: tuple[float, float]

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind is {self.kind!r}; expected one of {', '.join(KINDS)}")

    @property
    def height(self) -> float:
        """In pixels."""
        return 2 * PAD + LINE * (1 + len(self.lines)) - 3


@dataclass(frozen=True)
class Arrow:
    """From one box to another, by their names, with a word at it."""

    start: str
    end: str
    label: str = ""


@dataclass(frozen=True)
class Layout:
    """A grid: width of a box and of the gaps, height of a row, in pixels."""

    box: float
    gap: float
    row: float
    which: str


WIDE = Layout(box=148, gap=27, row=108, which="wide")
NARROW = Layout(box=158, gap=24, row=106, which="narrow")


class Diagram:
    """Boxes and arrows that show themselves in a notebook and in the built book.

    Args:
        label: what the diagram shows, for those who cannot see it.
        boxes: by name.
        arrows: between names of boxes.

    Raises:
        ValueError: an arrow names a box that is not there.
    """

    def __init__(self, label: str, boxes: dict[str, Box], arrows: Sequence[Arrow]) -> None:
        for arrow in arrows:
            for name in (arrow.start, arrow.end):
                if name not in boxes:
                    raise ValueError(f"an arrow names {name!r}; the boxes are {', '.join(boxes)}")
        self.label, self.boxes, self.arrows = label, boxes, tuple(arrows)

    def __repr__(self) -> str:
        return f"{self.label} (a diagram; it shows in notebooks and in the built book)"

    def _repr_html_(self) -> str:
        return self.html()

    def html(self) -> str:
        """Both layouts; the page's width chooses."""
        style = (
            ".tlseg-diagram{margin:.5rem 0}.tlseg-diagram svg{display:block;height:auto;"
            "margin:0 auto;max-width:100%}.tlseg-diagram .narrow{display:none}"
            f"@media {PHONE}{{.tlseg-diagram .wide{{display:none}}"
            ".tlseg-diagram .narrow{display:block}}"
        )
        drawn = "".join(self.svg(layout) for layout in (WIDE, NARROW))
        return f'<div class="tlseg-diagram"><style>{style}</style>{drawn}</div>'

    def svg(self, layout: Layout = WIDE) -> str:
        """One layout as SVG, as wide as its grid."""
        places = self.places(layout)
        width = max(x + layout.box for x, _ in places.values()) + 2
        height = max(y + self.boxes[name].height for name, (x, y) in places.items()) + 2
        tip = f"tip-{layout.which}"
        parts = [
            f'<svg class="{layout.which}" role="img" aria-label="{escape(self.label)}" '
            f'xmlns="http://www.w3.org/2000/svg" viewBox="-2 -2 {width + 2:g} {height + 2:g}" '
            f'width="{width + 2:g}" font-family="sans-serif" font-size="{SIZE:g}">',
            f'<defs><marker id="{tip}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
            'markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z" fill="currentColor"/>'
            "</marker></defs>",
        ]
        parts += [self._arrow(arrow, places, layout, tip) for arrow in self.arrows]
        parts += [_box(self.boxes[name], x, y, layout.box) for name, (x, y) in places.items()]
        return "".join([*parts, "</svg>"])

    def places(self, layout: Layout) -> dict[str, tuple[float, float]]:
        """Left and top of each box; boxes of one row share their middle."""
        found = {}
        for name, box in self.boxes.items():
            column, row = getattr(box, layout.which)
            found[name] = (column * (layout.box + layout.gap), row * layout.row - box.height / 2)
        top = min(y for _, y in found.values())
        return {name: (x, y - top) for name, (x, y) in found.items()}

    def _arrow(self, arrow: Arrow, places: dict, layout: Layout, tip: str) -> str:
        ends = [(*places[name], self.boxes[name].height) for name in (arrow.start, arrow.end)]
        points = route(*ends, layout)
        line = " ".join(f"{x:g},{y:g}" for x, y in points)
        drawn = (
            f'<polyline points="{line}" fill="none" stroke="currentColor" stroke-width="1.3" '
            f'marker-end="url(#{tip})"/>'
        )
        if not arrow.label:
            return drawn
        (x0, y0), (x1, y1) = max(
            pairwise(points),
            key=lambda pair: abs(pair[0][0] - pair[1][0]) + abs(pair[0][1] - pair[1][1]),
        )
        x, y = (x0 + x1) / 2, (y0 + y1) / 2
        side = ("middle", 0, -5) if abs(y0 - y1) < 1 else ("start", 5, 4)
        return drawn + (
            f'<text x="{x + side[1]:g}" y="{y + side[2]:g}" text-anchor="{side[0]}" '
            f'fill="currentColor" font-size="12" font-style="italic">{escape(arrow.label)}</text>'
        )


def route(
    start: tuple[float, float, float], end: tuple[float, float, float], layout: Layout
) -> list[tuple[float, float]]:
    """Corners of an arrow between two boxes, each as left, top and height.

    Straight where the boxes share a row or a column, else with two corners half-way: sideways
    first on a wide page, downwards first on a phone.
    """
    (x0, y0, h0), (x1, y1, h1) = start, end
    cx0, cx1, cy0, cy1 = x0 + layout.box / 2, x1 + layout.box / 2, y0 + h0 / 2, y1 + h1 / 2
    right = x1 > x0
    sideways = (x0 + layout.box if right else x0, x1 if right else x1 + layout.box)
    down = y1 > y0
    upright = (y0 + h0 if down else y0, y1 if down else y1 + h1)
    if abs(cy0 - cy1) < 1:
        return [(sideways[0], cy0), (sideways[1], cy1)]
    if abs(cx0 - cx1) < 1:
        return [(cx0, upright[0]), (cx1, upright[1])]
    if layout.which == "wide":
        middle = sideways[1] + (-1 if right else 1) * layout.gap / 2
        return [(sideways[0], cy0), (middle, cy0), (middle, cy1), (sideways[1], cy1)]
    middle = upright[1] + (-1 if down else 1) * min(14, abs(upright[1] - upright[0]) / 2)
    return [(cx0, upright[0]), (cx0, middle), (cx1, middle), (cx1, upright[1])]


def text_width(text: str, bold: bool = False) -> float:
    """An estimate in pixels, on the safe side for a sans-serif letter."""
    return len(text) * SIZE * LETTER * (1.08 if bold else 1.0)


def _box(box: Box, x: float, y: float, width: float) -> str:
    colour, dashes = KINDS[box.kind]
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    lines = [(box.title, ' font-weight="600"'), *((line, "") for line in box.lines)]
    text = "".join(
        f'<text x="{x + width / 2:g}" y="{y + PAD + SIZE + i * LINE - 1:g}" text-anchor="middle" '
        f'fill="currentColor"{weight}>{escape(line)}</text>'
        for i, (line, weight) in enumerate(lines)
    )
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{box.height:g}" rx="6" '
        f'fill="{colour}" fill-opacity="0.16" stroke="{colour}" stroke-width="1.6"{dashed}/>{text}'
    )
