"""The notebooks for a class: without solutions for students, filled in for teachers."""

from __future__ import annotations

import copy
import json
import re
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

from tlseg_lite.core.files import write_atomically
from tlseg_lite.exercises.notebooks import (
    Exercise,
    in_notebook,
    notebooks,
    read_notebook,
    role,
    source,
)

TEACHERS = "instructor"
"""Tag of the cells that only teachers get."""


def course(out: str | Path, folder: str | Path | None = None) -> list[Path]:
    """Write ``out/student`` and ``out/instructor`` from the notebooks of a checkout.

    Students get the stubs, without solutions and without the link that leads to them. Teachers
    get the solutions, filled into the stubs as well, the notes for marking, and ``rubric.md``.

    Args:
        out: a new or empty folder.
        folder: the notebooks; None: those of the checkout around this package.

    Returns:
        the files written.

    Raises:
        FileExistsError: `out` holds files.
        FileNotFoundError: no notebooks in `folder`.
        ValueError: an exercise is not complete.
    """
    sources, out = notebooks(folder), Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"{out} is not empty; name a new folder, or empty it first")
    every = {path: in_notebook(path) for path in sources}
    written = []
    for audience, change in (("student", for_students), ("instructor", for_teachers)):
        (out / audience).mkdir(parents=True, exist_ok=True)
        for path, exercises in every.items():
            written.append(out / audience / path.name)
            _write_notebook(written[-1], change(read_notebook(path), exercises))
    texts = {out / "README.md": _readme(), out / "instructor" / "rubric.md": rubric(every)}
    for path, text in texts.items():
        write_atomically(path, lambda temporary, text=text: temporary.write_text(text, "utf-8"))
    return [*written, *texts]


def for_students(notebook: dict[str, Any], exercises: list[Exercise]) -> dict[str, Any]:
    """The notebook without solutions, teachers' cells, outputs, and the link to the original."""
    notebook = _base(notebook)
    kept = []
    for cell in notebook["cells"]:
        known = role(cell)
        if (known and known[1] == "solution") or TEACHERS in _tags(cell):
            continue
        kept.append(cell)
    if kept:
        first = source(kept[0])
        kept[0]["source"] = re.sub(
            r"^\[Open this chapter in Colab\]\([^)]*\)\n+", "", first, flags=re.M
        )
    return notebook | {"cells": kept}


def for_teachers(notebook: dict[str, Any], exercises: list[Exercise]) -> dict[str, Any]:
    """The notebook with each solution filled into its stub; explanations and notes stay."""
    notebook = _base(notebook)
    filled = {exercise.number: exercise.filled for exercise in exercises}
    for cell in notebook["cells"]:
        known = role(cell)
        if known and known[1] == "stub":
            cell["source"] = filled[known[0]]
        if TEACHERS in _tags(cell):
            cell["metadata"]["tags"] = [TEACHERS]
    return notebook


def rubric(every: dict[Path, list[Exercise]]) -> str:
    """The exercises in a table, then the capstone's rubric and the notes for marking it."""
    lines = ["# Rubric", "", "## Exercises", ""]
    lines += ["Each is right or not yet: `tl.exercises.check` prints which, and why.", ""]
    lines += ["| exercise | title | kind | notebook |", "|---|---|---|---|"]
    for path, exercises in every.items():
        lines += [f"| {e.number} | {e.title} | {e.kind} | {path.stem} |" for e in exercises]
    for path in every:
        for cell in read_notebook(path)["cells"]:
            if "rubric" in _tags(cell) or TEACHERS in _tags(cell):
                lines += ["", _links(source(cell)).rstrip()]
    return "\n".join(lines) + "\n"


def _base(notebook: dict[str, Any]) -> dict[str, Any]:
    """A copy without outputs, its links to the book's pages made absolute."""
    notebook = copy.deepcopy(notebook)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
        else:
            cell["source"] = _links(source(cell))
    return notebook


def _tags(cell: dict[str, Any]) -> list[str]:
    return cell["metadata"].get("tags", [])


def _links(text: str) -> str:
    """``../book/page.md`` as an address of the published book."""
    return re.sub(r"\]\(\.\./book/(\w+)\.md(#[\w-]+)?\)", rf"]({_home()}/book/\1.html\2)", text)


def _home() -> str:
    for line in metadata("tlseg-lite").get_all("Project-URL") or []:
        name, _, address = line.partition(", ")
        if name == "Homepage":
            return address.rstrip("/")
    raise RuntimeError("the package's metadata name no Homepage; install it again with pip")


def _write_notebook(path: Path, notebook: dict[str, Any]) -> None:
    for cell in notebook["cells"]:
        cell["source"] = source(cell).splitlines(keepends=True)
    text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    write_atomically(path, lambda temporary: temporary.write_text(text, "utf-8"))


def _readme() -> str:
    return f"""# Copies for a class

- `student/`: the notebooks without solutions. The answers go into the cells below each task;
  `tl.exercises.check` prints at once whether they are right. The published book shows the solutions
  to whoever searches for them: [{_home()}]({_home()}).
- `instructor/`: the same notebooks with the solutions filled in and explained, the notes for
  marking the capstone, and `rubric.md`.

Both need the package: `pip install` it once on every machine, or open the notebooks in Colab,
where the first cell does it. They were made by `tlseg-lite course`; do not change them here but in
the repository's notebooks, and make them again.

Text: CC BY 4.0. Code: MIT.
"""
