"""Figures and tables: a number, a caption, a reference, an alt text that fits, results early."""

import ast
import json
import re

import pytest
from chapter_cells import draws, plain_python
from course import NOTEBOOKS, ROOT

chapters = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)

# where a chapter's first result is: the output that answers its question. The capstone's results
# are its readers' own.
RESULTS = {
    "01": "fig-1-mosaic",
    "02": "tab-2-gradients",
    "03": "fig-3-curves",
    "04": "fig-4-real",
    "05": "fig-5-share",
    "06": "tab-6-table-one",
    "07": "tab-7-hundreds",
    "08": "fig-8-overview",
    "09": "fig-9-curve",
    "90": "fig-a1-leaves",
    "91": "fig-a2-scenes",
}
EARLY = 0.25
"""Share of a chapter's text before which its first result stands."""


def cells_of(path):
    """A chapter's cells: type, id, source, what mystnb is told, tags."""
    return [
        (c["cell_type"], c["id"], "".join(c["source"]), c["metadata"].get("mystnb", {}),
         c["metadata"].get("tags", []))
        for c in json.loads(path.read_text("utf-8"))["cells"]
    ]  # fmt: skip


def shows_a_table(source):
    """Whether a cell's last line is a value that is no call of a check, or `display` is called."""
    tree = ast.parse(plain_python(source))
    if not tree.body or source.rstrip().endswith(";"):
        return False
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call)]
    if any(isinstance(n.func, ast.Name) and n.func.id == "display" for n in calls):
        return True
    last = tree.body[-1]
    if not isinstance(last, ast.Expr) or ast.unparse(last).startswith(("print(", "tl.exercises.")):
        return False
    text = ast.unparse(last.value)
    return bool(
        re.search(r"DataFrame|\.round\(|\.rename\(|\.map\(|\.T$|\]\]|\.style|_table\(", text)
    )


def named(path):
    """name -> the id of the cell that has it."""
    found = {}
    for _, place, _, about, _ in cells_of(path):
        name = about.get("figure", {}).get("name")
        if name:
            assert name not in found, f"two outputs are called {name}"
            found[name] = place
    return found


@chapters
def test_each_figure_and_table_has_a_caption_and_a_name(path):
    for kind, place, source, about, tags in cells_of(path):
        if kind != "code" or {"remove-output", "exercise", "setup"} & set(tags):
            continue
        if not (draws(source) or shows_a_table(source) or about.get("image")):
            continue
        figure = about.get("figure", {})
        assert len(figure.get("caption", "")) >= 15, f"cell {place}: a caption says what is shown"
        assert figure["caption"].rstrip().endswith("."), f"cell {place}: a caption is a sentence"
        several = re.search(r"^\s+display\(", source, re.M) and "name" not in figure
        assert several or re.fullmatch(r"(fig|tab)-\w+-[\w-]+", figure["name"]), f"cell {place}"


def test_names_are_given_once_in_the_book():
    names = [name for path in NOTEBOOKS for name in named(path)]
    assert len(names) == len(set(names))


@chapters
def test_each_figure_and_table_is_referred_to_and_each_reference_leads_somewhere(path):
    text = "\n".join(source for kind, _, source, _, _ in cells_of(path) if kind == "markdown")
    pages = "\n".join(page.read_text("utf-8") for page in (ROOT / "book").glob("*.md"))
    referred = set(re.findall(r"\{numref\}`(?:[^`<]*<)?([\w-]+)>?`", text))
    assert set(named(path)) <= referred, sorted(set(named(path)) - referred)
    known = {name for other in NOTEBOOKS for name in named(other)}
    known |= set(re.findall(r"^:name: (\S+)", pages, re.M))
    assert referred <= known, sorted(referred - known)


@chapters
def test_alt_texts_name_no_number_that_the_cell_does_not_have(path):
    """Numbers of a result belong into the output: it changes with machine, data and weights."""
    for _, place, source, about, _ in cells_of(path):
        alt = about.get("image", {}).get("alt", "")
        numbers = re.findall(r"(?<![\w.])\d+(?:[.,]\d+)?", alt)
        squeezed = source.replace("_", "").replace(" ", "") + about.get("figure", {}).get(
            "caption", ""
        )
        for number in numbers:
            assert number in squeezed, f"cell {place}: the alt text says {number}"


RESULT_WORDS = re.compile(
    r"\b(?:falls? to|rises? (?:to|from|with)|drops? to|(?:near|about|above|below) \d"
    r"|about half|several times)\b"
)


@chapters
def test_alt_texts_describe_and_do_not_judge(path):
    """What a curve does is a result; the alt text says what is drawn."""
    for _, place, _, about, _ in cells_of(path):
        found = RESULT_WORDS.findall(about.get("image", {}).get("alt", ""))
        assert not found, f"cell {place}: {found}"


@chapters
def test_four_images_beside_each_other_fold_on_a_phone(path):
    """A row or two of four images; a matrix whose rows mean something stays whole."""
    for _, place, source, about, tags in cells_of(path):
        row = re.search(r"subplots\(([12]), 4,|gallery\(", source)
        if not row or {"remove-output", "exercise"} & set(tags):
            continue
        classes = about["figure"].get("classes", "").split()
        assert "four-columns" in classes, f"cell {place}: class four-columns"
        assert ("two-rows" in classes) == (row[1] == "2"), f"cell {place}: class two-rows"


def share_before(path, name):
    """The share of a chapter's text, from the set-up to the quiz, that stands before an output."""
    cells = cells_of(path)
    first = next(i for i, cell in enumerate(cells) if "setup" in cell[4]) + 1
    last = next(i for i, cell in enumerate(cells) if cell[2].startswith("## Quiz"))
    body = [(place, about, len(source)) for _, place, source, about, _ in cells[first:last]]
    whole = sum(length for *_, length in body)
    before = 0
    for _, about, length in body:
        if about.get("figure", {}).get("name") == name:
            return before / whole
        before += length
    raise AssertionError(f"{path.name} has no output {name}")


@pytest.mark.parametrize("number", RESULTS)
def test_the_first_result_comes_early(number):
    path = next(p for p in NOTEBOOKS if p.name.startswith(number))
    assert share_before(path, RESULTS[number]) < EARLY
