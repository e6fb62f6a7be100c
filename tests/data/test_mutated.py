"""Damaged files: 200 of each kind end in the right item or in a DataError, in nothing else.

What can be promised depends on the format. A PNG has a checksum for each part, so what is read
equals the original, or is refused. JPEG and TIFF have none for the pixels, and HDF5 only for its
newer headers: a flipped bit among stored values gives another value, which nobody can notice. For
those the item has the form of an item (or is refused), and never comes from half a file.
"""

import io

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from tlseg_lite.data import DataError
from tlseg_lite.data.hdf5 import read_hdf5
from tlseg_lite.data.images import read_image, read_target

N = 200
pytestmark = pytest.mark.filterwarnings("ignore")  # Pillow warns of broken metadata, then goes on


def picture(kind, **options):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    pixels[:20] = (90, 120, 60)  # a part that compresses
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 1, "a note"
    Image.fromarray(pixels).save(buffer, kind, exif=exif, **options)
    return buffer.getvalue()


def hdf5(**options):
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        values = np.random.default_rng(0).normal(size=(16, 16, 14))
        file.create_dataset("img", data=values, **options)
    return buffer.getvalue()


def mutated(data, seed):
    """One file cut short, with flipped bits, with a wrong header, or with bytes put in or out."""
    rng = np.random.default_rng(seed)
    changed, kind = bytearray(data), seed % 5
    if kind == 0:
        return bytes(changed[: rng.integers(0, len(data))])
    if kind == 1:
        for place in rng.integers(0, len(data), rng.integers(1, 9)):
            changed[place] ^= 1 << rng.integers(0, 8)
    elif kind == 2:  # the header and what lies at the end, where a TIFF keeps its directory
        for place in rng.integers(0, min(200, len(data)), rng.integers(1, 5)):
            changed[place if rng.random() < 0.5 else -1 - place] = rng.integers(0, 256)
    elif kind == 3:
        start = rng.integers(0, len(data))
        del changed[start : start + rng.integers(1, 100)]
    else:
        start = rng.integers(0, len(data))
        changed[start : start + 40] = rng.bytes(40)
    return bytes(changed)


KINDS = {
    "png": picture("PNG"),
    "jpg": picture("JPEG", quality=90),
    "raw.tif": picture("TIFF"),
    "lzw.tif": picture("TIFF", compression="tiff_lzw"),
    "deflate.tif": picture("TIFF", compression="tiff_adobe_deflate"),
}


def outcome(read, path):
    """What is read, or None where it is refused by name; any other exception is a fault."""
    try:
        return read(path)
    except DataError as error:
        assert path.name in str(error)  # noqa: PT017
        return None


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_pictures(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    path.write_bytes(KINDS[kind])
    whole, refused = read_image(path), 0
    for seed in range(N):
        path.write_bytes(mutated(KINDS[kind], seed))
        image = outcome(read_image, path)
        refused += image is None
        if image is not None and kind == "png":
            assert torch.equal(image, whole), seed
        elif image is not None:
            assert image.dtype == torch.float32
            assert image.ndim == 3
            assert image.shape[0] == 3
            assert 0 <= image.min() <= image.max() <= 1
            if seed % 5 == 0:
                assert torch.equal(image, whole), seed  # cut short: all of it was there
    assert refused > N / 5  # at least what was cut short


def test_damaged_masks(tmp_path):
    mask = np.zeros((40, 30), np.uint8)
    mask[5:20, 3:9] = 255
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, "PNG")
    path = tmp_path / "a.png"
    for seed in range(N):
        path.write_bytes(mutated(buffer.getvalue(), seed))
        target = outcome(read_target, path)
        assert target is None or np.array_equal(target["mask"][0] * 255, mask), seed


@pytest.mark.parametrize(
    "options", [{}, {"compression": "gzip", "fletcher32": True}], ids=["plain", "checked"]
)
def test_damaged_hdf5(tmp_path, options):
    data, path, refused = hdf5(**options), tmp_path / "a.h5", 0
    path.write_bytes(data)
    whole = read_hdf5(path, "img")
    for seed in range(N):
        path.write_bytes(mutated(data, seed))
        values = outcome(lambda p: read_hdf5(p, "img", (16, 16, 14)), path)
        refused += values is None
        if values is not None:
            assert values.shape == whole.shape
            assert np.isfinite(values).all()
            if seed % 5 == 0:
                np.testing.assert_array_equal(values, whole)
    assert refused > N / 5
