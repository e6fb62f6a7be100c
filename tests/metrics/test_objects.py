"""Single landslides: scenes whose matches can be counted by eye."""

import numpy as np
import pytest
import torch

from tlseg_lite.metrics.objects import detect


def scene(*boxes, size=(30, 30)):
    mask = np.zeros(size, bool)
    for top, left, height, width in boxes:
        mask[top : top + height, left : left + width] = True
    return mask


TRUE = scene((1, 1, 4, 4), (10, 10, 8, 8), (24, 24, 3, 3))


def test_found_missed_and_false_alarms():
    predicted = scene((1, 1, 4, 4), (10, 12, 8, 8), (1, 20, 2, 2))
    result = detect(predicted, TRUE)
    assert result.true_areas.tolist() == [16, 64, 9]
    assert result.found.tolist() == [True, True, False]
    assert result.correct.tolist() == [True, False, True]
    assert sorted(result.ious) == pytest.approx([48 / 80, 1])
    assert (result.recall, result.precision) == pytest.approx((2 / 3, 2 / 3))
    assert result.f1 == pytest.approx(2 / 3)
    assert "2 of 3 landslides found, 1 false alarm" in repr(result)
    assert not detect(predicted, TRUE, min_iou=0.61).found[1]


def test_one_blob_over_two_landslides_finds_at_most_one():
    two = scene((5, 5, 4, 4), (5, 10, 4, 4))
    blob = scene((5, 5, 4, 9))
    assert detect(blob, two, min_iou=0.3).found.sum() == 1


def test_pairs_are_chosen_for_the_largest_sum_of_ious():
    true = scene((0, 0, 1, 10), (2, 0, 1, 10))
    predicted = scene((0, 0, 1, 6), (2, 2, 1, 8))
    result = detect(predicted, true, min_iou=0.2)
    assert result.found.all()
    assert sorted(result.ious) == pytest.approx([0.6, 0.8])


def test_diagonal_neighbours_are_one_landslide():
    assert len(detect(np.eye(5, dtype=bool), np.eye(5, dtype=bool)).found) == 1


def test_size_classes_in_square_metres():
    predicted = scene((10, 10, 8, 8))
    result = detect(predicted, TRUE, pixel_size=10)
    table = result.recall_by_size((1000, 5000))
    assert table["landslides"].tolist() == [1, 1, 1]
    assert table["found"].tolist() == [0, 0, 1]
    assert table["recall"].tolist() == [0, 0, 1]
    assert table["from_area"].tolist() == [0, 1000, 5000]
    assert np.isnan(result.recall_by_size((1, 2))["recall"][0])
    with pytest.raises(ValueError, match="rising areas"):
        result.recall_by_size((5, 5))


def test_small_specks_and_padding_can_be_left_out():
    predicted = TRUE | scene((28, 1, 1, 1))
    assert detect(predicted, TRUE).precision == 0.75
    assert detect(predicted, TRUE, min_area=2).precision == 1
    assert detect(predicted, TRUE, min_area=200, pixel_size=10).precision == 1
    valid = np.ones_like(TRUE)
    valid[20:] = False
    assert detect(predicted, TRUE, valid).true_areas.tolist() == [16, 64]


def test_images_add_up_and_objects_do_not_cross_them():
    batch = torch.as_tensor(np.stack([TRUE, TRUE])[:, None])
    total = detect(batch, batch)
    assert len(total.found) == 6
    assert sum([total, total]).recall == 1
    logits = batch.float() * 2 - 1
    assert detect(logits, batch, threshold=0).f1 == 1
    with pytest.raises(TypeError):
        1 + total


def test_empty_masks_have_defined_scores():
    empty = np.zeros((8, 8), bool)
    some = scene((1, 1, 3, 3), size=(8, 8))
    both = detect(empty, empty)
    assert (both.precision, both.recall, both.f1) == (1, 1, 1)
    missed, alarm = detect(empty, some), detect(some, empty)
    assert (missed.precision, missed.recall, missed.f1) == (0, 0, 0)
    assert (alarm.precision, alarm.recall, alarm.f1) == (0, 0, 0)


def test_bad_arguments_are_refused():
    for bad in ({"min_iou": 0}, {"min_iou": 1.5}, {"pixel_size": 0}):
        with pytest.raises(ValueError, match="expected above 0"):
            detect(TRUE, TRUE, **bad)
