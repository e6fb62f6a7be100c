"""Sen12Landslides: Sentinel-2 time series of landslide events on five continents, from a folder.

The layout is the publisher's: ``data/s2/REGION_s2_NUMBER.nc`` (NetCDF 4, which is HDF5), each with
the bands, the scene classification ``SCL`` and ``MASK``, all time x 128 x 128 at 10 m.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tlseg_lite.core.errors import DataError, MissingDataError, listing
from tlseg_lite.data.base import LandslideDataset
from tlseg_lite.data.hdf5 import opened, read_hdf5
from tlseg_lite.data.images import files_by_stem, natural_key, target_of

BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
"""Sentinel-2 bands in the files; int16, 1/10000 of the reflectance."""

NO_DATA = -9999
HIDDEN = (0, 1, 3, 8, 9, 10)
"""Scene classes that show no ground: no data, saturated, cloud shadow, clouds, cirrus."""

LAYOUT = "data/s2/REGION_s2_NUMBER.nc"


class Sen12Landslides(LandslideDataset):
    """One image a patch of a Sentinel-2 time series: the clearest one after the event.

    Args:
        root: the folder with ``data``, ``data`` itself, or ``s2`` with the ``.nc`` files.
        regions: only patches of these (the first word of a file's name, an event or a country);
            None: all.
        split: the publisher's ``splits.json`` (or ``data_paths.json``) of a task: only files that
            it names.
        part: of `split`: ``"train"``, ``"val"``, ``"test"``; None: all three.
        bands: three or more of `BANDS`.
        white: value that becomes 1, in the files' unit; 3000 is a reflectance of 0.3.

    Items: ``{"image": float32 Cx128x128 in [0, 1], "mask": float32 1x128x128 of 0/1, "id":
    "REGION_s2_NUMBER"}``, and ``"valid"``, 0 where the chosen image has no data. Of the dates from
    the event on (``pre_post_dates``; all dates where a file does not say) it is the one with the
    largest share of pixels that `HIDDEN` does not name, the earliest of several.

    Attributes:
        regions: of each item.

    Raises:
        ValueError: unknown bands, regions or part; a white of 0 or less.
        MissingDataError: no such folder, no patches, a file of the split that is not there.
        DataError: on access: an unreadable file, a missing variable, another shape, a mask with
            other values than 0 and 1.
    """

    def __init__(
        self,
        root: str | Path,
        regions: Iterable[str] | None = None,
        split: str | Path | None = None,
        part: str | None = None,
        bands: Sequence[str] = ("B04", "B03", "B02"),
        white: float = 3000.0,
    ):
        if unknown := [band for band in bands if band not in BANDS]:
            raise ValueError(f"unknown bands {unknown}; choose from {', '.join(BANDS)}")
        if not white > 0:
            raise ValueError(f"white is {white}; expected a positive value, 3000 by default")
        folder = _find(Path(root).expanduser())
        files = files_by_stem(folder, (".nc",))
        if not files:
            raise MissingDataError(f"no .nc files in {folder}; unpack the archives, as {LAYOUT}")
        files = _chosen(files, split, part)
        region_of = {stem: stem.rpartition("_s2_")[0] or stem for stem in files}
        if regions is not None:
            wanted = known_regions(regions, region_of.values())
            files = {stem: path for stem, path in files.items() if region_of[stem] in wanted}
        self.ids = sorted(files, key=natural_key)
        self._files = [files[name] for name in self.ids]
        self.regions = [region_of[name] for name in self.ids]
        self.bands, self.white = tuple(bands), float(white)
        self.ground_width = 1280.0  # 128 pixels of 10 m
        number = len(set(self.regions))
        self.source = f"{len(self.ids)} Sen12Landslides patches (Sentinel-2) of {number} regions"

    def __getitem__(self, index: int) -> dict[str, Any]:
        path = self._files[range(len(self))[index]]
        with opened(path) as file:
            steps, upright = _from_the_event_on(file, path), _upright(file)
        shape = (steps.stop, 128, 128)
        classes = read_hdf5(path, "SCL", shape)[steps.start :]
        clear = (~np.isin(classes, HIDDEN)).mean((1, 2))
        step = steps.start + int(clear.argmax())
        stored = np.stack([read_hdf5(path, band, shape)[step] for band in self.bands])
        mask = read_hdf5(path, "MASK", shape)[0]
        if not upright:
            stored, mask = stored.transpose(0, 2, 1), np.ascontiguousarray(mask.T)
        empty = (stored == NO_DATA).any(0)
        image = np.where(empty, 0, np.clip(stored / self.white, 0, 1)).astype(np.float32)
        target = target_of(mask, path, None)
        return {
            "image": torch.from_numpy(image),
            "mask": target["mask"],
            "valid": torch.from_numpy(~empty)[None].float(),
            "id": self.ids[index],
        }

    def files(self, index: int) -> list[Path]:
        return [self._files[range(len(self))[index]]]


def known_regions(wanted: Iterable[str], regions: Iterable[str]) -> list[str]:
    """`wanted`, of `regions`; ValueError for one that is not there."""
    wanted, known = list(wanted), sorted(set(regions))
    if odd := [region for region in wanted if region not in known]:
        raise ValueError(f"unknown regions {listing(odd)}; there are {listing(known, 40)}")
    return wanted


def _find(root: Path) -> Path:
    if not root.is_dir():
        raise MissingDataError(f"no folder {root}; expected {LAYOUT} in it")
    for folder in (root / "data" / "s2", root / "s2", root):
        if any(folder.glob("*.nc")):
            return folder
    inside = sorted(path.name for path in root.iterdir())
    raise MissingDataError(
        f"{root} {f'holds {listing(inside)}' if inside else 'is empty'}; expected {LAYOUT}. "
        "The archives part*.tar.gz are to be unpacked"
    )


def _chosen(files: dict[str, Path], split: str | Path | None, part: str | None) -> dict[str, Path]:
    """Of the files those that a split names."""
    if split is None:
        if part is not None:
            raise ValueError(f"part {part!r} is of a split; give the split's file as well")
        return files
    try:
        parts = json.loads(Path(split).read_text("utf-8"))
        lists = {name: parts[name] for name in ("train", "val", "test") if name in parts}
        stems = {name: [Path(str(p)).stem for p in paths] for name, paths in lists.items()}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"{split} is no split ({error}); expected JSON with lists train, val and test of file "
            "names"
        ) from error
    if part is not None and part not in stems:
        raise ValueError(f"part is {part!r}; {split} has {listing(stems) or 'none'}")
    wanted = [stem for name in stems for stem in stems[name] if part in (None, name)]
    if missing := [stem for stem in wanted if stem not in files]:
        raise MissingDataError(
            f"{len(missing)} of the {len(wanted)} files of {split} are not there: "
            f"{listing(missing, 3)}. Unpack all archives"
        )
    return {stem: files[stem] for stem in wanted}


def _from_the_event_on(file, path: Path) -> range:
    """The steps of the series from the event on; all of them where the file does not say."""
    if "SCL" not in file or len(file["SCL"].shape) != 3:
        raise DataError(f"{path} has no SCL over time; expected a Sentinel-2 patch as published")
    number = file["SCL"].shape[0]
    said = file.attrs.get("pre_post_dates", "")
    text = said.decode() if isinstance(said, bytes) else str(said)
    after = re.search(r"post\W+(\d+)", text)
    first = int(after[1]) if after else 0
    if first >= number:
        raise DataError(
            f"{path}: the first image after the event is number {first} of {number} "
            f"(pre_post_dates {text!r}); expected a smaller number. Fetch the file again"
        )
    return range(first, number)


def _upright(file) -> bool:
    """Whether the arrays are time x y x x; the files also have time x x x y."""
    scale = file["SCL"].dims[1]
    return not (len(scale) and scale[0].name.rpartition("/")[2] == "x")
