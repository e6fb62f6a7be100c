"""The Bijie landslide dataset: RGB aerial images of varying size with masks, from a folder."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import torch

from tlseg_lite.core.errors import MissingDataError, listing
from tlseg_lite.data.base import LandslideDataset
from tlseg_lite.data.images import (
    ImagePairs,
    files_by_stem,
    pair_by_stem,
    read_height,
    read_image,
    same_size,
)
from tlseg_lite.data.pixels import IMAGE_SUFFIXES

NAME = "Bijie-landslide-dataset"
LAYOUT = f"{NAME}/landslide/{{image,mask}} and {NAME}/non-landslide/image, or {{image,label}}"


class Bijie(LandslideDataset):
    """Bijie: 770 landslide images and, on request, 2003 without one, at native size.

    Args:
        root: the folder ``Bijie-landslide-dataset``, the folder above it, or any folder with
            ``image`` and ``mask`` (or ``label``).
        negatives: append the images of ``non-landslide`` with empty masks. Their ids begin
            with ``non-landslide/``, because both halves number their files alike.
        dem: add ``"dem"``, float32 1xHxW, to each item: the height image's values as stored.
        ignore: value of the mask pixels that are neither landslide nor background, such as 255.

    Items: ``{"image": float32 3xHxW in [0, 1], "mask": float32 1xHxW of 0/1, "id": str}``; with
    `ignore` also ``"valid"``, float32 1xHxW, 0 at the pixels to leave out. Images, masks and
    heights are paired by stem. Masks with 0/1 and with 0/255 are read alike.

    Raises:
        MissingDataError: no such folder, not this layout, no images, an image without its
            mask or height image; all found before the first item is read.
        DataError: a mask without its image; on access: an unreadable file, a size mismatch,
            a wrong channel count, a mask with other values. `check` finds all of these at once.
    """

    def __init__(
        self,
        root: str | Path,
        negatives: bool = False,
        dem: bool = False,
        ignore: float | None = None,
    ):
        folder, masks = _find(Path(root).expanduser())
        self._landslides = ImagePairs(folder / "image", folder / masks, ignore=ignore)
        self.ids = list(self._landslides.ids)
        self._images = [image for image, _ in self._landslides.pairs]
        self._heights = _heights(folder, self._images) if dem else []
        number = len(self.ids)
        self.source = f"{number} Bijie images with landslides"
        if negatives:
            others = _negatives(folder)
            self.ids += [f"non-landslide/{stem}" for stem in others]
            others = list(others.values())
            self._images += others
            self._heights += _heights(others[0].parent.parent, others) if dem else []
            self.source += f" and {len(others)} without"

    def __getitem__(self, index: int) -> dict:
        index = range(len(self))[index]
        if index < len(self._landslides):
            sample = self._landslides[index]
        else:
            image = read_image(self._images[index])
            sample = {"image": image, "mask": image.new_zeros(1, *image.shape[1:])}
            if self._landslides.ignore is not None:
                sample["valid"] = torch.ones_like(sample["mask"])
        sample["id"] = self.ids[index]
        if self._heights:
            path = self._heights[index]
            sample["dem"] = read_height(path)
            same_size(sample["image"], sample["dem"], self._images[index], path)
        return sample

    def files(self, index: int) -> list[Path]:
        index = range(len(self))[index]
        pair = self._landslides.files(index) if self.mask_file(index) else [self._images[index]]
        return pair + self._heights[index : index + 1]

    def mask_file(self, index: int) -> Path | None:
        index = range(len(self))[index]
        return self._landslides.mask_file(index) if index < len(self._landslides) else None


def _find(root: Path) -> tuple[Path, str]:
    """The folder with the landslide images, and the name of its folder with masks."""
    if not root.is_dir():
        raise MissingDataError(f"no folder {root}; expected {LAYOUT} in it")
    for folder in (root / NAME / "landslide", root / "landslide", root):
        if (folder / "image").is_dir():
            for masks in ("mask", "label"):
                if (folder / masks).is_dir():
                    return folder, masks
            raise MissingDataError(
                f"{folder} has images but no folder mask or label; "
                "add the masks, named as the images"
            )
    inside = sorted(path.name for path in root.iterdir())
    holds = f"holds {listing(inside)}" if inside else "is empty"
    hint = ""
    if (root / "bijie_sample").is_dir():
        hint = f' For the samples give {root / "bijie_sample"}, or use samples("bijie").'
    raise MissingDataError(f"{root} {holds}; expected {LAYOUT}.{hint}")


def _negatives(folder: Path) -> dict[str, Path]:
    beside = folder.parent / "non-landslide" / "image"
    if folder.name != "landslide" or not beside.is_dir():
        raise MissingDataError(
            f"negatives=True, but there is no folder {beside}; expected {LAYOUT}. "
            "Add it or leave negatives out"
        )
    found = files_by_stem(beside, IMAGE_SUFFIXES)
    if not found:
        raise MissingDataError(f"no images in {beside}; add them or leave negatives out")
    return found


def _heights(folder: Path, images: list[Path]) -> list[Path]:
    dem = folder / "dem"
    if not dem.is_dir():
        raise MissingDataError(f"dem=True, but there is no folder {dem}; add it or leave dem out")
    found = files_by_stem(dem, IMAGE_SUFFIXES)
    by_stem = {unicodedata.normalize("NFC", path.stem): path for path in images}
    kept = {stem: path for stem, path in found.items() if stem in by_stem}
    pairs = dict(pair_by_stem(by_stem, kept, "height image", dem))
    return [pairs[path] for path in images]
