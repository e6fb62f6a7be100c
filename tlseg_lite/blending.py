"""Between two sets of weights: what was known before, and what a few images taught."""

from __future__ import annotations

from collections.abc import Mapping

import torch


def blend(
    model: torch.nn.Module, start: Mapping[str, torch.Tensor], share: float = 0.5
) -> torch.nn.Module:
    """Put `model` between the weights that a training started from and its present ones.

    WiSE-FT (Wortsman et al., CVPR 2022): ``(1 - share) * start + share * present``. A model
    that was fine-tuned on a handful of images has learned them and forgotten a part of what it
    knew; half-way between the two it often keeps both, at no cost. It needs a start that has
    learned the task, as from synthetic scenes: half of an untrained adapter is no adapter.

    Args:
        model: a `TransLandSeg` or a model of `build_baseline`, after the training; changed in
            place.
        start: what ``model.trained_state()`` gave before it, copied (it returns the tensors
            themselves: ``{k: v.clone() for k, v in model.trained_state().items()}``).
        share: of the present weights, 0 (the start) to 1 (nothing changes).

    Returns:
        `model`.

    Raises:
        ValueError: a share outside of 0 to 1.
        CheckpointError: `start` is of another design; names what does not fit.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share is {share!r}; expected 0 (the start) to 1 (the present weights)")
    now = {name: tensor.clone() for name, tensor in model.trained_state().items()}
    model.load_trained_state(start, "the start")
    for name, tensor in model.trained_state().items():
        if tensor.is_floating_point():
            tensor.lerp_(now[name], share)
        else:  # batch norm's count of batches
            tensor.copy_(now[name])
    return model
