"""The notebooks for a class: what students get, what teachers get, from one source."""

import json

import nbformat
import pytest
from course import NOTEBOOKS, PYPROJECT, ROOT

from tlseg_lite.cli.commands import main
from tlseg_lite.exercises import course, find
from tlseg_lite.exercises.notebooks import in_notebook, read_notebook, role, source

HOME = PYPROJECT["project"]["urls"]["Homepage"]


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("course")
    assert main(["course", str(folder), "--notebooks", str(ROOT / "notebooks")]) == 0
    return folder


notebooks = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)


def roles(path, part):
    return [r[0] for r in map(role, read_notebook(path)["cells"]) if r and r[1] == part]


def test_both_get_every_notebook(out):
    names = {path.name for path in NOTEBOOKS}
    assert {path.name for path in (out / "student").iterdir()} == names
    assert {path.name for path in (out / "instructor").iterdir()} == {*names, "rubric.md"}


@notebooks
def test_students_get_stubs_and_no_solutions(out, path):
    copy, numbers = out / "student" / path.name, [e.number for e in in_notebook(path)]
    nbformat.validate(nbformat.read(copy, as_version=nbformat.NO_CONVERT))
    assert roles(copy, "text") == roles(copy, "stub") == numbers
    assert roles(copy, "solution") == []
    text = copy.read_text("utf-8")
    assert "~~~python" not in text
    assert "{dropdown} Solution" not in text
    assert "colab.research.google.com" not in text, "the original has the solutions"
    stubs = {e.number: e.stub for e in in_notebook(path)}
    for cell in read_notebook(copy)["cells"]:
        if (known := role(cell)) and known[1] == "stub":
            assert source(cell) == stubs[known[0]]
        assert "instructor" not in cell["metadata"].get("tags", [])
        assert not cell.get("outputs")


@notebooks
def test_students_lose_nothing_but_solutions_and_notes(out, path):
    kept = [cell["id"] for cell in read_notebook(out / "student" / path.name)["cells"]]
    for cell in read_notebook(path)["cells"]:
        gone = cell["id"].endswith("-solution") or "instructor" in cell["metadata"].get("tags", [])
        assert (cell["id"] in kept) != gone, cell["id"]


@notebooks
def test_teachers_get_the_solutions_filled_in_and_explained(out, path):
    copy = out / "instructor" / path.name
    nbformat.validate(nbformat.read(copy, as_version=nbformat.NO_CONVERT))
    filled = {e.number: e.filled for e in in_notebook(path)}
    assert roles(copy, "solution") == list(filled)
    for cell in read_notebook(copy)["cells"]:
        if (known := role(cell)) and known[1] == "stub":
            assert source(cell) == filled[known[0]]
        assert "remove-cell" not in cell["metadata"].get("tags", []), "teachers see their notes"


def test_a_filled_stub_is_right(out, capsys):
    cells = read_notebook(out / "instructor" / "06_reading_tables.ipynb")["cells"]
    code = next(source(cell) for cell in cells if cell["id"] == "ex-6-1-stub")
    exec(compile(code, "filled", "exec"), {"tl": __import__("tlseg_lite")})
    assert "6.1: right." in capsys.readouterr().out


@pytest.mark.parametrize("audience", ["student", "instructor"])
def test_links_lead_somewhere(out, audience):
    """Pages of the book by the published address, chapters by their file."""
    linked = 0
    for path in NOTEBOOKS:
        text = (out / audience / path.name).read_text("utf-8")
        assert "../book/" not in text
        wanted = path.read_text("utf-8").count("](../book/")
        assert text.count(f"]({HOME}/book/") == wanted
        linked += wanted
    assert linked, "no chapter links to a page: the test is of no use"


def test_rubric_holds_the_exercises_the_points_and_the_notes(out):
    text = (out / "instructor" / "rubric.md").read_text("utf-8")
    for exercise in find(ROOT / "notebooks"):
        assert f"| {exercise.number} | {exercise.title} | {exercise.kind} |" in text
    assert "## Rubric" in text
    assert "3 points" in text
    assert "## Notes for marking" in text
    student = (out / "student" / "80_capstone.ipynb").read_text("utf-8")
    assert "## Rubric" in student, "students know how they are marked"
    assert "Notes for marking" not in student


def test_the_readme_says_what_is_what(out):
    text = (out / "README.md").read_text("utf-8")
    assert "without solutions" in text
    assert HOME in text


def test_the_same_source_gives_the_same_copies(out, tmp_path):
    again = course(tmp_path / "again", ROOT / "notebooks")
    for path in again:
        assert path.read_bytes() == (out / path.relative_to(tmp_path / "again")).read_bytes()


def test_a_folder_with_files_is_left_alone(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("keep")
    assert main(["course", str(tmp_path)]) == 1
    assert "is not empty; name a new folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_without_notebooks_the_error_says_where_they_are(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"clone the repository and name its folder"):
        course(tmp_path / "out", tmp_path)
    assert not (tmp_path / "out").exists()


def test_an_incomplete_exercise_is_named(tmp_path):
    notebook = read_notebook(NOTEBOOKS[0])
    notebook["cells"] = [c for c in notebook["cells"] if c["id"] != "ex-1-2-solution"]
    (tmp_path / "01_broken.ipynb").write_text(json.dumps(notebook), "utf-8")
    with pytest.raises(ValueError, match=r"exercise 1\.2 lacks solution"):
        course(tmp_path / "out", tmp_path)
    assert not (tmp_path / "out").exists(), "nothing is written before all is read"
