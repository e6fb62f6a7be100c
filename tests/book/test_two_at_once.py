"""Chapters are executed ahead of their pages, two at a time, and found in the cache."""

import nbformat
import pytest
import two_at_once
from jupyter_cache import get_cache
from nbformat.v4 import new_code_cell, new_notebook


def write(path, code):
    cell = new_code_cell(code, id="only")
    about = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(new_notebook(cells=[cell], metadata=about), path)
    return path


def answer(cache, path):
    """The text that the cache has for a notebook."""
    _, notebook = get_cache(cache).merge_match_into_notebook(nbformat.read(path, as_version=4))
    return notebook.cells[0].outputs[0].text


def test_what_ran_is_in_the_cache_and_what_failed_is_not(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    code = "import os; print(os.path.basename(os.getcwd()), os.environ['OMP_NUM_THREADS'], '{}')"
    (tmp_path / "place").mkdir()
    good = [write(tmp_path / "place" / f"{n}.ipynb", code.format(n)) for n in "ab"]
    bad = write(tmp_path / "bad.ipynb", "1 / 0")
    cache = str(tmp_path / "cache")
    taken = two_at_once.execute_ahead([*good, bad], cache, 2, 60)
    assert taken[bad] is None
    assert all(taken[path] > 0 for path in good)
    threads = max(1, two_at_once.cores() // 2)
    assert [answer(cache, path) for path in good] == [f"place {threads} {n}\n" for n in "ab"]
    with pytest.raises(KeyError):
        answer(cache, bad)
    assert two_at_once.execute_ahead(good, cache, 2, 60) == {}, "they are in the cache"


def test_one_process_leaves_everything_to_the_pages(tmp_path):
    paths = [write(tmp_path / f"{n}.ipynb", f"print({n})") for n in range(2)]
    assert two_at_once.execute_ahead(paths, str(tmp_path / "cache"), 1, 60) == {}


def test_a_caller_s_number_of_threads_stays(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    with two_at_once.threads_each(1):
        assert two_at_once.os.environ["OMP_NUM_THREADS"] == "3"
    assert two_at_once.os.environ["OMP_NUM_THREADS"] == "3"


def test_processes_fit_cores_memory_and_wishes(monkeypatch):
    monkeypatch.setenv("TLSEG_BOOK_PROCESSES", "5")
    assert two_at_once.processes() == 5
    monkeypatch.delenv("TLSEG_BOOK_PROCESSES")
    monkeypatch.setattr(two_at_once, "cores", lambda: 8)
    monkeypatch.setattr(two_at_once, "GIGABYTES", 1e-3)
    assert two_at_once.processes() == 2
    monkeypatch.setattr(two_at_once, "GIGABYTES", 1e9)
    assert two_at_once.processes() == 1
    monkeypatch.setattr(two_at_once, "GIGABYTES", 1e-3)
    monkeypatch.setattr(two_at_once, "cores", lambda: 1)
    assert two_at_once.processes() == 1
