"""The simulated user: known counts for a session that does what it is told."""

import numpy as np
import pytest
import torch
from experiment_helpers import Spots

import tlseg_lite as tl
from tlseg_lite.experiments.interactive import (
    ClickCurve,
    PromptedSam,
    boxed_mask,
    click_through,
)
from tlseg_lite.sam import prompting


class Obeys:
    """Each click flips a disc of the radius around it: nothing else is known."""

    def __init__(self, image, radius=3):
        self.logits, self.radius, self.clicks = torch.full((1, 32, 32), -1.0), radius, []

    def click(self, x, y, on=True):
        self.clicks.append((x, y, on))
        rows, columns = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
        near = (rows - y) ** 2 + (columns - x) ** 2 <= self.radius**2
        self.logits[0][near] = 1.0 if on else -1.0
        return self.logits


class Deaf(Obeys):
    def click(self, x, y, on=True):
        return self.logits


def test_the_user_clicks_in_the_middle_of_what_is_missing():
    data, sessions = Spots(1, 0), []

    def start(image):
        sessions.append(Obeys(image))
        return sessions[0]

    curve = click_through(start, data, 6)
    truth = data[0]["mask"][0] > 0
    y, x = np.argwhere(truth.numpy()).mean(0)
    first = sessions[0].clicks[0]
    assert abs(first[0] - x) <= 1
    assert abs(first[1] - y) <= 1
    assert first[2] is True
    assert curve.counts[0, 0].tolist() == [0, 0, 100, 924]
    assert curve.counts[0, 1].tolist() == [29, 0, 71, 924]  # a disc of radius 3 has 29 pixels
    assert (curve.counts.sum(-1) == 32 * 32).all()
    assert curve.ids == ("spot-0-0",)


def test_numbers_of_clicks_and_failures():
    curve = ClickCurve(np.array([
        [[0, 0, 10, 90], [8, 0, 2, 90], [9, 0, 1, 90]],  # IoU 0, 0.8, 0.9
        [[9, 0, 1, 90], [9, 0, 1, 90], [9, 0, 1, 90]],  # 0.9 without a click
        [[0, 0, 10, 90], [5, 0, 5, 90], [4, 0, 6, 90]],  # never
        [[0, 5, 0, 95], [0, 0, 0, 100], [0, 0, 0, 100]],  # no landslide: pixels only
    ]))  # fmt: skip
    assert curve.needed(0.8).tolist() == [1, 0, 2]
    assert curve.noc(0.85) == pytest.approx(4 / 3)
    assert (curve.failures(0.8), curve.failures(0.9), curve.failures(0.95)) == (1, 1, 3)
    assert curve.image_iou(1).tolist() == [0.8, 0.9, 0.5]
    assert curve.scores(0).landslide_iou == pytest.approx(9 / 35)
    row = curve.row("test_")
    assert row["test_noc_80"] == "1.0000"
    assert row["test_landslide_iou_2"] == f"{22 / 30:.6f}"
    assert "test_miou_3" not in row
    with pytest.raises(ValueError, match="expected 0 to 2"):
        curve.scores(3)


def test_a_perfect_mask_gets_no_more_clicks():
    class Perfect(Obeys):
        def __init__(self, image):
            super().__init__(image)
            self.logits = torch.where(image.mean(0, keepdim=True) > 0.5, 1.0, -1.0)

        def click(self, *place, on=True):
            raise AssertionError("nothing is wrong")

    curve = click_through(Perfect, Spots(2, 1), 5)
    assert (curve.image_iou() == 1).all()
    assert curve.noc(0.8) == 0


def test_who_never_listens_fails_everywhere():
    curve = click_through(Deaf, Spots(2, 1), 4)
    assert curve.noc(0.8) == 4
    assert curve.failures(0.8) == 2


def test_pixels_that_do_not_count_get_no_click():
    class Half(Spots):
        def __getitem__(self, i):
            sample = super().__getitem__(i)
            return sample | {"valid": 1 - sample["mask"]}

    curve = click_through(Obeys, Half(1, 0), 2)
    assert curve.counts[0].tolist() == [[0, 0, 0, 924]] * 3


def test_a_model_and_sam_are_sessions():
    sam = tl.load_sam("sam_mini", image_size=64)
    model = tl.TransLandSeg(sam, tl.DESIGNS["TransLandSeg"], prompts=True)
    data = Spots(2, 3)
    curve = click_through(model, data, 2)
    assert curve.scores(0) == tl.evaluate(model, data)
    plain = click_through(lambda image: PromptedSam(sam, image), data, 2)
    assert plain.scores(0).landslide_iou == 0
    assert plain.scores(1).landslide_iou > 0
    with pytest.raises(ValueError, match="takes no clicks"):
        click_through(tl.TransLandSeg(sam, None), data, 2)


def test_sams_first_answer_is_the_mask_it_believes_in():
    sam = tl.load_sam("sam_mini", image_size=64)
    image = Spots(1, 3)[0]["image"]
    session = PromptedSam(sam, image)
    answer = prompting.segment(sam, image, [(10, 12)])
    assert torch.equal(session.click(10, 12)[0] > 0, answer.masks[int(answer.scores.argmax())])
    former = session.logits
    held = PromptedSam(sam, image, hold=True)
    held.click(10, 12)
    assert held.click(3, 3, on=False)[0, 3, 3] < 0
    assert session.click(3, 3, on=False).shape == (1, 32, 32)
    assert not torch.equal(session.logits, former)


def test_a_box_for_each_landslide():
    sam = tl.load_sam("sam_mini", image_size=64)
    sample = Spots(1, 3)[0]
    y, x = np.nonzero(sample["mask"][0].numpy())
    box = (x.min(), y.min(), x.max() + 1, y.max() + 1)
    answer = prompting.segment(sam, sample["image"], box=box)
    expected = answer.masks[int(answer.scores.argmax())]
    assert torch.equal(boxed_mask(sam, sample), expected)
    assert not boxed_mask(sam, sample | {"mask": torch.zeros(1, 32, 32)}).any()


@pytest.mark.parametrize("clicks", [-1, 2.0, True])
def test_a_number_of_clicks(clicks):
    with pytest.raises(ValueError, match="expected a whole number of 0 or more"):
        click_through(Obeys, Spots(1, 0), clicks)


def test_nothing_to_click_on():
    with pytest.raises(ValueError, match="the dataset is empty"):
        click_through(Obeys, Spots(0, 0))
    with pytest.raises(ValueError, match="no image has a landslide"):
        ClickCurve(np.zeros((1, 2, 4), int)).noc(0.8)
