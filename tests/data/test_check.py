"""The contract of a dataset, and what `inspect` finds: everything, at once."""

import doctest

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from training_helpers import Blobs, Threshold

import tlseg_lite as tl
from tlseg_lite.data import Cached, DataError, LandslideDataset, Prepared, Subset, base, inspect
from tlseg_lite.data.images import ImagePairs

RNG = np.random.default_rng(0)


def write(root, name, mask, size=(12, 9)):
    for folder in ("image", "mask"):
        (root / folder).mkdir(exist_ok=True)
    image = RNG.integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(image).save(root / f"image/{name}.png")
    Image.fromarray(mask).save(root / f"mask/{name}.png")


def half(top, size=(12, 9)):
    mask = np.zeros(size, np.uint8)
    mask[: size[0] // 2] = top
    return mask


@pytest.fixture
def pairs(tmp_path):
    """Three good pairs; a is 12 x 9, b 20 x 9, c without landslide."""
    write(tmp_path, "a", half(1))
    write(tmp_path, "b", half(255, (20, 9)), (20, 9))
    write(tmp_path, "c", half(0))
    return ImagePairs(tmp_path / "image", tmp_path / "mask")


def test_a_report_of_good_files(pairs):
    report = inspect(pairs)
    assert (report.images, report.readable, report.problems) == (3, 3, [])
    assert report.sizes == {(12, 9): 2, (20, 9): 1}
    assert report.bands == {3: 3}
    assert report.stored == {"3 bands of 8 bits (PNG, whole numbers)": 3}
    assert report.mask_values == {"0, 1": 1, "0, 255": 1, "0": 1}
    assert report.landslide_share == pytest.approx((6 + 10) / (12 + 20 + 12))
    assert report.without_landslide == 1
    (note,) = report.notes
    assert "ignore=255" in note  # 0/1 in one file, 0/255 in another
    text = str(report)
    for words in ("3, 3 can be used", "12 to 20 pixels", "36.36 % of the pixels, 1 images without"):
        assert words in text
    pairs.check()


def test_every_problem_is_there_at_once(pairs, tmp_path):
    write(tmp_path, "d", half(2))
    write(tmp_path, "e", half(1, (5, 5)))
    write(tmp_path, "f", half(1))
    broken = tmp_path / "image/f.png"
    broken.write_bytes(broken.read_bytes()[:90])
    data = ImagePairs(tmp_path / "image", tmp_path / "mask")
    report = inspect(data)
    assert len(report.problems) == 3
    expected = ("d.png has values 0, 2", "5 x 5", "f.png cannot")
    for problem, words in zip(report.problems, expected, strict=True):
        assert words in problem
        assert problem in str(report)
    assert report.readable == 3
    with pytest.raises(DataError, match="3 of 6 items cannot be used") as caught:
        data.check()
    assert all(problem in str(caught.value) for problem in report.problems)


def test_ids_and_images_that_occur_twice(pairs, tmp_path):
    twice = inspect(Subset(pairs, [0, 1, 0]))
    assert twice.duplicate_ids == ["a"]
    assert "ids occur more than once: a" in twice.problems[0]
    (tmp_path / "image/z.png").write_bytes((tmp_path / "image/a.png").read_bytes())
    (tmp_path / "mask/z.png").write_bytes((tmp_path / "mask/a.png").read_bytes())
    notes = inspect(ImagePairs(tmp_path / "image", tmp_path / "mask")).notes
    assert any("the same image has 2 ids: a, z" in note for note in notes)


def test_every_dataset_keeps_the_contract(pairs, tmp_path):
    folder = tmp_path / "h5"
    folder.mkdir()
    with h5py.File(folder / "image_1.h5", "w") as file:
        file["img"] = RNG.uniform(0.5, 2.0, (128, 128, 14))
    for data in (
        pairs, Subset(pairs, [2, 0]), Cached(pairs), Prepared(pairs, 16), Blobs(3),
        tl.data.SyntheticLandslides(1, size=32), tl.data.Landslide4Sense(folder, masks=False),
    ):  # fmt: skip
        assert isinstance(data, LandslideDataset)
        assert len(data) == len(data.ids) == len(list(data))
        assert isinstance(data.source, str)
        report = inspect(data)
        assert (report.readable, report.problems) == (len(data), [])
        data.check()
    assert Subset(pairs, [2, 0]).files(0) == pairs.files(2)
    assert Prepared(Cached(pairs), 16).mask_file(1) == pairs.mask_file(1)
    assert Blobs(3).files(0) == []
    assert Blobs(3).mask_file(0) is None


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({"image": torch.rand(3, 4, 4).double()}, "float32"),
        ({"image": torch.full((3, 4, 4), float("nan"))}, "not finite"),
        ({"id": "b"}, "id is 'b'"),
        ({"mask": torch.rand(1, 4, 4)}, "has values 0"),
        ({"mask": torch.zeros(4, 4)}, r"mask is \(4, 4\); expected \(1, 4, 4\)"),
        ({"valid": torch.full((1, 4, 4), 2.0)}, "valid has values 2"),
    ],
)
def test_what_does_not_keep_the_contract(item, words):
    class One(LandslideDataset):
        ids, source = ["a"], "one"

        def __getitem__(self, index):
            return {
                "image": torch.rand(3, 4, 4),
                "mask": torch.zeros(1, 4, 4),
                "id": "a",
            } | item

    with pytest.raises(DataError, match=rf"(?s)1 of 1 items cannot be used.*a: .*{words}"):
        One().check()


def test_the_example_of_the_contract_works(tmp_path):
    (example,) = doctest.DocTestFinder(recurse=False).find(LandslideDataset, globs={})
    assert doctest.DocTestRunner(verbose=False).run(example, clear_globs=False).failed == 0
    write(tmp_path, "a", half(255))
    (tmp_path / "mask/a.png").rename(tmp_path / "image/a_mask.png")
    data = example.globs["Tiles"](tmp_path / "image")
    assert data.ids == ["a"]
    assert data[0]["mask"].sum() == 6 * 9
    data.check()
    assert inspect(data).mask_values == {"0, 255": 1}
    assert base.LandslideDataset.__doc__.count("...     ") <= 10  # what the page promises


def test_pixels_to_ignore_are_left_out_of_everything(tmp_path):
    """A mask with 255 over a third of the image: loss, counts and cache do as if it were not."""
    mask = half(1)
    mask[-4:] = 255
    write(tmp_path, "a", mask)
    with pytest.raises(DataError, match=r"0, 1, 255; .*ignore=255"):
        ImagePairs(tmp_path / "image", tmp_path / "mask")[0]
    data = ImagePairs(tmp_path / "image", tmp_path / "mask", ignore=255)
    item = data[0]
    assert item["mask"].sum() == 6 * 9
    assert item["valid"].sum() == 8 * 9
    assert not item["valid"][0, -4:].any()
    assert inspect(data).landslide_share == pytest.approx(6 / 8)
    scores = tl.evaluate(Threshold(), data)
    assert sum(scores.confusion.counts()) == 8 * 9
    assert scores.landslide_share == pytest.approx(6 / 8)
    fitted = Prepared(Cached(data, 6), 6)[0]  # half the size, padded: 6 x 5 (4.5 columns)
    assert fitted["valid"].sum() == 4 * 5
    assert fitted["mask"].sum() == 3 * 5
    turned = Prepared(data, 24, tl.data.Augment(), seed=1)[0]
    assert 0 < turned["valid"].sum() < turned["valid"].numel()
    assert not (turned["mask"] * (1 - turned["valid"])).any()
    from tlseg_lite.training.losses import bce_dice

    logits = torch.zeros(1, 1, 12, 9)
    other = logits.clone()
    other[..., -4:, :] = 50.0
    losses = [bce_dice(x, item["mask"][None], item["valid"][None]) for x in (logits, other)]
    assert losses[0] == losses[1]


def test_masks_of_an_own_dataset_are_looked_at_before_training(pairs):
    """A dataset that hands on what its files hold must not train on 255 as landslide."""
    item = pairs[0]
    marked = item["mask"].clone()
    marked[0, 0] = 255
    for mask, words in ((marked, "has values 0, 1, 255;"), (item["mask"] * 255, "has 255 for 1")):
        with pytest.raises(ValueError, match=f"a: mask {words}"):
            tl.data.fit_square({**item, "mask": mask}, 16)
