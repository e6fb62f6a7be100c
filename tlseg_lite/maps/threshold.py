"""The threshold of a map: chosen on validation images, kept with the model."""

from __future__ import annotations

import math

import torch
from torch.utils.data import Dataset

from tlseg_lite.metrics.thresholds import choose_threshold
from tlseg_lite.training.evaluation import answers


def keep_threshold(
    model: torch.nn.Module,
    validation: Dataset,
    *,
    metric: str = "landslide_iou",
    batch_size: int = 4,
) -> float:
    """Choose the threshold on validation images and keep it in ``model.trained_on``.

    `predict_scene` uses it, and `model.save` writes it. Never choose it on the scene that is
    reported on.

    Args:
        model: a trained `tlseg_lite.Trainable`.
        validation: images with masks.
        metric: the field of `Scores` that counts.
        batch_size: images predicted at once.

    Returns:
        the threshold, a logit; landslide is above it.
    """
    logits, masks, valids = [], [], []
    for sample, found in answers(model, validation, batch_size):
        logits.append(found.cpu())
        masks.append(sample["mask"].cpu())
        valids.append(sample["valid"].cpu() if "valid" in sample else torch.ones_like(masks[-1]))
    chosen = choose_threshold(logits, masks, valids, metric=metric)
    model.trained_on = {**getattr(model, "trained_on", {}), "threshold": chosen}
    return chosen


def threshold_of(model: torch.nn.Module, given: float | None) -> float:
    """The probability above which is landslide: `given`, else the model's own, else 0.5.

    Raises:
        ValueError: `given` is no probability between 0 and 1.
    """
    if given is None:
        logit = getattr(model, "trained_on", {}).get("threshold", 0.0)
        return 1 / (1 + math.exp(-logit))
    if not 0 < given < 1:
        raise ValueError(f"threshold is {given}; expected a probability between 0 and 1")
    return given
