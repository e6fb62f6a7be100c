"""Correcting one image: clicks in the image's pixels, undo, and what is refused."""

import pytest
import torch
from adapter_helpers import nowhere_zero_sam, prompted_model, upright_image

import tlseg_lite as tl
from tlseg_lite.adapters import Correction


@pytest.fixture(scope="module")
def model():
    return prompted_model()


@pytest.fixture(scope="module")
def image():
    return upright_image()


def test_without_a_click_it_is_the_prediction(model, image):
    torch.testing.assert_close(Correction(model, image).logits, tl.predict(model, image))


def test_a_click_is_given_in_the_models_pixels_with_the_former_answer(model, image):
    correction = Correction(model, image, hold=False)
    first = correction._answers[0]
    # 48 x 32 becomes 64 x 43: pixel 9.5 of the image's edges is 12.67 of the model's
    answer = correction.click(9, 20, on=False)
    scale = torch.tensor([43 / 32, 64 / 48])
    point = (torch.tensor([9.0, 20.0]) + 0.5) * scale - 0.5
    prompt = {"points": [point.tolist()], "labels": [0], "mask": first[0]}
    with torch.no_grad():
        embedding = model.encode(tl.data.transforms.fit_image(image, 64)[None])
        expected = model.enlarged(model.decode(embedding, [prompt]))[0]
    torch.testing.assert_close(answer, tl.data.transforms.unfit(expected, (48, 32)))
    assert torch.equal(correction.mask, answer[0] > 0)
    alone = Correction(model, image, former=False, hold=False)
    assert not torch.allclose(alone.click(9, 20, on=False), answer)


def test_a_click_is_an_order(model, image):
    hint, order = Correction(model, image, hold=False), Correction(model, image)
    for x, y in ((3, 4), (20, 30), (31, 47), (0, 0)):
        for on in (True, False):  # the later one counts where both were clicked
            hint.click(x, y, on)
            order.click(x, y, on)
            assert bool(order.mask[y, x]) == on
    assert not torch.equal(hint.logits, order.logits)


def test_far_from_a_click_nothing_changes(model):
    correction = Correction(model, torch.rand(3, 64, 64))
    before = correction.logits
    change = (correction.click(2, 2) - before).abs()[0]
    assert change[60:, 60:].max() < 1e-4
    assert change[:5, :5].max() > 0.1


def test_it_may_begin_with_another_answer(model, image):
    first = torch.full((1, 48, 32), -3.0)
    first[:, :24] = 3
    correction = Correction(model, image, first=first)
    assert torch.equal(correction.logits, first)
    low = correction._answers[0][0, 0]
    assert low[0, 0] == 3
    assert low[14, 9] == -3
    assert low[0, 15] == -20  # the padding
    correction.click(5, 40)
    assert correction.mask[40, 5]
    correction.undo()
    assert torch.equal(correction.logits, first)
    with pytest.raises(ValueError, match="expected finite logits of"):
        Correction(model, image, first=first[:, :9])


def test_undo_goes_back_step_by_step(model, image):
    correction = Correction(model, image)
    answers = [correction.logits, correction.click(3, 4), correction.click(30, 40, on=False)]
    assert not torch.equal(answers[1], answers[2])
    assert correction.undo() == (30, 40, False)
    assert torch.equal(correction.logits, answers[1])
    assert torch.equal(correction.click(30, 40, on=False), answers[2])
    correction.reset()
    assert torch.equal(correction.logits, answers[0])
    assert correction.undo() is None
    assert correction.clicks == []


def test_the_encoder_runs_once_and_the_model_keeps_its_mode(model, image, monkeypatch):
    calls = []
    encode = model.encode
    monkeypatch.setattr(model, "encode", lambda given: calls.append(1) or encode(given))
    model.train()
    correction = Correction(model, image)
    for x in range(3):
        correction.click(x, x)
    assert len(calls) == 1
    assert model.training


@pytest.mark.parametrize("place", [(32, 5), (5, 48), (-1, 5), (float("nan"), 5)])
def test_a_click_outside_is_refused_and_changes_nothing(model, image, place):
    correction = Correction(model, image)
    with pytest.raises(ValueError, match=r"outside of the image; expected x in 0..31 and y in 0"):
        correction.click(*place)
    assert correction.clicks == []


def test_what_cannot_be_corrected(model, image):
    with pytest.raises(ValueError, match="takes no clicks; build it with"):
        Correction(tl.TransLandSeg(nowhere_zero_sam(64), None), image)
    with pytest.raises(ValueError, match="divide by 255"):
        Correction(model, image * 255)
