"""A chapter as slides: which cells are shown, and what of their text."""

from __future__ import annotations

import copy
import re
from functools import cache
from pathlib import Path

import nbformat

BIBLIOGRAPHY = Path(__file__).resolve().parents[1] / "references.bib"
LONGEST_CODE = 26  # lines that fit on a slide; longer code gives way to its results
SHORT_TEXT, SHORT_CODE = 55, 12  # words and lines that leave room for each other
SKIPPED = ("Sources",)  # sections that are for readers


def deck(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A notebook whose cells have the ``slide_type`` that nbconvert's slides ask for.

    A cell that says so itself (``{"slideshow": {"slide_type": "skip"}}``) is left out.
    """
    slides = []
    title, *rest = notebook.cells
    slides += _title(title.source)
    section, skipped = "", False
    for cell in rest:
        own = cell.metadata.get("slideshow", {}).get("slide_type")
        if own == "skip" or _is_plumbing(cell):
            continue
        if cell.cell_type == "markdown":
            for kind, text in _parts(cell.source):
                if kind == "slide":
                    section = text.splitlines()[0].lstrip("# ")
                    skipped = section in SKIPPED
                if not skipped:
                    slides += _text(kind, text, section)
        elif cell.cell_type == "code" and not skipped and section != "Exercises":
            slides += _code(cell, after=slides)
    made = nbformat.v4.new_notebook(cells=slides, metadata=copy.deepcopy(notebook.metadata))
    for place, cell in enumerate(made.cells):
        cell.id = f"slide-{place}"
    return made


def _cell(kind: str, text: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_markdown_cell(text, metadata={"slideshow": {"slide_type": kind}})


def _is_plumbing(cell) -> bool:
    """Set-up cells, stubs of exercises, cells not for students, and cells that only import."""
    if {"setup", "exercise", "remove-cell"} & set(cell.metadata.get("tags", [])):
        return True
    lines = [line for line in cell.source.splitlines() if line.strip()]
    imports = all(re.match(r"(from|import) |[\s)]", line) for line in lines)
    return cell.cell_type == "code" and imports


# ---- text --------------------------------------------------------------------------------------


def _title(source: str) -> list[nbformat.NotebookNode]:
    """The title with the picture of the way, then the goals."""
    heading, _, *blocks = source.split("\n\n")
    picture = [b for b in blocks if b.startswith("<img")]
    goals = [b for b in blocks if b.startswith("- ")]
    said = [b for b in blocks if not b.startswith(("<img", "- ", "|"))]
    cells = [_cell("slide", "\n\n".join([heading, *picture, plain(first_sentence(said[0]))]))]
    cells.append(_cell("notes", plain("\n\n".join(said))))
    cells.append(_cell("slide", plain("## After this chapter you can\n\n" + "\n\n".join(goals))))
    return cells


def _parts(source: str) -> list[tuple[str, str]]:
    """A cell's text cut before its headings: (slide_type, text)."""
    parts, inside = [["", []]], False
    for line in source.splitlines():
        inside ^= bool(re.match(r"(`{3,}|~{3,}|:{3,})", line.strip()))
        heading = re.match(r"(##+) ", line)
        if heading and not inside:
            parts.append(["slide" if heading[1] == "##" else "subslide", []])
        parts[-1][1].append(line)
    return [(kind, "\n".join(lines).strip()) for kind, lines in parts if "".join(lines).strip()]


def _text(kind: str, source: str, section: str) -> list[nbformat.NotebookNode]:
    """The slide of a piece of text, and the notes."""
    if section == "Quiz":
        return _quiz(source)
    source = re.sub(r"^(`{3,}|:{3,})\{dropdown\}.*?^\1\s*$", "", source, flags=re.M | re.S).strip()
    if not source:
        return []
    shown, spoken = [], []
    for block in _blocks(_admonitions(source)):
        if section == "Exercises" and not block.startswith("#"):
            shown.append(block)  # a task stands there in full
        elif block.startswith(("#", "- ", "* ", "|", "$$", "1. ", "```", "<", "!")):
            shown.append(block)
        elif not block.startswith(":::"):
            shown.append(f"- {first_sentence(block)}")
            spoken.append(block)
    if section == "Exercises":
        kind = kind or "subslide"
    cells = [_cell(kind or "subslide", plain("\n\n".join(shown)))]
    if spoken:
        cells.append(_cell("notes", plain("\n\n".join(spoken))))
    return cells


def _admonitions(source: str) -> str:
    """Boxes as paragraphs with a bold title; other directives are left out."""
    box = r"^(`{3,}|:{3,})\{(?:admonition|note|tip|warning)\}([^\n]*)\n"
    box += r"(?::\w+:[^\n]*\n)*(.*?)^\1\s*$"
    source = re.sub(
        *(box, lambda m: f"**{m[2].strip() or 'Note'}.** {m[3].strip()}\n", source),
        flags=re.M | re.S,
    )
    return re.sub(r"^(`{3,}|:{3,})\{.*?^\1\s*$", "", source, flags=re.M | re.S)


def _blocks(source: str) -> list[str]:
    """Paragraphs, lists, tables, formulas and fenced blocks, whole."""
    fenced = re.split(r"(^(?:```|\$\$).*?^(?:```|\$\$)\s*?$)", source, flags=re.M | re.S)
    blocks = []
    for piece in fenced:
        if piece.startswith(("```", "$$")):
            blocks.append(piece.strip())
        else:
            blocks += [b.strip() for b in re.split(r"\n\s*\n", piece) if b.strip()]
    return blocks


def _quiz(source: str) -> list[nbformat.NotebookNode]:
    """A slide for each question; its options open on the slide."""
    questions = re.findall(r"^<div.*?^</div>$", source, re.M | re.S)
    kinds = ["slide", *["subslide"] * (len(questions) - 1)]
    return [
        _cell(kind, f"## Question\n\n{q}") for kind, q in zip(kinds, questions, strict=True)
    ]  # fmt: skip


def first_sentence(paragraph: str) -> str:
    """Up to the first full stop that ends a sentence, outside of code and formulas."""
    text = " ".join(paragraph.split())
    title = re.match(r"\*\*[^*]+[.?!:]\*\* (?=\S)", text)  # such as **Why three?**
    if title:
        return title[0] + first_sentence(text[title.end() :])
    hidden = re.sub(r"`[^`]*`|\$[^$]*\$|\*\*[^*]*\*\*", lambda m: "x" * len(m[0]), text)
    hidden = re.sub(r"\b(Eq|e\.g|i\.e|Fig|vs|al)\.", lambda m: "x" * len(m[0]), hidden)
    end = re.search(r"[.?!:](?=\s+[\"'(*]*[A-Z`$*])", hidden)
    return text[: end.end()] if end else text


def plain(text: str) -> str:
    """MyST's roles as plain Markdown: terms, citations, links between pages."""
    text = re.sub(r"\{term\}`([^`<]+?)(?:\s*<[^`]*>)?`", r"\1", text)
    text = re.sub(r"\{abbr\}`([^`(]+?)\s*\([^`]*\)`", r"\1", text)
    text = re.sub(r"\s*\{cite:p\}`([^`]+)`", lambda m: f" ({_cited(m[1], ', ')})", text)
    text = re.sub(r"\{cite:t\}`([^`]+)`", lambda m: _cited(m[1], " "), text)
    return re.sub(r"\[([^\]]+)\]\((?!https?:)[^)]*\.(?:ipynb|md)[^)]*\)", r"\1", text)


@cache
def _works() -> dict[str, tuple[str, str]]:
    """Keys of the bibliography -> (author in short, year)."""
    works = {}
    for key, body in re.findall(
        r"^@\w+\{([^,]+),(.*?)^\}", BIBLIOGRAPHY.read_text("utf-8"), re.M | re.S
    ):
        authors = re.search(r"author\s*=\s*[{\"](.*?)[}\"],?\s*$", body, re.M)
        year = re.search(r"year\s*=\s*[{\"]?(\d{4})", body)
        names = authors[1].replace("{", "").replace("}", "").split(" and ") if authors else [key]
        last = [name.split(",")[0].strip() for name in names]
        short = last[0] if len(last) == 1 else " and ".join(last)
        works[key] = (short if len(last) < 3 else f"{last[0]} et al.", year[1] if year else "")
    return works


def _cited(keys: str, between: str) -> str:
    works = _works()
    return "; ".join(between.join(works[key.strip()]).strip() for key in keys.split(","))


# ---- code --------------------------------------------------------------------------------------


def _code(cell, after: list) -> list[nbformat.NotebookNode]:
    """The code if it fits, its results if it has any; on the slide of a short text before it."""
    cell = copy.deepcopy(cell)
    cell.outputs = [o for o in cell.outputs if not _is_widget(o) and o.get("name") != "stderr"]
    tags = set(cell.metadata.get("tags", []))
    long = len(cell.source.splitlines()) > LONGEST_CODE
    picture = any("image/png" in o.get("data", {}) for o in cell.outputs)
    if (long and cell.outputs) or picture or {"hide-input", "remove-input"} & tags:
        tags.add("no-code")
    if {"hide-output", "remove-output"} & tags:
        cell.outputs = []
    if "no-code" in tags and not cell.outputs:
        return []
    text = next(made for made in reversed(after) if made.metadata.slideshow.slide_type != "notes")
    lines = 0 if "no-code" in tags else len(cell.source.splitlines())
    short = text.cell_type == "markdown" and len(text.source.split()) <= SHORT_TEXT
    together = short and lines <= SHORT_CODE and not re.search(r"^[|<$`]", text.source, re.M)
    kind = "-" if together else "subslide"
    cell.metadata = {"tags": sorted(tags), "slideshow": {"slide_type": kind}}
    cell = nbformat.from_dict(cell)
    return [cell]


def _is_widget(output) -> bool:
    return "application/vnd.jupyter.widget-view+json" in output.get("data", {})
