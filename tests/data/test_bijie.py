"""The Bijie reader: layouts, odd files, and errors that name them."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from tlseg_lite.data import Bijie, DataError, MissingDataError
from tlseg_lite.data.images import read_height, read_image, read_mask

RNG = np.random.default_rng(0)


def save(path, pixels, mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(pixels)
    (picture.convert(mode) if mode else picture).save(path)
    return path


def rgb(height=12, width=9):
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


def two(height=12, width=9, top=255):
    mask = np.zeros((height, width), np.uint8)
    mask[2:6, 3:7] = top
    return mask


@pytest.fixture
def root(tmp_path):
    """A small copy of the data set's layout; picture 10 before picture 9 by plain sorting."""
    base = tmp_path / "Bijie-landslide-dataset"
    for number, size in ((9, 12), (10, 7), (100, 15)):
        save(base / f"landslide/image/df{number}.png", rgb(size, 9))
        save(base / f"landslide/mask/df{number}.png", two(size, 9, 1 if number == 10 else 255))
        heights = np.full((size, 9), 1500 + number, np.uint16)
        save(base / f"landslide/dem/df{number}.png", heights)
    for number in (9, 11):
        save(base / f"non-landslide/image/df{number}.png", rgb(10, 10))
        save(base / f"non-landslide/dem/df{number}.png", np.full((10, 10), 7, np.uint16))
    return tmp_path


def test_layout_from_above_inside_and_the_half(root):
    base = root / "Bijie-landslide-dataset"
    for place in (root, str(base), base / "landslide"):
        data = Bijie(place)
        assert data.ids == ["df9", "df10", "df100"]
        assert data.source == "3 Bijie images with landslides"
        data.check()


def test_items_hold_the_files_values(root):
    data = Bijie(root)
    item = data[1]
    folder = root / "Bijie-landslide-dataset/landslide"
    pixels = np.asarray(Image.open(folder / "image/df10.png"))
    assert item["id"] == "df10"
    assert item["image"].dtype == item["mask"].dtype == torch.float32
    np.testing.assert_array_equal(item["image"].numpy() * 255, pixels.transpose(2, 0, 1))
    np.testing.assert_array_equal(item["mask"][0].numpy(), two(7, 9, 1))  # 0/1 mask
    np.testing.assert_array_equal(data[0]["mask"][0].numpy(), two(12, 9, 1))  # 0/255 mask
    assert data[-1]["id"] == "df100"
    with pytest.raises(IndexError):
        data[3]
    assert [item["id"] for item in data] == data.ids


def test_negatives_have_empty_masks_and_ids_of_their_own(root):
    data = Bijie(root, negatives=True, dem=True)
    assert data.ids[3:] == ["non-landslide/df9", "non-landslide/df11"]
    assert len(set(data.ids)) == len(data) == 5
    assert data[3]["mask"].shape == (1, 10, 10)
    assert not data[3]["mask"].any()
    assert data[0]["dem"].unique().tolist() == [1509.0]
    assert data[4]["dem"].unique().tolist() == [7.0]
    assert data.source == "3 Bijie images with landslides and 2 without"
    data.check()


def test_workers_read_it(root):
    batches = list(DataLoader(Bijie(root), batch_size=None, num_workers=1))
    assert [item["id"] for item in batches] == ["df9", "df10", "df100"]


def test_the_sample_layout_on_real_files(real_data):
    data = Bijie(real_data / "bijie_sample")
    assert len(data) == 20
    data.check()
    with pytest.raises(MissingDataError, match="negatives=True"):
        Bijie(real_data / "bijie_sample", negatives=True)
    with pytest.raises(MissingDataError, match="bijie_sample, or use samples"):
        Bijie(real_data)


def test_pairs_are_made_by_name_not_by_order(root):
    folder = root / "Bijie-landslide-dataset/landslide"
    (folder / "mask/df9.png").rename(folder / "mask/df9x.png")
    with pytest.raises(MissingDataError, match=r"no mask in .* for 1 of 3 images: df9\.png"):
        Bijie(root)
    save(folder / "mask/df9.png", two())
    with pytest.raises(DataError, match=r"belong to no image: df9x\.png"):
        Bijie(root)
    (folder / "mask/df9x.png").rename(folder / "mask/.df9x.png")  # hidden files do not count
    (folder / "image/Thumbs.db").write_bytes(b"")
    assert len(Bijie(root)) == 3
    save(folder / "image/df9.jpg", rgb())
    with pytest.raises(DataError, match="same stem"):
        Bijie(root)


def test_missing_folders_are_named(root, tmp_path):
    base = root / "Bijie-landslide-dataset"
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Bijie(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingDataError, match="is empty; expected Bijie-landslide-dataset"):
        Bijie(tmp_path / "empty")
    (tmp_path / "bare/image").mkdir(parents=True)
    with pytest.raises(MissingDataError, match="no folder mask or label"):
        Bijie(tmp_path / "bare")
    (tmp_path / "bare/mask").mkdir()
    with pytest.raises(MissingDataError, match="no images in"):
        Bijie(tmp_path / "bare")
    (base / "landslide/dem/df9.png").unlink()
    with pytest.raises(MissingDataError, match=r"no height image in .*df9\.png"):
        Bijie(root, dem=True)
    for path in (base / "non-landslide/image").iterdir():
        path.unlink()
    with pytest.raises(MissingDataError, match=r"no images in .*non-landslide"):
        Bijie(root, negatives=True)
    (base / "landslide/dem").rename(base / "landslide/heights")
    with pytest.raises(MissingDataError, match="dem=True"):
        Bijie(root, dem=True)


def test_all_bad_files_are_reported_at_once(root):
    folder = root / "Bijie-landslide-dataset/landslide"
    whole = (folder / "image/df9.png").read_bytes()
    (folder / "image/df9.png").write_bytes(whole[: len(whole) // 2])
    save(folder / "mask/df10.png", two(8, 9))
    save(folder / "image/df100.png", two(15, 9))
    data = Bijie(root)
    with pytest.raises(DataError, match="truncated, damaged") as caught:
        data[0]
    assert "df9.png" in str(caught.value)
    with pytest.raises(DataError, match=r"9 x 8 pixels but its image .* is 9 x 7"):
        data[1]
    with pytest.raises(DataError, match=r"1 band of 8 bits .*mode L"):
        data[2]
    with pytest.raises(DataError, match="3 of 3 items cannot be used") as caught:
        data.check()
    assert all(name in str(caught.value) for name in ("df9.png", "df10.png", "df100.png"))
    (folder / "image/df9.png").unlink()
    with pytest.raises(MissingDataError, match="is gone"):
        data[0]


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_no_picture_at_all(tmp_path, content):
    (tmp_path / "x.png").write_bytes(content)
    for read in (read_image, read_mask, read_height):
        with pytest.raises(DataError, match=r"x\.png cannot be read"):
            read(tmp_path / "x.png")


@pytest.mark.parametrize("keep", [0.1, 0.4, 0.7, 0.95])
def test_a_truncated_picture_never_passes(tmp_path, keep):
    whole = save(tmp_path / "x.png", rgb(60, 60)).read_bytes()
    (tmp_path / "x.png").write_bytes(whole[: int(keep * len(whole))])
    with pytest.raises(DataError, match=r"x\.png"):
        read_image(tmp_path / "x.png")


def test_images_of_other_modes(tmp_path):
    pixels = rgb()
    alpha = np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])
    expected = torch.from_numpy(pixels.transpose(2, 0, 1).astype(np.float32) / 255)
    torch.testing.assert_close(read_image(save(tmp_path / "a.png", alpha)), expected)
    flat = np.zeros((4, 4, 3), np.uint8) + np.array([204, 0, 51], np.uint8)
    paletted = read_image(save(tmp_path / "p.png", flat, "P"))
    torch.testing.assert_close(paletted[:, 0, 0] * 255, torch.tensor([204.0, 0.0, 51.0]))
    for mode in ("L", "1", "LA", "CMYK", "I;16"):
        grey = pixels[..., 0].astype(np.uint16) * 200 if mode == "I;16" else pixels
        name = tmp_path / f"m{mode[0]}.tif"
        save(name, grey, None if mode == "I;16" else mode)
        with pytest.raises(DataError, match=r"1 bands? of|[24] bands of"):
            read_image(name)
