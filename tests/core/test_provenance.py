"""Where a number comes from: the commit is the package's own, or none."""

import importlib
import shutil
import subprocess
from pathlib import Path

import pytest

import tlseg_lite as tl

provenance = importlib.import_module("tlseg_lite.core.provenance")  # core has the function


def git(folder, *arguments):
    order = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    done = subprocess.run(order, cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A small checkout that holds the module which asks, and another file of the package."""
    if shutil.which("git") is None:
        pytest.skip("needs git")
    core = tmp_path / "tlseg_lite" / "core"
    core.mkdir(parents=True)
    (core / "provenance.py").write_text("")
    (tmp_path / "tlseg_lite" / "other.py").write_text("")
    (tmp_path / "README.md").write_text("")
    git(tmp_path, "init", "-q")
    monkeypatch.setattr(provenance, "__file__", str(core / "provenance.py"))
    provenance.commit.cache_clear()
    yield tmp_path
    provenance.commit.cache_clear()


def commit(folder):
    provenance.commit.cache_clear()
    return provenance.commit()


def test_the_commit_of_the_package_with_a_plus_where_its_files_differ(package):
    assert commit(package) == ""  # another repository around an installed package
    git(package, "add", ".")
    git(package, "commit", "-qm", "all")
    head = git(package, "rev-parse", "HEAD")
    assert commit(package) == head
    (package / "README.md").write_text("not of the package")
    assert commit(package) == head
    (package / "tlseg_lite" / "other.py").write_text("x = 1")
    assert commit(package) == head + "+"


def test_this_checkout_has_its_commit():
    """The file that is asked for is really there: it was renamed once, and records lost theirs."""
    root = Path(tl.__file__).parents[1]
    if shutil.which("git") is None or not (root / ".git").exists():
        pytest.skip("no checkout")
    provenance.commit.cache_clear()
    try:
        assert provenance.commit().rstrip("+") == git(root, "rev-parse", "HEAD")
    finally:
        provenance.commit.cache_clear()
    row = provenance.provenance()
    assert row["version"] == tl.__version__
    assert set(row) == {"commit", "version", "torch", "device", "finished"}
