"""Corrective clicks: where an answer is wrong, and what a person would click there.

One piece of code for the pre-training of `sam_mini`, for training an adapted model with clicks and
for the simulated user who measures it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

HELD_LOGIT = 4.0
"""What the answer is at least where a click said so, in logits."""

HELD_REACH = 0.15
"""How far a click changes the answer: the standard deviation of a bell, in sides of the image.
Both were chosen on Bijie's validation images."""


def pick_cells(weight: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """Indices (B, n) drawn without replacement with the given weights (B, M)."""
    u = torch.rand(weight.shape, generator=generator, device=generator.device)
    u = u.to(weight.device).clamp_min(1e-12)
    return (u.log() / weight).topk(n, dim=1).indices  # Efraimidis and Spirakis 2006


def clicks_at(cells: Tensor, target: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Cells of a grid as clicks of the right kind.

    Args:
        cells: (N, n) indices into the flattened grid.
        target: (N, h, w), the share of a cell that belongs to the object, in 0..1.
        side: pixels of the model's input along the grid's w cells.

    Returns:
        points (N, n, 2) as x, y in pixels, in the middle of the cells; kinds (N, n), 1 on the
        object and 0 beside it.
    """
    w = target.shape[-1]
    step = side / w
    points = torch.stack([(cells % w + 0.5) * step - 0.5, (cells // w + 0.5) * step - 0.5], -1)
    return points, (target.flatten(1).gather(1, cells) > 0.5).long()


def largest_errors(
    wrong: np.ndarray, target: np.ndarray, regions: int = 1
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The largest connected errors of one answer, largest first.

    What is missing and what is too much are different errors, also where they touch.

    Args:
        wrong, target: bool (H, W).
        regions: at most so many.

    Returns:
        for each a bool window, and the row and column (2,) of its first pixel.
    """
    from scipy.ndimage import find_objects, label

    found = []
    for part in (wrong & target, wrong & ~target):
        labelled, number = label(part)
        if number:
            sizes = np.bincount(labelled.ravel())[1:]
            windows = find_objects(labelled)
            for which in np.argsort(-sizes, kind="stable")[:regions]:
                window = windows[which]
                region = labelled[window] == which + 1
                corner = np.array([window[0].start, window[1].start])
                found.append((int(sizes[which]), region, corner))
    found.sort(key=lambda each: -each[0])  # stable: of equals what is missing comes first
    return [(region, corner) for _, region, corner in found[:regions]]


def depth_inside(region: np.ndarray) -> np.ndarray:
    """The distance of each pixel of a region (H, W) to the nearest one outside, 0 outside."""
    from scipy.ndimage import distance_transform_edt

    return distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]


def corrective_clicks(
    answer: Tensor,
    target: Tensor,
    valid: Tensor | None = None,
    *,
    clicks: int = 1,
    side: int | None = None,
    seeds: list[int] | None = None,
) -> tuple[Tensor, Tensor]:
    """The next clicks on each image of a batch: one in each of its largest errors.

    Args:
        answer: logits (B, 1, h, w); > 0 is the object.
        target: (B, 1, h, w), the share of a cell that belongs to the object, in 0..1.
        valid: the same shape, 0 in the padding, where nothing is wrong; None: valid everywhere.
        clicks: at most so many regions get a click.
        side: pixels of the model's input along w; None: w itself.
        seeds: one for each image: the click falls anywhere in the region, more often far from its
            edge. None: a careful person's, in the middle (the pixel farthest from the edge).

    Returns:
        points (B, clicks, 2) as x, y in pixels; kinds (B, clicks): 1 for what is missing, 0 for
        what is too much, -1 where no error is left.
    """
    truth = (target > 0.5)[:, 0]
    wrong = (answer > 0)[:, 0] != truth
    if valid is not None:
        wrong &= valid[:, 0] > 0.5
    wrong_, truth_ = wrong.cpu().numpy(), truth.cpu().numpy()
    step = (side or truth.shape[-1]) / truth.shape[-1]
    points = torch.zeros(len(truth), clicks, 2)
    kinds = torch.full((len(truth), clicks), -1)
    for i in range(len(truth)):
        random = None if seeds is None else np.random.default_rng(seeds[i])
        for n, (region, corner) in enumerate(largest_errors(wrong_[i], truth_[i], clicks)):
            y, x = corner + _pixel(region, random)
            points[i, n] = torch.tensor([(x + 0.5) * step - 0.5, (y + 0.5) * step - 0.5])
            kinds[i, n] = int(truth_[i, y, x])
    return points.to(answer.device), kinds.to(answer.device)


def _pixel(region: np.ndarray, random: np.random.Generator | None) -> np.ndarray:
    depth = depth_inside(region)
    if random is None:
        return np.array(np.unravel_index(int(depth.argmax()), depth.shape))
    share = depth.ravel() / depth.sum()
    return np.array(np.unravel_index(random.choice(share.size, p=share), depth.shape))


def hold_clicks(answer: Tensor, former: Tensor | None, points: Tensor, kinds: Tensor, side: int):
    """An answer that keeps what was clicked, and changes around the last click only.

    A decoder takes clicks as hints: it may leave the place as it was, or change the mask somewhere
    else. For a person's tool a click is an order.

    Args:
        answer: logits (h, w) after the last click.
        former: logits (h, w) before it; None: there were none.
        points: (n, 2) all clicks as x, y in pixels of the model's input.
        kinds: (n,) 1 on the object, 0 beside it.
        side: pixels of the model's input along w.

    Returns:
        logits (h, w): at every click at least `HELD_LOGIT` with its sign; away from the last one
        the former answer takes over.
    """
    held = answer.float().clone()
    height, width = held.shape
    cells = ((points + 0.5) * (width / side)).long()
    x, y = cells[:, 0].clamp(0, width - 1), cells[:, 1].clamp(0, height - 1)
    if former is not None:
        rows = torch.arange(height, device=held.device)[:, None] - y[-1]
        columns = torch.arange(width, device=held.device)[None] - x[-1]
        share = torch.exp(-(rows**2 + columns**2) / (2 * (HELD_REACH * width) ** 2))
        held = torch.lerp(former.float(), held, share)
    at = held[y, x]
    held[y, x] = torch.where(kinds > 0, at.clamp(min=HELD_LOGIT), at.clamp(max=-HELD_LOGIT))
    return held
