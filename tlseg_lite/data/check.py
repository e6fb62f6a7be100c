"""A dataset looked through before it is used: what is in it, and all that is wrong, at once."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from tlseg_lite.core.checks import binary_mask, check_size, values_in_words
from tlseg_lite.core.errors import DataError, listing
from tlseg_lite.core.progress import bar
from tlseg_lite.data.hdf5 import SUFFIXES, read_hdf5
from tlseg_lite.data.pixels import layout_of, read_pixels


@dataclass
class Report:
    """What `inspect` found in a dataset; ``str(report)`` prints all of it.

    Attributes:
        source: what the dataset is, in words.
        images: number of items.
        readable: items that can be used.
        sizes: (height, width) in pixels -> images.
        bands: bands of an image -> images.
        stored: what the image files hold ("3 bands of 8 bits (PNG, ...)") -> images.
        mask_values: values of a mask file, in words -> masks.
        landslide_share: landslide pixels over all that count, in [0, 1]; None without masks.
        without_landslide: images whose mask has no landslide.
        duplicate_ids: ids that several items have.
        problems: each item that cannot be used, with file, fault and remedy.
        notes: what is worth a look, although it can be used.
    """

    source: str
    images: int
    readable: int = 0
    sizes: Counter = field(default_factory=Counter)
    bands: Counter = field(default_factory=Counter)
    stored: Counter = field(default_factory=Counter)
    mask_values: Counter = field(default_factory=Counter)
    landslide_share: float | None = None
    without_landslide: int = 0
    duplicate_ids: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        rows = [("data", self.source), ("images", f"{self.images}, {self.readable} can be used")]
        if self.sizes:
            for name, axis in (("height", 0), ("width", 1)):
                sides = [size[axis] for size in self.sizes]
                rows.append((name, f"{min(sides)} to {max(sides)} pixels"))
        rows += [("bands", _counted(self.bands)), ("stored as", _counted(self.stored))]
        rows.append(("mask values", _counted(self.mask_values)))
        if self.landslide_share is not None:
            share = f"{100 * self.landslide_share:.2f} % of the pixels"
            rows.append(("landslide", f"{share}, {self.without_landslide} images without"))
        rows += [("note", note) for note in self.notes]
        rows += [("problem", problem) for problem in self.problems]
        rows.append(("problems", str(len(self.problems))))
        return "\n".join(f"{name:<12}{text}" for name, text in rows if text)


def _counted(counter: Counter) -> str:
    return "; ".join(f"{key} ({number})" for key, number in counter.most_common(8))


def inspect(dataset: Dataset, *, progress: bool = False) -> Report:
    """Read every item of a dataset once and tell what is there; errors become `problems`.

    Args:
        dataset: any of this package's, or one that keeps `LandslideDataset`'s contract.
        progress: show a bar.
    """
    ids = getattr(dataset, "ids", [None] * len(dataset))
    report = Report(getattr(dataset, "source", type(dataset).__name__), len(dataset))
    pixels, same = np.zeros(3), defaultdict(list)  # landslide, counted, masks
    for index in bar(range(len(dataset)), desc="images", show=progress):
        _look_at_files(dataset, index, report)
        try:
            item = dataset[index]
            counted = _look_at(item, ids[index], report)
        except DataError as error:
            report.problems.append(str(error))
            continue
        pixels += counted
        report.readable += 1
        report.without_landslide += bool(counted[2] and not counted[0])
        same[hashlib.sha256(item["image"].numpy().tobytes()).digest()].append(str(item["id"]))
    report.landslide_share = float(pixels[0] / max(pixels[1], 1)) if pixels[2] else None
    report.duplicate_ids = [str(k) for k, n in Counter(ids).items() if n > 1 and k is not None]
    if report.duplicate_ids:
        report.problems.append(
            f"ids occur more than once: {listing(report.duplicate_ids)}; they must be unique, "
            "since data is divided by them"
        )
    report.notes += [
        f"the same image has {len(names)} ids: {listing(names)}; see that they do not get into "
        "different parts of a split"
        for names in same.values()
        if len(names) > 1
    ]
    if {"255", "0, 255"} & set(report.mask_values) and {"1", "0, 1"} & set(report.mask_values):
        report.notes.append(
            "some masks hold 0 and 1, others 0 and 255; both are read alike. Where 255 marks "
            "pixels to ignore, give the reader ignore=255"
        )
    return report


def _look_at(item: dict[str, Any], name: str | None, report: Report) -> tuple[float, float, float]:
    """Landslide pixels, counted pixels, masks (0 or 1) of an item that keeps the contract.

    Raises:
        DataError: it does not.
    """
    image, mask, own = item.get("image"), item.get("mask"), item.get("id")
    if name is not None and own != name:
        raise DataError(f"{name}: the item's id is {own!r}; expected that of ids")
    name = own
    if not isinstance(image, torch.Tensor) or image.ndim != 3 or image.dtype != torch.float32:
        raise DataError(f"{name}: image is no float32 tensor of bands x height x width")
    if not image.isfinite().all():
        raise DataError(f"{name}: the image holds values that are not finite (NaN or infinite)")
    size = check_size(*image.shape[1:], f"{name}: the image")
    valid = item.get("valid")
    for key, other in (("mask", mask), ("valid", valid)):
        if other is not None and tuple(other.shape) != (1, *size):
            raise DataError(f"{name}: {key} is {tuple(other.shape)}; expected {(1, *size)}")
    report.sizes[size] += 1
    report.bands[image.shape[0]] += 1
    if mask is None:
        return 0.0, 0.0, 0.0
    landslide, _ = binary_mask(mask, f"{name}: mask")
    if valid is None:
        return float(landslide.sum()), float(mask.numel()), 1.0
    counts, _ = binary_mask(valid, f"{name}: valid")
    return float((landslide & counts).sum()), float(counts.sum()), 1.0


def _look_at_files(dataset: Dataset, index: int, report: Report) -> None:
    """What the item's files hold; a file that cannot be opened is reported by the item itself."""
    files = getattr(dataset, "files", lambda _: [])(index)
    mask = getattr(dataset, "mask_file", lambda _: None)(index)
    try:
        if files:
            report.stored[_stored(files[0])] += 1
        if mask is not None:
            report.mask_values[values_in_words(np.unique(_raw_mask(mask)).tolist())] += 1
    except (DataError, OSError):
        return


def _stored(path: Path) -> str:
    if path.suffix.lower() in SUFFIXES:
        return "HDF5"
    return str(layout_of(path) or read_pixels(path).layout)


def _raw_mask(path: Path) -> np.ndarray:
    if path.suffix.lower() in SUFFIXES:
        return read_hdf5(path, "mask")
    return read_pixels(path).values
