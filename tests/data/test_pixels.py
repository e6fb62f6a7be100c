"""Files of every kind: read as they are meant, or refused by name; never changed in silence."""

import struct
import unicodedata
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tlseg_lite.data import Bijie, DataError, MissingDataError
from tlseg_lite.data.images import ImagePairs, natural_key, read_height, read_image, read_target
from tlseg_lite.data.pixels import read_pixels

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (12, 9, 3), dtype=np.uint8)
TRUTH = np.zeros((12, 9), bool)
TRUTH[2:6, 3:7] = True


def save(path, picture, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(picture)
    picture.save(path, **options)
    return path


def tiff(path, values, photometric=None, compression=1):
    """An uncompressed little-endian TIFF of (H, W) or (H, W, bands), of any dtype."""
    values = np.atleast_3d(values)
    height, width, bands = values.shape
    bits = values.dtype.itemsize * 8
    data = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<")).tobytes()
    entries = {
        256: (3, [width]),
        257: (3, [height]),
        258: (3, [bits] * bands),
        259: (3, [compression]),
    }
    default = 2 if photometric is None and bands >= 3 else 1
    entries[262] = (3, [default if photometric is None else photometric])
    entries |= {273: (4, [8]), 277: (3, [bands]), 278: (4, [height]), 279: (4, [len(data)])}
    kind = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    entries[339] = (3, [kind] * bands)
    if default == 2 and bands > 3:
        entries[338] = (3, [0] * (bands - 3))  # extra bands of unknown meaning
    at, directory, more = 8 + len(data), b"", b""
    after = at + 2 + 12 * len(entries) + 4
    for tag, (kind, numbers) in sorted(entries.items()):
        raw = struct.pack(f"<{len(numbers)}{'H' if kind == 3 else 'I'}", *numbers)
        if len(raw) > 4:
            raw, more = struct.pack("<I", after + len(more)), more + raw + b"\0" * (len(raw) % 2)
        directory += struct.pack("<HHI", tag, kind, len(numbers)) + raw.ljust(4, b"\0")
    head = struct.pack("<2sHI", b"II", 42, at) + data
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        head + struct.pack("<H", len(entries)) + directory + struct.pack("<I", 0) + more
    )
    return path


def png(path, bits, colour, rows):
    """A PNG of any bit depth from the bytes of its rows."""

    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    width = {0: 8 // bits if bits < 8 else 1, 2: 3, 6: 4}[colour]
    columns = len(rows[0]) * (8 // bits) if bits < 8 else len(rows[0]) // (bits // 8) // width
    header = struct.pack(">IIBBBBB", columns, len(rows), bits, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    content = chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    return path


def palette_image(indices, colours):
    picture = Image.fromarray(indices.astype(np.uint8)).convert("P")
    picture.putpalette([part for colour in colours for part in colour])
    return picture


# ---- images


def test_images_that_are_read(tmp_path):
    expected = torch.from_numpy(RGB.transpose(2, 0, 1).astype(np.float32) / 255)
    opaque = np.dstack([RGB, np.full((12, 9), 255, np.uint8)])
    deflate = {"compression": "tiff_adobe_deflate"}
    for path in (
        save(tmp_path / "a.PNG", RGB),
        save(tmp_path / "a.bmp", RGB),
        save(tmp_path / "a.tif", RGB, **deflate),
        save(tmp_path / "a.tiff", RGB, compression="tiff_lzw"),
        tiff(tmp_path / "plain.tif", RGB),
        save(tmp_path / "alpha.png", opaque),
        save(tmp_path / "alpha.tif", opaque),
    ):
        assert torch.equal(read_image(path), expected), path.name
    few = palette_image(TRUTH, [(204, 0, 51), (0, 255, 0)])
    seen = read_image(save(tmp_path / "palette.png", few))
    assert (seen[:, ~TRUTH] * 255).unique(dim=1).flatten().tolist() == [204, 0, 51]


@pytest.mark.parametrize(
    ("shape", "dtype", "words"),
    [
        ((12, 9, 3), "u2", "3 bands of 16 bits"),
        ((12, 9, 4), "u2", "4 bands of 16 bits"),
        ((12, 9, 4), "u1", "4 bands of 8 bits"),
        ((12, 9, 5), "u1", "5 bands of 8 bits"),
        ((12, 9, 5), "u2", "5 bands of 16 bits"),
        ((12, 9, 2), "u1", "2 bands of 8 bits"),
        ((12, 9, 3), "f4", "3 bands of 32 bits .*floating"),
        ((12, 9, 1), "f4", "1 band of 32 bits .*floating"),
        ((12, 9, 1), "u2", "1 band of 16 bits"),
        ((12, 9, 3), "i1", "3 bands of 8 bits .*signed"),
        ((12, 9), "u1", "1 band of 8 bits"),
    ],
)
@pytest.mark.parametrize("photometric", [1, 2])
def test_other_bands_and_bits_are_named_with_the_reader_for_them(
    tmp_path, shape, dtype, words, photometric
):
    values = RNG.integers(0, 100, shape).astype(dtype)
    if photometric == 2 and (len(shape) < 3 or shape[2] < 3):
        photometric = 1
    path = tiff(tmp_path / "a.tif", values, photometric)
    with pytest.raises(DataError, match=rf"a\.tif .*{words}") as caught:
        read_image(path)
    assert "tl.data.Folder(" in str(caught.value)
    assert "truncated" not in str(caught.value)  # nothing is wrong with the file


def test_other_modes_are_named(tmp_path):
    for mode, words in (
        ("L", "1 band of 8 bits"), ("1", "1 band of 1 bit"), ("LA", "2 bands"), ("CMYK", "4 bands"),
        ("LAB", "3 bands"),
    ):  # fmt: skip
        picture = Image.new(mode, (6, 5), 1 if mode in ("L", "1") else None)
        with pytest.raises(DataError, match=rf"{words}.*mode {mode}; expected 3 bands of 8 bits"):
            read_image(save(tmp_path / f"{mode}.tif", picture))
    for mode, words in (("L", "1 band"), ("CMYK", "4 bands")):
        with pytest.raises(DataError, match=words):
            read_image(save(tmp_path / f"{mode}.jpg", Image.new(mode, (6, 5))))
    for colour, row in ((2, b"\1\2" * 3 * 4), (6, b"\1\2" * 4 * 4)):
        with pytest.raises(DataError, match=r"bands of 16 bits \(PNG"):
            read_image(png(tmp_path / "deep.png", 16, colour, [row] * 3))


def test_transparency_is_not_guessed(tmp_path):
    half = np.dstack([RGB, np.full((12, 9), 255, np.uint8)])
    half[:3, :, 3] = 0
    with pytest.raises(DataError, match=r"and 27 pixels that are not opaque .* background"):
        read_image(save(tmp_path / "a.png", half))
    keyed = save(tmp_path / "key.png", RGB, transparency=tuple(RGB[0, 0].tolist()))
    with pytest.raises(DataError, match="not opaque"):
        read_image(keyed)


def test_several_pages_are_refused_and_overviews_are_not(tmp_path):
    pages = [Image.fromarray(RGB), Image.fromarray(255 - RGB)]
    for name in ("a.tif", "a.gif", "a.png"):
        path = save(tmp_path / name, pages[0], save_all=True, append_images=pages[1:])
        for read in (read_image, read_target):
            with pytest.raises(DataError, match="holds 2 pages or frames"):
                read(path)
    small = Image.fromarray(RGB[::2, ::2])
    small.encoderinfo = {"tiffinfo": {254: 1}}  # a reduced copy
    path = save(tmp_path / "b.tif", pages[0], save_all=True, append_images=[small])
    assert read_image(path).shape == (3, 12, 9)
    preview = {"format": "MPO", "save_all": True, "append_images": [small]}
    path = save(tmp_path / "camera.jpg", Image.fromarray(RGB), **preview)
    assert read_image(path).shape == (3, 12, 9)  # a camera's photograph, before its preview


@pytest.mark.parametrize("turn", range(2, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_images_and_masks_are_upright(tmp_path, turn, suffix):
    """EXIF's orientation says how the stored rows are to be turned; 2 to 8 are all there are."""
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[turn]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = turn
    flat = np.full((12, 9, 3), 40, np.uint8)
    flat[:6, :3] = 220
    for name, values in (("image", flat), ("mask", TRUTH.astype(np.uint8) * 255)):
        end = "png" if name == "mask" and suffix == "jpg" else suffix
        stored = Image.fromarray(values).transpose(undo)
        save(tmp_path / name / f"a.{end}", stored, exif=exif)
    item = ImagePairs(tmp_path / "image", tmp_path / "mask")[0]
    off = np.abs(item["image"].permute(1, 2, 0).numpy() * 255 - flat).mean()
    assert off < 8  # JPEG's own error
    np.testing.assert_array_equal(item["mask"][0].numpy(), TRUTH)


# ---- masks


def test_masks_of_other_forms_mean_the_same(tmp_path):
    ones, white = TRUTH.astype(np.uint8), TRUTH.astype(np.uint8) * 255
    made = [
        save(tmp_path / "one.png", ones),
        save(tmp_path / "white.tif", white),
        save(tmp_path / "bits.png", Image.fromarray(white).convert("1")),
        save(tmp_path / "bits.bmp", Image.fromarray(white).convert("1")),
        save(tmp_path / "sixteen.png", ones.astype(np.uint16)),
        tiff(tmp_path / "thirtytwo.tif", white.astype(np.int32)),
        tiff(tmp_path / "unsigned.tif", white.astype(np.uint32)),
        tiff(tmp_path / "floats.tif", TRUTH.astype(np.float32)),
        save(tmp_path / "alpha.png", Image.fromarray(white).convert("LA")),
        save(tmp_path / "rgb.png", np.dstack([white] * 3)),
        save(tmp_path / "rgba.png", Image.fromarray(white).convert("RGBA")),
        save(tmp_path / "palette.png", palette_image(ones, [(0, 0, 0), (200, 0, 0)])),
        save(tmp_path / "greys.png", Image.fromarray(white).convert("P")),
    ]
    clean = np.zeros((16, 16), np.uint8)
    clean[:8] = 255  # whole blocks of 8 x 8: JPEG keeps them
    assert read_target(save(tmp_path / "clean.jpg", clean))["mask"].sum() == 128
    for path in made:
        target = read_target(path)
        assert target.keys() == {"mask"}
        assert target["mask"].dtype == torch.float32
        np.testing.assert_array_equal(target["mask"][0].numpy(), TRUTH, path.name)
    for value, share in ((0, 0.0), (1, 1.0), (255, 1.0)):
        path = save(tmp_path / "single.png", np.full((4, 5), value, np.uint8))
        assert read_target(path)["mask"].mean() == share


def test_masks_that_could_mean_two_things_are_refused(tmp_path):
    white = TRUTH.astype(np.uint8) * 255
    red = np.zeros((12, 9, 3), np.uint8)
    red[TRUTH] = (128, 0, 0)
    hidden = np.zeros((12, 9, 4), np.uint8)
    hidden[TRUTH, 3] = 255
    three = TRUTH.astype(np.uint8)
    three[0] = 2
    blocks = save(tmp_path / "blocks.jpg", white, quality=80)
    void = [(0, 0, 0), (128, 0, 0), *[(0, 0, 0)] * 253, (224, 224, 192)]
    with_void = TRUTH.astype(np.uint8)
    with_void[0] = 255
    for path, words in (
        (blocks, r"has values 0, 1, .* \.\.\. \d+ .*JPEG"),
        (save(tmp_path / "blocks.png", np.asarray(Image.open(blocks))), "has values .*JPEG"),
        (save(tmp_path / "classes.png", three), r"has values 0, 1, 2; .*\(mask == 1\)"),
        (save(tmp_path / "7.png", np.full((4, 4), 7, np.uint8)), "has values 7;"),
        (save(tmp_path / "grey.png", TRUTH.astype(np.uint8) * 128), "has values 0, 128;"),
        (save(tmp_path / "deep.png", TRUTH.astype(np.uint16) * 65535), "has values 0, 65535;"),
        (tiff(tmp_path / "int.tif", -TRUTH.astype(np.int16)), "has values -1, 0;"),
        (tiff(tmp_path / "part.tif", TRUTH * np.float32(0.5)), r"values 0, 0\.5;.*mask > 0\.5"),
        (tiff(tmp_path / "nan.tif", np.where(TRUTH, 1, np.nan).astype("f4")), r"NaN .*92 pixels"),
        (tiff(tmp_path / "inf.tif", np.where(TRUTH, np.inf, 0).astype("f4")), "infinite"),
        (tiff(tmp_path / "double.tif", TRUTH.astype("f8")), "64 bits"),
        (tiff(tmp_path / "signed.tif", TRUTH.astype("i1")), "8 bits .*signed"),
        (save(tmp_path / "red.png", red), "colour mask .* 2 colours"),
        (save(tmp_path / "photo.png", RGB), "colour mask .* 108 colours"),
        (save(tmp_path / "hidden.png", hidden), "transparent pixels; expected a mask with one"),
        (save(tmp_path / "inks.tif", Image.fromarray(RGB).convert("CMYK")), "one channel"),
        (save(tmp_path / "void.png", palette_image(with_void, void)), "0, 1, 255; .*ignore=255"),
        (save(tmp_path / "voc.png", palette_image(three, [(0,) * 3, (9,) * 3, (8,) * 3])), "1, 2"),
        (save(tmp_path / "swap.png", palette_image(~TRUTH, [(255,) * 3, (0,) * 3])), "one black"),
        (save(tmp_path / "black.png", palette_image(TRUTH, [(0,) * 3] * 2)), "one black"),
        (png(tmp_path / "two.png", 2, 0, [b"\x14"] * 4), "has values 0, 85;"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=rf"(?s){path.name}.*{words}"):
            read_target(path)
    # what is to be ignored is said by whoever knows, and is then no landslide
    target = read_target(tmp_path / "void.png", ignore=255)
    np.testing.assert_array_equal(target["mask"][0].numpy(), TRUTH)
    np.testing.assert_array_equal(target["valid"][0].numpy(), with_void != 255)


def test_heights_keep_their_values(tmp_path):
    for dtype in ("u1", "u2", "i2", "i4", "u4", "f4"):
        values = np.arange(20).reshape(4, 5).astype(dtype)
        values[0, 0] = 3_000_000_000 if dtype == "u4" else 7
        read = read_height(tiff(tmp_path / f"{dtype}.tif", values))
        np.testing.assert_array_equal(read[0].numpy(), values.astype(np.float32))
    with pytest.raises(DataError, match="NaN or infinite heights"):
        read_height(tiff(tmp_path / "nan.tif", np.full((4, 4), np.nan, np.float32)))
    palette = palette_image(TRUTH, [(0,) * 3])
    for path in (save(tmp_path / "rgb.png", RGB), save(tmp_path / "p.png", palette)):
        with pytest.raises(DataError, match="heights in one channel"):
            read_height(path)


# ---- what else may be wrong: the message fits the cause


def test_messages_fit_their_causes(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png", RGB)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)
    with pytest.raises(DataError, match=r"a\.png has too many pixels .*tiles") as caught:
        read_image(path)
    assert "damaged" not in str(caught.value)
    monkeypatch.undo()
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(DataError, match=r"folder\.png cannot be opened"):
        read_image(tmp_path / "folder.png")
    with pytest.raises(MissingDataError, match="is gone"):
        read_image(tmp_path / "nowhere.png")
    with pytest.raises(DataError, match="TIFF method 34887"):  # LERC
        read_image(tiff(tmp_path / "lerc.tif", RGB, compression=34887))
    save(tmp_path / "image/b.png", RGB)
    save(tmp_path / "mask/b.png", TRUTH[:, :5])
    with pytest.raises(DataError, match=r"5 x 12 pixels .* 9 x 12 .*EXIF") as caught:
        ImagePairs(tmp_path / "image", tmp_path / "mask")[0]
    for advice in ("etch", "remove", "delete"):
        assert advice not in str(caught.value)


# ---- names


def test_names_are_paired_and_sorted_whatever_their_form(tmp_path):
    composed, apart = (unicodedata.normalize(form, "Mýrdalur é") for form in ("NFC", "NFD"))
    names = ["5²", "10", "9", "①", "٣", "a.b"]
    for name in names:
        save(tmp_path / f"image/{name}.PNG", RGB)
        save(tmp_path / f"mask/{name}.Tif", TRUTH)
    save(tmp_path / f"image/{apart}.png", RGB)
    save(tmp_path / f"mask/{composed}.png", TRUTH)
    data = ImagePairs(tmp_path / "image", tmp_path / "mask")
    data.check()
    assert sorted(data.ids) == sorted([*names, composed])  # ids are composed on every machine
    assert data.ids.index("9") < data.ids.index("10")
    assert natural_key(apart) == natural_key(composed)
    assert sorted(["1", "01"], key=natural_key) == sorted(["01", "1"], key=natural_key)
    save(tmp_path / f"image/{composed}.jpg", RGB)
    with pytest.raises(DataError, match="same stem"):
        ImagePairs(tmp_path / "image", tmp_path / "mask")


def test_negatives_are_ignored_nowhere(tmp_path):
    base = tmp_path / "Bijie-landslide-dataset"
    marked = TRUTH.astype(np.uint8)
    marked[0] = 255
    save(base / "landslide/image/df1.png", RGB)
    save(base / "landslide/mask/df1.png", marked)
    save(base / "non-landslide/image/df1.png", RGB)
    with pytest.raises(DataError, match=r"0, 1, 255; .*ignore=255"):
        Bijie(tmp_path)[0]
    data = Bijie(tmp_path, negatives=True, ignore=255)
    assert data[0]["valid"].sum() == 11 * 9
    assert data[1]["valid"].all()
    assert [data.mask_file(i) is None for i in range(2)] == [False, True]


# ---- any file at all


def outcome(read):
    """What `read` returns, or its DataError; another error is a fault."""
    try:
        return read()
    except DataError as error:
        return error


sizes = st.tuples(st.integers(1, 9), st.integers(1, 9))


@settings(max_examples=150, deadline=None)
@given(
    size=sizes,
    bands=st.integers(1, 6),
    dtype=st.sampled_from(["u1", "u2", "u4", "i1", "i2", "i4", "f4", "f8"]),
    top=st.sampled_from([1, 2, 255, 4000]),
    photometric=st.sampled_from([0, 1, 2]),
    seed=st.integers(0, 999),
)
def test_any_tiff_is_read_exactly_or_refused(
    tmp_path_factory, size, bands, dtype, top, photometric, seed
):
    if photometric == 2 and bands < 3:
        photometric = 1
    values = np.random.default_rng(seed).integers(0, top + 1, (*size, bands))
    values = values.astype(dtype) if dtype[1] != "1" else (values % 128).astype(dtype)
    path = tiff(tmp_path_factory.mktemp("any") / "a.tif", values, photometric)
    if (bands, dtype, photometric) == (3, "u1", 2):
        image = read_image(path)
        np.testing.assert_array_equal((image * 255).round().permute(1, 2, 0), values)
    else:
        with pytest.raises(DataError, match=r"a\.tif"):
            read_image(path)
    target = outcome(lambda: read_target(path)["mask"][0].numpy())
    if not isinstance(target, DataError):
        seen = values[..., 0].astype(np.float64)
        if photometric == 0 and dtype == "u1":  # zero is white, as it is shown
            seen = 255 - seen
        assert set(np.unique(seen)) <= {0, 1} or set(np.unique(seen)) <= {0, 255}
        np.testing.assert_array_equal(target, seen > 0)


@settings(max_examples=80, deadline=None)
@given(
    mode=st.sampled_from(["1", "L", "P", "LA", "RGB", "RGBA", "CMYK", "I;16", "F"]),
    suffix=st.sampled_from(["png", "jpg", "tif", "bmp", "PNG"]),
    size=sizes,
    seed=st.integers(0, 999),
    stem=st.text(st.characters(categories=["L", "N", "M"]), min_size=1, max_size=8),
)
def test_any_picture_under_any_name(tmp_path_factory, mode, suffix, size, seed, stem):
    root = tmp_path_factory.mktemp("any")
    rng = np.random.default_rng(seed)
    picture = Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8))
    if mode == "I;16":
        picture = Image.fromarray(rng.integers(0, 65536, size, dtype=np.uint16))
    elif mode != "RGB":
        picture = picture.convert(mode)
    try:
        save(root / "image" / f"{stem}.{suffix}", picture)
        save(root / "mask" / f"{stem}.png", rng.random(size) < 0.5)
    except OSError:  # the format has no such mode, or the file system no such name
        return
    data = ImagePairs(root / "image", root / "mask")
    assert data.ids == [unicodedata.normalize("NFC", stem)]
    image = outcome(lambda: data[0]["image"])
    if isinstance(image, DataError):
        assert mode not in ("RGB", "P")
        assert "truncated" not in str(image)
    else:
        assert mode in ("RGB", "P", "RGBA")
        with Image.open(root / "image" / f"{stem}.{suffix}") as stored:
            expected = np.asarray(stored.convert("RGB")).transpose(2, 0, 1)
        np.testing.assert_array_equal((image * 255).round(), expected)


def test_the_header_is_named_without_pillow(tmp_path):
    broken = bytearray(tiff(tmp_path / "a.tif", RGB).read_bytes())
    broken[4:8] = b"\xff\xff\xff\x7f"  # the directory would lie beyond the end
    (tmp_path / "a.tif").write_bytes(broken)
    with pytest.raises(DataError, match="truncated, damaged"):
        read_pixels(tmp_path / "a.tif")
