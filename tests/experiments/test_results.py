"""Rows and masks come back as they went in, from whatever a crash or another process leaves."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from tlseg_lite.experiments.results import Rows, add_masks, read_masks


def test_two_processes_do_not_share_a_file(tmp_path):
    pytest.importorskip("fcntl")
    rows = Rows(tmp_path / "a.csv", ["x"])
    with rows.alone(), pytest.raises(RuntimeError, match="another process"), rows.alone():
        pass
    with rows.alone():
        pass


@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0")), max_size=4),
    st.integers(0, 200),
)
def test_any_torn_file_goes_on(tmp_path, values, kept):
    """Cut off after any byte: whole rows stay, the torn one is gone, the next one fits."""
    rows = Rows(tmp_path / "torn.csv", ["text", "number"])
    rows.path.unlink(missing_ok=True)
    for number, text in enumerate(values):
        rows.append({"text": text, "number": number})
    content = rows.path.read_bytes() if values else b""
    rows.path.write_bytes(content[:kept])
    finished = max(0, content[:kept].count(b"\n") - 1)
    expected = [{"text": t, "number": str(n)} for n, t in enumerate(values[:finished])]
    assert rows.read() == expected
    rows.append({"text": "new", "number": 9})
    assert rows.read() == [*expected, {"text": "new", "number": "9"}]


def test_damaged_files_are_named(tmp_path):
    path = tmp_path / "a.csv"
    rows = Rows(path, ["x", "y"])
    path.write_text("x,z\n1,2\n")
    with pytest.raises(ValueError, match=r"other columns.*y, z"):
        rows.read()
    path.write_text("x,y\n1,2\n3\n4,5\n")
    with pytest.raises(ValueError, match="line 3"):
        rows.read()
    with pytest.raises(ValueError, match="line break"):
        rows.append({"x": "a\nb", "y": 1})
    with pytest.raises(ValueError, match="y"):
        rows.append({"x": 1})
    assert Rows(tmp_path / "none.csv", ["x"]).read() == []


def test_older_files_lack_columns_and_newer_ones_have_more(tmp_path):
    """Read as empty; the header is rewritten with the next row, and nothing is lost."""
    rows = Rows(tmp_path / "a.csv", ["x", "kind", "y"], key=["x", "kind"], renamed={"sort": "kind"})
    rows.path.write_text("sort,x,extra\nslide,1,7\n")
    assert rows.read() == [{"x": "1", "kind": "slide", "y": "", "extra": "7"}]
    assert rows.key(rows.read()[0]) == ("1", "slide")
    rows.append({"x": 2, "kind": "slide", "y": "new", "test_found": 3})
    text = "x,kind,y,extra,test_found\n1,slide,,7,\n2,slide,new,,3\n"
    assert rows.path.read_text() == text
    rows.append({"x": 3, "kind": "slide", "y": ""})
    assert rows.path.read_text() == text + "3,slide,,,\n"
    assert list(rows.frame().test_found.fillna(0)) == [0, 3, 0]
    rows.path.write_text("x,y\n1,2\n")
    with pytest.raises(ValueError, match=r"other columns than this version writes \(kind\)"):
        rows.read()
    with pytest.raises(ValueError, match="other columns"):
        rows.append({"x": 1, "kind": "slide", "y": ""})
    assert rows.path.read_text() == "x,y\n1,2\n"


def test_a_full_disk_keeps_what_was_there(tmp_path, monkeypatch):
    """Adding a column writes the whole file anew: into another one, which then takes its place."""
    rows = Rows(tmp_path / "a.csv", ["x", "y"], key=["x"])
    rows.path.write_text("x\n1\n")

    def full(*args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.write_bytes", full)
        with pytest.raises(OSError, match="the former file is kept"):
            rows.append({"x": 2, "y": 2})
    assert rows.path.read_text() == "x\n1\n"
    rows.append({"x": 2, "y": 2})
    assert [row["x"] for row in rows.read()] == ["1", "2"]


WRITER = """
import sys
import numpy as np
from tlseg_lite.experiments.results import Rows, add_masks
name, folder = sys.argv[1:]
for i in range(40):
    extra = {f"test_{name}{i // 10}": i}  # a new column now and then: the file is replaced
    Rows(folder + "/a.csv", ["writer", "number"]).append({"writer": name, "number": i} | extra)
    if i % 5 == 0:
        add_masks(folder + "/m.npz", {(name, str(i)): np.eye(9, dtype=bool)})
"""


def test_two_processes_that_write_one_file_lose_nothing(tmp_path):
    pytest.importorskip("fcntl")
    (tmp_path / "writer.py").write_text(WRITER)
    command = [sys.executable, str(tmp_path / "writer.py")]
    writers = [subprocess.Popen([*command, name, str(tmp_path)]) for name in "ab"]
    assert [writer.wait(timeout=1800) for writer in writers] == [0, 0]
    rows = Rows(tmp_path / "a.csv", ["writer", "number"]).read()
    for name in "ab":
        assert [int(r["number"]) for r in rows if r["writer"] == name] == list(range(40))
        assert all(r[f"test_{name}{int(r['number']) // 10}"] for r in rows if r["writer"] == name)
    assert len(read_masks(tmp_path / "m.npz")) == 16
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "m.npz", "writer.py"]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=20)), min_size=1, max_size=5
    )
)
def test_masks_come_back(tmp_path_factory, masks):
    path = tmp_path_factory.mktemp("masks") / "m.npz"
    given_masks = {("set", f"model {i}"): mask for i, mask in enumerate(masks)}
    add_masks(path, given_masks)
    found = read_masks(path)
    assert list(found) == sorted(given_masks)
    for key, mask in given_masks.items():
        np.testing.assert_array_equal(found[key], mask)


def test_more_masks_join_and_replace(tmp_path):
    path = tmp_path / "m.npz"
    add_masks(path, {("a",): np.ones((2, 3), bool), ("b",): np.zeros((1, 9), bool)})
    add_masks(path, {("a",): np.eye(4, dtype=bool)})
    found = read_masks(path)
    np.testing.assert_array_equal(found["a",], np.eye(4, dtype=bool))
    assert found["b",].shape == (1, 9)
    assert not list(tmp_path.glob("*.part"))


def test_real_masks_take_little_room(tmp_path):
    y, x = np.mgrid[:256, :256]
    disc = (y - 120) ** 2 + (x - 100) ** 2 < 60**2
    add_masks(tmp_path / "m.npz", {(str(i),): np.roll(disc, i) for i in range(20)})
    assert (tmp_path / "m.npz").stat().st_size < 20 * 256 * 256 / 8 / 4


def test_errors(tmp_path):
    assert read_masks(tmp_path / "none.npz") == {}
    with pytest.raises(ValueError, match=r"expected bool \(H, W\)"):
        add_masks(tmp_path / "m.npz", {("a",): np.ones((2, 3))})
    (tmp_path / "bad.npz").write_bytes(b"PK nothing")
    with pytest.raises(ValueError, match="remove it and run again"):
        read_masks(tmp_path / "bad.npz")
