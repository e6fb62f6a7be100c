"""The chapters as one book: they refer to each other, use one table, one spelling, known terms."""

import json
import re

import nbformat
import pytest
from course import NOTEBOOKS, ROOT

chapters = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
PAGES = sorted((ROOT / "book").glob("*.md"))


def markdown(path):
    cells = nbformat.read(path, as_version=nbformat.NO_CONVERT).cells
    return "\n\n".join(c.source for c in cells if c.cell_type == "markdown")


def glossary():
    """The glossary's terms, as Sphinx compares them."""
    text = (ROOT / "book" / "glossary.md").read_text("utf-8")
    inside = re.search(r"```\{glossary\}\n(.*?)^```", text, re.M | re.S)[1]
    return re.findall(r"^(\S.*)$", inside, re.M)


def linked(text):
    """What ``{term}`` points to in a text."""
    found = re.findall(r"\{term\}`([^`]+)`", text)
    return [re.sub(r".*<(.*)>", r"\1", term, flags=re.S) for term in found]


def test_glossary_is_in_order_and_explains_with_terms_that_it_has():
    terms = glossary()
    assert terms == sorted(terms, key=str.lower)
    assert len(terms) == len({term.lower() for term in terms})


@pytest.mark.parametrize("path", [*NOTEBOOKS, *PAGES], ids=lambda p: p.stem)
def test_linked_terms_are_in_the_glossary(path):
    text = markdown(path) if path.suffix == ".ipynb" else path.read_text("utf-8")
    assert set(linked(text)) <= set(glossary())


@chapters
def test_chapters_link_the_glossary_and_each_other(path):
    text = markdown(path)
    if path.name[0] == "0":
        assert len(set(linked(text))) >= 3, "link the terms at their first use"
    else:
        assert linked(text)
    others = {name for name in re.findall(r"\]\((\d\d_\w+\.ipynb)", text) if name != path.name}
    if path.name[:2] != "91":  # needs no other chapter
        assert others, "refers to no other chapter"
    for name in others:
        assert (path.parent / name).is_file(), f"links to {name}"


@chapters
def test_table_of_minutes_has_the_same_columns_everywhere(path):
    first = nbformat.read(path, as_version=nbformat.NO_CONVERT).cells[0].source
    assert "| | two CPU cores | T4 (Colab, free) | A100 |" in first
    rows = [line.split(" | ")[0].strip("| ") for line in first.splitlines() if "| m" in line]
    assert rows == ["minutes to read", "minutes to run", "memory"]


@chapters
def test_goals_and_prerequisites_have_one_form(path):
    first = nbformat.read(path, as_version=nbformat.NO_CONVERT).cells[0].source
    head, goals = first.split("After this chapter you can", 1)
    intro = [b for b in head.split("\n\n") if b and not b.startswith(("#", "[", "<"))]
    assert intro, "say in a few sentences what the chapter is about"
    listed = re.findall(r"^- (.*)$", goals, re.M)
    assert [goal[-1] for goal in listed] == [";"] * (len(listed) - 1) + ["."]
    assert re.search(r"^\*\*Prerequisites:\*\* (?:[A-Z]|\[[A-Z])", goals, re.M)


@pytest.mark.parametrize("path", [*NOTEBOOKS, *PAGES], ids=lambda p: p.stem)
def test_one_spelling(path):
    text = path.read_text("utf-8")
    if path.suffix == ".ipynb":
        told = [cell["metadata"].get("mystnb", {}) for cell in json.loads(text)["cells"]]
        captions = [each["figure"].get("caption", "") for each in told if "figure" in each]
        text = "\n".join([markdown(path), *captions])
    for wrong, right in {
        r"data sets?\b": "dataset",
        r"m?IOU\b|mIOU": "IoU",
        r"ground-truth": "ground truth",
        r"color": "colour",
        r"\bfine tuning": "fine-tuning",
        r"pre-?training of SAM mini|SAM-mini|sam-mini": "sam_mini",
        r" — ": "a full stop or a comma",
    }.items():
        text_only = re.sub(r"`[^`]*`|^```.*?^```|https?://\S+", "", text, flags=re.M | re.S)
        assert not re.findall(wrong, text_only), f"write: {right}"


def test_notation_names_the_symbols_of_the_chapters():
    """Every letter of the chapters' formulas stands in the table."""
    page = (ROOT / "book" / "notation.md").read_text("utf-8")

    def letters(text):
        """Symbols of a text's formulas: Greek names, and letters that are no command."""
        found = set()
        for formula in re.findall(r"\$\$(.*?)\$\$|\$([^$\n]+)\$", text, re.S):
            inside = re.sub(r"\\(?:text|mathrm)\{[^}]*\}", "", "".join(formula))
            greek = re.findall(r"\\(Phi|Theta|Omega|theta|tau|ell)\b", inside)
            inside = re.sub(r"\\[a-zA-Z]+", " ", inside)
            found |= set(greek) | set(re.findall(r"(?<![a-zA-Z])[a-zA-Z](?![a-zA-Z])", inside))
        return found

    known = letters(page)
    for path in NOTEBOOKS:
        text = re.sub(r"^(`{3,})\{dropdown\}.*?^\1", "", markdown(path), flags=re.M | re.S)
        missing = letters(text) - known - {"x", "i", "k", "p"}  # running variables
        assert not missing, f"{path.name} uses {sorted(missing)}"
