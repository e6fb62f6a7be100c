"""Every chapter as Colab would run it, as far as that can be had on another machine.

Colab's Python and the versions of its libraries (``tests/colab/runtime.txt``) are installed into
a folder first. Each chapter then gets a fresh copy of that, a kernel in which ``google.colab`` is
imported, and an empty folder to run in. Nothing but its own set-up cell installs anything, and of
that cell only the repository's address is changed: to this checkout, at its last commit.

It needs 6 GB, an index of packages, and the better part of an hour on two cores, so it runs only
where the variable TLSEG_COLAB_TEST names a folder to keep the libraries in:
``TLSEG_COLAB_TEST=~/colab-runtime pytest tests/test_colab.py``.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import nbformat
import pytest
from course import NOTEBOOKS, REPOSITORY, ROOT, SETUP_CELL, TAG

HERE = Path(__file__).parent / "colab"
RUNTIME = HERE / "runtime.txt"
PIP = "24.1.2"


def test_setup_cell_is_for_colab_alone():
    """Without google.colab the cell does nothing; it never names torch or numpy."""
    assert 'if "google.colab" in sys.modules:' in SETUP_CELL
    install = [line for line in SETUP_CELL.splitlines() if "%pip" in line]
    assert install == [f'    %pip install -q "tlseg-lite @ git+{REPOSITORY}@{TAG}"']
    assert "--upgrade" not in SETUP_CELL


def test_requirements_allow_what_colab_has():
    """No version of Colab's is below a lower bound, so pip has no reason to replace one."""
    from course import PYPROJECT
    from packaging.requirements import Requirement

    colab = dict(line.split("==") for line in pins())
    wanted = [Requirement(text) for text in PYPROJECT["project"]["dependencies"]]
    held = {r.name.lower(): r for r in wanted if r.name.lower() in colab}
    assert {"torch", "torchvision", "numpy", "pandas", "matplotlib", "ipywidgets"} <= set(held)
    for name, requirement in held.items():
        assert requirement.specifier.contains(colab[name]), f"{requirement} against {colab[name]}"


def pins() -> list[str]:
    """The lines ``name==version`` of the runtime, names in lower case."""
    lines = RUNTIME.read_text("utf-8").splitlines()
    return [line.lower().replace("_", "-") for line in lines if line and line[0] != "#"]


def python312() -> str:
    """A Python 3.12 that runs; skips where there is none."""
    roots = {os.environ.get("PYENV_ROOT", ""), str(Path.home() / ".pyenv")} - {""}
    versions = [p for r in roots for p in Path(r).glob("versions/3.12*/bin/python3.12")]
    for python in (shutil.which("python3.12"), *map(str, sorted(versions))):
        if python and not subprocess.run([python, "-c", ""], capture_output=True).returncode:
            return python
    pytest.skip("no Python 3.12, neither on the PATH nor in pyenv's folder")


def run(*command: object) -> str:
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]} {done.stderr[-3000:]}"
    return done.stdout


def installed(python: Path) -> dict[str, str]:
    """Name -> version of all that a Python can import."""
    listed = json.loads(run(python, "-m", "pip", "list", "--format=json"))
    return {p["name"].lower().replace("_", "-"): p["version"] for p in listed}


def files_of(python: Path, package: str) -> dict[str, tuple[int, int]]:
    """The library files of a package with their sizes and times of change."""
    [folder] = python.parent.parent.glob(f"lib/python3.*/site-packages/{package}")
    return {
        str(p.relative_to(folder)): (p.stat().st_size, p.stat().st_mtime_ns)
        for p in folder.rglob("*")
        if p.is_file() and p.suffix != ".pyc"
    }


@pytest.fixture(scope="session")
def runtime() -> Path:
    """The folder with Colab's Python and libraries, made once and kept."""
    folder = os.environ.get("TLSEG_COLAB_TEST")
    if not folder:
        pytest.skip("TLSEG_COLAB_TEST names no folder for Colab's libraries (6 GB)")
    if os.environ.get("CI") and shutil.disk_usage(ROOT).free < 8e9:
        pytest.skip("less than 8 GB free for Colab's libraries")
    base = Path(folder).expanduser().resolve()
    python = base / "bin" / "python"
    if not python.exists():
        run(python312(), "-m", "venv", base)
    present = installed(python)
    wanted = dict(line.split("==") for line in [f"pip=={PIP}", *pins()])
    if any(present.get(name, "").split("+")[0] != version for name, version in wanted.items()):
        run(python, "-m", "pip", "install", "-q", f"pip=={PIP}")
        run(python, "-m", "pip", "install", "-q", "-r", RUNTIME)
    return base


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_chapter_runs_as_in_colab(runtime, path, tmp_path, monkeypatch):
    from nbclient import NotebookClient

    machine, folder, specs = (
        tmp_path / "machine",
        tmp_path / "content",
        tmp_path / "jupyter" / "kernels",
    )
    shutil.copytree(runtime, machine, symlinks=True, copy_function=os.link)
    folder.mkdir()
    python = machine / "bin" / "python"
    before = installed(python)
    touched = {name: files_of(python, name) for name in ("torch", "torchvision", "numpy")}

    (specs / "colab").mkdir(parents=True)
    argv = [str(python), "-m", "colab_kernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "Colab", "language": "python"}
    (specs / "colab" / "kernel.json").write_text(json.dumps(spec), "utf-8")
    monkeypatch.setenv("JUPYTER_PATH", str(specs.parent))

    notebook = nbformat.read(path, as_version=4)
    setup = notebook.cells[1]
    assert setup.source.count(f"git+{REPOSITORY}@{TAG}") == 1
    setup.source = setup.source.replace(f"git+{REPOSITORY}@{TAG}", f"git+{ROOT.as_uri()}")

    foreign = ("TLSEG_", "PYTEST", "VIRTUAL_ENV", "MPL", "PYTHON")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}
    environment |= {
        "PYTHONPATH": str(HERE / "stub"),
        "HOME": str(tmp_path),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",  # as Colab sets it
    }
    client = NotebookClient(
        notebook, kernel_name="colab", timeout=1800, resources={"metadata": {"path": str(folder)}}
    )
    try:
        client.execute(env=environment)  # the first error ends it
    finally:
        nbformat.write(notebook, tmp_path / path.name)  # for the eye

    after = installed(python)
    assert "tlseg-lite" in after
    changed = {name: (version, after.get(name)) for name, version in before.items()}
    assert {k: v for k, v in changed.items() if v[0] != v[1]} == {}, "the set-up changed libraries"
    for name, files in touched.items():
        assert files_of(python, name) == files, f"the set-up wrote into {name}"
    assert not list(folder.iterdir()), "a chapter left files behind"
    for cell in notebook.cells:
        if "image" in cell.metadata.get("mystnb", {}):
            shown = [output.get("data", {}) for output in cell.outputs]
            assert any("image/png" in data for data in shown), f"cell {cell.id} shows no figure"
