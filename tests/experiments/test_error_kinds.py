"""Every wrong pixel has one kind."""

import pytest
import torch

from tlseg_lite.experiments.error_kinds import KINDS, error_kinds


def area(top, left, height, width, side=200):
    mask = torch.zeros(side, side)
    mask[top : top + height, left : left + width] = 1
    return mask


def counts(mask, truth):
    row = error_kinds(mask, truth)
    assert sum(row[k] for k in KINDS) == int(((mask > 0) ^ (truth > 0)).sum())
    return {k: row[k] for k in KINDS if row[k]}


def test_a_shifted_answer_has_errors_at_the_outline():
    truth = area(50, 50, 60, 60)
    assert counts(area(50, 53, 60, 60), truth) == {"outline": 2 * 3 * 60}
    assert error_kinds(truth, truth) == {
        "landslide_iou": 1.0, "landslide_pixels": 3600, **dict.fromkeys(KINDS, 0),
    }  # fmt: skip


def test_a_landslide_that_nothing_was_found_of_is_missed():
    both = area(20, 20, 30, 30) + area(120, 120, 40, 40)
    assert counts(area(20, 20, 30, 30), both) == {"missed": 1600}
    half = counts(area(20, 20, 30, 30) + area(120, 120, 40, 20), both)
    assert half == {"outline": 40 * 4, "missed_part": 40 * 16}


def test_an_answer_without_a_landslide_is_a_false_alarm():
    truth = area(20, 20, 30, 30)
    assert counts(truth + area(120, 120, 40, 40), truth) == {"false_alarm": 1600}
    assert counts(area(20, 20, 30, 60), truth) == {"outline": 30 * 4, "spread": 30 * 26}
    empty = error_kinds(torch.zeros(9, 9), torch.zeros(9, 9))
    assert (empty["landslide_iou"], empty["landslide_pixels"]) == (1.0, 0)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"the mask is \(2, 2\), the truth \(3, 3\)"):
        error_kinds(torch.zeros(2, 2), torch.zeros(3, 3))
