"""The training loss: binary cross-entropy and Dice, half and half, padding left out."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def bce(
    logits: torch.Tensor, target: torch.Tensor, valid: torch.Tensor | None = None
) -> torch.Tensor:
    """Binary cross-entropy: the mean over each image's valid pixels, averaged over the batch.

    Each image counts the same whatever its shape, so a batch may be divided among processes.

    Args:
        logits: (B, 1, H, W), any real numbers.
        target: the same shape, 0 or 1.
        valid: the same shape, 1 inside the image and 0 in its padding; None: all valid.

    Returns:
        a scalar, float32, >= 0.
    """
    _check(logits, target, valid)
    each = F.binary_cross_entropy_with_logits(logits.float(), target.float(), reduction="none")
    if valid is None:
        return each.mean()
    valid = valid.float().flatten(1)
    return ((each.flatten(1) * valid).sum(1) / valid.sum(1).clamp(min=1)).mean()


def dice(
    logits: torch.Tensor,
    target: torch.Tensor,
    valid: torch.Tensor | None = None,
    *,
    smooth: float = 1.0,
) -> torch.Tensor:
    """1 - (2 sum(p t) + s) / (sum(p) + sum(t) + s), for each image, averaged over the batch.

    p are the probabilities, t the target, s is `smooth` (in pixels); an image without landslide
    and without a predicted one has a Dice loss near 0. Arguments as in `bce`; result in [0, 1].
    """
    _check(logits, target, valid)
    probability, target = logits.float().sigmoid(), target.float()
    if valid is not None:
        probability, target = probability * valid, target * valid
    overlap = (probability * target).flatten(1).sum(1)
    size = probability.flatten(1).sum(1) + target.flatten(1).sum(1)
    return (1 - (2 * overlap + smooth) / (size + smooth)).mean()


def bce_dice(
    logits: torch.Tensor,
    target: torch.Tensor,
    valid: torch.Tensor | None = None,
    *,
    dice_weight: float = 0.5,
) -> torch.Tensor:
    """(1 - w) BCE + w Dice, with w = `dice_weight` in [0, 1]; the papers' loss has w = 0.5."""
    if not 0 <= dice_weight <= 1:
        raise ValueError(f"dice_weight is {dice_weight}; expected a number from 0 to 1")
    return (1 - dice_weight) * bce(logits, target, valid) + dice_weight * dice(
        logits, target, valid
    )


def _check(logits: torch.Tensor, target: torch.Tensor, valid: torch.Tensor | None) -> None:
    for name, other in (("target", target), ("valid", valid)):
        if other is not None and other.shape != logits.shape:
            raise ValueError(
                f"{name} has shape {tuple(other.shape)}, expected that of the logits, "
                f"{tuple(logits.shape)}"
            )
