"""Averages of weights: of two trainings in one model, or over the steps of one training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn


def blend(
    model: torch.nn.Module, other: Mapping[str, torch.Tensor], share: float = 0.5
) -> torch.nn.Module:
    """Put `model` between its own weights and other ones: ``(1 - share) * other + share * own``.

    It is of use where a straight line between the two leads through good models only, as it often
    does when both were fine-tuned from the same start. Then the average keeps what either learned,
    at no cost in time. Two uses have names:

    - model soup (Wortsman et al., ICML 2022): two trainings from one start, here one on synthetic
      scenes and one on real images;
    - WiSE-FT (Wortsman et al., CVPR 2022): `other` is what the training started from.

    As a rule networks that were trained from scratch, each by itself, do not blend, even from the
    same random start.

    Args:
        model: a `TransLandSeg` or a model of `build_baseline`; changed in place.
        other: what ``trained_state()`` of a model of the same design gives.
        share: of `model`'s own weights, 0 (the other ones) to 1 (nothing changes).

    Returns:
        `model`.

    Raises:
        ValueError: a share outside of 0 to 1.
        CheckpointError: `other` is of another design; names what does not fit. Nothing changes.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share is {share!r}; expected 0 (the other weights) to 1 (the model's)")
    own = {name: tensor.clone() for name, tensor in model.trained_state().items()}
    model.load_trained_state(other, "the other set of weights")
    for name, tensor in model.trained_state().items():
        if tensor.is_floating_point():
            tensor.lerp_(own[name], share)
        else:  # batch norm's count of batches
            tensor.copy_(own[name])
    return model


class MovingAverage:
    """An exponential moving average of a model's trained weights over the steps of a training.

    After step t, ``average = d * average + (1 - d) * weights`` with
    ``d = min(decay, (1 + t) / (10 + t))``: the first steps, which are far from the end, are
    forgotten soon (the warm-up of TensorFlow's ``ExponentialMovingAverage``). The buffers of batch
    normalisation are averaged like the weights.

    Args:
        model: a `Trainable`, whose `trained_state` is averaged.
        decay: 0 to below 1; 0: there is no average, and nothing is kept or computed.

    Attributes:
        steps: that went into the average.
    """

    def __init__(self, model: torch.nn.Module, decay: float):
        self.model, self.decay, self.steps = model, decay, 0
        self._average: dict[str, torch.Tensor] = {}
        self.restart()

    def restart(self) -> None:
        """Begin anew with the weights that the model has now."""
        self.steps = 0
        if self.decay:
            self._average = {k: v.clone() for k, v in self.model.trained_state().items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take the model's weights into the average; after each step of the optimizer."""
        if not self.decay:
            return
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        own = self.model.trained_state()
        floating = [name for name, tensor in own.items() if tensor.is_floating_point()]
        average = get_ema_multi_avg_fn(decay)
        average([self._average[k] for k in floating], [own[k] for k in floating], None)
        for name in own.keys() - set(floating):  # batch norm's count of batches
            self._average[name].copy_(own[name])
        self.steps += 1

    @contextmanager
    def in_model(self) -> Iterator[None]:
        """Inside, the model has the average's weights; afterwards its own again."""
        if not self.decay:
            yield
            return
        own = {k: v.clone() for k, v in self.model.trained_state().items()}
        self._put(self._average)
        try:
            yield
        finally:
            self._put(own)

    @torch.no_grad()
    def _put(self, weights: Mapping[str, torch.Tensor]) -> None:
        for name, tensor in self.model.trained_state().items():
            tensor.copy_(weights[name])

    def state(self) -> dict | None:
        """For a file: the average and its steps; None: there is no average."""
        return {"steps": self.steps, "weights": self._average} if self.decay else None

    def restore(self, state: Mapping) -> None:
        """Take over what `state` gave, in place."""
        self.steps = state["steps"]
        for name, tensor in self._average.items():
            tensor.copy_(state["weights"][name])

    def tensors(self) -> dict[str, torch.Tensor]:
        """The average itself, not copies; empty: there is none."""
        return self._average
