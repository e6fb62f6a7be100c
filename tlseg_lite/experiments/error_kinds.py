"""Where a mask's wrong pixels are: at outlines, in missed landslides, in places without one.

Every wrong pixel has one kind, by these rules, in this order:

- ``outline``: at most `NEAR` of the image's longest side away from a boundary of the *other* class
  (a missed pixel near a found one, a false one near a true one);
- ``missed``: a landslide pixel in a connected landslide of which nothing, or almost nothing
  (under `TOUCHED`), was found; ``missed_part``: in another one;
- ``false_alarm``: in a connected predicted area that touches no landslide, or almost none;
  ``spread``: in another one, which runs on beyond its landslide.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

KINDS = ("outline", "missed", "missed_part", "false_alarm", "spread")
"""Of wrong pixels; each is a column of pixels."""

NEAR = 0.02
"""Of the image's longest side: so far from the true outline an error is one of the outline."""

TOUCHED = 0.1
"""Share of an area that has to be right for it to count as found, or as touching a landslide."""


def error_kinds(mask: Tensor, truth: Tensor) -> dict[str, float | int]:
    """The landslide IoU of a mask and its wrong pixels by kind.

    Args:
        mask: predicted, (H, W), bool or 0/1.
        truth: mapped, the same.

    Returns:
        ``landslide_iou`` (1 where both are empty), ``landslide_pixels``, and pixels for each of
        `KINDS`, which add up to all wrong pixels.

    Raises:
        ValueError: shapes differ, or are not (H, W).
    """
    if mask.shape != truth.shape or mask.ndim != 2:
        raise ValueError(
            f"the mask is {tuple(mask.shape)}, the truth {tuple(truth.shape)}; expected one (H, W)"
        )
    found, true = np.asarray(mask.cpu() > 0), np.asarray(truth.cpu() > 0)
    union = int((found | true).sum())
    pixels = _of_kinds(found, true, max(1.0, NEAR * max(true.shape)))
    iou = (found & true).sum() / union if union else 1.0
    return {"landslide_iou": round(float(iou), 6), "landslide_pixels": int(true.sum()), **pixels}


def _of_kinds(found: np.ndarray, true: np.ndarray, near: float) -> dict[str, int]:
    missed, false = true & ~found, found & ~true
    at_outline = (missed & _close(found & true, near)) | (false & _close(true, near))
    unseen, alarm = _barely_right(true, found), _barely_right(found, true)
    inner_missed, inner_false = missed & ~at_outline, false & ~at_outline
    return {
        "outline": int(at_outline.sum()),
        "missed": int((inner_missed & unseen).sum()),
        "missed_part": int((inner_missed & ~unseen).sum()),
        "false_alarm": int((inner_false & alarm).sum()),
        "spread": int((inner_false & ~alarm).sum()),
    }


def _close(area: np.ndarray, distance: float) -> np.ndarray:
    """Pixels at most `distance` from `area`."""
    from scipy.ndimage import distance_transform_edt

    if not area.any():
        return np.zeros_like(area)
    return distance_transform_edt(~area) <= distance


def _barely_right(areas: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The connected areas of which less than `TOUCHED` is in `other`, as a mask."""
    from scipy.ndimage import label, mean

    labels, number = label(areas, np.ones((3, 3)))
    if not number:
        return np.zeros_like(areas)
    shares = np.asarray(mean(other, labels, np.arange(1, number + 1)))
    return np.isin(labels, 1 + np.flatnonzero(shares < TOUCHED))
