"""Pictures and their masks as files: reading them strictly, pairing them by name."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from tlseg_lite.core.errors import DataError, MissingDataError, listing

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
MASK_SUFFIXES = (".png", ".tif", ".tiff", ".bmp")  # lossless: JPEG would invent mask pixels


def natural_key(name: str) -> list:
    """Sort key that puts image_2 before image_10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def files_by_stem(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """Stem -> file for the files with these suffixes in `folder`, hidden ones left out.

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
        if path.stem in found:
            raise DataError(
                f"{found[path.stem]} and {path.name} have the same stem; files are paired by it. "
                "Remove one of them"
            )
        found[path.stem] = path
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
            f"Image and {what} need the same name; add the {what} or remove the image"
        )
    if extra:
        raise DataError(
            f"{len(extra)} of {len(others)} files in {folder} belong to no image: "
            f"{listing(extra)}. Add the images or remove these files"
        )
    return [(images[stem], others[stem]) for stem in sorted(images, key=natural_key)]


def _open(path: Path) -> tuple[np.ndarray, str, int]:
    """Pixels, mode and (for palette images) the number of palette entries in use."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            picture.load()
            mode, used = picture.mode, 0
            if mode == "P":
                used = len(np.unique(np.asarray(picture)))
                picture = picture.convert("RGBA").convert("RGB")
            return np.asarray(picture), mode, used
    except FileNotFoundError:
        raise MissingDataError(f"{path} is gone; put it back or build the dataset anew") from None
    except (
        *(OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error),
        Image.DecompressionBombError,
    ) as error:
        raise DataError(
            f"{path} cannot be read as a picture; it is truncated, damaged or another kind of "
            f"file ({error}). Fetch it again or remove it together with its partner"
        ) from error


def read_image(path: str | Path) -> Tensor:
    """An RGB picture as float32 3xHxW in [0, 1]; an alpha channel is dropped.

    Raises:
        DataError: unreadable, or not RGB (greyscale, CMYK, a single band).
    """
    pixels, mode, _ = _open(Path(path))
    if mode not in ("RGB", "RGBA", "P"):
        channels = 1 if pixels.ndim == 2 else pixels.shape[2]
        raise DataError(
            f"{path} has mode {mode} with {channels} channel(s); expected RGB (3 channels). "
            "Convert it to an 8-bit RGB picture"
        )
    return torch.from_numpy(pixels[..., :3].transpose(2, 0, 1).astype(np.float32) / 255)


def read_mask(path: str | Path) -> Tensor:
    """A mask as float32 1xHxW of 0/1; every value above 0 (1 or 255) is landslide.

    Colour and palette masks must have black as background and one more colour.

    Raises:
        DataError: unreadable, negative or NaN values, or colours that do not say what is what.
    """
    pixels, mode, used = _open(Path(path))
    if mode in ("RGB", "RGBA", "P"):
        colours = np.unique(pixels[..., :3].reshape(-1, 3), axis=0)
        hidden = mode == "RGBA" and len(colours) == 1 and len(np.unique(pixels[..., 3])) > 1
        same = mode == "P" and used > 1 and len(colours) == 1
        black = not colours[0].any()  # np.unique sorts: black comes first
        if len(colours) > 2 or (len(colours) == 2 and not black) or hidden or same:
            raise DataError(
                f"{path} is a colour mask (mode {mode}) with {len(colours)} colours; expected "
                "black for background and one other colour. Save it as 8-bit grey, 0 and 255"
            )
        pixels = pixels[..., :3].max(axis=2)
    elif mode == "LA":
        pixels = pixels[..., 0]
    if pixels.ndim != 2 or mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        raise DataError(f"{path} has mode {mode}; expected a mask with one channel, 0 and 1 or 255")
    values = pixels.astype(np.float32)
    if not np.isfinite(values).all() or values.min() < 0:
        raise DataError(f"{path} holds negative or NaN values; expected 0 and 1 or 255")
    return torch.from_numpy((values > 0).astype(np.float32))[None]


def read_height(path: str | Path) -> Tensor:
    """A one-channel height picture (8 or 16 bit, or float) as float32 1xHxW, values as stored."""
    pixels, mode, _ = _open(Path(path))
    if pixels.ndim != 2 or mode == "P":
        raise DataError(f"{path} has mode {mode}; expected heights in one channel")
    values = pixels.astype(np.float32)
    if not np.isfinite(values).all():
        raise DataError(f"{path} holds NaN or infinite heights; expected finite values")
    return torch.from_numpy(values)[None]


def same_size(image: Tensor, other: Tensor, image_path: Path, other_path: Path) -> None:
    """DataError that names both files unless height and width agree."""
    if image.shape[-2:] != other.shape[-2:]:
        sizes = [f"{t.shape[-1]} x {t.shape[-2]}" for t in (image, other)]
        raise DataError(
            f"{other_path} is {sizes[1]} pixels but its image {image_path} is {sizes[0]} "
            "(width x height). Fetch both again; they must cover the same pixels"
        )


def check_items(dataset: Dataset) -> None:
    """Read every item once. DataError that lists every bad file at once, or nothing."""
    problems = []
    for index in range(len(dataset)):
        try:
            dataset[index]
        except DataError as error:
            problems.append(f"  {error}")
    if problems:
        raise DataError(
            f"{len(problems)} of {len(dataset)} items cannot be used:\n" + "\n".join(problems)
        )


class ImagePairs(Dataset):
    """Pictures and masks in two folders, paired by stem.

    Args:
        images: folder of RGB pictures.
        masks: folder of masks with the same stems.
        source: what this is, in words.

    Items: ``{"image": float32 3xHxW in [0, 1], "mask": float32 1xHxW of 0/1, "id": stem}``.

    Raises:
        MissingDataError: no such folder, no pictures in it, or a picture without its mask.
        DataError: a mask without its picture, two files of one stem; on access: an unreadable
            file, a size mismatch, a wrong channel count.
    """

    def __init__(self, images: str | Path, masks: str | Path, source: str | None = None):
        images, masks = Path(images), Path(masks)
        pictures = files_by_stem(images, IMAGE_SUFFIXES)
        if not pictures:
            raise MissingDataError(
                f"no pictures in {images}; expected files ending in {', '.join(IMAGE_SUFFIXES)}"
            )
        self.pairs = pair_by_stem(pictures, files_by_stem(masks, MASK_SUFFIXES), "mask", masks)
        self.ids = [image.stem for image, _ in self.pairs]
        self.source = source or f"{len(self.ids)} images of the folder {images.parent.name}"

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> dict:
        image_path, mask_path = self.pairs[index]
        image, mask = read_image(image_path), read_mask(mask_path)
        same_size(image, mask, image_path, mask_path)
        return {"image": image, "mask": mask, "id": self.ids[index]}

    def __iter__(self) -> Iterable[dict]:
        return (self[index] for index in range(len(self)))

    def files(self, index: int) -> list[Path]:
        """The files that item `index` is read from."""
        return list(self.pairs[index])

    def check(self) -> None:
        """Read every item; a `DataError` lists every bad file at once."""
        check_items(self)
