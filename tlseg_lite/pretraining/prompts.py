"""Clicks and boxes for generated images, and the masks that are meant by them."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from tlseg_lite.sam.corrections import clicks_at, pick_cells


class Prompts(NamedTuple):
    """N = B * P prompts, those of an image side by side.

    points (N, n, 2), kinds (N, n): as in `objective.embed_prompts`.
    targets: (N, 2, h, w) in 0..1, the share of each low-resolution cell that belongs to the mask:
        first the mask that is meant, then the other reading of the same click (part or whole).
    full: bool (N, S, S), the first target at full resolution.
    """

    points: Tensor
    kinds: Tensor
    targets: Tensor
    full: Tensor


def draw_prompts(
    labels: Tensor,
    whole: Tensor,
    per: int,
    *,
    generator: torch.Generator,
    boxes: float = 0.35,
    wholes: float = 0.3,
    least: int = 60,
    cells: int = 64,
    balance: float = 0.7,
) -> Prompts:
    """Random clicks (and boxes) for random regions of each image.

    Args:
        labels: uint8 (B, S, S). whole: (B, K), as in `Pictures`.
        per: prompts an image.
        generator: on the CPU, or where `labels` are: then nothing waits for that device.
        boxes: share of the prompts that are boxes instead of clicks.
        wholes: share of the prompts that mean the object of which the region is a part.
        least: smallest region, in pixels.
        cells: side of the low-resolution targets.
        balance: 0 clicks everywhere alike, 1 every region alike.
    """
    b, size, _ = labels.shape
    device, k = labels.device, whole.shape[1]
    flat = labels.reshape(b, -1).long()
    count = torch.zeros(b, 256, device=device).scatter_add_(
        1, flat, torch.ones(1, device=device).expand_as(flat)
    )
    where = torch.randint(size * size, (b, 512), generator=generator, device=generator.device).to(
        device
    )
    label = flat.gather(1, where)
    area = count.gather(1, label)
    weight = ((area >= least) & (label < k)) * area.clamp_min(1) ** -balance + 1e-9
    pick = pick_cells(weight, per, generator)
    where, label = where.gather(1, pick), label.gather(1, pick)  # B, P
    objects = torch.cat([whole, torch.arange(k, 256, device=device).expand(b, -1)], 1)  # B, 256
    as_whole = objects.gather(1, flat).to(torch.uint8).view(b, 1, size, size)
    fine = labels[:, None] == label[..., None, None]  # B, P, S, S
    coarse = as_whole == objects.gather(1, label)[..., None, None]
    n = b * per
    fine, coarse = fine.view(n, size, size), coarse.view(n, size, size)
    is_box = (_uniform((n,), generator) < boxes).to(device)
    is_whole = (_uniform((n,), generator) < wholes).to(device)
    meant = torch.where(is_whole[:, None, None], coarse, fine)
    other = torch.where((is_whole ^ is_box)[:, None, None], fine, coarse)  # a box is not ambiguous
    targets = torch.stack([pooled(meant, cells), pooled(other, cells)], 1)
    x, y = (where % size).view(n).float(), (where // size).view(n).float()
    click = torch.stack([x, y], -1)[:, None]
    points = torch.cat([click, torch.zeros_like(click)], 1)
    first = torch.arange(2, device=device)
    corners = jitter(boxes_of(meant), size, generator)
    points = torch.where(is_box[:, None, None], corners, points)
    kinds = torch.where(is_box[:, None], 2 + first, 1 - 2 * first)  # a box's corners; a click
    return Prompts(points, kinds, targets, meant)


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device)


def pooled(masks: Tensor, cells: int) -> Tensor:
    """The share of each of cells x cells cells that masks (N, S, S) cover; float32 in 0..1."""
    return F.avg_pool2d(masks.to(torch.bfloat16)[:, None], masks.shape[-1] // cells)[:, 0].float()


def boxes_of(masks: Tensor) -> Tensor:
    """The corners (N, 2, 2) as x, y of the smallest boxes around masks (N, S, S)."""
    sides = []
    for dim in (1, 2):  # rows any -> x extent, columns any -> y extent
        line = masks.any(dim).to(torch.int8)
        first = line.argmax(1)
        last = line.shape[1] - 1 - line.flip(1).argmax(1)
        sides.append(torch.stack([first, last], 1))
    return torch.stack(sides, -1).float()


def jitter(corners: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Boxes drawn by an unsteady hand: each side moves by 7 % of the box's, at most 10 pixels."""
    extent = (corners[:, 1:] - corners[:, :1]).clamp_min(1)
    drawn = torch.randn(corners.shape, generator=generator, device=generator.device)
    shift = drawn.to(corners.device) * 0.07 * extent
    return (corners + shift.clamp(-10, 10)).clamp(0, size - 1)


def correction(
    prompts: Prompts, masks: Tensor, *, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """A further point for each prompt, where `masks` (N, h, w, logits) is wrong.

    Returns:
        points (N, n + 1, 2) and kinds (N, n + 1), the new point before the others.
    """
    n = len(masks)
    target = prompts.targets[:, 0]
    sure = (target < 0.2) | (target > 0.8)
    wrong = ((masks > 0) != (target > 0.5)) & sure
    fallback = target > 0.8 * target.amax((1, 2), keepdim=True).clamp_min(1e-3)
    weight = wrong.float() + 1e-4 * fallback + 1e-9
    pick = pick_cells(weight.view(n, -1), 1, generator)
    points, kinds = clicks_at(pick, target, prompts.full.shape[-1])
    return torch.cat([points, prompts.points], 1), torch.cat([kinds, prompts.kinds], 1)
