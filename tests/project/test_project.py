"""What holds across files: one address, commands as printed, requirements that agree."""

import os
import re
import stat
import subprocess
import sys

import pytest
import yaml
from course import (
    COLAB,
    NOTEBOOKS,
    PYPROJECT,
    REPOSITORY,
    ROOT,
    TAG,
    bibliography_keys,
    cited_keys,
    readme_blocks,
    toc_pages,
    tracked_files,
)

PROJECT = PYPROJECT["project"]
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))
TEXT = {".cff", ".cfg", ".css", ".ipynb", ".md", ".py", ".toml", ".txt", ".yaml", ".yml", ""}


def text_files():
    for path in tracked_files():
        if path.suffix in TEXT:
            yield path, path.read_text("utf-8")


def requirement(text: str) -> tuple[str, str]:
    """'h5py>=3.8' -> ('h5py', '>=3.8')."""
    name, bound = re.fullmatch(r"([A-Za-z0-9_.-]+)(?:\[.*\])?\s*(.*)", text).groups()
    return name.lower(), bound


# ---- the address stands in one place -----------------------------------------------------------


def test_every_repository_address_is_the_one_of_pyproject():
    owner_and_name = REPOSITORY.removeprefix("https://github.com/")
    repository = owner_and_name.split("/")[1]
    pattern = re.compile(rf"github(?:\.com)?/([\w.-]+/{re.escape(repository)})(?![\w-])")
    found = {(path.name, match) for path, text in text_files() for match in pattern.findall(text)}
    assert found, "no address found at all: the pattern is wrong"
    assert {(name, match) for name, match in found if match != owner_and_name} == set()


def test_the_book_points_to_the_repository():
    assert CONFIG["repository"]["url"] == REPOSITORY
    assert CONFIG["repository"]["branch"] == TAG
    assert CONFIG["launch_buttons"]["colab_url"] == COLAB.split("/github/")[0]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["repository-code"] == REPOSITORY
    assert citation["url"] == PROJECT["urls"]["Homepage"]


# ---- the README's commands ---------------------------------------------------------------------


def test_first_command_builds_the_book_and_second_runs_the_tests():
    book, test = readme_blocks()[:2]
    assert book == 'pip install -e ".[book]" && jupyter-book build .'
    assert test == 'pip install -e ".[test]" && pytest'


def test_readme_names_files_that_exist():
    text = (ROOT / "README.md").read_text("utf-8")
    links = re.findall(r"\]\((?!https?://)([^)#]+)\)", text)
    assert links
    for link in links:
        assert (ROOT / link).exists(), f"README links to {link}"


def test_ci_takes_the_commands_from_the_readme():
    script = ROOT / ".ci" / "run"
    text = script.read_text("utf-8")
    assert "readme_block 1" in text
    assert "readme_block 2" in text
    assert "pip install" not in text, "CI installs with the README's lines alone"
    assert os.name == "nt" or script.stat().st_mode & stat.S_IXUSR


# ---- requirements ------------------------------------------------------------------------------


def test_conda_environment_agrees_with_pyproject():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))
    assert environment["channels"] == ["conda-forge"]
    pip = [d for d in environment["dependencies"] if isinstance(d, dict)]
    assert pip == [{"pip": ["-e .[book,test]"]}]
    assert {"book", "test"} <= set(PROJECT["optional-dependencies"])

    conda = dict(requirement(d) for d in environment["dependencies"] if isinstance(d, str))
    wanted = dict(requirement(d) for d in PROJECT["dependencies"])
    assert conda["pytorch"] == wanted["torch"]
    assert conda["torchvision"] == wanted["torchvision"]
    version = tuple(map(int, conda["python"].lstrip("=").split(".")))
    oldest = tuple(map(int, PROJECT["requires-python"].removeprefix(">=").split(".")))
    assert version >= oldest


def test_requirements_have_lower_bounds_and_no_pins():
    for text in PROJECT["dependencies"]:
        name, bound = requirement(text)
        assert bound.startswith(">="), f"{name} has no lower bound"
        assert not set("=<~!") & set(bound.removeprefix(">=")), f"{name} is pinned"


# ---- the book ----------------------------------------------------------------------------------


def test_every_page_of_the_table_of_contents_exists():
    pages = toc_pages()
    assert len(pages) == len(set(pages)), "a page is listed twice"
    for page in pages:
        files = [ROOT / f"{page}{suffix}" for suffix in (".md", ".ipynb")]
        assert any(file.is_file() for file in files), f"_toc.yml lists {page}"


def test_every_page_is_in_the_table_of_contents():
    pages = {path.relative_to(ROOT).with_suffix("") for path in (ROOT / "book").glob("*.md")}
    pages |= {path.relative_to(ROOT).with_suffix("") for path in NOTEBOOKS}
    assert {page.as_posix() for page in pages} == set(toc_pages())


def test_pages_cite_works_that_are_in_the_bibliography():
    keys = bibliography_keys()
    for path in (ROOT / "book").glob("*.md"):
        missing = set(cited_keys(path.read_text("utf-8"))) - keys
        assert not missing, f"{path.name} cites {sorted(missing)}"


def test_api_page_holds_every_public_name():
    import tlseg_lite

    text = (ROOT / "book" / "api.md").read_text("utf-8")
    modules = {n for n in tlseg_lite.__all__ if hasattr(getattr(tlseg_lite, n), "__file__")}
    assert set(tlseg_lite.__all__) - modules <= set(re.findall(r"`tl\.(\w+)`", text))
    pages = re.findall(r"^\.\. automodule:: (tlseg_lite[\w.]*)", text, re.M)
    for name in sorted(modules):
        module = getattr(tlseg_lite, name).__name__
        inner = module.split(".")[1] in {"core", "cli", "pretraining"}  # not for readers' own code
        assert inner or any(page.startswith(module) for page in pages), module


def test_book_is_executed_and_strict():
    execute = CONFIG["execute"]
    assert execute["execute_notebooks"] == "cache"
    assert execute["timeout"] <= 600  # on a busy machine; a chapter has three minutes
    assert execute["allow_errors"] is False
    assert CONFIG["sphinx"]["local_extensions"] == {"course_build": "book/_ext"}


def test_build_extension_turns_warnings_into_a_failure():
    import course_build

    class App:
        statuscode = 0

    for warnings, status in ((0, 0), (3, 1)):
        app = App()
        app._warncount = warnings
        course_build.fail_on_warnings(app, None)
        assert app.statuscode == status


def test_build_extension_drops_scripts_that_need_a_server():
    import course_build

    class Script:
        def __init__(self, filename=None, **attributes):
            self.filename, self.attributes = filename, attributes

    kept = [Script("_static/doctools.js"), Script(body="const a = 1;", type="text/javascript")]
    dropped = [
        Script("_static/sphinx-thebe.js"),
        Script(body="const thebe_selector = 1"),
        Script(body="{}", type="application/vnd.jupyter.widget-state+json"),
    ]
    context = {"script_files": [*dropped, *kept]}
    course_build.drop_dead_scripts(None, "page", "page.html", context, None)
    assert context["script_files"] == kept


# ---- the repository ----------------------------------------------------------------------------


def test_versions_agree():
    import tlseg_lite

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert tlseg_lite.__version__ == PROJECT["version"] == citation["version"]
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8")
    released = [name for name in re.findall(r"^## (\S+)", changes, re.M) if name != "Unreleased"]
    assert released[0] == PROJECT["version"]


def test_what_readers_install_is_the_release_not_whatever_main_is():
    """A tag made from the version; pages, notebooks and the package that they install agree."""
    address = re.compile(rf'{re.escape(REPOSITORY)}(@[\w.]+)?\\?"')
    found = [m for _, text in text_files() for m in re.findall(rf"git\+{address.pattern}", text)]
    assert len(found) > len(NOTEBOOKS), "README, teaching guide and every set-up cell"
    assert set(found) == {f"@{TAG}"}


def test_no_large_files():
    large = {p.name: p.stat().st_size for p in tracked_files() if p.stat().st_size > 25_000_000}
    assert large == {}


def test_no_paths_of_one_machine():
    beside = "../" + "shared"  # the folder beside a checkout; .ci/run alone may know it
    home = re.compile(r"(?<![\w.])/(?:home|root|Users)/\w+")
    for path, text in text_files():
        if path != ROOT / ".ci" / "run":
            assert beside not in text, f"{path.relative_to(ROOT)} names {beside}"
        assert not home.findall(text), f"{path.relative_to(ROOT)} names a home folder"


@pytest.mark.parametrize("module", ["torch", "matplotlib", "segment_anything", "pandas", "h5py"])
def test_importing_the_package_imports_nothing_heavy(module):
    """`import tlseg_lite` is cheap: heavy libraries are imported where they are used."""
    code = f"import sys, tlseg_lite; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT).returncode == 0
