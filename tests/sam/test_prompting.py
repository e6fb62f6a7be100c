"""Prompts, scores and clear errors, on any size of image; parity with segment_anything."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tlseg_lite as tl
from tlseg_lite.core.memory import NotEnoughMemory
from tlseg_lite.sam import prompting as zero_shot


@pytest.fixture(scope="module")
def sam():
    return tl.load_sam("sam_mini", weights=None, seed=1)


@pytest.fixture(scope="module")
def picture() -> torch.Tensor:
    """A bright square on dark ground, 90 x 140."""
    image = torch.full((3, 90, 140), 0.2)
    image[:, 20:60, 30:80] = torch.tensor([0.8, 0.7, 0.3])[:, None, None]
    return image


@pytest.fixture(scope="module")
def square() -> torch.Tensor:
    mask = torch.zeros(1, 90, 140)
    mask[:, 20:60, 30:80] = 1
    return mask


def test_segment_is_sam_predictor(sam, picture):
    """The same numbers as segment_anything's own predictor gives."""
    from segment_anything import SamPredictor

    predictor = SamPredictor(sam)
    predictor.set_image(zero_shot.as_pixels(picture))
    masks, scores, logits = predictor.predict(
        np.array([[40.0, 30.0], [5.0, 5.0]]), np.array([1, 0]), box=np.array([30, 20, 80, 60])
    )
    ours = zero_shot.segment(sam, picture, [(40, 30), (5, 5)], (30, 20, 80, 60), labels=[1, 0])
    assert ours.masks.dtype == torch.bool
    np.testing.assert_array_equal(ours.masks.numpy(), masks)
    np.testing.assert_allclose(ours.scores.numpy(), scores, rtol=1e-5)
    np.testing.assert_allclose(ours.logits.numpy(), logits, rtol=1e-4, atol=1e-5)


def test_every_kind_of_float_is_the_same_image(picture):
    expected = zero_shot.as_pixels(picture)
    read_only = picture.numpy().copy()
    read_only.flags.writeable = False
    for same in (picture.numpy(), read_only, picture.flip(1).numpy()[:, ::-1]):
        np.testing.assert_array_equal(zero_shot.as_pixels(same), expected)
    for near in (picture.double(), picture.half(), picture.bfloat16()):  # 0.3 * 255 is a half
        np.testing.assert_allclose(zero_shot.as_pixels(near), expected, atol=1)


SIZES = [(40, 300), (257, 64), (33, 33), (2, 1500), (1500, 1), (1, 1)]


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_any_size(sam, height, width):
    answer = zero_shot.segment(sam, torch.rand(3, height, width), (width - 1, 0))
    assert answer.masks.shape == (3, height, width)
    assert answer.scores.shape == (3,)
    single = zero_shot.segment(sam, torch.rand(3, height, width), (0, 0), multimask=False)
    assert single.masks.shape == (1, height, width)


def test_both_image_forms_are_the_same(sam, picture):
    embedded = zero_shot.Embedded(sam, picture)
    a = zero_shot.segment(sam, embedded, (40, 30))
    b = zero_shot.segment(sam, zero_shot.as_pixels(picture), (40, 30))
    assert torch.equal(a.logits, b.logits)


def test_click_map_is_many_single_clicks(sam, picture, square):
    clicks = zero_shot.click_map(sam, picture, square, clicks=7, batch=5)
    assert clicks.best.shape == clicks.own.shape == clicks.inside.shape == (4, 7)  # 90 / 20 rows
    for i, j in ((0, 0), (1, 2), (3, 6)):
        x, y = int(clicks.x[j]), int(clicks.y[i])
        one = zero_shot.overlap(zero_shot.segment(sam, picture, (x, y)), square)
        assert clicks.best[i, j] == pytest.approx(one.best, abs=1e-4)
        assert clicks.own[i, j] == pytest.approx(one.own, abs=1e-4)
        assert bool(clicks.inside[i, j]) == bool(square[0, y, x])
    assert (clicks.best >= clicks.own).all()


def test_clicks_batch_by_the_area(sam, picture, monkeypatch):
    embedded = zero_shot.Embedded(sam, picture)
    monkeypatch.setattr(zero_shot, "PIXELS_PER_BATCH", 3 * 90 * 140 + 1)
    parts = [len(points) for points, *_ in zero_shot.every_click(sam, embedded, clicks=4)]
    assert parts == [3, 3, 3, 3]  # 4 x 3 clicks
    monkeypatch.setattr(zero_shot, "PIXELS_PER_BATCH", 1)
    assert len(list(zero_shot.every_click(sam, embedded, clicks=2))) == 2


def test_automatic_masks(sam, picture, square):
    records = zero_shot.automatic(
        sam, picture, points_per_side=4, pred_iou_thresh=-9.0, stability_score_thresh=0.0
    )
    assert records
    assert all(r["segmentation"].shape == (90, 140) for r in records)
    assert [r["area"] for r in records] == sorted((r["area"] for r in records), reverse=True)
    best, record = zero_shot.best_automatic(records, square)
    assert best == pytest.approx(
        max(float(zero_shot.iou(r["segmentation"], square)) for r in records)
    )
    assert record in records
    assert zero_shot.best_automatic([], square) == (0.0, None)


def test_automatic_masks_of_a_narrow_image(sam):
    """At 2 x 1500 pixels SAM's own rule would leave no row of 0.3 pixels; one is kept."""
    records = zero_shot.automatic(
        sam, torch.rand(3, 2, 1500), points_per_side=2, pred_iou_thresh=-9.0,
        stability_score_thresh=0.0, crop_n_layers=1,
    )  # fmt: skip
    assert all(r["segmentation"].shape == (2, 1500) for r in records)


@pytest.mark.parametrize(
    ("size", "settings", "expected"),
    [
        ((256, 256), {}, 256),  # the miniature's own setting
        ((1024, 1024), {}, 32),  # 2^25 / 2^20
        ((1600, 1600), {}, 13),
        ((1600, 1600), {"points_per_batch": 64}, 64),
        ((8000, 8000), {}, 1),
    ],
)
def test_the_batch_follows_the_area(sam, monkeypatch, size, settings, expected):
    import segment_anything

    seen = []

    class Generator:
        def __init__(self, sam, points_per_batch, **others):
            seen.append(points_per_batch)
            self.predictor = zero_shot.Embedded(sam, np.zeros((9, 9, 3), np.uint8)).predictor

        def generate(self, pixels):
            return []

    monkeypatch.setattr(segment_anything, "SamAutomaticMaskGenerator", Generator)
    assert zero_shot.automatic(sam, np.zeros((*size, 3), np.uint8), **settings) == []
    assert seen == [expected]


def test_the_batch_does_not_change_the_masks(sam, picture):
    settings = {"points_per_side": 3, "pred_iou_thresh": -9.0, "stability_score_thresh": 0.0}
    one, two = (zero_shot.automatic(sam, picture, points_per_batch=n, **settings) for n in (1, 9))
    assert [r["area"] for r in one] == [r["area"] for r in two]


def test_where_memory_runs_out_the_text_says_what_helps(sam, picture, monkeypatch):
    from segment_anything import SamPredictor

    def full(*args, **kwargs):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 GB")

    embedded = zero_shot.Embedded(sam, picture)
    monkeypatch.setattr(SamPredictor, "predict_torch", full)
    with pytest.raises(NotEnoughMemory, match=r"90 x 140 .*points_per_batch=128 \(now 256\)"):
        zero_shot.automatic(sam, picture)
    with pytest.raises(NotEnoughMemory, match=r"image of 90 x 140 pixels.*smaller image") as caught:
        zero_shot.automatic(sam, picture, points_per_batch=1)
    assert "points_per_batch" not in str(caught.value)
    with pytest.raises(NotEnoughMemory, match="90 x 140"):
        zero_shot.segment(sam, embedded, (3, 3))
    monkeypatch.setattr(SamPredictor, "set_torch_image", full)
    with pytest.raises(NotEnoughMemory, match="image_size=512"):
        zero_shot.Embedded(sam, picture)


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"min_mask_region_area": 9}, ModuleNotFoundError, "pip install opencv-python-headless"),
        ({"output_mode": "coco_rle"}, ModuleNotFoundError, "pip install pycocotools"),
        ({"output_mode": "rle"}, ValueError, "Unknown output_mode rle"),
        ({"points_per_side": None}, ValueError, "points_per_side"),
        ({"points_per_batch": 0}, ValueError, "points_per_batch is 0"),
        ({"points": 3}, TypeError, "points"),
    ],
)
def test_wrong_settings_of_automatic(sam, picture, monkeypatch, settings, error, words):
    monkeypatch.setattr(zero_shot, "find_spec", lambda name: None)
    with pytest.raises(error, match=words):
        zero_shot.automatic(sam, picture, **settings)


def test_run_length_records_have_the_same_overlap(sam, picture, square):
    settings = {"points_per_side": 3, "pred_iou_thresh": -9.0, "stability_score_thresh": 0.0}
    masks = zero_shot.automatic(sam, picture, **settings)
    runs = zero_shot.automatic(sam, picture, output_mode="uncompressed_rle", **settings)
    assert zero_shot.best_automatic(runs, square)[0] == zero_shot.best_automatic(masks, square)[0]


def test_the_old_names_of_overlap_warn():
    for old, new in (("fit", "overlap"), ("Fit", "Overlap")):
        with pytest.warns(FutureWarning, match=f"prompting.{old} is now {new}") as told:
            assert getattr(tl.zero_shot, old) is getattr(zero_shot, new)
        assert told[0].filename == __file__


def test_overlap_tells_the_best_from_the_highest_predicted_iou(square):
    masks = torch.zeros(3, 90, 140, dtype=torch.bool)
    masks[1, 20:60, 30:80] = True
    masks[2, 20:60, 30:55] = True
    fit = zero_shot.overlap(
        zero_shot.Segmentation(masks, torch.tensor([0.1, 0.2, 0.9]), masks), square
    )
    assert (fit.best, fit.which) == (1.0, 1)
    assert fit.own == 0.5
    assert fit.every.tolist() == [0.0, 1.0, 0.5]


@given(st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_iou_properties(seed):
    g = torch.Generator().manual_seed(seed)
    a, b = torch.rand(2, 5, 6, generator=g) > 0.5
    assert zero_shot.iou(a, a) == 1
    assert zero_shot.iou(a, b) == zero_shot.iou(b, a)
    assert 0 <= zero_shot.iou(a, b) <= 1
    if a.any():
        assert zero_shot.iou(a, ~a) == 0


def test_inner_point_is_deepest():
    mask = torch.zeros(1, 50, 60)
    mask[0, 10:41, 20:31] = 1  # 31 x 11: the middle line is column 25, rows 15 to 35
    x, y = zero_shot.inner_point(mask)
    assert x == 25
    assert 15 <= y <= 35
    with pytest.raises(ValueError, match="empty"):
        zero_shot.inner_point(torch.zeros(4, 4))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "no prompt"),
        ({"points": (140, 20)}, r"point \(140, 20\) lies outside.*x in 0..139"),
        ({"points": (3, -1)}, "outside"),
        ({"points": (20, 100)}, r"point \(20, 100\) lies outside.*order is x \(column\), y"),
        ({"points": (float("nan"), 1)}, "points: .*not finite"),
        ({"points": ["a", "b"]}, "no numbers"),
        ({"points": [(1, 2), (3,)]}, "no numbers"),
        ({"points": [None, 1]}, "no numbers|not finite"),
        ({"points": torch.zeros(0, 2)}, "N of 1 or more"),
        ({"points": []}, "N of 1 or more"),
        ({"points": np.ones((1001, 2))}, r"1001 points are one prompt.*at most 1000"),
        ({"points": [1, 2, 3]}, r"expected \(N, 2\)"),
        ({"points": (3, 3), "labels": [1, 0]}, "one 1"),
        ({"points": (3, 3), "labels": [2]}, "one 1"),
        ({"labels": [1]}, "labels without points"),
        ({"box": (1, 2, 3)}, r"expected \(4,\)"),
        ({"box": (10, 10, 5, 20)}, "left < right"),
        ({"box": (10, 10, 500, 20)}, "<= 140"),
        ({"box": (10, 10, 10, 20)}, "left < right"),
        ({"box": (-1, 10, 10, 20)}, "0 <= left"),
        ({"box": (100, 80, 30, 30)}, "not width and height"),
        ({"box": (10, 10, float("nan"), 20)}, "box: .*not finite"),
        ({"box": (10, 10, float("inf"), 20)}, "not finite"),
        ({"box": ()}, r"expected \(4,\)"),
    ],
)
def test_wrong_prompts_are_refused(sam, picture, arguments, message):
    embedded = zero_shot.Embedded.__new__(zero_shot.Embedded)  # nothing is computed
    embedded.size = (90, 140)
    with pytest.raises(ValueError, match=message):
        zero_shot.segment(sam, embedded, **arguments)


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        ("picture.png", TypeError, "is a str"),
        (torch.rand(90, 140), ValueError, "is 90 x 140 of float32; expected 3 x H x W"),
        (torch.rand(4, 9, 9), ValueError, "4 channels"),
        (torch.rand(9, 9, 3), ValueError, "H x W x 3 of uint8"),
        (torch.rand(3, 9, 9) * 255, ValueError, r"\[0, 1\]: divide by 255"),
        (torch.full((3, 9, 9), float("nan")), ValueError, "not finite"),
        (np.zeros((9, 9, 3), np.int32), ValueError, "int32"),
        (np.zeros((0, 9, 3), np.uint8), ValueError, "positive sides"),
        (torch.rand(3, 0, 9), ValueError, "positive sides"),
    ],
)
def test_wrong_images_are_refused(image, error, message):
    with pytest.raises(error, match=message):
        zero_shot.as_pixels(image)


def test_wrong_targets_are_refused(sam, picture):
    with pytest.raises(ValueError, match="expected alike"):
        zero_shot.iou(torch.ones(3, 5, 5), torch.ones(5, 6))
    with pytest.raises(ValueError, match=r"\(H, W\) or \(1, H, W\)"):
        zero_shot.iou(torch.ones(5, 5), torch.ones(2, 5, 5))
    embedded = zero_shot.Embedded.__new__(zero_shot.Embedded)
    embedded.size = (90, 140)
    with pytest.raises(ValueError, match="expected alike"):
        zero_shot.click_map(sam, embedded, torch.ones(5, 5))
    with pytest.raises(ValueError, match="clicks is 0"):
        zero_shot.click_map(sam, picture, torch.ones(90, 140), clicks=0)
