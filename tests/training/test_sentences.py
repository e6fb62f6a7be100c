"""Sentences that are computed from a run's numbers."""

import pandas as pd
import pytest

from tlseg_lite.training import words


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([0.6, 0.4, 0.2], "falls from 0.60 to 0.20 in every step"),
        ([0.6, 0.7, 0.2], "falls from 0.60 to 0.20, but rises in 1 of 2 steps between epochs"),
        ([0.2, 0.4, 0.3, 0.6], "rises from 0.20 to 0.60, but falls in 1 of 3 steps between epochs"),
        ([0.5, 0.2, 0.501], "ends where it began, at 0.50"),
        ([1, 0], "falls from 1.00 to 0.00"),
    ],
)
def test_course_says_what_the_values_do(values, text):
    assert words.course(values) == text


def test_course_needs_two_values():
    with pytest.raises(ValueError, match="1 values"):
        words.course([0.5])


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([0.5, 0.6, 0.7], "epoch 3 (of 1 to 3), at 70.0%: the last one"),
        ([0.5, 0.61, 0.5, 0.5, 0.5, 0.58], "epoch 2 (of 1 to 6), at 61.0%, early in the training; "
         "the last epoch is 3.0 points below it"),
        ([0.5, 0.5, 0.7, 0.6], "epoch 3 (of 1 to 4), at 70.0%; the last epoch is 10.0 points below "
         "it"),
    ],
)  # fmt: skip
def test_best_epoch_is_that_of_the_history(scores, expected):
    history = pd.DataFrame({"epoch": range(1, len(scores) + 1), "miou": scores})
    assert expected in words.best_epoch(history)
    assert words.best_epoch(history.rename(columns={"miou": "landslide_iou"}), "landslide_iou")


def test_best_epoch_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="no rows"):
        words.best_epoch(pd.DataFrame({"epoch": [], "miou": []}))


@pytest.mark.parametrize(
    ("test", "validation", "images", "parts"),
    [
        (0.80, 0.70, 3, ["10.0 points above", "3 test images", "easier"]),
        (0.60, 0.70, 3, ["10.0 points below", "3 test images", "too good"]),
        (0.60, 0.70, 300, ["10.0 points below", "too good"]),
        (0.705, 0.70, 3, ["0.5 points above", "about the same"]),
    ],
)
def test_test_beside_validation_follows_the_sign(test, validation, images, parts):
    text = words.test_beside_validation(test, validation, images)
    assert all(part in text for part in parts)
    assert ("test images one" in text) == (images < 30 and abs(test - validation) > 0.01)
