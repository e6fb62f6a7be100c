"""The exercises as they stand in the notebooks: three cells each, found by their ids.

``ex-2-1-text`` (markdown: number, title, kind, task, hint), ``ex-2-1-stub`` (code, tagged
``exercise``: an empty answer and its check), ``ex-2-1-solution`` (markdown: the explanation, and
code in a block fenced with ``~~~python`` that runs by itself and defines ``answer_2_1``).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KINDS = ("by hand", "in code", "predict, then run", "small project")
ID = re.compile(r"ex-([A-Z]?\d*)-(\d+)-(text|stub|solution)")
HEAD = re.compile(r"\*\*([A-Z]?\d*\.\d+) (.+?)\.?\*\* \*\(([^)]+)\)\*")


@dataclass(frozen=True)
class Exercise:
    """One exercise of a notebook.

    Attributes:
        number: such as "2.1", "A1.3" or "C.2".
        title, kind: as printed; the kind is one of `KINDS`.
        text: the task with its hint, in Markdown.
        stub: the code that a reader is given.
        solution: the explanation with the code, in Markdown.
        code: of the solution alone.
        notebook: the file's name without its suffix.
    """

    number: str
    title: str
    kind: str
    text: str
    stub: str
    solution: str
    code: str
    notebook: str

    @property
    def name(self) -> str:
        """Of the variable or function that holds the answer."""
        return f"answer_{self.number.replace('.', '_')}"

    @property
    def call(self) -> str:
        """The check, which is the stub's last line."""
        return self.stub.rstrip().splitlines()[-1]

    @property
    def filled(self) -> str:
        """The stub's cell with the solution in place of the empty answer."""
        return f"{self.code.rstrip()}\n\n{self.call}"


def source(cell: dict[str, Any]) -> str:
    """A cell's text, which the file holds as a string or as a list of lines."""
    return "".join(cell["source"])


def role(cell: dict[str, Any]) -> tuple[str, str] | None:
    """(number, "text" | "stub" | "solution") of an exercise's cell, else None."""
    found = ID.fullmatch(cell.get("id", ""))
    return (f"{found[1]}.{found[2]}", found[3]) if found else None


def solution_code(markdown: str) -> str:
    """The code of a solution: its one block fenced with ``~~~python``.

    Raises:
        ValueError: there is none, or more than one.
    """
    blocks = re.findall(r"^~~~python\n(.*?)^~~~$", markdown, re.M | re.S)
    if len(blocks) != 1:
        raise ValueError(f"{len(blocks)} blocks '~~~python' in a solution; expected one")
    return blocks[0]


def read_notebook(path: str | Path) -> dict[str, Any]:
    """A notebook's JSON."""
    return json.loads(Path(path).read_text("utf-8"))


def in_notebook(path: str | Path) -> list[Exercise]:
    """The exercises of one notebook, in its order.

    Raises:
        ValueError: an exercise lacks a cell, or its text does not begin with number, title, kind.
    """
    cells: dict[str, dict[str, str]] = {}
    for cell in read_notebook(path)["cells"]:
        if known := role(cell):
            cells.setdefault(known[0], {})[known[1]] = source(cell)
    found = []
    for number, own in cells.items():
        if missing := {"text", "stub", "solution"} - set(own):
            raise ValueError(f"{path}: exercise {number} lacks {', '.join(sorted(missing))}")
        head = HEAD.match(own["text"])
        if head is None or head[1] != number or head[3] not in KINDS:
            raise ValueError(
                f"{path}: exercise {number} has to begin with **{number} Title.** *(kind)*, the "
                f"kind one of {', '.join(KINDS)}; it begins with {own['text'][:60]!r}"
            )
        code = solution_code(own["solution"])
        texts = (own["text"], own["stub"], own["solution"], code)
        found.append(Exercise(number, head[2], head[3], *texts, Path(path).stem))
    return found


def find(folder: str | Path | None = None) -> list[Exercise]:
    """All exercises of a folder of notebooks; None: the checkout that this code belongs to.

    Raises:
        FileNotFoundError: no notebooks there.
    """
    return [e for path in sorted(notebooks(folder)) for e in in_notebook(path)]


def notebooks(folder: str | Path | None = None) -> list[Path]:
    """The notebooks of a folder; None: of the checkout around this file or the current folder.

    Raises:
        FileNotFoundError: no notebooks there.
    """
    if folder is not None:
        places = [Path(folder)]
    else:
        here = Path.cwd().resolve()
        places = [
            p / "notebooks" for p in (Path(__file__).resolve().parents[2], here, *here.parents)
        ]
    for place in places:
        if found := sorted(place.glob("[0-9]*.ipynb")):
            return found
    raise FileNotFoundError(
        f"no notebooks in {places[0]}; the installed package has none: clone the repository and "
        "name its folder with --notebooks"
    )
