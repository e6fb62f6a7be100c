"""Click on an image and see SAM's masks: all answers of a grid of clicks, computed beforehand."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tlseg_lite.plots import LANDSLIDE, PREDICTED_OUTLINE
from tlseg_lite.sam import prompting as zero_shot
from tlseg_lite.widgets.page import Widget, border, pack_masks, picture_uri, stage, tinted

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

FILL = 0.4
"""Opacity of a mask's inside; its border is opaque."""

AIM = (
    'class="aim" tabindex="0" role="application" aria-describedby="{NAME}-help" '
    'aria-label="Image to click on; the arrow keys move the click"'
)


def click_to_segment(
    sam: Sam,
    image: torch.Tensor,
    target: torch.Tensor | None = None,
    *,
    alt: str,
    clicks: int = 16,
    side: int = 320,
    target_name: str = "mapped landslide",
) -> Widget:
    """An image to click on, with SAM's three masks for each of a grid of clicks.

    The masks are those of `zero_shot.segment` at the grid's points; a click goes to the nearest
    of them. With 16 x 16 clicks on 256 x 256 pixels the page grows by about half a megabyte.

    Args:
        sam: from `load_sam`.
        image: (3, H, W) float in [0, 1].
        target: a known mask (H, W) or (1, H, W) to compare with, or None.
        alt: what the image shows, in words.
        clicks: along the longer side of the image.
        side: a larger image is thinned to at most this many pixels along its longer side, by
            whole steps, for display. Scores are those of the full masks.
        target_name: what `target` is called.

    Raises:
        ValueError: the image is not (3, H, W) in [0, 1], or the target's size differs from it.
    """
    embedded = zero_shot.Embedded(sam, image)
    height, width = embedded.size
    step = -(-max(height, width) // side)
    masks, answers = _answers(sam, embedded, target, clicks, step)
    scores, shares, ious = answers["scores"], answers["shares"], answers["ious"]
    y, x = zero_shot.click_grid(embedded.size, clicks)
    known = None if target is None else np.asarray(target).reshape(height, width)[::step, ::step]
    first = nearest(y, x, _start(target, embedded.size))
    choice = int(np.argmax(scores[first]))
    known = None if known is None else known > 0
    flat = masks.reshape(-1, *masks.shape[-2:])
    data = grid_data(y, x, step, flat, known, first, target_name) | answers
    picture = masked_picture(image, step, alt, masks[first, choice], known)
    state = describe(
        int(x[first % len(x)]), int(y[first // len(x)]), choice, scores[first], shares[first],
        ious[first] if ious else None, target_name,
    )  # fmt: skip
    body = (
        f'<div class="columns">{picture}<div>'
        f'<p id="{{NAME}}-help" data-live>Click or drag in the image, or focus it and use the '
        "arrow keys. The answer is that of the nearest of "
        f"{len(y)} x {len(x)} clicks.</p>"
        f"<fieldset data-live><legend>show</legend>{_choices()}"
        f"{known_box(None if target is None else target_name)}</fieldset>"
        f'<p class="state" aria-live="polite">{escape(state)}</p></div></div>'
    )
    return Widget("clicks", "Click to segment", body, data)


def _answers(
    sam: Sam, embedded: zero_shot.Embedded, target: torch.Tensor | None, clicks: int, step: int
) -> tuple[np.ndarray, dict[str, list[list[float]]]]:
    """Three thinned masks for each click, with predicted IoUs, shares and true IoUs (or none)."""
    masks, values = [], {"scores": [], "shares": [], "ious": []}
    for _, part, expected in zero_shot.every_click(sam, embedded, clicks=clicks):
        masks.append(part[..., ::step, ::step].numpy())
        values["scores"] += expected.tolist()
        values["shares"] += part.float().mean((-2, -1)).tolist()
        if target is not None:
            values["ious"] += zero_shot.iou(part, target).tolist()
    rounded = {k: [[round(v, 5) for v in row] for row in rows] for k, rows in values.items()}
    return np.concatenate(masks), rounded


def _choices() -> str:
    """Buttons for which mask is shown."""
    return "".join(
        f'<label class="beside"><input type="radio" name="{{NAME}}-which" value="{i}"'
        f"{' checked' if i == 3 else ''}> {text}</label>"
        for i, text in enumerate(("mask 1", "mask 2", "mask 3", "the highest predicted IoU"))
    )


def known_box(target_name: str | None) -> str:
    """A box to tick for the outline of the known mask; nothing without one."""
    if target_name is None:
        return ""
    return (
        '<label><input type="checkbox" class="known" checked> outline of the '
        f"{escape(target_name)}</label>"
    )


def grid_data(
    y: torch.Tensor,
    x: torch.Tensor,
    step: int,
    masks: Iterable[np.ndarray],
    known: np.ndarray | None,
    first: int,
    target_name: str,
) -> dict[str, Any]:
    """What the script of a picture with a grid of clicks needs, save what the masks' answers say.

    Args:
        y, x: rows and columns of the grid, in pixels of the image.
        step: every how many pixels the masks were thinned.
        masks: thinned, (h, w) bool each.
        known: the known mask, thinned alike, bool, or None.
        first: index of the place of the first click.
        target_name: what the known mask is called.
    """
    return {
        "step": step,
        "x": x.tolist(),
        "y": y.tolist(),
        "masks": pack_masks(masks),
        "first": first,
        "target": None if known is None else pack_masks([known]),
        "targetName": target_name,
        "colours": {"mask": PREDICTED_OUTLINE, "target": LANDSLIDE},
        "fill": FILL,
    }


def masked_picture(
    image: torch.Tensor, step: int, alt: str, shown: np.ndarray, known: np.ndarray | None
) -> str:
    """The image (3, H, W), thinned, under a mask and the known outline, with a canvas to aim."""
    layers = [(shown, PREDICTED_OUTLINE, FILL), (border(shown), PREDICTED_OUTLINE, 1)]
    if known is not None:
        layers.append((border(known), LANDSLIDE, 1))
    small = picture_uri(zero_shot.as_pixels(image)[::step, ::step])
    return stage(small, alt, tinted(layers), shown.shape, AIM)


def describe(
    x: int,
    y: int,
    which: int,
    scores: list[float],
    shares: list[float],
    ious: list[float] | None,
    target_name: str,
) -> str:
    """One state of the control in words; the script writes the same."""
    text = (
        f"Click at x {x}, y {y}. Mask {which + 1} of 3, predicted IoU {scores[which]:.2f} "
        f"(all three: {', '.join(f'{s:.2f}' for s in scores)}), "
        f"covers {100 * shares[which]:.1f} % of the image."
    )
    if ious is not None:
        text += f" IoU with the {target_name}: {ious[which]:.2f} (best of three {max(ious):.2f})."
    return text


def _start(target: torch.Tensor | None, size: tuple[int, int]) -> tuple[int, int]:
    """x, y of the first click: inside the target, or in the middle of the image."""
    if target is None or not (torch.as_tensor(target) > 0).any():
        return size[1] // 2, size[0] // 2
    return zero_shot.inner_point(target)


def nearest(y: torch.Tensor, x: torch.Tensor, point: tuple[int, int]) -> int:
    """Index of the place of a grid, rows `y` by columns `x`, that is nearest to x, y of `point`."""
    row, column = int((y - point[1]).abs().argmin()), int((x - point[0]).abs().argmin())
    return row * len(x) + column
