"""Own images and masks in two folders: any number of bands, 8 or 16 bits, one scaling for all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tlseg_lite.core.errors import DataError, MissingDataError
from tlseg_lite.data.base import LandslideDataset
from tlseg_lite.data.images import (
    files_by_stem,
    natural_key,
    pair_by_stem,
    read_target,
    same_size,
)
from tlseg_lite.data.pixels import IMAGE_SUFFIXES, layout_of, read_pixels
from tlseg_lite.data.rasters import Raster
from tlseg_lite.data.scaling import SAMPLE, Scaling, scaling_for, thinned
from tlseg_lite.data.transforms import PAD_COLOUR


def read_bands(path: Path, bands: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Bands (C, H, W) of an image file as stored, and which pixels are valid, bool (H, W).

    Args:
        path: PNG, JPEG, BMP, or any TIFF that GDAL reads.
        bands: their numbers, from 1; a palette image has the three of its colours.

    Raises:
        DataError: unreadable, or a band is not there.
        ImportError: TIFF or 16 bits without rasterio.
    """
    layout = layout_of(path)
    if layout is not None and (layout.format == "TIFF" or layout.bits > 8):
        raster = Raster(path, tuple(bands))
        if not raster.exact:  # pixels that are not square: taken as they are
            raster = Raster(path, tuple(bands), pixel_size=1.0)
        return raster.read(0, 0, raster.height, raster.width)
    pixels = read_pixels(path)
    values = pixels.values
    if pixels.palette is not None:
        values = pixels.palette[values if pixels.mode == "P" else values[..., 0]]
    values = values[..., None] if values.ndim == 2 else values
    if max(bands) > values.shape[2] or min(bands) < 1:
        raise DataError(
            f"{path} has {values.shape[2]} bands, numbered from 1, and bands are {tuple(bands)}; "
            + ("for a grey image give bands=(1, 1, 1)" if values.shape[2] < 3 else "choose")
        )
    chosen = values[..., [band - 1 for band in bands]].transpose(2, 0, 1)
    return chosen, np.ones(chosen.shape[1:], bool)


def read_scaled(path: Path, scaling: Scaling) -> tuple[torch.Tensor, np.ndarray]:
    """An image as a model learned from others: float32 (C, H, W) in [0, 1], and what is valid.

    Args:
        path: as in `read_bands`.
        scaling: bands and limits, as a saved model keeps them.

    Pixels that are not valid, bool (H, W), have the colour of the padding.

    Raises:
        DataError: as `read_bands`; or 8 bits, where the limits are of more.
    """
    values, valid = read_bands(path, scaling.bands)
    if values.dtype == np.uint8 and max(scaling.high) > 255:
        raise DataError(
            f"{path} has 8 bits, and the model learned from values up to {max(scaling.high):g}; "
            "give the image as it was in the training"
        )
    image = scaling(values)
    image[:, ~valid] = np.array(PAD_COLOUR, np.float32)[:, None]
    return torch.from_numpy(image), valid


class Folder(LandslideDataset):
    """Images and masks of two folders, paired by name: PNG, JPEG, TIFF, GeoTIFF.

    Args:
        images: folder of the images: 8 or 16 bits or floating point, any number of bands.
        masks: folder of the masks with the same stems; see `read_target`.
        bands: which bands are red, green, blue, numbered from 1; (1, 1, 1) for grey images.
        scale: how values become [0, 1]. None: 8 bits are divided by 255; of anything else, the 2nd
            and 98th percentile of each band over the whole set become 0 and 1, computed once,
            here. A number: that value is white. (low, high): these become 0 and 1. Another
            dataset's ``scaling``: the same as there, as for the test set of a model.
        ignore: value of the mask pixels that are neither landslide nor background, such as 255.
        ground_width: metres that an image's longest side covers, if it is the same for all; a
            model keeps it, so that a scene can be read at the same resolution.

    Items: ``image`` float32 3xHxW in [0, 1], ``mask`` float32 1xHxW of 0/1, ``valid`` float32
    1xHxW (0 where the image has nodata or the mask `ignore`), ``id`` = stem.

    Attributes:
        scaling: the values that became 0 and 1; a model that is trained keeps them.

    Raises:
        MissingDataError: no such folder, no images, or an image without its mask.
        DataError: a mask without its image, images of several kinds of values, a band that is not
            there; on access: an unreadable file, sizes that differ, values of no mask.
        ImportError: TIFF or 16 bits without rasterio.
    """

    def __init__(
        self,
        images: str | Path,
        masks: str | Path,
        bands: Sequence[int] = (1, 2, 3),
        scale: Any = None,
        *,
        ignore: float | None = None,
        ground_width: float | None = None,
    ):
        images, masks = Path(images).expanduser(), Path(masks).expanduser()
        pictures = files_by_stem(images, IMAGE_SUFFIXES)
        if not pictures:
            raise MissingDataError(
                f"no images in {images}; expected files ending in {', '.join(IMAGE_SUFFIXES)}"
            )
        self.pairs = pair_by_stem(pictures, files_by_stem(masks, IMAGE_SUFFIXES), "mask", masks)
        self.ids = sorted(pictures, key=natural_key)
        self.ignore, self.bands = ignore, tuple(bands)
        if len(self.bands) != 3:
            raise ValueError(f"bands are {self.bands}; expected three, for red, green and blue")
        if ground_width is not None and not ground_width > 0:
            raise ValueError(f"ground_width is {ground_width}; expected metres above 0")
        self.ground_width = ground_width
        self.source = f"{len(self.ids)} images of the folder {images.name}"
        first = read_bands(self.pairs[0][0], self.bands)[0]
        self._kind = first.dtype
        self.scaling = scaling_for(scale, self.bands, self._kind, self._sample())

    def _sample(self) -> Iterator[np.ndarray]:
        for path, _ in self.pairs:
            values, valid = read_bands(path, self.bands)
            yield thinned(values[:, valid], max(1024, SAMPLE // len(self.pairs)))

    def __getitem__(self, index: int) -> dict[str, Any]:
        path, mask_path = self.pairs[index]
        values, valid = read_bands(path, self.bands)
        if values.dtype != self._kind:
            raise DataError(
                f"{path} holds {values.dtype}, the first image {self._kind}; one scaling for both "
                "means nothing. Save them alike, or make two datasets"
            )
        image = self.scaling(values)
        image[:, ~valid] = np.array(PAD_COLOUR, np.float32)[:, None]
        target = read_target(mask_path, self.ignore)
        image = torch.from_numpy(image)
        same_size(image, target["mask"], path, mask_path)
        counts = torch.from_numpy(valid[None].astype(np.float32))
        counts = counts * target.get("valid", counts)
        return {
            "image": image,
            "mask": target["mask"] * counts,
            "valid": counts,
            "id": self.ids[index],
        }

    def files(self, index: int) -> list[Path]:
        return list(self.pairs[index])
