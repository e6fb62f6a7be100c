"""Training settings as values: what the laptop, a T4 and the paper's A100 train with."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from tlseg_lite.sam import VARIANTS

PRECISIONS = ("no", "bf16", "fp16")


@dataclass(frozen=True)
class Recipe:
    """How a model is trained; every field is read by `tlseg_lite.fit` or by who builds the model.

    Attributes:
        sam: the SAM variant to build the model on.
        epochs: passes over the training images.
        batch_size: images in a step of the optimiser on one process.
        learning_rate: AdamW's, after the warm-up; it decays to zero along a cosine.
        weight_decay: AdamW's.
        warmup: share of all steps in which the learning rate rises linearly, in [0, 1).
        dice_weight: share of Dice in the loss, in [0, 1].
        precision: ``"no"`` (float32), ``"bf16"`` or ``"fp16"`` autocast.
        clip: the gradient's norm is cut to this; 0: never.
        augment: flips, rotations by 90 degrees and colour changes on training images.
        workers: processes that load images; 0: in the training process.
        seed: of the order of the images, the augmentation and the initial adapters.
    """

    sam: str = "sam_mini"
    epochs: int = 30
    batch_size: int = 4
    learning_rate: float = 5e-4
    weight_decay: float = 0.01
    warmup: float = 0.05
    dice_weight: float = 0.5
    precision: str = "no"
    clip: float = 1.0
    augment: bool = True
    workers: int = 0
    seed: int = 0

    why: str = field(default="", compare=False)
    """For people: why `for_this_machine` chose this recipe."""

    def __post_init__(self):
        if self.sam not in VARIANTS:
            raise ValueError(f"sam is {self.sam!r}; expected one of {', '.join(VARIANTS)}")
        if self.precision not in PRECISIONS:
            raise ValueError(
                f"precision is {self.precision!r}; expected one of {', '.join(PRECISIONS)}"
            )
        for name, least in (("epochs", 1), ("batch_size", 1), ("workers", 0), ("seed", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ValueError(f"{name} is {value!r}; expected an int of at least {least}")
        for name, low, high in (
            ("learning_rate", 0.0, float("inf")),
            ("weight_decay", 0.0, float("inf")),
            ("warmup", 0.0, 1.0),
            ("dice_weight", 0.0, 1.0),
            ("clip", 0.0, float("inf")),
        ):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not low <= value <= high:
                raise ValueError(f"{name} is {value!r}; expected a number from {low} to {high}")

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON, without the explanation."""
        values = asdict(self)
        del values["why"]
        return values

    @classmethod
    def laptop(cls) -> Recipe:
        """`sam_mini` at 256 px on two CPU cores, in minutes."""
        return cls()

    @classmethod
    def t4(cls) -> Recipe:
        """ViT-B at 1024 px in float16 on a 16 GB GPU, such as Colab's free T4."""
        return cls(
            sam="vit_b", epochs=30, batch_size=2, learning_rate=2e-4, precision="fp16", workers=2
        )

    @classmethod
    def paper(cls) -> Recipe:
        """The papers' recipe: ViT-L at 1024 px, AdamW 2e-4, cosine, 50 epochs (an A100)."""
        return cls(
            sam="vit_l", epochs=50, batch_size=4, learning_rate=2e-4, precision="bf16", workers=4
        )

    @classmethod
    def for_this_machine(cls) -> Recipe:
        """The recipe that fits: by the GPU's memory, or as ``TLSEG_RECIPE`` says.

        No GPU: `laptop`. Under 30 GB: `t4` (ViT-B). From 30 GB on: `paper` (ViT-L). ``why`` says
        what was found.

        Raises:
            ValueError: ``TLSEG_RECIPE`` names no recipe.
        """
        import torch

        if wanted := os.environ.get("TLSEG_RECIPE"):
            return replace(named_recipe(wanted), why=f"TLSEG_RECIPE={wanted}")
        if not torch.cuda.is_available():
            return replace(cls.laptop(), why="no CUDA device: sam_mini on the CPU")
        gpu = torch.cuda.get_device_properties(0)
        gib = gpu.total_memory / 2**30
        found = f"{gpu.name} with {gib:.0f} GiB"
        if gib < 30:
            precision = "bf16" if torch.cuda.get_device_capability(0) >= (8, 0) else "fp16"
            return replace(cls.t4(), precision=precision, why=f"{found}: ViT-B at 1024 px")
        return replace(cls.paper(), why=f"{found}: ViT-L at 1024 px, as in the paper")


RECIPES = ("laptop", "t4", "paper", "for_this_machine")


def named_recipe(name: str) -> Recipe:
    """`Recipe.laptop`, `.t4`, `.paper` or `.for_this_machine` by name; ValueError for another."""
    if name not in RECIPES:
        raise ValueError(f"unknown recipe {name!r}; choose one of {', '.join(RECIPES)}")
    return getattr(Recipe, name)()
