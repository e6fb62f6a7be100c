"""The contract that every chapter keeps; CONTRIBUTING.md states it in words."""

import ast
import re
from pathlib import Path

import nbformat
import pytest
from chapter_cells import draws, plain_python
from course import (
    NOTEBOOKS,
    SETUP_CELL,
    bibliography_keys,
    cited_keys,
    colab_link,
    setup_cell,
    toc_pages,
)

from tlseg_lite.exercises.notebooks import in_notebook

chapters = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)


def read(path: Path):
    return nbformat.read(path, as_version=nbformat.NO_CONVERT)


def cells(path: Path, kind: str) -> list:
    return [c for c in read(path).cells if c.cell_type == kind]


def text_of(path: Path) -> str:
    return "\n\n".join(c.source for c in cells(path, "markdown"))


def tags(cell) -> list[str]:
    return cell.metadata.get("tags", [])


def test_draws_tells_pictures_from_definitions():
    assert draws("fig, ax = plt.subplots()")
    assert draws("%matplotlib inline\ntl.plots.curves(history)")
    assert draws("plots.overlay(a, b);")
    assert not draws("def show(x):\n    plt.imshow(x)")
    assert not draws("plt.rcParams.update({})\nplt.close('all')")
    assert not draws("import matplotlib.pyplot as plt")


def test_setup_cell_is_recognised_as_python():
    ast.parse(plain_python(SETUP_CELL))


@chapters
def test_is_a_valid_notebook(path):
    notebook = read(path)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) >= (4, 5), "cell ids need nbformat 4.5"
    ids = [cell.id for cell in notebook.cells]
    assert len(ids) == len(set(ids)), "two cells share an id"
    assert notebook.metadata.kernelspec.name == "python3"


@chapters
def test_is_in_the_table_of_contents(path):
    assert f"notebooks/{path.stem}" in toc_pages()


@chapters
def test_opens_with_title_colab_link_and_goals(path):
    first = read(path).cells[0]
    assert first.cell_type == "markdown"
    lines = [line for line in first.source.splitlines() if line.strip()]
    assert re.match(r"# \S", lines[0]), "the first line is the title"
    assert lines[1].strip() == f"[Open this chapter in Colab]({colab_link(path)})"
    text = first.source
    assert "After this chapter you can" in text
    assert re.search(r"prerequisites?", text, re.I), "say what the reader should know"
    table = "\n".join(line for line in lines if line.lstrip().startswith("|"))
    for word in ("read", "run", "T4", "A100", "memory"):
        assert re.search(word, table, re.I), f"the table of minutes and memory lacks {word!r}"


@chapters
def test_has_one_title(path):
    outside_code = re.sub(r"^(`{3,}|:{3,}).*?^\1\s*$", "", text_of(path), flags=re.M | re.S)
    assert len(re.findall(r"^# ", outside_code, re.M)) == 1


@chapters
def test_setup_cell_is_the_same_everywhere(path):
    cell = read(path).cells[1]
    assert cell.cell_type == "code"
    assert "setup" in tags(cell)
    assert cell.source.rstrip() == setup_cell(path)


@chapters
def test_colab_links_are_for_this_file(path):
    text = "\n".join(c.source for c in read(path).cells)
    links = re.findall(r"https://colab\.research\.google\.com/[^\s)\"']+", text)
    assert set(links) == {colab_link(path)}


@chapters
def test_outputs_are_committed_only_where_they_are_compared(path):
    for cell in cells(path, "code"):
        if "keep_output" in tags(cell):
            assert cell.outputs, f"cell {cell.id}: keep_output, and no output"
        else:
            assert not cell.outputs, f"cell {cell.id}: strip its outputs, or tag it keep_output"
            assert cell.execution_count is None, f"cell {cell.id}: strip its execution count"


@chapters
def test_figures_have_alternative_texts(path):
    for cell in cells(path, "code"):
        if not draws(cell.source) or "remove-output" in tags(cell):
            continue
        alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
        assert len(alt) >= 20, f"cell {cell.id} draws; say in its metadata what the figure shows"


@chapters
def test_has_exercises_with_hidden_solutions(path):
    text = text_of(path)
    heading = re.search(r"^##+ .*Exercises", text, re.M)
    assert heading, "a heading 'Exercises' is missing"
    found = in_notebook(path)  # complete ones; tests/test_exercises.py looks at each
    assert 3 <= len(found) <= 5, f"{len(found)} exercises, three to five are wanted"
    dropdowns = re.findall(r"^[`:]{3,}\{dropdown\} (Hint|Solution)$", text, re.M)
    assert dropdowns == ["Hint", "Solution"] * len(found), "no exercises in another form"


@chapters
def test_has_sources_that_exist(path):
    text = text_of(path)
    assert re.search(r"^##+ .*Sources", text, re.M), "a heading 'Sources' is missing"
    keys = cited_keys(text)
    assert keys, "nothing is cited"
    assert set(keys) <= bibliography_keys()


@chapters
def test_runs_from_any_folder(path):
    for cell in cells(path, "code"):
        shell = re.findall(r"^\s*!.*$", cell.source, re.M)
        assert not shell, f"cell {cell.id} runs a shell command: {shell[0]}"
        absolute = re.findall(
            r"""["'](?:/(?:home|root|tmp|work|usr|mnt|content|Users)\b|[A-Za-z]:\\|\.\./|~/)""",
            cell.source,
        )
        assert not absolute, f"cell {cell.id} names a folder of one machine: {absolute[0]}"
        assert not re.search(r"^\s*(from|import)\s+notebooks\b|sys\.path", cell.source, re.M)
