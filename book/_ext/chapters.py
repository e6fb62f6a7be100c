"""What the chapters say about themselves in their first cells: goals, minutes, memory."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
from recorded import Table
from way import station_of

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"


def first_cell(path: Path) -> str:
    return nbformat.read(path, as_version=nbformat.NO_CONVERT).cells[0].source


def goals(source: str) -> list[str]:
    """The list below "After this chapter you can"."""
    after = source.split("After this chapter you can", 1)[1]
    block = re.search(r"(?:^- .*(?:\n  .*)*\n?)+", after, re.M)[0]
    listed = [" ".join(goal.split()).rstrip(";.,") for goal in re.split(r"^- ", block, flags=re.M)]
    return [words(goal) for goal in listed[1:]]


def words(text: str) -> str:
    """Text without roles, links of terms and backticks: for a table of plain text."""
    text = re.sub(r"\{\w+\}`([^`<]*?)\s*(?:<[^`>]*>)?`", r"\1", text)
    return re.sub(r"`([^`]*)`", r"\1", text).replace("*", "")


def needs(source: str) -> dict[str, list[str]]:
    """Rows of the table of minutes and memory: name -> two CPU cores, T4, A100."""
    rows = {}
    for line in source.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("| m") and len(cells) == 4:
            rows[cells[0]] = cells[1:]
    return rows


def budget(_: Path) -> Iterator[Table]:
    """Minutes and memory of every chapter, from its own first cell."""
    rows = []
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        source = first_cell(path)
        told = needs(source)
        title = source.splitlines()[0].removeprefix("# ")
        read, run, memory = (told[k] for k in ("minutes to read", "minutes to run", "memory"))
        rows.append([f"{station_of(path)} {title}", read[0], run[0], memory[0], *run[1:]])
    heads = ["chapter", "read (min)", "run, two CPU cores (min)", "memory"]
    heads += ["run, T4 (min)", "run, A100 (min)"]
    yield Table(heads, rows, "From the chapters' own tables. What is estimated says so there, too.")


def aims(_: Path) -> Iterator[Table]:
    """What a reader can do after each chapter."""
    rows = []
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        source = first_cell(path)
        title = source.splitlines()[0].removeprefix("# ")
        rows.append([f"{station_of(path)} {title}", "; ".join(goals(source))])
    yield Table(["chapter", "after it one can"], rows)
