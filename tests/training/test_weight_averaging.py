"""Weights between two trainings."""

import pytest
import torch

import tlseg_lite as tl
from tlseg_lite.training.weight_averaging import MovingAverage


def trained(model):
    return {name: tensor.clone() for name, tensor in model.trained_state().items()}


def moved(model, amount):
    for tensor in model.trained_state().values():
        tensor.add_(amount if tensor.is_floating_point() else round(amount))


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("kind", ["adapters", "baseline"])
def test_blend_lies_between_the_start_and_the_present_weights(kind, share):
    if kind == "adapters":
        model = tl.TransLandSeg(tl.load_sam("sam_mini"), tl.DESIGNS["TransLandSeg"])
    else:
        model = tl.build_baseline("segformer", image_size=64)
    start = trained(model)
    moved(model, 1)
    now = trained(model)
    assert tl.blend(model, start, share) is model
    for name, tensor in model.trained_state().items():
        if tensor.is_floating_point():
            assert (tensor - start[name] - share).abs().max() < 1e-5
        else:
            assert torch.equal(tensor, now[name])


def test_blend_refuses_what_does_not_fit_and_loses_nothing():
    model = tl.TransLandSeg(tl.load_sam("sam_mini"), tl.DESIGNS["TransLandSeg"])
    before = trained(model)
    with pytest.raises(ValueError, match="share is 2; expected 0"):
        tl.blend(model, before, 2)
    with pytest.raises(tl.CheckpointError, match="does not fit"):
        tl.blend(model, {name: before[name] for name in list(before)[1:]})
    for name, tensor in model.trained_state().items():
        assert torch.equal(tensor, before[name])


def test_the_moving_average_is_that_of_its_definition_and_leaves_the_model_alone():
    model = tl.build_baseline("segformer", image_size=64)
    average, expected = MovingAverage(model, 0.8), trained(model)
    for step in range(12):
        moved(model, 0.5 * step)
        average.update()
        decay = min(0.8, (1 + step) / (10 + step))
        for name, tensor in model.trained_state().items():
            if tensor.is_floating_point():
                expected[name] = decay * expected[name] + (1 - decay) * tensor
            else:  # batch norm's count of batches
                expected[name] = tensor.clone()
    now = trained(model)
    with average.in_model():
        for name, tensor in model.trained_state().items():
            assert torch.allclose(tensor.double(), expected[name].double(), rtol=1e-4, atol=1e-4)
    assert all(torch.equal(tensor, now[name]) for name, tensor in model.trained_state().items())


def test_without_a_decay_there_is_no_average():
    model = tl.build_baseline("segformer", image_size=64)
    average = MovingAverage(model, 0)
    average.update()
    before = trained(model)
    with average.in_model():
        assert all(torch.equal(t, before[name]) for name, t in model.trained_state().items())
    assert average.state() is None
    assert not average.tensors()
