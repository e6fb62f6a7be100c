"""The course map at the top of each chapter, with the present chapter marked.

One drawing for all chapters, written into their first cells by ``python book/_ext/way.py``. It is
a picture inside the text (a data address), so it shows in Jupyter, in Colab and in the book, also
without the network. A test compares every chapter with what this module draws.
"""

from __future__ import annotations

import base64
import html
import re
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[2]

# number, word, pictogram in a square of 60 x 60 whose upper left corner is the origin
STATIONS = (
    ("1", "click", '<path d="M8 38C4 14 26 6 42 14s16 30-4 38S12 52 8 38z"/>'
     '<path d="M30 19l3 8h8l-6 5 2 8-7-5-7 5 2-8-6-5h8z" fill="#333"/>'),
    ("2", "adapt", '<path d="M4 12h14v38H4zM42 12h14v38H42zM18 31h6M36 31h6"/>'
     '<path d="M24 22l12 6v6l-12 6z" fill="#333"/>'),
    ("3", "train", '<path d="M8 6v46h48"/><path d="M12 10c4 28 12 34 40 36" stroke-width="4"/>'),
    ("4", "ablate", '<path d="M30 6v48" stroke-dasharray="4 4"/>'
     '<path d="M8 16h30M22 31h32M4 46h18"/>'
     '<path d="M20 16h6M36 31h6M10 46h6" stroke-width="8"/>'),
    ("5", "score", '<path d="M8 8h44v44H8zM8 30h44M30 8v44"/>'
     '<path d="M9 9h20v20H9zM31 31h20v20H31z" fill="#333" fill-opacity=".45" stroke="none"/>'),
    ("6", "read", '<path d="M4 10h40M4 22h40M4 34h22M4 46h16M18 6v44"/>'
     '<circle cx="38" cy="38" r="11" fill="#fff"/>'
     '<path d="M46 46l10 10" stroke-width="4"/>'),
    ("7", "compare", '<path d="M4 54h52"/><path d="M10 30h10v24H10zM40 20h10v34H40z"/>'
     '<path d="M25 8h10v46H25z" fill="#333"/>'),
    ("8", "map", '<path d="M6 6h48v48H6zM22 6v48M38 6v48M6 22h48M6 38h48"/>'
     '<path d="M20 16c12-4 22 4 18 14s4 14-8 16-16-6-12-14-6-12 2-16z" fill="#333" '
     'fill-opacity=".55"/>'),
    ("9", "correct", '<path d="M8 32C6 12 24 4 36 10s18 22 2 34-28 4-30-12z"/>'
     '<path d="M38 20v16M30 28h16" stroke-width="5"/><path d="M6 52h14" stroke-width="5"/>'),
    ("C", "project", '<path d="M2 52L22 14l12 20 8-12 16 30z"/>'
     '<path d="M18 24c10 0 2 12 12 28h-12c-6-10-2-16 0-28z" fill="#333"/>'),
)  # fmt: skip
APPENDICES = (("A1", "a SAM in miniature"), ("A2", "synthetic scenes"))
# first two letters of a chapter's file -> its station
FILES = {"80": "C", "90": "A1", "91": "A2"} | {f"{int(n):02d}": n for n, *_ in STATIONS[:-1]}
ORANGE, BLUE, WHITE, DARK = "#E69F00", "#0072B2", "#fff", "#333"


def station_of(notebook: Path) -> str:
    """The station that a chapter's file name stands for, such as "3" or "A1"."""
    number = notebook.name[:2]
    if number not in FILES:
        raise ValueError(
            f"{notebook.name} begins with none of {sorted(FILES)}; add a station to way.py"
        )
    return FILES[number]


def drawing(here: str) -> str:
    """The picture as SVG, with the station `here` ("" for none) in orange and a pointer above."""

    def look(number: str) -> tuple[str, str, str]:
        """Fill, edge and weight of the letters of a station."""
        if number == here:
            return ORANGE, f'stroke="{DARK}" stroke-width="3"', 'font-weight="bold"'
        return WHITE, f'stroke="{BLUE}" stroke-width="2"', 'font-weight="normal"'

    width = 100 * len(STATIONS)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} 154" '
        'font-family="sans-serif">',
        f'<rect width="{width}" height="154" rx="8" fill="{WHITE}"/>',
        f'<path d="M50 53h{width - 100}" stroke="{BLUE}" stroke-width="4"/>',
    ]
    for place, (number, word, picture) in enumerate(STATIONS):
        x = 100 * place
        fill, edge, weight = look(number)
        if number == here:
            parts.append(f'<path d="M{x + 40} 2h20l-10 12z" fill="{DARK}"/>')
        parts.append(
            f'<rect x="{x + 13}" y="16" width="74" height="74" rx="10" fill="{fill}" {edge}/>'
            f'<g transform="translate({x + 20} 23)" fill="none" stroke="{DARK}" '
            f'stroke-width="2">{picture}</g>'
            f'<text x="{x + 50}" y="112" text-anchor="middle" font-size="19" fill="{DARK}" '
            f"{weight}>{number} {word}</text>"
        )
    left = width // 2 - 270
    for x, (number, words) in zip((left, left + 330), APPENDICES, strict=True):
        fill, edge, weight = look(number)
        parts.append(
            f'<rect x="{x}" y="122" width="210" height="27" rx="13" fill="{fill}" {edge}/>'
            f'<text x="{x + 105}" y="142" text-anchor="middle" font-size="18" fill="{DARK}" '
            f"{weight}>{number} {words}</text>"
        )
    return "".join([*parts, "</svg>"])


def description(here: str) -> str:
    """What the picture shows, in words."""
    stations = [f"{number} {word}" for number, word, _ in STATIONS]
    appendices = " and ".join(f"{number} {words}" for number, words in APPENDICES)
    kind = {"A": "appendix", "C": "project"}.get(here[:1], "chapter")
    marked = f" Marked: {kind} {here}." if here else ""
    return (
        f"Course map, as pictograms in a row: {', '.join(stations)}; below them "
        f"the appendices {appendices}.{marked}"
    )


def line(here: str) -> str:
    """The line of a chapter's first cell that shows the picture."""
    data = base64.b64encode(drawing(here).encode()).decode()
    text = html.escape(description(here))
    return f'<img class="way" width="100%" alt="{text}" src="data:image/svg+xml;base64,{data}">'


_LINE = re.compile(r'^<img class="way".*$', re.M)


def insert(source: str, here: str) -> str:
    """A first cell's text with the present picture: replaced, or put below the Colab link."""
    if _LINE.search(source):
        return _LINE.sub(lambda _: line(here), source)
    title, link, rest = source.split("\n\n", 2)
    return "\n\n".join([title, link, line(here), rest])


def main() -> None:
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
        first = notebook.cells[0]
        wanted = insert(first.source, station_of(path))
        if wanted != first.source:
            first.source = wanted
            nbformat.write(notebook, path)
            print(f"{path.name}: picture written")
    page = ROOT / "book" / "intro.md"
    text = page.read_text("utf-8")
    if (wanted := _LINE.sub(lambda _: line(""), text)) != text:
        page.write_text(wanted, "utf-8")
        print("intro.md: picture written")


if __name__ == "__main__":
    main()
