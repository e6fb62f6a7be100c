"""Image files with masks: what is read as an image, what as a mask, and how they are paired."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tlseg_lite.core.checks import binary_mask
from tlseg_lite.core.errors import DataError, MissingDataError, listing
from tlseg_lite.core.files import write_atomically
from tlseg_lite.data.base import LandslideDataset
from tlseg_lite.data.pixels import CHOOSE, IMAGE_SUFFIXES, Pixels, read_pixels

IGNORE = "give the reader ignore=255"


def natural_key(name: str) -> tuple:
    """Sort key that puts image_2 before image_10, the same for both Unicode forms of a name."""
    name = unicodedata.normalize("NFC", name)
    parts = re.split(r"(\d+)", name)  # every second one is a number
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name


def files_by_stem(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """Stem -> file for the files with these suffixes in `folder`, hidden ones left out.

    Suffixes in any case; stems in Unicode's composed form (NFC), whichever the file system keeps.

    Raises:
        MissingDataError: no such folder.
        DataError: two files with one stem.
    """
    if not folder.is_dir():
        raise MissingDataError(f"no folder {folder}")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir(), key=lambda p: natural_key(p.name)):
        if path.name.startswith(".") or path.suffix.lower() not in suffixes:
            continue
        stem = unicodedata.normalize("NFC", path.stem)
        if stem in found:
            raise DataError(
                f"{found[stem]} and {path.name} have the same stem; files are paired by it. "
                "Rename one of them, or move it out of the folder"
            )
        found[stem] = path
    return found


def pair_by_stem(
    images: dict[str, Path], others: dict[str, Path], what: str, folder: Path
) -> list[tuple[Path, Path]]:
    """(image, other) for every stem, in natural order of the stems.

    Raises:
        DataError: naming the images without a partner and the partners without an image.
    """
    alone = [images[stem].name for stem in images if stem not in others]
    extra = [others[stem].name for stem in others if stem not in images]
    if alone:
        raise MissingDataError(
            f"no {what} in {folder} for {len(alone)} of {len(images)} images: {listing(alone)}. "
            f"Image and {what} need the same name; add the {what}, or move the image elsewhere"
        )
    if extra:
        raise DataError(
            f"{len(extra)} of {len(others)} files in {folder} belong to no image: "
            f"{listing(extra)}. Add the images, or move these files elsewhere"
        )
    return [(images[stem], others[stem]) for stem in sorted(images, key=natural_key)]


def read_image(path: str | Path) -> Tensor:
    """An 8-bit RGB image as float32 3xHxW in [0, 1], upright; palettes give their colours.

    An alpha channel is dropped where every pixel is opaque.

    Raises:
        DataError: unreadable; transparent pixels; or not 8-bit RGB (grey, CMYK, other bands or
            bits), which is never rescaled or cut here: `tl.data.Folder` takes what to do.
    """
    pixels = read_pixels(path)
    if pixels.mode not in ("RGB", "RGBA", "P", "PA"):
        raise DataError(
            f"{path} has {pixels.layout}, mode {pixels.mode}; expected 3 bands of 8 bits (RGB). "
            f"Save it as an 8-bit RGB image, or choose bands and stretch with {CHOOSE}"
        )
    if pixels.transparent:
        raise DataError(
            f"{path} has {pixels.layout} and {pixels.transparent} pixels that are not opaque by "
            "its alpha channel; what colour they have is not said. Save it without alpha on the "
            f"background that you mean, or take its first three bands as they are with {CHOOSE}"
        )
    values = pixels.values
    if pixels.palette is not None:
        values = pixels.palette[values if pixels.mode == "P" else values[..., 0]]
    return torch.from_numpy(values[..., :3].transpose(2, 0, 1).astype(np.float32) / 255)


def read_target(path: str | Path, ignore: float | None = None) -> dict[str, Tensor]:
    """``mask`` of a file, float32 1xHxW of 0/1; with `ignore` also ``valid``, the same form.

    The file holds only 0 and 1, or only 0 and 255, in one band; several bands if they are equal;
    in a palette image the indices count, and index 0, the background, must be black. ``valid`` is
    0 where the file holds `ignore`; such pixels are left out of the loss and of all counts.

    Raises:
        DataError: unreadable, or other values, which are listed; nothing is rounded.
    """
    return target_of(_mask_values(read_pixels(path), path), path, ignore)


def target_of(values: np.ndarray, path: str | Path, ignore: float | None) -> dict[str, Tensor]:
    """`read_target` for values (H, W) that have been read from `path`."""
    mask, valid = binary_mask(values, str(path), ignore, remedy=IGNORE)
    target = {"mask": mask} if valid is None else {"mask": mask, "valid": valid}
    return {
        name: torch.from_numpy(array.astype(np.float32))[None] for name, array in target.items()
    }


def read_mask(path: str | Path) -> Tensor:
    """The ``mask`` of `read_target`."""
    return read_target(path)["mask"]


def write_mask(path: str | Path, mask: np.ndarray) -> None:
    """Write a mask, bool (H, W), as a PNG of 0 and 255 (landslide), whole or not at all."""
    from PIL import Image

    values = np.where(mask, 255, 0).astype(np.uint8)
    write_atomically(path, lambda part: Image.fromarray(values).save(part, format="PNG"))


def _mask_values(pixels: Pixels, path: str | Path) -> np.ndarray:
    """(H, W) values of a mask file."""
    values, mode = pixels.values, pixels.mode
    if mode == "P":
        used = np.unique(values)
        black = ~pixels.palette[used].any(1)
        if black[used > 0].any() or not black[used == 0].all():
            raise DataError(
                f"{path} is a palette image whose index 0, the background, is not its one black "
                f"colour (indices {listing(used)}). Save it as 8-bit grey, 0 and 255"
            )
        return values
    if mode not in ("1", "L", "LA", "I", "I;16", "I;16B", "F", "RGB", "RGBA") or pixels.transparent:
        alpha = f" and {pixels.transparent} transparent pixels" if pixels.transparent else ""
        raise DataError(
            f"{path} has mode {mode}{alpha}; expected a mask with one channel, 0 and 1 or 255. "
            "Save it as 8-bit grey"
        )
    if values.ndim == 2:
        return values
    bands = values[..., : 1 if mode == "LA" else 3]
    if (bands != bands[..., :1]).any():
        colours = len(np.unique(bands.reshape(-1, 3), axis=0))
        raise DataError(
            f"{path} is a colour mask (mode {mode}) with {colours} colours; which of them is "
            "landslide is not said. Save it as 8-bit grey, 0 and 255"
        )
    return bands[..., 0]


def read_height(path: str | Path) -> Tensor:
    """A one-channel height image (8 or 16 bit, or float) as float32 1xHxW, values as stored."""
    pixels = read_pixels(path)
    if pixels.values.ndim != 2 or pixels.mode == "P":
        raise DataError(f"{path} has mode {pixels.mode}; expected heights in one channel")
    values = pixels.values.astype(np.float32)
    if not np.isfinite(values).all():
        raise DataError(f"{path} holds NaN or infinite heights; expected finite values")
    return torch.from_numpy(values)[None]


def same_size(image: Tensor, other: Tensor, image_path: Path, other_path: Path) -> None:
    """DataError that names both files unless height and width agree."""
    if image.shape[-2:] != other.shape[-2:]:
        sizes = [f"{t.shape[-1]} x {t.shape[-2]}" for t in (image, other)]
        raise DataError(
            f"{other_path} is {sizes[1]} pixels but its image {image_path} is {sizes[0]} "
            "(width x height, both upright by their EXIF orientation); they must cover the same "
            "pixels. Is one of them a smaller copy, turned, or of another image?"
        )


class ImagePairs(LandslideDataset):
    """Images and masks in two folders, paired by stem.

    Args:
        images: folder of RGB images; see `read_image`.
        masks: folder of masks with the same stems; see `read_target`.
        source: what this is, in words.
        ignore: value of the mask pixels that are neither landslide nor background, such as 255.

    Items: ``{"image": float32 3xHxW in [0, 1], "mask": float32 1xHxW of 0/1, "id": stem}``; with
    `ignore` also ``"valid"``, float32 1xHxW, 0 at the pixels to leave out.

    Raises:
        MissingDataError: no such folder, no images in it, or an image without its mask.
        DataError: a mask without its image, two files of one stem; on access: an unreadable
            file, a size mismatch, a wrong channel count, values that are not those of a mask.
    """

    def __init__(
        self,
        images: str | Path,
        masks: str | Path,
        source: str | None = None,
        ignore: float | None = None,
    ):
        images, masks = Path(images), Path(masks)
        pictures = files_by_stem(images, IMAGE_SUFFIXES)
        if not pictures:
            raise MissingDataError(
                f"no images in {images}; expected files ending in {', '.join(IMAGE_SUFFIXES)}"
            )
        self.pairs = pair_by_stem(pictures, files_by_stem(masks, IMAGE_SUFFIXES), "mask", masks)
        self.ids = sorted(pictures, key=natural_key)
        self.source = source or f"{len(self.ids)} images of the folder {images.parent.name}"
        self.ignore = ignore

    def __getitem__(self, index: int) -> dict:
        image_path, mask_path = self.pairs[index]
        image, target = read_image(image_path), read_target(mask_path, self.ignore)
        same_size(image, target["mask"], image_path, mask_path)
        return {"image": image, **target, "id": self.ids[index]}

    def files(self, index: int) -> list[Path]:
        return list(self.pairs[index])
