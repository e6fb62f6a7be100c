"""Splits: exact sizes, nothing shared, the same on every machine."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlseg_lite.data import DataError, LandslideDataset, k_fold, split, split_by_blocks

FRACTIONS = [(0.7, 0.15, 0.15), (0.7, 0.3), (1.0,), (0.5, 0.0, 0.5), (0.98, 0.01, 0.01)]


class Named(LandslideDataset):
    source = "named items"

    def __init__(self, ids):
        self.ids = list(ids)

    def __getitem__(self, index):
        return {"id": self.ids[index]}


@settings(max_examples=80, deadline=None)
@given(n=st.integers(3, 120), fractions=st.sampled_from(FRACTIONS), seed=st.integers(0, 5))
def test_a_split_divides_everything_once(n, fractions, seed):
    parts = split(Named(f"df{i}" for i in range(n)), fractions, seed)
    assert len(parts) == len(fractions)
    names = [name for part in parts for name in part.ids]
    assert sorted(names) == sorted(f"df{i}" for i in range(n))
    for part, fraction in zip(parts, fractions, strict=True):
        assert (len(part) > 0) == (fraction > 0)
        assert abs(len(part) - n * fraction) <= 2
        assert [part[i]["id"] for i in range(len(part))] == part.ids


def test_sizes_are_those_of_the_papers_set():
    assert [len(p) for p in split(Named(map(str, range(770))))] == [539, 115, 116]
    assert [len(p) for p in split(Named(map(str, range(20))))] == [14, 3, 3]


def test_order_and_growth_of_the_folder_hardly_matter():
    names = [f"df{i:03d}" for i in range(400)]
    first = split(Named(names), seed=1)
    mixed = random.Random(0).sample(names, len(names))
    assert [p.ids for p in split(Named(mixed), seed=1)] == [p.ids for p in first]
    more = split(Named([*names, "df900", "df901"]), seed=1)
    moved = set(first[0].ids) - set(more[0].ids)
    assert len(moved) <= 2
    assert set(split(Named(names), seed=2)[0].ids) != set(first[0].ids)


def test_a_known_division():
    """Holds the hash itself: published splits must not change with a version."""
    assert split(Named("abcdefgh"), (0.5, 0.25, 0.25))[2].ids == ["a", "h"]


def test_parts_say_what_they_are():
    train, held = split(Named("abcde"), (0.8, 0.2))
    assert train.source == "4 of named items"
    assert held.source == "1 of named items"


@pytest.mark.parametrize("k", [2, 5, 7])
def test_folds_hold_out_each_item_once(k):
    data = Named(f"x{i}" for i in range(23))
    folds = k_fold(data, k, seed=3)
    held = [name for _, part in folds for name in part.ids]
    assert sorted(held) == sorted(data.ids)
    for train, part in folds:
        assert sorted(train.ids + part.ids) == sorted(data.ids)
        assert len(part) in (23 // k, 23 // k + 1)
    assert [p.ids for _, p in k_fold(data, k, seed=3)] == [p.ids for _, p in folds]


def test_what_cannot_be_divided_is_refused():
    data = Named("abc")
    with pytest.raises(ValueError, match=r"add up to 0\.9"):
        split(data, (0.7, 0.2))
    with pytest.raises(ValueError, match="values from 0 to 1"):
        split(data, (1.5, -0.5))
    with pytest.raises(ValueError, match="values from 0 to 1"):
        split(data, ())
    with pytest.raises(ValueError, match="2 items cannot be divided into 3 parts"):
        split(Named("ab"))
    with pytest.raises(DataError, match="more than once: b"):
        split(Named("abb"), (0.5, 0.5))
    for k in (1, 4, 2.0, True):
        with pytest.raises(ValueError, match="from 2 to 3"):
            k_fold(data, k)


@pytest.mark.parametrize("block", [1, 5, 7])
def test_blocks_of_neighbours_stay_together(block):
    """Natural order (2 before 10), whatever order the dataset has; no id lost or twice."""
    numbers = [*range(53, 0, -1)]
    data = Named([f"df{n}" for n in numbers])
    parts = split_by_blocks(data, block=block)
    assert sorted(key for part in parts for key in part.ids) == sorted(data.ids)
    home = {key: i for i, part in enumerate(parts) for key in part.ids}
    for first in range(1, 54, block):
        names = [f"df{n}" for n in range(first, min(first + block, 54))]
        assert len({home[name] for name in names}) == 1
    for part, share in zip(parts, (0.7, 0.15, 0.15), strict=True):
        assert abs(len(part) - share * 53) <= block
    again = split_by_blocks(Named(sorted(data.ids)), block=block)
    assert [set(part.ids) for part in again] == [set(part.ids) for part in parts]
    assert [p.ids for p in split_by_blocks(data, block=block, seed=1)] != [p.ids for p in parts]


def test_blocks_that_make_no_sense():
    data = Named([f"{n}" for n in range(6)])
    for block in (0, -1, 1.5, True):
        with pytest.raises(ValueError, match="block is"):
            split_by_blocks(data, block=block)
    with pytest.raises(ValueError, match="cannot be divided into 3 parts"):
        split_by_blocks(data, block=5)
    with pytest.raises(DataError, match="more than once"):
        split_by_blocks(Named(["a", "a", "b"]), block=1)
