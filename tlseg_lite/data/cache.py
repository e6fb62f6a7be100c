"""Decoded images kept in memory, shrunk to the model's size, so that a GPU need not wait for them.

What comes out of the cache is, bit for bit, what goes in. An image larger than the model's square
is shrunk to it and rounded to 8 bits before anything else happens to it, cached or not; a smaller
one is kept as it is, since enlarging is cheap and a small image is cheap to change and to keep.

Reading, decoding and fitting an image without a cache is 15 to 1,208 times faster than a training
step of this course asks for; only tiles of 2048 pixels for a small model fall short, and these are
small once shrunk (``book/results/data_loading.csv``). So there is no cache on disk.
"""

from __future__ import annotations

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from tlseg_lite.core.progress import say
from tlseg_lite.data.base import Wrapped
from tlseg_lite.data.transforms import shrink

WHERE = ("no", "memory", "auto", "disk")
"""What a recipe may say: ``auto`` is ``memory``; so is ``disk``, of version 0.1, with a warning."""


class Cached(Wrapped):
    """A dataset whose images are read, decoded and shrunk once, and then kept in memory.

    Args:
        dataset: native-size samples, the same at each access.
        size: side of the model's square: larger images are shrunk to it; None: native size.
        limit_gb: of the cache; what does not fit is read each time, which is said once.

    Items: ``image``, ``mask`` and ``id``, ``valid`` if the dataset has it, and ``native_size``
    [H, W] where it was shrunk.

    Raises:
        ValueError: an impossible limit.
    """

    def __init__(self, dataset: Dataset, size: int | None = None, limit_gb: float = 20.0):
        if not limit_gb > 0:
            raise ValueError(f"limit_gb is {limit_gb}; expected a positive number of GB")
        super().__init__(dataset)
        self.size, self.limit = size, int(limit_gb * 1e9)
        self._kept: dict[int, dict[str, Any]] = {}
        self._bytes, self._said = 0, False

    def __getitem__(self, index: int) -> dict[str, Any]:
        index = self._inner(index)
        if index not in self._kept:
            sample = self.dataset[index]
            entry = _pack(sample if self.size is None else shrink(sample, self.size))
            needed = sum(getattr(value, "nbytes", 0) for value in entry.values())
            if self._bytes + needed > self.limit:
                self._full()
                return _unpack(entry)
            self._kept[index] = entry
            self._bytes += needed
        return _unpack(self._kept[index])

    def fill(self, threads: int = 1) -> None:
        """Read everything now, before loader workers are forked, which then share the memory."""
        missing = [index for index in range(len(self)) if index not in self._kept]
        with ThreadPoolExecutor(max(1, threads)) as pool:
            for _ in pool.map(self.__getitem__, missing):
                pass

    def _full(self) -> None:
        if not self._said:
            self._said = True
            say(
                f"the cache in memory has reached its limit of {self.limit / 1e9:g} GB: the other "
                "images are read each time"
            )


def cached(dataset: Dataset, where: str, size: int | None, threads: int = 0) -> Dataset:
    """`dataset` with its images kept as a recipe's `cache` says; one of `WHERE`.

    At most half of the free memory is used. With `threads` above 0 all images are read at once by
    so many threads.
    """
    if where not in WHERE:
        raise ValueError(f"cache is {where!r}; expected one of {', '.join(WHERE)}")
    if where == "no" or isinstance(dataset, Cached):
        return dataset
    if where == "disk":
        warnings.warn(
            "cache='disk' is gone: it was no faster than reading the files where that mattered. "
            "Images are kept in memory; write cache='memory', or 'no'",
            FutureWarning,
            stacklevel=2,
        )
    available = _available_memory() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    kept = Cached(dataset, size, limit_gb=max(available // 2, 1) / 1e9)
    if threads:
        kept.fill(threads)
    return kept


def _pack(sample: dict[str, Any]) -> dict[str, Any]:
    """Image as 8 bits where these hold it exactly, else as float32; masks as bits."""
    image = sample["image"].float()
    small = (image * 255).round().clamp(0, 255).to(torch.uint8)
    exact = torch.equal(small.float() / 255, image)
    entry = {"image": (small if exact else image).numpy(), "id": sample["id"]}
    for name in ("mask", "valid"):
        if (field := sample.get(name)) is not None:
            if not torch.equal((field > 0).to(field.dtype), field):
                raise ValueError(f"{sample['id']}: {name} holds other values than 0 and 1")
            entry[name] = np.packbits(field.numpy().astype(bool))
    if (native := sample.get("native_size")) is not None:
        entry["native_size"] = native
    return entry


def _unpack(entry: dict[str, Any]) -> dict[str, Any]:
    image = torch.from_numpy(entry["image"].astype(np.float32))
    if entry["image"].dtype == np.uint8:
        image /= 255
    shape = (1, *image.shape[1:])
    sample = {"image": image, **{k: v for k, v in entry.items() if k != "image"}}
    for name in ("mask", "valid"):
        if name in entry:
            bits = np.unpackbits(entry[name], count=int(np.prod(shape)))
            sample[name] = torch.from_numpy(bits.reshape(shape).astype(np.float32))
    if "native_size" in entry:
        sample["native_size"] = entry["native_size"].clone()
    return sample


def _available_memory() -> int:
    """Bytes that programs may still take, as far as the system tells."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass  # not Linux
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):
        return 4 * 2**30
