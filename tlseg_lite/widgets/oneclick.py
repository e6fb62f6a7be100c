"""Correct a mask with a click: a model's answers to a grid of clicks, computed beforehand."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np
import torch

from tlseg_lite.adapters.correction import Correction
from tlseg_lite.metrics.confusion import confusion
from tlseg_lite.sam.corrections import corrective_clicks
from tlseg_lite.sam.prompting import click_grid
from tlseg_lite.widgets.clicks import grid_data, known_box, masked_picture, nearest
from tlseg_lite.widgets.page import Widget

KINDS = ((1, "landslide here"), (0, "no landslide here"), (-1, "no click"))


def click_to_correct(
    model: torch.nn.Module,
    image: torch.Tensor,
    target: torch.Tensor | None = None,
    *,
    alt: str,
    clicks: int = 14,
    side: int = 320,
    target_name: str = "mapped landslide",
) -> Widget:
    """A model's mask to correct with one click, with its answer to each of a grid of clicks.

    A click goes to the nearest place of the grid, and says "landslide here" or "none here". The
    masks are those of `Correction`, as `tl.correct` shows them. With 14 x 14 places on 128 x 128
    pixels the page grows by about 150 kB.

    Args:
        model: a `TransLandSeg` with ``prompts=True``, trained with clicks.
        image: (3, H, W) float in [0, 1].
        target: the known mask (H, W) or (1, H, W), or None. With one, the control begins with a
            click on the largest error.
        alt: what the image shows, in words.
        clicks: along the longer side of the image.
        side: a larger image is thinned to at most this many pixels along its longer side, by
            whole steps, for display. Scores are those of the full masks.
        target_name: what `target` is called.

    Raises:
        ValueError: the model takes no prompts, the image is not (3, H, W) in [0, 1], or the
            target's size differs from it.
    """
    correction = Correction(model, image)
    height, width = correction.size
    known = None if target is None else torch.as_tensor(target) > 0
    if known is not None and tuple(known.shape) not in ((height, width), (1, height, width)):
        raise ValueError(
            f"the target has shape {tuple(known.shape)}; expected {(height, width)}, as the image"
        )
    known = None if known is None else known.reshape(height, width)
    y, x = click_grid(correction.size, clicks)
    step = -(-max(height, width) // side)
    first, kind = _start(correction, known, y, x)
    masks, data = _answers(correction, known, y, x, step)
    thinned = None if known is None else known[::step, ::step].numpy()
    which = 1 + 2 * first + kind
    data |= grid_data(y, x, step, masks, thinned, first, target_name)
    picture = masked_picture(image, step, alt, masks[which], thinned)
    place = int(x[first % len(x)]), int(y[first // len(x)])
    body = (
        f'<div class="columns">{picture}<div><p id="{{NAME}}-help" data-live>Click or drag in the '
        "image; right-click (or Shift and click) where there is no landslide. With the keyboard: "
        "arrow keys move the click, Enter is landslide, Delete is none, U takes the click away. "
        f"The answer is that of the nearest of {len(y)} x {len(x)} places.</p>"
        f"{_choices(kind, None if target is None else target_name)}"
        f'<p class="state" aria-live="polite">'
        f"{escape(describe(place, kind, which, data, target_name))}</p></div></div>"
    )
    return Widget("oneclick", "Correct with a click", body, data)


def _start(
    correction: Correction, known: torch.Tensor | None, y: torch.Tensor, x: torch.Tensor
) -> tuple[int, int]:
    """The place on the grid and the kind of the first click."""
    height, width = correction.size
    place, kind = (width // 2, height // 2), 1
    if known is not None:
        points, kinds = corrective_clicks(correction.logits[None], known[None, None].float())
        if int(kinds[0, 0]) >= 0:
            place, kind = tuple(points[0, 0].tolist()), int(kinds[0, 0])
    return nearest(y, x, place), kind


def _answers(
    correction: Correction,
    known: torch.Tensor | None,
    y: torch.Tensor,
    x: torch.Tensor,
    step: int,
) -> tuple[list[np.ndarray], dict[str, Any]]:
    """Thinned masks without a click and after either kind at each place; their shares and IoUs."""
    full = [correction.mask]
    for row in y.tolist():
        for column in x.tolist():
            for on in (False, True):
                full.append(correction.click(column, row, on)[0] > 0)
                correction.undo()
    shares = [round(float(mask.float().mean()), 5) for mask in full]
    ious = None
    if known is not None:
        ious = [round(confusion(mask, known).scores().landslide_iou, 5) for mask in full]
    return [mask[::step, ::step].numpy() for mask in full], {"shares": shares, "ious": ious}


def _choices(kind: int, target_name: str | None) -> str:
    radios = "".join(
        f'<label class="beside"><input type="radio" name="{{NAME}}-kind" value="{value}"'
        f"{' checked' if value == kind else ''}> {text}</label>"
        for value, text in KINDS
    )
    known = known_box(target_name)
    return f"<fieldset data-live><legend>the click says</legend>{radios}{known}</fieldset>"


def describe(
    place: tuple[int, int], kind: int, which: int, data: dict[str, Any], target_name: str
) -> str:
    """One state of the control in words; the script writes the same.

    Args:
        place: x, y of the click.
        kind: 1 landslide, 0 none, -1 no click.
        which: of the masks.
        data: with the masks' ``shares`` and ``ious`` (or None).
        target_name: what the known mask is called.
    """
    shares, ious = data["shares"], data["ious"]
    fit = "" if ious is None else f" IoU with the {target_name}: {ious[which]:.2f}"
    if kind < 0:
        text = f"No click: {100 * shares[0]:.1f} % of the image is landslide."
        return text + (fit and f"{fit}.")
    text = (
        f"Click at x {place[0]}, y {place[1]} ({'landslide' if kind else 'no landslide'}): "
        f"{100 * shares[which]:.1f} % of the image is landslide, {100 * shares[0]:.1f} % without "
        "the click."
    )
    return text + (fit and f"{fit}, {ious[0]:.2f} without the click.")
