"""Chapter 6 in a browser: the wheel that the site carries, and the notebook with it."""

import base64
import hashlib
import json
import os
import subprocess
import sys
import zipfile

import pytest
from course import PYPROJECT, ROOT
from lite_site import CHAPTER, NEEDS, for_the_browser, write_wheel

NOTEBOOK = ROOT / f"{CHAPTER}.ipynb"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return write_wheel(ROOT, tmp_path_factory.mktemp("wheel"))


def test_the_wheel_is_small_complete_and_as_pip_wants_it(wheel):
    version = PYPROJECT["project"]["version"]
    assert wheel.name == f"tlseg_lite-{version}-py3-none-any.whl"
    assert wheel.stat().st_size < 2e6, "weights do not belong into a page"
    with zipfile.ZipFile(wheel) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    info = f"tlseg_lite-{version}.dist-info"
    metadata = files[f"{info}/METADATA"].decode().splitlines()
    assert [line for line in metadata if "Requires-Dist" in line] == [
        f"Requires-Dist: {name}" for name in NEEDS
    ]
    record = dict(line.split(",", 1) for line in files[f"{info}/RECORD"].decode().splitlines())
    assert set(record) == set(files)
    for name, data in files.items():
        if not name.endswith("RECORD"):
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
            assert record[name] == f"sha256={digest},{len(data)}"


def test_the_chapter_and_its_solutions_run_from_the_wheel(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    alone = ROOT / "tests" / "support" / "chapter_alone.py"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "MPLBACKEND": "agg"}
    result = subprocess.run(
        [sys.executable, str(alone), str(NOTEBOOK)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert "19 rows, 19 consistent" in result.stdout
    assert "Solutions: 6.1, 6.2, 6.3, 6.4, 6.5" in result.stdout
    assert f"from {tmp_path.resolve() / 'tlseg_lite'}" in result.stdout


def test_only_the_set_up_cell_differs_in_the_browser():
    notebook = json.loads(NOTEBOOK.read_text("utf-8"))
    before = ["".join(cell["source"]) for cell in notebook["cells"]]
    after = ["".join(cell["source"]) for cell in for_the_browser(notebook)["cells"]]
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert len(changed) == 1
    assert changed[0][0].startswith("# In Colab this installs the course")
    assert changed[0][1].endswith("%pip install -q tlseg-lite")
