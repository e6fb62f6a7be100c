"""Labels by clicks: what is kept of the true masks, and what drawing them costs."""

import numpy as np
import pytest
import torch
from experiment_helpers import Spots

from tlseg_lite.experiments.labelling import LabelledByClicks, outline_points


class OneClick:
    """Nothing before the first click; then everything within four pixels of it."""

    def __init__(self, image):
        self.logits = torch.full((1, 32, 32), -1.0)

    def click(self, x, y, on=True):
        rows, columns = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
        self.logits[0][((rows - y).abs() <= 4) & ((columns - x).abs() <= 4)] = 1.0 if on else -1.0
        return self.logits.clone()


def test_the_labels_are_those_of_the_clicks():
    data = Spots(2, 0)
    nothing = LabelledByClicks(OneClick, data, 0)
    assert nothing.spent == [0, 0]
    assert nothing.iou == [0, 0]
    assert not nothing[0]["mask"].any()
    assert torch.equal(nothing[0]["image"], data[0]["image"])
    one = LabelledByClicks(OneClick, data, 1)
    assert one.iou == [0.81, 0.81]  # 9 x 9 of 10 x 10
    assert one[-1]["mask"].sum() == 81
    assert one.mask_file(0) is None
    assert one.source.endswith("labelled with 2 clicks")
    content = LabelledByClicks(OneClick, data, 5, enough=0.8)
    assert content.spent == [1, 1]


def test_a_perfect_proposal_costs_nothing():
    class Perfect(OneClick):
        def __init__(self, image):
            self.logits = torch.where(image.mean(0, keepdim=True) > 0.5, 1.0, -1.0)

    labelled = LabelledByClicks(Perfect, Spots(2, 0), 3)
    assert labelled.spent == [0, 0]
    assert labelled.iou == [1, 1]


@pytest.mark.parametrize(("given", "says"), [({"clicks": -1}, "whole"), ({"enough": 0}, "an IoU")])
def test_what_cannot_be(given, says):
    with pytest.raises(ValueError, match=says):
        LabelledByClicks(OneClick, Spots(1, 0), **given)


def test_corners_of_outlines():
    mask = np.zeros((40, 40), bool)
    assert outline_points(mask) == 0
    mask[5:15, 5:30] = True
    assert outline_points(mask) == 4
    mask[20:30, 5:30] = True
    assert outline_points(torch.from_numpy(mask)[None]) == 8
    mask[22:28, 10:20] = False  # a hole has an outline, too
    assert outline_points(mask) == 12
