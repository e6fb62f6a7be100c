"""Sentences about a training, computed from its numbers.

A run comes out differently on another machine, with other data or weights. Text that was written
beside one run then contradicts the next; these sentences follow whatever happened.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def course(values: Sequence[float], digits: int = 2) -> str:
    """How a row of values goes: ``"falls from 0.62 to 0.21 and rises in 3 of 19 steps"``.

    Args:
        values: finite numbers in their order, at least two.
        digits: decimals that are written; ends that are alike in them count as equal.

    Raises:
        ValueError: fewer than two values.
    """
    values = [float(value) for value in values]
    if len(values) < 2:
        raise ValueError(f"{len(values)} values; a course needs two or more")
    first, last = (f"{value:.{digits}f}" for value in (values[0], values[-1]))
    steps = [b - a for a, b in itertools.pairwise(values)]
    if first == last:
        return f"ends where it began, at {last}"
    down = values[-1] < values[0]
    against = sum(step > 0 if down else step < 0 for step in steps)
    verb, other = ("falls", "rises") if down else ("rises", "falls")
    whole = f"{verb} from {first} to {last}"
    if not against:
        return f"{whole} in every step" if len(steps) > 1 else whole
    return f"{whole}, but {other} in {against} of {len(steps)} steps between epochs"


def best_epoch(history: pd.DataFrame, score: str = "miou") -> str:
    """Which epoch has the best validation score, and how far the last one is below it.

    Args:
        history: of a `Run`, with the columns ``epoch`` and `score` (a fraction).
        score: the column, such as ``"miou"`` or ``"landslide_iou"``.

    Raises:
        ValueError: the history has no rows.
    """
    if history.empty:
        raise ValueError("the history has no rows; train one epoch at least")
    best = history.loc[history[score].idxmax()]
    first, last = (f"{history['epoch'].iloc[i]:.0f}" for i in (0, -1))
    name = {"miou": "MIoU", "landslide_iou": "landslide IoU"}.get(score, score)
    text = f"validation {name} is best in epoch {best['epoch']:.0f} (of {first} to {last})"
    text += f", at {best[score]:.1%}"
    if best.name == history.index[-1]:
        return f"{text}: the last one, so a longer training may go higher"
    if 3 * (history.index.get_loc(best.name) + 1) <= len(history):
        text += ", early in the training"
    lost = 100 * (best[score] - history[score].iloc[-1])
    return f"{text}; the last epoch is {lost:.1f} points below it"


def test_beside_validation(test: float, validation: float, images: int) -> str:
    """Whether the test score lies above or below the best validation score, and why that may be.

    Args:
        test, validation: fractions; `validation` is that of the chosen epoch.
        images: number of test images.
    """
    gap = 100 * (test - validation)
    where = "above" if gap > 0 else "below"
    text = f"the test score is {abs(gap):.1f} points {where} that of validation"
    if abs(gap) < 1:
        return f"{text}: about the same"
    if images < 30:
        text += f"; with {images} test images one easy or hard image moves it that far"
    if gap > 0:
        return f"{text}. It was not chosen for being high: these test images are the easier ones"
    return f"{text}. The validation score was chosen for being high, which makes it too good"


test_beside_validation.__test__ = False  # no test for pytest, whatever its name begins with
