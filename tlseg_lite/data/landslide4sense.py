"""Landslide4Sense: Sentinel-2 patches with slope and height in HDF5 files, from a folder."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from tlseg_lite.core.errors import DataError, MissingDataError, listing
from tlseg_lite.data.base import LandslideDataset
from tlseg_lite.data.hdf5 import SUFFIXES, read_hdf5
from tlseg_lite.data.images import files_by_stem, natural_key, target_of


class Band(NamedTuple):
    """A channel: its name, what it is, and what its raw values were divided by when stored."""

    name: str
    meaning: str
    divisor: float


BANDS = (
    Band("B1", "coastal aerosol, 443 nm", 1111.812),
    Band("B2", "blue, 490 nm", 824.632),
    Band("B3", "green, 560 nm", 663.416),
    Band("B4", "red, 665 nm", 445.173),
    Band("B5", "red edge, 705 nm", 645.858),
    Band("B6", "red edge, 740 nm", 1547.735),
    Band("B7", "red edge, 783 nm", 1960.444),
    Band("B8", "near infrared, 842 nm", 1941.322),
    Band("B9", "water vapour, 945 nm", 674.076),
    Band("B10", "cirrus, 1375 nm", 9.048),
    Band("B11", "short-wave infrared, 1610 nm", 1113.983),
    Band("B12", "short-wave infrared, 2190 nm", 519.904),
    Band("slope", "slope of the terrain, degrees", 20.292),
    Band("elevation", "height of the terrain, metres", 772.831),
)
"""The 14 channels in the files' order; index them from 0. Stored = raw / divisor. The raw unit of
B1 to B12 is 1/10000 of the reflectance."""

RAW_LIMITS = {
    "reflectance": (0, 30_000, "1/10000 of the reflectance"),
    "slope": (0, 90, "degrees"),
    "elevation": (-500, 9_000, "metres"),
}
"""What raw values, stored value x divisor, can be on Earth; twelve channels are reflectances."""

DARKEST = 0.25
"""Mean stored value of B1 to B4: the air alone scatters more light than this into the sensor."""

RGB = (3, 2, 1)
RGB_GAIN = 37.0 / 255.0
"""Stored value to brightness in [0, 1], the same for the three channels. With it the images
have the look of the published PNG samples, whose three channels are about equally bright, as the
stored values are (their divisors balance the bands); a model may be trained on one and used on
the other. White is a stored value of 6.9; in the two original files looked at nothing is cut."""

PARTS = {"train": "TrainData", "validation": "ValidData", "test": "TestData"}
SIZE = 128
LAYOUT = "{TrainData,ValidData,TestData}/{img/image_N.h5,mask/mask_N.h5}"


class Landslide4Sense(LandslideDataset):
    """Landslide4Sense patches of 128 x 128 pixels (10 m): 3799 train, 245 validation, 800 test.

    Args:
        root: the folder with ``TrainData``, ``ValidData`` and ``TestData``, the folder above it,
            one of them, or (with ``masks=False``) a folder of HDF5 images.
        part: ``"train"``, ``"validation"`` (or ``"valid"``), ``"test"``.
        bands: ``"rgb"``: channels 3, 2, 1, stored value x 37 / 255, cut to [0, 1]. ``"all"``: the
            14 channels of `BANDS` as stored (raw / divisor, about 1 on average). Or any channel
            indices, as stored.
        masks: False for images without masks; items then have no ``"mask"``.
        ignore: value of the mask pixels that are neither landslide nor background, such as 255.

    Items: ``{"image": float32 Cx128x128, "mask": float32 1x128x128 of 0/1, "id": "image_N"}``,
    in the order of N; with `ignore` also ``"valid"``, float32 1x128x128, 0 at the pixels to leave
    out. Each access opens its own files, so loader workers are safe.

    Raises:
        ValueError: unknown part or bands.
        MissingDataError: no such folder, another layout, no images, an image without its mask.
        DataError: a mask without its image, two files with one number; on access: an unreadable
            file, a missing HDF5 dataset, a wrong shape, NaN or infinite values, images in other
            units than raw / divisor, masks with other values than 0 and 1 (or 255).
    """

    def __init__(
        self,
        root: str | Path,
        part: str = "train",
        bands: str | Sequence[int] = "rgb",
        masks: bool = True,
        ignore: float | None = None,
    ):
        part = {"valid": "validation", "val": "validation"}.get(part, part)
        if part not in PARTS:
            raise ValueError(f"part is {part!r}; expected one of {', '.join(PARTS)}")
        self.channels, self._unit = _channels(bands), isinstance(bands, str) and bands == "rgb"
        images, mask_folder = _find(Path(root).expanduser(), part)
        numbered = _by_number(images)
        if not numbered:
            raise MissingDataError(f"no .h5 files in {images}; expected image_1.h5 and so on")
        self._images = [numbered[number] for number in sorted(numbered)]
        self._masks = _masks_for(numbered, mask_folder, images) if masks else []
        self.ignore = ignore
        self.ids = [unicodedata.normalize("NFC", path.stem) for path in self._images]
        self.ground_width = 1280.0  # 128 pixels of 10 m
        self.source = f"{len(self.ids)} Landslide4Sense {part} patches"

    def __getitem__(self, index: int) -> dict:
        path = self._images[index]
        stored = read_hdf5(path, "img", (SIZE, SIZE, len(BANDS)))
        _check_units(stored, path)
        stored = stored[..., self.channels]
        if self._unit:
            stored = np.clip(stored * RGB_GAIN, 0, 1)
        image = torch.from_numpy(stored.transpose(2, 0, 1).astype(np.float32))
        sample = {"image": image, "id": self.ids[index]}
        if self._masks:
            mask = read_hdf5(self._masks[index], "mask", (SIZE, SIZE))
            sample |= target_of(mask, self._masks[index], self.ignore)
        return sample

    def files(self, index: int) -> list[Path]:
        index = range(len(self))[index]
        return [self._images[index], *self._masks[index : index + 1]]


def _channels(bands: str | Sequence[int]) -> list[int]:
    if isinstance(bands, str):
        if bands not in ("rgb", "all"):
            raise ValueError(f'bands is {bands!r}; expected "rgb", "all" or channel indices')
        return list(RGB) if bands == "rgb" else list(range(len(BANDS)))
    channels = list(bands)
    odd = [c for c in channels if isinstance(c, bool) or not isinstance(c, int | np.integer)]
    if odd or not channels or not all(0 <= channel < len(BANDS) for channel in channels):
        raise ValueError(
            f"bands is {bands!r}; expected channel indices from 0 to {len(BANDS) - 1}, "
            'such as (3, 2, 1), or "rgb" or "all"'
        )
    return [int(channel) for channel in channels]


def _find(root: Path, part: str) -> tuple[Path, Path | None]:
    """Folder of the images and folder of the masks (None: there is none)."""
    if not root.is_dir():
        raise MissingDataError(f"no folder {root}; expected {LAYOUT} in it")
    for base in (root, root / "Landslide4Sense"):
        for images, masks in (
            (base / PARTS[part] / "img", base / PARTS[part] / "mask"),
            (base / "images" / part, base / "annotations" / part),
        ):
            if images.is_dir():
                return images, masks if masks.is_dir() else None
    others = [name for name in PARTS.values() if (root / name).is_dir()]
    other_part = root.name in PARTS.values() and root.name != PARTS[part]
    if (root / "img").is_dir() and not other_part:
        return root / "img", root / "mask" if (root / "mask").is_dir() else None
    if not others and any(root.glob("*.h5")):
        return root, None
    inside = sorted((path.name for path in root.iterdir()), key=natural_key)
    holds = f"holds {listing(inside)}" if inside else "is empty"
    raise MissingDataError(
        f"{root} {holds}, which is not where part {part!r} is looked for; expected {LAYOUT}"
    )


def _by_number(folder: Path) -> dict[int, Path]:
    """N -> file for the .h5 files whose stem ends in a number."""
    numbered: dict[int, Path] = {}
    for path in files_by_stem(folder, SUFFIXES).values():
        number = re.search(r"\d+$", path.stem)
        if number is None:
            raise DataError(
                f"{path} has no number at its end; image_N.h5 and mask_N.h5 are paired by N. "
                "Rename it, or move it elsewhere"
            )
        known = numbered.setdefault(int(number[0]), path)
        if known != path:
            raise DataError(
                f"{known.name} and {path.name} in {folder} have the same number; rename one of them"
            )
    return numbered


def _masks_for(images: dict[int, Path], folder: Path | None, beside: Path) -> list[Path]:
    if folder is None:
        raise MissingDataError(
            f"there are images in {beside} but no folder with their masks; expected {LAYOUT}. "
            "Add the masks, or pass masks=False to read the images alone"
        )
    masks = _by_number(folder)
    alone = [images[number].name for number in sorted(images.keys() - masks.keys())]
    extra = [masks[number].name for number in sorted(masks.keys() - images.keys())]
    if alone:
        raise MissingDataError(
            f"no mask in {folder} for {len(alone)} of {len(images)} images: {listing(alone)}. "
            "mask_N.h5 belongs to image_N.h5; add the masks, or pass masks=False"
        )
    if extra:
        raise DataError(
            f"{len(extra)} of {len(masks)} masks in {folder} belong to no image: "
            f"{listing(extra)}. Add the images, or move these masks elsewhere"
        )
    return [masks[number] for number in sorted(images)]


def _check_units(stored: np.ndarray, path: Path) -> None:
    """DataError unless the channels (H, W, 14) can be what the publisher stored: raw / divisor."""
    for channel, band in enumerate(BANDS):
        low, high = (
            float(x) * band.divisor
            for x in (stored[..., channel].min(), stored[..., channel].max())
        )
        least, most, unit = RAW_LIMITS.get(band.name, RAW_LIMITS["reflectance"])
        if least <= low and high <= most:
            continue
        raise DataError(
            f"{path}: channel {channel} ({band.name}) holds {low / band.divisor:g} to "
            f"{high / band.divisor:g}; stored values are raw / {band.divisor:g}, so raw would be "
            f"{low:g} to {high:g}, expected {least:g} to {most:g} ({unit}). Raw values: divide "
            "each channel by its divisor (tlseg_lite.data.landslide4sense.BANDS). Values that mark "
            "missing pixels: fill them before. Normalised values: undo that"
        )
    empty = int((stored[..., :12] == 0).all(-1).sum())
    if empty:
        raise DataError(
            f"{path}: {empty} pixels are 0 in all 12 optical channels: no data there. Fill them "
            "before, or take another patch"
        )
    if stored[..., :4].mean() < DARKEST:
        raise DataError(
            f"{path}: B1 to B4 are {stored[..., :4].mean():.3g} on average; as stored they are "
            "about 1, even in shadow and over water. Reflectances from 0 to 1: multiply by 10000 "
            f"and divide each channel by its divisor ({BANDS[0].divisor:g} for B1)"
        )
