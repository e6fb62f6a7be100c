"""Masks come back as they went in; a damaged file says so."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from tlseg_lite.experiments.results import add_masks, read_masks


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
