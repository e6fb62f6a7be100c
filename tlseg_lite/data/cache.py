"""Decoded pictures kept in memory or on disk, shrunk to the model's size: a GPU never waits.

What comes out of the cache is, bit for bit, what goes in. A picture larger than the model's square
is shrunk to it and rounded to 8 bits before anything else happens to it, cached or not; a smaller
one is kept as it is, since enlarging is cheap and a small picture is cheap to change and to keep.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Subset

from tlseg_lite.core.files import write_atomically
from tlseg_lite.core.progress import say
from tlseg_lite.data.transforms import shrink

WHERE = ("no", "memory", "disk", "auto")
"""Where a recipe may keep pictures; ``auto``: in memory if they fit, else on disk if possible."""

_VERSION = 1
_DAMAGED = (zipfile.BadZipFile, ValueError, KeyError, OSError, EOFError)


class Cached(Dataset):
    """A dataset whose pictures are read, decoded and shrunk once.

    Args:
        dataset: native-size samples, the same at each access. For a cache on disk it must tell the
            files behind item i, as ``dataset.files(i)``; `tlseg_lite.data`'s readers and their
            subsets do.
        size: side of the model's square: larger pictures are shrunk to it; None: native size.
        folder: where to keep them on disk; None: in memory. Several processes and runs may share
            a folder. An entry is known by dataset, id, size, and its files' paths, sizes and times
            of change, so a changed file is read anew.
        limit_gb: size of the cache. On disk the entries that were used longest ago make room, but
            none of this dataset; what does not fit is read each time, which is said once.

    Items: ``image``, ``mask`` and ``id``, and ``native_size`` [H, W] where it was shrunk.

    Raises:
        ValueError: an impossible limit, or a folder with a dataset that names no files.
    """

    def __init__(
        self,
        dataset: Dataset,
        size: int | None = None,
        folder: str | Path | None = None,
        limit_gb: float = 20.0,
    ):
        if not limit_gb > 0:
            raise ValueError(f"limit_gb is {limit_gb}; expected a positive number of GB")
        self.dataset, self.size, self.limit = dataset, size, int(limit_gb * 1e9)
        self.ids = list(getattr(dataset, "ids", range(len(dataset))))
        self.source = getattr(dataset, "source", type(dataset).__name__)
        self.folder = None if folder is None else Path(folder).expanduser()
        if self.folder is not None and len(dataset) and identity(dataset, 0) is None:
            raise ValueError(
                f"{self.source}: the dataset does not say which files its items are made of "
                "(a method files(index)), so a cache on disk could not tell when they change; "
                "keep it in memory with folder=None"
            )
        self._kept: dict[int, dict[str, Any]] = {}
        self._bytes, self._told = 0, False

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> dict[str, Any]:
        index = range(len(self))[index]
        entry = self._kept.get(index) if self.folder is None else self._read(index)
        return self._made(index) if entry is None else _unpack(entry)

    def fill(self, threads: int = 1) -> None:
        """Read everything now, before loader workers are forked, which then share the memory."""
        missing = [i for i in range(len(self)) if self.folder is not None or i not in self._kept]
        with ThreadPoolExecutor(max(1, threads)) as pool:
            for _ in pool.map(self.__getitem__, missing):
                pass

    def _made(self, index: int) -> dict[str, Any]:
        sample = self.dataset[index]
        if self.size is not None:
            sample = shrink(sample, self.size)
        entry = _pack(sample)
        if self.folder is not None:
            self._write(index, entry)
        else:
            needed = sum(array.nbytes for array in entry.values())
            if self._bytes + needed <= self.limit:
                self._kept[index] = entry
                self._bytes += needed
            else:
                self._full()
        return _unpack(entry)

    def _path(self, index: int) -> Path:
        key = json.dumps([_VERSION, identity(self.dataset, index), self.ids[index], self.size])
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:40]}.npz"

    def _read(self, index: int) -> dict[str, np.ndarray] | None:
        path = self._path(index)
        try:
            # a zip, in which each array has a checksum
            with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
                entry = {name: file[name] for name in ("image", "mask", "shape", "id", "native")}
            os.utime(path)  # used just now
            return entry
        except (FileNotFoundError, NotADirectoryError):
            return None
        except _DAMAGED as error:
            warnings.warn(
                f"the cached picture {path} is damaged ({type(error).__name__}): it is made anew",
                stacklevel=3,
            )
            return None

    def _write(self, index: int, entry: dict[str, np.ndarray]) -> None:
        try:
            if self._make_room(sum(array.nbytes for array in entry.values())):
                write_atomically(self._path(index), lambda t: _save(t, entry))
        except OSError as error:
            self._full(f"cannot be written ({error.strerror or error})")

    def _make_room(self, needed: int) -> bool:
        self.folder.mkdir(parents=True, exist_ok=True)
        entries = []
        for path in self.folder.glob("*.npz"):
            try:
                about = path.stat()
            except FileNotFoundError:  # another process made room
                continue
            entries.append((about.st_mtime, about.st_size, path))
        total = sum(size for _, size, _ in entries)
        if total + needed > self.limit:
            own = {self._path(index) for index in range(len(self))}
            for _, size, path in sorted(entries):
                if total + needed > self.limit and path not in own:
                    path.unlink(missing_ok=True)
                    total -= size
        if total + needed > self.limit:
            self._full()
            return False
        return True

    def _full(self, why: str = "") -> None:
        if not self._told:
            self._told = True
            why = why or f"has reached its limit of {self.limit / 1e9:g} GB"
            place = "in memory" if self.folder is None else f"in {self.folder}"
            say(f"the cache {place} {why}: the other pictures are read each time")


def cached(dataset: Dataset, where: str, size: int | None, threads: int = 0) -> Dataset:
    """`dataset` with its pictures kept as a recipe's `cache` says; one of `WHERE`.

    With ``memory``, and `threads` above 0, all pictures are read at once by so many threads.
    """
    if where not in WHERE:
        raise ValueError(f"cache is {where!r}; expected one of {', '.join(WHERE)}")
    if where == "no" or isinstance(dataset, Cached):
        return dataset
    available = _available_memory() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if where == "auto":
        first = shrink(dataset[0], size) if size is not None else dataset[0]
        expected = sum(array.nbytes for array in _pack(first).values()) * len(dataset)
        if expected <= available // 4:
            where = "memory"
        elif identity(dataset, 0) is None:
            return dataset
        else:
            where = "disk"
    if where == "memory":
        kept = Cached(dataset, size, limit_gb=max(available // 2, 1) / 1e9)
        if threads:
            kept.fill(threads)
        return kept
    folder = cache_folder()
    nearest = next(p for p in (folder, *folder.parents) if p.exists())
    free = shutil.disk_usage(nearest).free
    return Cached(dataset, size, folder, limit_gb=min(20.0, max(free / 2, 1) / 1e9))


def cache_folder() -> Path:
    """Where a recipe's cache on disk lies: the folder ``images`` of the project's cache."""
    from tlseg_lite.core.downloads import cache_dir

    return cache_dir() / "images"


def identity(dataset: Dataset, index: int) -> list[Any] | None:
    """What item `index` is made of, as plain values; None if the dataset does not say."""
    while isinstance(dataset, Subset):
        dataset, index = dataset.dataset, dataset.indices[index]
    files: Sequence[Path] | None = getattr(dataset, "files", lambda _: None)(index)
    if not files:
        return None
    told = []
    for file in files:
        try:
            about = os.stat(file)
        except FileNotFoundError:  # the dataset's own error says it better, when it is read
            told.append([str(file), 0, 0])
        else:
            told.append([os.path.abspath(file), about.st_mtime_ns, about.st_size])
    return [type(dataset).__name__, getattr(dataset, "options", ""), told]


def _save(path: Path, entry: dict[str, np.ndarray]) -> None:
    with open(path, "wb") as file:
        np.savez(file, **entry)


def _pack(sample: dict[str, Any]) -> dict[str, np.ndarray]:
    """Image as 8 bits where these hold it exactly, else as float32; mask as bits."""
    image, mask = sample["image"].float(), sample["mask"]
    small = (image * 255).round().clamp(0, 255).to(torch.uint8)
    exact = torch.equal(small.float() / 255, image)
    if not torch.equal((mask > 0).to(mask.dtype), mask):
        raise ValueError(f"{sample['id']}: the mask holds other values than 0 and 1")
    native = sample.get("native_size")
    return {
        "image": (small if exact else image).numpy(),
        "mask": np.packbits(mask.numpy().astype(bool)),
        "shape": np.array(mask.shape),
        "id": np.array(sample["id"]),
        "native": np.array([] if native is None else native.tolist(), dtype=np.int64),
    }


def _unpack(entry: dict[str, np.ndarray]) -> dict[str, Any]:
    image = torch.from_numpy(entry["image"].astype(np.float32))
    if entry["image"].dtype == np.uint8:
        image /= 255
    shape = tuple(entry["shape"])
    bits = np.unpackbits(entry["mask"], count=int(np.prod(shape)))
    sample = {
        "image": image,
        "mask": torch.from_numpy(bits.reshape(shape).astype(np.float32)),
        "id": entry["id"].item(),
    }
    if entry["native"].size:
        sample["native_size"] = torch.from_numpy(entry["native"].copy())
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
