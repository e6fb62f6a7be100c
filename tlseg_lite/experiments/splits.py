"""The images of an ablation: training, validation and test for each seed (and fold)."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from tlseg_lite.data.base import Wrapped


class Splits:
    """Training, validation and test images that depend on (seed, fold) only.

    Attributes:
        name: short, for the CSV file.
        source: what the images are, in words.
        folds: number of folds of one seed.
        version: 12 hexadecimal digits that change when the images do; those of synthetic scenes
            also with the processor, whose arithmetic may round their pixels otherwise.
        negatives: images without a landslide that are tested too, for false alarms; None: none.
    """

    name: str
    source: str
    folds: int = 1
    negatives: Dataset | None = None

    def parts(self, seed: int, fold: int) -> tuple[Dataset, Dataset, Dataset]:
        """Training, validation and test, without a common image."""
        raise NotImplementedError

    @cached_property
    def version(self) -> str:
        return self._version()

    def _version(self) -> str:
        raise NotImplementedError


class SyntheticSplits(Splits):
    """New synthetic scenes for each seed; the three parts are drawn by different seeds."""

    def __init__(
        self,
        train: int = 48,
        val: int = 16,
        test: int = 32,
        *,
        size: int | None = 256,
        style: str = "bijie",
    ):
        self.numbers, self.size, self.style = (train, val, test), size, style
        self.name = f"synthetic-{style}"
        pixels = "of varying size" if size is None else f"{size} px"
        self.source = (
            f"synthetic scenes in the style of {style}, {pixels}: {train} for training, {val} for "
            f"validation, {test} for test, drawn anew for each seed"
        )

    def parts(self, seed: int, fold: int) -> tuple[Dataset, Dataset, Dataset]:
        return _drawn(self.numbers, self.size, self.style, seed)

    def _version(self) -> str:
        from tlseg_lite.data import SyntheticLandslides

        probe = SyntheticLandslides(1, size=self.size, seed=0, style=self.style)[0]
        return digest(self.numbers, self.size, self.style, probe)


@lru_cache(maxsize=1)  # the designs of one seed follow each other
def _drawn(
    numbers: tuple[int, ...], size: int | None, style: str, seed: int
) -> tuple[Dataset, ...]:
    from tlseg_lite.data import SyntheticLandslides

    return tuple(
        InMemory(SyntheticLandslides(n, size=size, seed=10_000 + 3 * seed + part, style=style))
        for part, n in enumerate(numbers)
    )


class FoldSplits(Splits):
    """Cross-validation: each fold is the test part once; `val` of the others is validation.

    Args:
        dataset: with unique ids.
        name: short, for the CSV file.
        folds: number of folds, at least 2.
        val: share of the images outside the test fold that choose the epoch.
    """

    def __init__(self, dataset: Dataset, name: str, *, folds: int = 5, val: float = 0.2):
        self.dataset, self.name, self.folds, self.val = InMemory(dataset), name, folds, val
        self.source = f"{dataset.source}, {folds}-fold cross-validation"
        self.parts(0, 0)  # too few images: an error now, not after hours

    def parts(self, seed: int, fold: int) -> tuple[Dataset, Dataset, Dataset]:
        from tlseg_lite.data import k_fold, split

        rest, test = k_fold(self.dataset, self.folds, seed)[fold]
        train, val = split(rest, (1 - self.val, self.val), seed)
        return train, val, test

    def _version(self) -> str:
        return digest(self.folds, self.val, self.dataset.ids, self.dataset[0])


class Holdout(Splits):
    """Train on one dataset, test on another: no cross-validation.

    Args:
        train: its images are divided into training and validation, by the seed.
        test: images of `train` (by id) are left out of it.
        name: short, for the CSV file.
        val: share of `train` that chooses the epoch.
    """

    def __init__(self, train, test, name: str, *, val: float = 0.2):
        from tlseg_lite.data.splits import Subset

        known = set(train.ids)
        self.train, self.val, self.name = train, val, name
        self.test = Subset(test, [i for i, key in enumerate(test.ids) if key not in known])
        if not len(self.test):
            raise ValueError(f"all {len(test)} test images are training images too")
        self.source = f"{train.source}; test: {test.source}"

    def parts(self, seed: int, fold: int):
        from tlseg_lite.data import split

        train, val = split(self.train, (1 - self.val, self.val), seed)
        return train, val, self.test

    def _version(self) -> str:
        return digest(self.val, sorted(self.train.ids), sorted(self.test.ids))


class BlockSplits(Splits):
    """One division for all seeds, by blocks of neighbouring numbers (`split_by_blocks`).

    The seed draws the order of the training images, so that the first N are another draw for each.

    Args:
        dataset: with unique ids, whose natural order says who is whose neighbour.
        name: short, for the CSV file.
        test: other images for the test; None: a part of `dataset`.
        negatives: images without a landslide, for false alarms.
        block: images in a block.
    """

    def __init__(
        self,
        dataset: Dataset,
        name: str,
        *,
        test: Dataset | None = None,
        negatives: Dataset | None = None,
        block: int = 5,
    ):
        from tlseg_lite.data.splits import split_by_blocks

        fractions = (0.7, 0.15, 0.15) if test is None else (0.85, 0.15)
        self.train, self.val, *rest = split_by_blocks(dataset, fractions, block=block)
        self.test = test if test is not None else rest[0]
        self.name, self.negatives = name, negatives
        self.source = f"{dataset.source}, divided by blocks of {block} neighbouring numbers"
        if test is not None:
            self.source += f"; test: {test.source}"

    def parts(self, seed: int, fold: int) -> tuple[Dataset, Dataset, Dataset]:
        from tlseg_lite.data.splits import shuffled

        return shuffled(self.train, seed), self.val, self.test

    def _version(self) -> str:
        ids = (part.ids for part in (self.train, self.val, self.test))
        return digest(*ids, self.train[0])


class InMemory(Wrapped):
    """A dataset whose items are made once and kept."""

    def __init__(self, dataset: Dataset):
        super().__init__(dataset)
        self.items = [dataset[i] for i in range(len(dataset))]

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.items[index]


def describe_ids(ids: Sequence[str]) -> str:
    """All ids; of a long list the ends, the number and a hash."""
    if len(ids) <= 40:
        return " ".join(ids)
    digest = hashlib.sha256("\n".join(ids).encode()).hexdigest()[:12]
    return f"{ids[0]} ... {ids[-1]} ({len(ids)} ids, sha256 {digest})"


def digest(*values: Any) -> str:
    """12 hexadecimal digits for plain values and samples."""
    digest = hashlib.sha256()
    for value in values:
        if isinstance(value, dict):
            digest.update(value["image"].numpy().tobytes() + value["mask"].numpy().tobytes())
        else:
            digest.update(repr(value).encode())
    return digest.hexdigest()[:12]


BLOCKS = ("bijie-blocks", "landslide4sense-blocks")
NAMES = ("synthetic", "synthetic-landslide4sense", "bijie", "landslide4sense", "real", *BLOCKS)


def named_data(name: str, val: float | None = None, root: str | Path | None = None) -> list[Splits]:
    """The images called `name`; ``"real"`` is both real sample sets.

    ``"bijie-blocks"`` and ``"landslide4sense-blocks"`` are one's own copies of the full sets,
    divided by blocks (`BlockSplits`): Bijie into training, validation and test, with its images
    without a landslide for false alarms; of Landslide4Sense ``train`` into training and
    validation, and ``validation`` is the test.

    Args:
        name: of `NAMES`.
        val: share of the real samples that validates; None: as `FoldSplits` has it.
        root: for blocks, the folder of the dataset or the one above it; None: what the
            environment variable ``TLSEG_REAL`` names.

    Raises:
        ValueError: unknown name; blocks without a root.
        tlseg_lite.core.errors.DataError: the root does not hold the dataset.
        tlseg_lite.core.downloads.DownloadError: the real samples are not here and cannot be
            fetched.
    """
    from tlseg_lite.data import samples

    if name in BLOCKS:
        return [_blocks(name, root)]
    if name == "synthetic":
        return [SyntheticSplits()]
    if name == "synthetic-landslide4sense":
        return [SyntheticSplits(size=128, style="landslide4sense")]
    if name in ("bijie", "landslide4sense"):
        share = {} if val is None else {"val": val}
        return [FoldSplits(samples(name), f"{name}-samples", **share)]
    if name == "real":
        return [*named_data("bijie", val), *named_data("landslide4sense", val)]
    raise ValueError(f"unknown data {name!r}; choose from {', '.join(NAMES)}")


def _blocks(name: str, root: str | Path | None) -> BlockSplits:
    from tlseg_lite.core.errors import MissingDataError
    from tlseg_lite.data import Bijie
    from tlseg_lite.data.splits import Subset

    root = root or os.environ.get("TLSEG_REAL")
    if not root:
        raise ValueError(
            f"{name} is a copy of the full dataset: give its folder as root, or name it in the "
            "environment variable TLSEG_REAL"
        )
    if name == "landslide4sense-blocks":
        train, test = (_landslide4sense(Path(root), part) for part in ("train", "validation"))
        return BlockSplits(train, name, test=test)
    everything, negatives = Bijie(root), None
    with contextlib.suppress(MissingDataError):  # no images without a landslide
        both = Bijie(root, negatives=True)
        negatives = Subset(both, range(len(everything), len(both)))
    return BlockSplits(everything, name, negatives=negatives)


def _landslide4sense(root: Path, part: str) -> Dataset:
    """A part as published (HDF5), or as RGB images in ``PART/image`` and ``PART/mask``."""
    from tlseg_lite.data import ImagePairs, Landslide4Sense

    for folder in (root / "landslide4sense_rgb" / part, root / part):
        if (folder / "image").is_dir():
            pairs = ImagePairs(folder / "image", folder / "mask")
            pairs.source = f"{len(pairs)} Landslide4Sense {part} patches as RGB images"
            return pairs
    return Landslide4Sense(root, part)
