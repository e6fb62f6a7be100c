"""What a dataset is: the one contract that every reader of this package keeps, and yours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from tlseg_lite.core.errors import DataError
from tlseg_lite.data.check import inspect


class LandslideDataset(Dataset):
    """Images with landslide masks at native size: set `ids` and `source`, write ``__getitem__``.

    Everything takes such a dataset: `tlseg_lite.fit`, `tlseg_lite.evaluate`, `split`, `Cached`,
    `inspect`. An own one takes ten lines, here for ``a.png`` with ``a_mask.png`` in one folder:

    >>> from pathlib import Path
    >>> from tlseg_lite.data import LandslideDataset, read_image, read_target
    >>> class Tiles(LandslideDataset):
    ...     def __init__(self, folder):
    ...         self.masks = sorted(Path(folder).glob("*_mask.png"))
    ...         self.ids = [path.stem.removesuffix("_mask") for path in self.masks]
    ...         self.source = f"{len(self.ids)} tiles in {folder}"
    ...     def files(self, index):
    ...         return [self.masks[index].with_name(f"{self.ids[index]}.png"), self.masks[index]]
    ...     def __getitem__(self, index):
    ...         image, mask = self.files(index)
    ...         return {"image": read_image(image), **read_target(mask), "id": self.ids[index]}

    Attributes:
        ids: a name for each item, unique, the same on every machine; dividing goes by it.
        source: what this is, in words.
        ground_width: metres on the ground that an item's longest side covers; None where that is
            not known or differs from item to item.
        scaling: how its values became [0, 1], a `Scaling`; None for 8-bit RGB divided by 255.
    """

    ids: list[str]
    source: str
    ground_width: float | None = None
    scaling: Any = None

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One item.

        Returns:
            ``image`` float32 3xHxW in [0, 1], ``mask`` float32 1xHxW of 0/1, ``id`` =
            ``ids[index]``; optionally ``valid``, float32 1xHxW of 0/1: 0 where a pixel is neither
            landslide nor background, which leaves it out of the loss and of all counts.

        Raises:
            IndexError: there is no such item.
            DataError: its files cannot be used; the message names file, fault and remedy.
        """
        raise NotImplementedError

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[index] for index in range(len(self)))

    def files(self, index: int) -> list[Path]:
        """The files that item `index` is read from, image first; none if it is made."""
        return []

    def mask_file(self, index: int) -> Path | None:
        """The one of `files` that is the mask: the second, if there is one."""
        return (self.files(index)[1:] or [None])[0]

    def check(self) -> None:
        """Read every item; a `DataError` lists every bad one at once. `inspect` tells more."""
        problems = inspect(self).problems
        if problems:
            raise DataError(
                f"{len(problems)} of {len(self)} items cannot be used:\n"
                + "\n".join(f"  {problem}" for problem in problems)
            )


def what_it_shows(dataset: Dataset) -> dict[str, Any]:
    """What a model that learns from `dataset` keeps of it: ``ground_width`` and ``scaling``."""
    width = getattr(dataset, "ground_width", None)
    scaling = getattr(dataset, "scaling", None)
    found = {"ground_width": width, "scaling": scaling and scaling.as_dict()}
    return {name: value for name, value in found.items() if value is not None}


class Wrapped(LandslideDataset):
    """Another dataset's items: its ids, source and files; any dataset's, numbered without ids."""

    def __init__(self, dataset: Dataset):
        self.dataset = dataset
        self.ids = list(getattr(dataset, "ids", range(len(dataset))))
        self.source = getattr(dataset, "source", type(dataset).__name__)
        self.ground_width = getattr(dataset, "ground_width", None)
        self.scaling = getattr(dataset, "scaling", None)

    def _inner(self, index: int) -> int:
        """The index of item `index` in ``dataset``."""
        return range(len(self))[index]

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.dataset[self._inner(index)]

    def files(self, index: int) -> list[Path]:
        given = getattr(self.dataset, "files", None)
        return given(self._inner(index)) if given else []

    def mask_file(self, index: int) -> Path | None:
        given = getattr(self.dataset, "mask_file", None)
        return given(self._inner(index)) if given else super().mask_file(index)
