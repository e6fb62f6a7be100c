"""The loss against closed forms."""

import math

import pytest
import torch

from tlseg_lite.training.losses import bce, bce_dice, dice


def test_bce_closed_form():
    logits = torch.tensor([0.0, 2.0, -3.0, 1.0]).reshape(1, 1, 2, 2)
    target = torch.tensor([1.0, 1.0, 0.0, 0.0]).reshape(1, 1, 2, 2)
    expected = (
        math.log(2) + math.log1p(math.exp(-2)) + math.log1p(math.exp(-3)) + math.log1p(math.exp(1))
    ) / 4
    assert bce(logits, target).item() == pytest.approx(expected, rel=1e-6)


def test_dice_closed_form():
    # probabilities 1/2 everywhere on 4 pixels, 1 of them landslide: overlap 1/2, sizes 2 and 1
    logits, target = torch.zeros(1, 1, 2, 2), torch.tensor([1.0, 0, 0, 0]).reshape(1, 1, 2, 2)
    assert dice(logits, target).item() == pytest.approx(1 - (2 * 0.5 + 1) / (2 + 1 + 1))
    assert dice(logits, target, smooth=0.0).item() == pytest.approx(1 - 1 / 3)


@pytest.mark.parametrize("empty", [True, False])
def test_a_perfect_prediction_costs_nothing(empty):
    target = torch.zeros(2, 1, 8, 8)
    if not empty:
        target[:, :, 2:5, 3:6] = 1
    logits = (target * 2 - 1) * 50
    assert bce_dice(logits, target).item() == pytest.approx(0, abs=1e-5)


def test_half_and_half_and_weights():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 1, 5, 5, generator=generator)
    target = (torch.rand(3, 1, 5, 5, generator=generator) > 0.7).float()
    b, d = bce(logits, target), dice(logits, target)
    torch.testing.assert_close(bce_dice(logits, target), (b + d) / 2)
    torch.testing.assert_close(bce_dice(logits, target, dice_weight=0.0), b)
    torch.testing.assert_close(bce_dice(logits, target, dice_weight=1.0), d)
    for wrong in (-0.1, 1.1):
        with pytest.raises(ValueError, match="from 0 to 1"):
            bce_dice(logits, target, dice_weight=wrong)


def test_padding_does_not_count():
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(2, 1, 6, 6, generator=generator, requires_grad=True)
    target = (torch.rand(2, 1, 6, 6, generator=generator) > 0.5).float()
    valid = torch.zeros(2, 1, 6, 6)
    valid[..., :4, :] = 1
    whole = bce_dice(logits, target, valid)
    torch.testing.assert_close(whole, bce_dice(logits[..., :4, :], target[..., :4, :]))
    whole.backward()
    assert (logits.grad[..., 4:, :] == 0).all()
    assert (logits.grad[..., :4, :] != 0).all()


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="target has shape"):
        bce_dice(torch.zeros(1, 1, 4, 4), torch.zeros(1, 4, 4))
    with pytest.raises(ValueError, match="valid has shape"):
        bce_dice(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 2, 4))


def test_a_batch_may_be_divided():
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(4, 1, 6, 6, generator=generator)
    target = (torch.rand(4, 1, 6, 6, generator=generator) > 0.5).float()
    valid = torch.ones(4, 1, 6, 6)
    for i in range(4):
        valid[i, :, 2 + i :] = 0  # images of four shapes
    halves = [bce_dice(logits[h], target[h], valid[h]) for h in (slice(0, 2), slice(2, 4))]
    torch.testing.assert_close(bce_dice(logits, target, valid), sum(halves) / 2)
