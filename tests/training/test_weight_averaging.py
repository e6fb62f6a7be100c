"""Weights between two trainings."""

import pytest
import torch

import tlseg_lite as tl


def trained(model):
    return {name: tensor.clone() for name, tensor in model.trained_state().items()}


def moved(model, amount):
    for tensor in model.trained_state().values():
        tensor.add_(amount)


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
