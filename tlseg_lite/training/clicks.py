"""Training with corrective clicks: the rounds of prompts that follow an answer without one.

Everything random depends on an image's own mask and the step's seed: a batch may be cut in pieces.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tlseg_lite.core.seeding import derived_seed
from tlseg_lite.sam.corrections import corrective_clicks
from tlseg_lite.sam.prompts import CORNER, OTHER_CORNER, no_prompts

SHARE = 0.5
"""Weight of the rounds with prompts in a step's loss; the rest is the answer without one."""

BOXES = 0.15
"""Share of the images whose first prompt is a box around all landslides instead of a click."""

NEW = ((1, 1, 1, 2), (1, 2, 3, 6))
"""Clicks of the first round and of a later one, drawn for a whole step: so a few passes of the
decoder show it as many clicks as a user makes one after the other."""

FORGETS = 0.2
"""Share of the rounds in which an image's former answer is not given back with the points."""


def check_clicks(model: torch.nn.Module, clicks: int) -> None:
    """ValueError for a recipe with clicks and a model that takes none."""
    if clicks and not getattr(model, "prompts", False):
        raise ValueError(
            f"clicks is {clicks}, but this {type(model).__name__} takes no prompts; build it with "
            "TransLandSeg(sam, design, prompts=True), or use clicks=0"
        )


def rounds(
    model: torch.nn.Module,
    embedding: Tensor,
    answer: Tensor,
    mask: Tensor,
    valid: Tensor | None,
    *,
    clicks: int,
    seed: int,
) -> Iterator[Tensor]:
    """The model's answers to more and more clicks on its errors, one pass of the decoder each.

    A round adds one click or several (`NEW`), each in one of the largest errors that the answer
    before it left; some images get a box first (`BOXES`).

    Args:
        model: with prompts.
        embedding: (B, C, g, g), of `encode`.
        answer: logits (B, 1, 4g, 4g) without a prompt.
        mask, valid: (B, 1, S, S), as in `bce_dice`.
        clicks: number of rounds.
        seed: of the step.

    Yields:
        logits (B, 1, 4g, 4g), with a gradient through the decoder and the embedding.
    """
    low = answer.shape[-1]
    target = F.adaptive_avg_pool2d(mask.float(), low)
    inside = None if valid is None else F.adaptive_avg_pool2d(valid.float(), low)
    seeds = [_seed(each, seed) for each in target]
    prompts = no_prompts(len(mask), answer.device)
    for turn in range(1, clicks + 1):
        former = answer.detach().float()
        draws = [np.random.default_rng(derived_seed(s, turn)) for s in seeds]
        points, kinds = corrective_clicks(
            former,
            target,
            inside,
            clicks=int(np.random.default_rng(derived_seed(seed, turn)).choice(NEW[turn > 1])),
            side=model.image_size,
            seeds=[int(draw.integers(2**31)) for draw in draws],
        )
        boxed = [draw.random() < BOXES for draw in draws]
        if turn == 1 and any(boxed):
            points, kinds = _boxes(points, kinds, target, boxed, draws, model.image_size)
        given = torch.tensor([draw.random() >= FORGETS for draw in draws], device=answer.device)
        prompts = prompts.with_points(points, kinds).with_masks(former, given)
        answer = model.decode(embedding, prompts)
        yield answer


def _seed(target: Tensor, seed: int) -> int:
    """Of one image in one step: of what it shows, and not of its place in the batch."""
    return derived_seed(zlib.crc32(target.cpu().numpy().tobytes()) % 1_000_003, seed % 1_000_003)


def _boxes(
    points: Tensor,
    kinds: Tensor,
    target: Tensor,
    boxed: list[bool],
    draws: list[np.random.Generator],
    side: int,
) -> tuple[Tensor, Tensor]:
    """The first clicks (B, n) with a box, drawn by an unsteady hand, in the place of some."""
    points = F.pad(points, (0, 0, 0, 1))
    kinds = F.pad(kinds, (0, 1), value=-1)
    step = side / target.shape[-1]
    for i, draw in enumerate(draws):
        y, x = np.nonzero(target[i, 0].cpu().numpy() > 0.5)
        if not boxed[i] or not len(y):
            continue
        box = np.array([[x.min(), y.min()], [x.max() + 1, y.max() + 1]]) * step
        shift = np.clip(draw.normal(size=(2, 2)) * 0.07 * (box[1] - box[0]), -10, 10)
        box = np.clip(box + shift, 0, side - 1)
        kinds[i] = -1
        points[i, :2] = torch.as_tensor(box, dtype=torch.float32)
        kinds[i, :2] = torch.tensor([CORNER, OTHER_CORNER])
    return points, kinds
