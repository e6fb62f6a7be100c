"""The settings of the pre-training, and how they follow the clock."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """Settings of the pre-training.

    batch: images a step.
    prompts: of each image.
    rate: peak learning rate of AdamW.
    matrix_rate: of Muon, for the transformers' matrices.
    decay: weight decay of both.
    dense: share of the time for the dense phase, without prompts.
    reading: share at which the decoder has learned to read prompts; until then the encoder rests.
    rehearsals: prompts to each batch, again and again, while the encoder rests.
    warmup: share of the time for the first rise of the rate.
    harder: share of the time at which the images have become as hard as they get.
    details: share of the images with details, as in `DeadLeaves.sample`.
    corrections: share of the later steps with a second round of prompts.
    balanced: share of the prompt phases in which the loss goes over from balanced to focal.
    quality: weight of the IoU head's loss beside the masks'.
    every: weight of the mean of the three masks' losses beside the best one's.
    average: decay of the running mean of the weights, which is what is exported.
    share: of a run's own weights in what is exported; the rest are those that it began with.
    textures: in the bank of the images.
    held_out: images of each of three difficulties for the curve.
    seed: of weights and images.
    """

    batch: int = 12
    prompts: int = 8
    rate: float = 6e-4
    matrix_rate: float = 2e-3
    decay: float = 0.05
    dense: float = 0.12
    reading: float = 0.25
    rehearsals: int = 4
    warmup: float = 0.01
    harder: float = 0.6
    details: float = 0.0
    corrections: float = 0.2
    balanced: float = 0.5
    quality: float = 8.0
    every: float = 0.05
    average: float = 0.995
    share: float = 1.0
    textures: int = 320
    held_out: int = 12
    seed: int = 0

    @classmethod
    def continued(cls, seed: int = 100) -> Plan:
        """For a run that begins with trained weights: prompts and hard images from the start.

        A third of the usual rates: at the full ones the first minutes undo more than a run of an
        hour or two wins back. A third of the images have details, and the three masks may differ
        less, so that taking the one with the highest predicted IoU costs less. What comes
        out is half of what was learned: the mean of the weights before and after.

        Args:
            seed: of the images; take one that the weights have not been trained with (the
                shipped ones are from smaller seeds).
        """
        return cls(
            dense=0.0,
            reading=0.0,
            harder=0.01,
            details=0.35,
            every=0.2,
            share=0.5,
            balanced=0.01,
            rate=2e-4,
            matrix_rate=7e-4,
            held_out=16,
            seed=seed,
        )

    def schedule(self, t: float) -> float:
        """The learning rate at share `t` of the time, as a share of its peak: up, then a cosine."""
        rise = min(1.0, (t + 1e-4) / self.warmup)
        return rise * 0.5 * (1 + math.cos(math.pi * min(1.0, t)))

    def difficulty(self, t: float) -> float:
        """The hardest images at share `t`: 0.2 in the dense phase, then rising to 1."""
        rise = (t - self.dense) / max(1e-6, self.harder - self.dense)
        return 0.2 + 0.8 * min(1.0, max(0.0, rise))
