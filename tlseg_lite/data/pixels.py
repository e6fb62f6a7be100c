"""An image file's pixels, exactly as stored: read in full and upright, or refused by name.

Pillow decodes. What it would do silently is refused here instead: cut 16 bits down to 8, drop bands
beyond the third, show the first of several pages. The file's own header says what is in it.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tlseg_lite.core.checks import check_size
from tlseg_lite.core.errors import DataError, MissingDataError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF")
CHOOSE = "tl.data.Folder(images, masks, bands=(1, 2, 3), scale=...)"
"""The reader for images that are not 8-bit RGB: which bands to take, and which value is white."""

_KINDS = {1: "whole numbers", 2: "signed whole numbers", 3: "floating point"}


@dataclass(frozen=True)
class Layout:
    """What a file's header says: format, bands (with alpha), bits in a band's value, their kind."""

    format: str
    bands: int
    bits: int
    kind: str = _KINDS[1]
    compression: int = 1

    def __str__(self) -> str:
        bands = "band" if self.bands == 1 else "bands"
        bits = "bit" if self.bits == 1 else "bits"
        return f"{self.bands} {bands} of {self.bits} {bits} ({self.format}, {self.kind})"


@dataclass(frozen=True)
class Pixels:
    """A decoded file.

    Attributes:
        values: (H, W), or (H, W, bands) for several; of a palette image its indices.
        mode: Pillow's word for the kind of image, such as RGB, L (grey), P (palette).
        layout: what the file's header says.
        palette: (256, 3) uint8, the colour of each index; None without a palette.
        transparent: pixels that are not fully opaque.
    """

    values: np.ndarray
    mode: str
    layout: Layout
    palette: np.ndarray | None
    transparent: int


def layout_of(path: str | Path) -> Layout | None:
    """The layout that a PNG's or TIFF's header names; None for another or a broken header."""
    with open(path, "rb") as file:
        return _layout(file)


def _layout(file) -> Layout | None:
    start = file.read(33)
    if start[:8] == b"\x89PNG\r\n\x1a\n" and len(start) == 33:
        bands = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(start[25], 0)
        return Layout("PNG", bands, start[24])
    if start[:2] not in (b"II", b"MM"):
        return None
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    try:
        tags = ImageFileDirectory_v2(start[: 16 if 43 in start[2:4] else 8])
        file.seek(tags.next)
        tags.load(file)
        bits, kinds = tags.get(258, (1,)), tags.get(339, (1,))
        kind = _KINDS.get(max(kinds), "values of another kind")
        return Layout("TIFF", int(tags.get(277, 1)), max(bits), kind, int(tags.get(259, 1)))
    except Exception:  # a broken header raises whatever its bytes lead to
        return None


def read_pixels(path: str | Path) -> Pixels:
    """All pixels of an image file, upright (EXIF orientation applied), none of them changed.

    Raises:
        MissingDataError: the file is gone.
        DataError: it cannot be opened or decoded (with the cause), has several pages or frames,
            or more bits or bands than Pillow would hand out.
    """
    from PIL import Image, ImageOps

    data = read_bytes(path)
    layout = _layout(io.BytesIO(data))
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            check_size(picture.height, picture.width, str(path))
            _check_pages(picture, path)
            picture.load()
            kind = picture.format
            if picture.getexif().get(0x0112, 1) != 1:
                picture = ImageOps.exif_transpose(picture)
            if kind == "PNG":  # decoding alone does not compare the checksums
                Image.open(io.BytesIO(data), formats=FORMATS).verify()
            pixels = _pixels(picture, layout or Layout(kind, len(picture.getbands()), 8))
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        raise DataError(
            f"{path} has too many pixels for one image ({error}). Cut it into tiles, e.g. with "
            "tl.data.Chips, or raise PIL.Image.MAX_IMAGE_PIXELS if you trust the file"
        ) from error
    except MemoryError as error:
        raise DataError(f"{path} does not fit into memory; cut it into tiles") from error
    except Exception as error:  # Pillow's decoders raise whatever broken bytes lead to
        raise DataError(_why_not(path, data, layout, error)) from error
    _check_layout(pixels, path)
    return pixels


def read_bytes(path: str | Path) -> bytes:
    """The file's content; a DataError names what forbids to open it."""
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise MissingDataError(f"{path} is gone; put it back or build the dataset anew") from None
    except OSError as error:
        raise DataError(f"{path} cannot be opened: {error.strerror or error}") from error


def _check_pages(picture, path) -> None:
    """Several pages or frames are refused; smaller copies of the first (overviews) are none."""
    frames = getattr(picture, "n_frames", 1)
    if frames == 1 or picture.format == "MPO":  # a camera's preview follows the photograph
        return
    pages = frames
    if picture.format == "TIFF":
        pages = 1
        for frame in range(1, frames):
            picture.seek(frame)
            pages += picture.tag_v2.get(254, 0) != 1  # NewSubfileType: 1 is a reduced copy
        picture.seek(0)
    if pages > 1:
        raise DataError(
            f"{path} holds {pages} pages or frames; expected one image. Save the one that you "
            "mean as a file of its own"
        )


def _pixels(picture, layout: Layout) -> Pixels:
    palette, transparent = None, 0
    keyed = "transparency" in picture.info and picture.mode in ("1", "L", "P", "RGB")
    if keyed or "A" in picture.getbands():
        transparent = int((np.asarray(picture.convert("RGBA"))[..., 3] < 255).sum())
    values = np.asarray(picture)
    if picture.mode in ("P", "PA"):
        palette = np.zeros((256, 3), np.uint8)
        colours = np.array(picture.getpalette("RGB"), np.uint8).reshape(-1, 3)
        palette[: len(colours)] = colours
    if layout.bits == 32 and layout.kind == _KINDS[1] and picture.mode == "I":
        values = values.astype(np.uint32)  # Pillow takes them for signed ones
    return Pixels(values, picture.mode, layout, palette, transparent)


def _check_layout(pixels: Pixels, path) -> None:
    layout, stored = pixels.layout, pixels.values.dtype.itemsize * 8
    bands = 1 if pixels.values.ndim == 2 else pixels.values.shape[2]
    cut = layout.bits > stored or layout.bands != bands
    cut |= layout.bits == 8 and layout.kind == _KINDS[2]  # read as if they had no sign
    if cut and pixels.mode not in ("1", "P"):
        raise DataError(
            f"{path} has {layout}; it would be cut to {bands} bands of {stored} bits. "
            f"Choose bands and stretch with {CHOOSE}, or save it with 8 bits"
        )


def _why_not(path, data: bytes, layout: Layout | None, error: Exception) -> str:
    from PIL import UnidentifiedImageError
    from PIL.TiffImagePlugin import COMPRESSION_INFO

    why = str(error)
    if isinstance(error, UnidentifiedImageError):  # its text names an object in memory
        why = f"it begins with {data[:16]!r}" if data else "it is empty"
    if layout is not None and layout.format == "TIFF" and 0 < layout.bands < 10_000:
        if layout.compression not in COMPRESSION_INFO:
            return (
                f"{path} is compressed by TIFF method {layout.compression}, which Pillow cannot "
                "read; save it with LZW, deflate or no compression"
            )
        if (layout.bits, layout.kind) not in ((8, _KINDS[1]), (1, _KINDS[1])) or layout.bands > 1:
            return (
                f"{path} cannot be read by Pillow ({why}): it has {layout}, or is damaged. "
                f"Choose bands and stretch with {CHOOSE}, or save it as 8-bit RGB"
            )
    return (
        f"{path} cannot be read as an image ({why}): it is truncated, damaged or another kind "
        "of file than PNG, JPEG, TIFF or BMP. Compare it with the original"
    )
