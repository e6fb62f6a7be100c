"""Prompts, scores and clear errors, on any size of image; parity with segment_anything."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tlseg_lite as tl
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


@pytest.mark.parametrize(("height", "width"), [(40, 300), (257, 64), (33, 33)])
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
        one = zero_shot.fit(zero_shot.segment(sam, picture, (x, y)), square)
        assert clicks.best[i, j] == pytest.approx(one.best, abs=1e-4)
        assert clicks.own[i, j] == pytest.approx(one.own, abs=1e-4)
        assert bool(clicks.inside[i, j]) == bool(square[0, y, x])
    assert (clicks.best >= clicks.own).all()


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


def test_fit_tells_the_best_from_the_models_choice(square):
    masks = torch.zeros(3, 90, 140, dtype=torch.bool)
    masks[1, 20:60, 30:80] = True
    masks[2, 20:60, 30:55] = True
    fit = zero_shot.fit(zero_shot.Segmentation(masks, torch.tensor([0.1, 0.2, 0.9]), masks), square)
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
        ({"points": (float("nan"), 1)}, "outside"),
        ({"points": []}, "N of 1 or more"),
        ({"points": [1, 2, 3]}, r"expected \(N, 2\)"),
        ({"points": (3, 3), "labels": [1, 0]}, "one 1"),
        ({"points": (3, 3), "labels": [2]}, "one 1"),
        ({"labels": [1]}, "labels without points"),
        ({"box": (1, 2, 3)}, r"expected \(4,\)"),
        ({"box": (10, 10, 5, 20)}, "left < right"),
        ({"box": (10, 10, 500, 20)}, "<= 140"),
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
        (torch.rand(90, 140), ValueError, r"shape \(90, 140\)"),
        (torch.rand(4, 9, 9), ValueError, "3 x H x W"),
        (torch.rand(3, 9, 9) * 255, ValueError, "divide 8-bit values by 255"),
        (torch.full((3, 9, 9), float("nan")), ValueError, "NaN"),
        (np.zeros((9, 9, 3), np.int32), ValueError, "int32"),
        (np.zeros((0, 9, 3), np.uint8), ValueError, "no pixels"),
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
