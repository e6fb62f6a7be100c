"""Correcting one image: clicks in the image's pixels, undo, and what is refused."""

import pytest
import torch
from adapter_helpers import nowhere_zero_sam

import tlseg_lite as tl
from tlseg_lite.adapters import Correction


@pytest.fixture(scope="module")
def model():
    return tl.TransLandSeg(nowhere_zero_sam(64), tl.DESIGNS["TransLandSeg"], prompts=True)


@pytest.fixture(scope="module")
def image():
    return torch.rand(3, 48, 32, generator=torch.Generator().manual_seed(1))


def test_without_a_click_it_is_the_prediction(model, image):
    torch.testing.assert_close(Correction(model, image).logits, tl.predict(model, image))


def test_a_click_is_given_in_the_models_pixels_with_the_former_answer(model, image):
    correction = Correction(model, image)
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
    alone = Correction(model, image, former=False)
    assert not torch.allclose(alone.click(9, 20, on=False), answer)


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
