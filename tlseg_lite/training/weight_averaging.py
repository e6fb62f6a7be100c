"""Between two sets of weights: what two trainings taught, in one model."""

from __future__ import annotations

from collections.abc import Mapping

import torch


def blend(
    model: torch.nn.Module, other: Mapping[str, torch.Tensor], share: float = 0.5
) -> torch.nn.Module:
    """Put `model` between its own weights and other ones: ``(1 - share) * other + share * own``.

    It is of use where a straight line between the two leads through good models only, as it often
    does when both were fine-tuned from the same start. Then the average keeps what either learned,
    at no cost in time. Two uses have names:

    - model soup (Wortsman et al., ICML 2022): two trainings from one start, here one on synthetic
      scenes and one on real images;
    - WiSE-FT (Wortsman et al., CVPR 2022): `other` is what the training started from.

    As a rule networks that were trained from scratch, each by itself, do not blend, even from the
    same random start.

    Args:
        model: a `TransLandSeg` or a model of `build_baseline`; changed in place.
        other: what ``trained_state()`` of a model of the same design gives.
        share: of `model`'s own weights, 0 (the other ones) to 1 (nothing changes).

    Returns:
        `model`.

    Raises:
        ValueError: a share outside of 0 to 1.
        CheckpointError: `other` is of another design; names what does not fit. Nothing changes.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share is {share!r}; expected 0 (the other weights) to 1 (the model's)")
    own = {name: tensor.clone() for name, tensor in model.trained_state().items()}
    model.load_trained_state(other, "the other set of weights")
    for name, tensor in model.trained_state().items():
        if tensor.is_floating_point():
            tensor.lerp_(own[name], share)
        else:  # batch norm's count of batches
            tensor.copy_(own[name])
    return model
