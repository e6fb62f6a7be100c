"""Correcting one image with clicks: the encoder sees it once, each click is a pass of the decoder.

What a person's tool, the simulated user and the page's control have in common.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from tlseg_lite.core.checks import check_image
from tlseg_lite.core.precision import float32_products
from tlseg_lite.data.transforms import fit_image, fitted_size, unfit
from tlseg_lite.sam.corrections import hold_clicks
from tlseg_lite.sam.prompts import LARGEST_LOGIT, Prompts, no_prompts


class Click(NamedTuple):
    """A click at x, y in pixels of the image; `on`: this is landslide, else: this is none."""

    x: float
    y: float
    on: bool


class Correction:
    """A model's answer to an image, and its answers to clicks on it.

    Each click is given to the decoder with all clicks before it and with the answer before it.

    Args:
        model: a `TransLandSeg` with ``prompts=True``.
        image: float (3, H, W) in [0, 1], of any size.
        former: give the decoder its former answer with the clicks, as it was trained.
        hold: a click is an order (`tlseg_lite.sam.corrections.hold_clicks`): its place obeys, and
            far from it nothing changes. False: the decoder's answers as they are.
        first: logits (1, H, W) to begin with, such as those of a map; None: the model's answer
            without a click.

    Attributes:
        clicks: the clicks so far.
        size: H, W.

    Raises:
        ValueError: the model takes no prompts, or the image or `first` has another form.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        image: Tensor,
        *,
        former: bool = True,
        hold: bool = True,
        first: Tensor | None = None,
    ):
        if not getattr(model, "prompts", False):
            raise ValueError(
                f"this {type(model).__name__} takes no clicks; build it with TransLandSeg(sam, "
                "design, prompts=True), and train it with Recipe(clicks=2)"
            )
        check_image(image, "the image")
        self.model, self.former, self.hold = model, former, hold
        self.size: tuple[int, int] = (int(image.shape[-2]), int(image.shape[-1]))
        self.clicks: list[Click] = []
        device = model.pixel_mean.device
        square = fit_image(image.cpu(), model.image_size)[None].to(device)
        self._embedding = self._without_gradient(model.encode, square)
        if first is None:
            self._answers = [self._without_gradient(model.decode, self._embedding)]
        else:
            self._answers = [self._low(first).to(device)]
        self._first = first

    @property
    def logits(self) -> Tensor:
        """The present answer, float32 (1, H, W) on the CPU; > 0 is landslide."""
        if self._first is not None and not self.clicks:
            return self._first.float().cpu()
        with torch.no_grad():
            return unfit(self.model.enlarged(self._answers[-1])[0].float(), self.size).cpu()

    @property
    def mask(self) -> Tensor:
        """The present answer, bool (H, W)."""
        return self.logits[0] > 0

    def click(self, x: float, y: float, on: bool = True) -> Tensor:
        """The answer after one more click, as `logits`.

        Args:
            x, y: column and row in pixels of the image; whole numbers are the middle of a pixel.
            on: the place is landslide; False: it is none.

        Raises:
            ValueError: the place is outside of the image.
        """
        height, width = self.size
        if not (math.isfinite(x) and math.isfinite(y)) or not (
            -0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5
        ):
            raise ValueError(
                f"the click ({x:g}, {y:g}) is outside of the image; expected x in 0..{width - 1} "
                f"and y in 0..{height - 1}"
            )
        self.clicks.append(Click(float(x), float(y), bool(on)))
        prompts = self._prompts()
        answer = self._without_gradient(self.model.decode, self._embedding, prompts)
        if self.hold:
            given = (prompts.points[0].to(answer.device), prompts.kinds[0].to(answer.device))
            old = self._answers[-1][0, 0]
            answer = hold_clicks(answer[0, 0], old, *given, self.model.image_size)[None, None]
        self._answers.append(answer)
        return self.logits

    def undo(self) -> Click | None:
        """Take the last click back; returns it, or None where there is none."""
        if not self.clicks:
            return None
        self._answers.pop()
        return self.clicks.pop()

    def reset(self) -> None:
        """Take all clicks back."""
        del self.clicks[:], self._answers[1:]

    def _prompts(self) -> Prompts:
        """All clicks, in pixels of the model's input, and the answer before the last one."""
        inside = fitted_size(self.size, self.model.image_size)
        points = torch.tensor([[[c.x, c.y] for c in self.clicks]])
        scale = torch.tensor([inside[1] / self.size[1], inside[0] / self.size[0]])
        points = ((points + 0.5) * scale - 0.5).clamp(min=0)
        kinds = torch.tensor([[int(c.on) for c in self.clicks]])
        prompts = no_prompts(1).with_points(points, kinds)
        return prompts.with_masks(self._answers[-1].float().cpu()) if self.former else prompts

    def _low(self, logits: Tensor) -> Tensor:
        """Logits (1, H, W) as the decoder would give them, (1, 1, S/4, S/4)."""
        if tuple(logits.shape) != (1, *self.size) or not logits.isfinite().all():
            raise ValueError(
                f"first has shape {tuple(logits.shape)}; expected finite logits of "
                f"{(1, *self.size)}, as the image"
            )
        side = self.model.image_size
        height, width = fitted_size(self.size, side)
        square = torch.full((1, 1, side, side), -LARGEST_LOGIT)
        small = F.interpolate(logits[None].float().cpu(), (height, width), mode="area")
        square[..., :height, :width] = small
        return F.adaptive_avg_pool2d(square, side // 4)

    def _without_gradient(self, call, *given):
        was_training = self.model.training
        self.model.eval()
        try:
            exact = not torch.is_autocast_enabled()
            with torch.no_grad(), float32_products(self.model.pixel_mean.device, exact=exact):
                return call(*given)
        finally:
            self.model.train(was_training)
