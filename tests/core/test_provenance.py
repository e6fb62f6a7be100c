"""A row of results says which code made it."""

import re
import subprocess
from pathlib import Path

import tlseg_lite
from tlseg_lite.core.provenance import commit, provenance

PACKAGE = Path(tlseg_lite.__file__).parent


def test_the_commit_is_the_checkouts_or_none():
    commit.cache_clear()
    found = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=PACKAGE, capture_output=True, text=True, check=False
    )
    tracked = subprocess.run(
        ["git", "ls-files", "--error-unmatch", "__main__.py"],
        cwd=PACKAGE, capture_output=True, check=False,
    )  # fmt: skip
    expected = found.stdout.strip() if tracked.returncode == 0 else ""
    assert commit().rstrip("+") == expected
    assert provenance()["commit"] == commit()


def test_no_git_no_commit(monkeypatch):
    def missing(*arguments, **options):
        raise FileNotFoundError("git")

    monkeypatch.setattr(subprocess, "run", missing)
    commit.cache_clear()
    assert commit() == ""
    commit.cache_clear()


def test_the_time_is_utc():
    finished = provenance()["finished"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", finished)
