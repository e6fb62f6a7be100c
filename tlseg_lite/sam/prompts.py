"""Prompts for a batch of images as plain tensors: points, boxes and former masks, or none.

SAM gives a prompt of points without a box one more token that says "no point". Here a prompt gets
the tokens that it would get by itself, whatever its neighbours in the batch have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

NOTHING, BESIDE, ON, CORNER, OTHER_CORNER = -1, 0, 1, 2, 3
"""SAM's kinds of points: padding, beside the object, on it, a box's left top and right bottom."""

LARGEST_LOGIT = 20.0
"""Logits of a former mask are cut to this in size, as when `sam_mini` was trained."""


@dataclass(frozen=True)
class Prompts:
    """A prompt for each image of a batch, in tensors.

    Attributes:
        points: float (B, n, 2) as x, y in pixels of the model's input.
        kinds: int (B, n): 0 beside the object, 1 on it, 2 and 3 a box's corners, -1 nothing there.
        masks: logits (B, 1, 4g, 4g) of a former answer, for g x g tokens; None: there is none.
        given: bool (B,), whose former mask counts; None: everyone's.
    """

    points: Tensor
    kinds: Tensor
    masks: Tensor | None = None
    given: Tensor | None = None

    def __post_init__(self):
        shape = tuple(self.kinds.shape)
        if len(shape) != 2 or tuple(self.points.shape) != (*shape, 2):
            raise ValueError(
                f"points have shape {tuple(self.points.shape)}, kinds {shape}; expected (B, n, 2) "
                "and (B, n)"
            )
        if self.masks is not None and (self.masks.ndim != 4 or len(self.masks) != shape[0]):
            raise ValueError(
                f"masks have shape {tuple(self.masks.shape)}; expected ({shape[0]}, 1, 4g, 4g)"
            )

    def __len__(self) -> int:
        return len(self.kinds)

    def brings_mask(self) -> Tensor:
        """bool (B,): whose former mask counts."""
        if self.masks is None:
            return torch.zeros(len(self), dtype=torch.bool, device=self.kinds.device)
        if self.given is None:
            return torch.ones(len(self), dtype=torch.bool, device=self.kinds.device)
        return self.given > 0

    def to(self, device: torch.device) -> Prompts:
        """The same on another device."""
        parts = (self.points, self.kinds, self.masks, self.given)
        return Prompts(*(None if part is None else part.to(device) for part in parts))

    def with_points(self, points: Tensor, kinds: Tensor) -> Prompts:
        """Further points (B, m, 2) and kinds (B, m) behind these."""
        points = torch.cat([self.points, points.to(self.points)], 1)
        return Prompts(points, torch.cat([self.kinds, kinds], 1), self.masks, self.given)

    def with_masks(self, masks: Tensor, given: Tensor | None = None) -> Prompts:
        """The same points with these former masks."""
        return Prompts(self.points, self.kinds, masks, given)

    def groups(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """The prompts by number of tokens: rows (m,), their points (m, t, 2) and kinds (m, t).

        t is what SAM would give each of them by itself: its points, one token more if there are
        points and no box, nothing for no point.
        """
        there = self.kinds >= 0
        number, box = there.sum(1), (self.kinds >= CORNER).any(1)
        tokens = number + ((number > 0) & ~box)
        first = torch.sort((~there).to(torch.uint8), dim=1, stable=True).indices
        kinds = F.pad(self.kinds.gather(1, first), (0, 1), value=NOTHING)
        points = F.pad(self.points.gather(1, first[..., None].expand(-1, -1, 2)), (0, 0, 0, 1))
        points = points * (kinds >= 0)[..., None]
        for t in tokens.unique().tolist():
            rows = (tokens == t).nonzero()[:, 0]
            yield rows, points[rows, :t], kinds[rows, :t]


def no_prompts(images: int, device: torch.device | str = "cpu") -> Prompts:
    """The empty prompt for each of so many images."""
    return Prompts(
        torch.zeros(images, 0, 2, device=device),
        torch.zeros(images, 0, dtype=torch.long, device=device),
    )


def as_prompts(
    prompts: Prompts | Mapping[str, Any] | Sequence[Mapping[str, Any] | None], side: int
) -> Prompts:
    """Prompts as people write them, checked, in tensors.

    Args:
        prompts: for each image a mapping, or None for no prompt, with any of ``points`` (N, 2) as
            x, y in pixels of the model's input, ``labels`` (N,) of 1 (on a landslide, the default)
            and 0 (beside it), ``box`` (4,) as left, top, right, bottom, and ``mask``, the logits of
            a former answer, (1, s/4, s/4) or (s/4, s/4) for images of s pixels. One mapping: for
            one image. A `Prompts` is given back.
        side: s, the side of the model's square.

    Raises:
        ValueError: what is wrong, and with which prompt.
        TypeError: something else than prompts.
    """
    if isinstance(prompts, Prompts):
        return prompts
    if isinstance(prompts, Mapping):
        prompts = [prompts]
    if isinstance(prompts, (str, bytes)) or not isinstance(prompts, Sequence):
        raise TypeError(
            f"prompts are a {type(prompts).__name__}; expected one mapping for each image, such as "
            '[{"points": [(x, y)], "labels": [1]}, None], or a Prompts'
        )
    rows = [_row(prompt or {}, side, f"prompts[{i}]") for i, prompt in enumerate(prompts)]
    longest = max((len(kinds) for _, kinds, _ in rows), default=0)
    points = torch.zeros(len(rows), longest, 2)
    kinds = torch.full((len(rows), longest), NOTHING)
    for i, (p, k, _) in enumerate(rows):
        points[i, : len(k)], kinds[i, : len(k)] = p, k
    given = torch.tensor([mask is not None for *_, mask in rows], dtype=torch.bool)
    if not given.any():
        return Prompts(points, kinds)
    low = side // 4
    masks = [torch.zeros(1, low, low) if mask is None else mask for *_, mask in rows]
    return Prompts(points, kinds, torch.stack(masks), given)


_KEYS = ("points", "labels", "box", "mask")


def _row(prompt: Mapping[str, Any], side: int, name: str) -> tuple[Tensor, Tensor, Tensor | None]:
    if not isinstance(prompt, Mapping):
        raise TypeError(
            f"{name} is a {type(prompt).__name__}; expected a mapping with some of "
            f"{', '.join(_KEYS)}, or None"
        )
    if unknown := [key for key in prompt if key not in _KEYS]:
        raise ValueError(f"{name} has {unknown[0]!r}; expected some of {', '.join(_KEYS)}")
    points, kinds = _points(prompt.get("points"), prompt.get("labels"), side, name)
    if prompt.get("box") is not None:
        corners = torch.as_tensor(prompt["box"], dtype=torch.float32).reshape(-1)
        if corners.shape != (4,) or not _inside(corners, side):
            raise ValueError(
                f"{name}: the box is {prompt['box']!r}; expected left, top, right, bottom within "
                f"0..{side}"
            )
        if not (corners[0] < corners[2] and corners[1] < corners[3]):
            raise ValueError(
                f"{name}: the box is {prompt['box']!r}; expected left < right and top < bottom"
            )
        points = torch.cat([points, corners.view(2, 2)])
        kinds = torch.cat([kinds, torch.tensor([CORNER, OTHER_CORNER])])
    return points, kinds, _former(prompt.get("mask"), side, name)


def _points(points: Any, labels: Any, side: int, name: str) -> tuple[Tensor, Tensor]:
    if points is None or len(points) == 0:
        if labels is not None and len(labels):
            raise ValueError(f"{name} has labels without points; give points=[(x, y), ...] too")
        return torch.zeros(0, 2), torch.zeros(0, dtype=torch.long)
    points = torch.as_tensor(points, dtype=torch.float32)
    points = points[None] if points.shape == (2,) else points
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"{name}: points have shape {tuple(points.shape)}; expected (N, 2)")
    if not _inside(points, side):
        raise ValueError(
            f"{name}: points are {points.tolist()}; expected x, y within 0..{side}, in pixels of "
            "the model's input"
        )
    kinds = torch.ones(len(points)) if labels is None else torch.as_tensor(labels).reshape(-1)
    if len(kinds) != len(points) or not ((kinds == BESIDE) | (kinds == ON)).all():
        raise ValueError(
            f"{name}: labels are {labels!r}; expected a 1 (on a landslide) or a 0 (beside it) for "
            f"each of {len(points)} points"
        )
    return points, kinds.long()


def _inside(numbers: Tensor, side: int) -> bool:
    return bool(((numbers >= 0) & (numbers <= side)).all())  # NaN is not


def _former(mask: Any, side: int, name: str) -> Tensor | None:
    if mask is None:
        return None
    mask = torch.as_tensor(mask).detach().float()
    low = side // 4
    if tuple(mask.shape) not in ((low, low), (1, low, low)) or not mask.isfinite().all():
        raise ValueError(
            f"{name}: the mask has shape {tuple(mask.shape)}; expected finite logits of a former "
            f"answer, (1, {low}, {low}), as `decode` gives them"
        )
    return mask.reshape(1, low, low)
