"""Dividing a dataset: training, validation and test; folds for cross-validation.

The order follows a hash of seed and id, so it depends neither on the order of the files nor on
the machine, and files that come later hardly move the others.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence

from torch.utils.data import Dataset

from tlseg_lite.core.errors import DataError, listing
from tlseg_lite.data.base import LandslideDataset, Wrapped
from tlseg_lite.data.images import natural_key


class Subset(Wrapped):
    """Some items of a dataset, in the order of `indices`."""

    def __init__(self, dataset: Dataset, indices: Sequence[int], source: str | None = None):
        super().__init__(dataset)
        self.indices = list(indices)
        self.ids = [self.ids[index] for index in self.indices]
        self.source = source or f"{len(self.indices)} of {self.source}"

    def _inner(self, index: int) -> int:
        return self.indices[index]


def split(
    dataset: Dataset, fractions: Sequence[float] = (0.7, 0.15, 0.15), seed: int = 0
) -> tuple[Subset, ...]:
    """Divide `dataset` into parts that share no item, the same ones on every machine.

    A dataset that knows better, as `Chips` cut from one scene do, divides itself (``divide``).

    The sizes are exact: cumulative fractions of the number of items, rounded; then every part
    with a fraction above 0 gets at least one item, taken from the largest part. Select designs
    and epochs on the second part, and report on the third once.

    Args:
        dataset: with unique ``ids``.
        fractions: of each part, each from 0 to 1, adding up to 1.
        seed: another seed, another division.

    Raises:
        ValueError: if the fractions do not add up to 1, or there are fewer items than parts.
        DataError: if an id occurs twice.
    """
    fractions = tuple(float(fraction) for fraction in fractions)
    if not fractions or not all(0 <= fraction <= 1 for fraction in fractions):
        raise ValueError(f"fractions are {fractions}; expected values from 0 to 1")
    if abs(sum(fractions) - 1) > 1e-6:
        raise ValueError(
            f"fractions {fractions} add up to {sum(fractions):.4g}; expected 1. "
            "Add a part for the remaining items"
        )
    order = _order(dataset.ids, seed)
    if hasattr(dataset, "divide"):
        return dataset.divide(fractions, seed)
    wanted = sum(fraction > 0 for fraction in fractions)
    if len(order) < wanted:
        raise ValueError(
            f"{len(order)} items cannot be divided into {wanted} parts of at least one item each"
        )
    cuts = [round(len(order) * sum(fractions[:i])) for i in range(len(fractions))] + [len(order)]
    sizes = [after - before for before, after in itertools.pairwise(cuts)]
    for part, fraction in enumerate(fractions):
        if fraction == 0:  # rounding gives such a part nothing; make that certain
            sizes[_largest(sizes)] += sizes[part]
            sizes[part] = 0
    for part, fraction in enumerate(fractions):
        if fraction > 0 and sizes[part] == 0:
            sizes[_largest(sizes)] -= 1
            sizes[part] = 1
    starts = [sum(sizes[:part]) for part in range(len(sizes))]
    return tuple(
        Subset(dataset, order[start : start + size])
        for start, size in zip(starts, sizes, strict=True)
    )


def k_fold(dataset: Dataset, k: int = 5, seed: int = 0) -> list[tuple[Subset, Subset]]:
    """`k` pairs (training, held out); every item is held out exactly once.

    Raises:
        ValueError: unless 2 <= k <= number of items.
        DataError: if an id occurs twice.
    """
    order = _order(dataset.ids, seed)
    if isinstance(k, bool) or not isinstance(k, int) or not 2 <= k <= len(order):
        raise ValueError(f"k is {k!r}; expected a whole number from 2 to {len(order)}, the items")
    return [
        (
            Subset(dataset, [index for rank, index in enumerate(order) if rank % k != fold]),
            Subset(dataset, order[fold::k]),
        )
        for fold in range(k)
    ]


def split_by_blocks(
    dataset: Dataset,
    fractions: Sequence[float] = (0.7, 0.15, 0.15),
    *,
    block: int = 5,
    seed: int = 0,
) -> tuple[Subset, ...]:
    """Divide `dataset` by blocks of neighbours in the natural order of its ids.

    Neighbouring numbers can be neighbouring places, photographed on one day: divided image by
    image, they would be in training and test alike. Whole blocks of `block` images (the last one
    may be shorter) go into one part each, drawn by `split`'s rule; the parts' sizes are those of
    `split` to within a block.

    Args:
        dataset: with unique ``ids``.
        fractions: of each part, each from 0 to 1, adding up to 1.
        block: images in a block, at least 1.
        seed: another seed, another division.

    Raises:
        ValueError: as `split`, for blocks instead of items; a block below 1.
        DataError: if an id occurs twice.
    """
    if isinstance(block, bool) or not isinstance(block, int) or block < 1:
        raise ValueError(f"block is {block!r}; expected a whole number from 1")
    _order(dataset.ids, seed)  # ids are unique
    line = sorted(range(len(dataset.ids)), key=lambda index: natural_key(dataset.ids[index]))
    blocks = [line[start : start + block] for start in range(0, len(line), block)]
    names = _Blocks([dataset.ids[each[0]] for each in blocks])
    return tuple(
        Subset(dataset, sorted(index for i in part.indices for index in blocks[i]))
        for part in split(names, fractions, seed)
    )


def shuffled(dataset: Dataset, seed: int = 0) -> Subset:
    """All items, in the order that `split` takes them in: its first N are a draw of N.

    Raises:
        DataError: if an id occurs twice.
    """
    source = getattr(dataset, "source", None)
    return Subset(dataset, _order(dataset.ids, seed), source)


class _Blocks(LandslideDataset):
    """Blocks by the ids of their first items, as `split` wants a dataset."""

    source = "blocks"

    def __init__(self, ids: list[str]):
        self.ids = ids


def _largest(sizes: list[int]) -> int:
    return max(range(len(sizes)), key=sizes.__getitem__)


def _order(ids: Sequence[str], seed: int) -> list[int]:
    """Indices of `ids`, sorted by a hash of seed and id."""
    twice = {name for name in ids if ids.count(name) > 1} if len(set(ids)) < len(ids) else ()
    if twice:
        raise DataError(f"ids occur more than once: {listing(sorted(twice))}; they must be unique")

    def rank(index: int) -> bytes:
        return hashlib.sha256(f"{seed}/{ids[index]}".encode()).digest()

    return sorted(range(len(ids)), key=rank)
