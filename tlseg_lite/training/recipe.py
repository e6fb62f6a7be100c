"""Training settings as values: what the laptop, a T4 and the paper's A100 train with."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tlseg_lite.sam.variants import VARIANTS

if TYPE_CHECKING:
    from torch.nn import Module
    from torch.utils.data import Dataset

PRECISIONS = ("no", "bf16", "fp16")
KEPT = ("best", "last")
CACHES = ("no", "memory", "disk", "auto")
HOW = ("micro_batch", "checkpointing", "compile", "cache")
"""Fields that change time and memory, and not what comes out."""


@dataclass(frozen=True)
class Recipe:
    """How a model is trained; every field is read by `tlseg_lite.fit` or by who builds the model.

    Attributes:
        sam: the SAM variant to build the model on.
        epochs: passes over the training images.
        batch_size: images in a step of the optimiser, on all processes together.
        learning_rate: AdamW's, after the warm-up; it decays to zero along a cosine.
        weight_decay: AdamW's.
        warmup: share of all steps in which the learning rate rises linearly, in [0, 1).
        dice_weight: share of Dice in the loss, in [0, 1].
        precision: ``"no"`` (float32), ``"bf16"`` or ``"fp16"`` autocast.
        clip: the gradient's norm is cut to this; 0: never.
        augment: flips, turns, zooms and colour changes on training images.
        keep: the weights that are left: ``"best"``, of the epoch with the best validation MIoU, or
            ``"last"``, of the last epoch. A handful of validation images chooses by luck; then the
            number of epochs is better fixed beforehand.
        workers: processes that load images; 0: in the training process.
        seed: of the order of the images, the augmentation and the initial adapters.
        micro_batch: images that go through the model at once on one process; their gradients are
            added up to those of the batch. 0: as many as fit into memory.
        checkpointing: of each encoder block keep its input only and compute the block again in the
            backward pass: half as much work again, and a fraction of the memory.
        compile: fuse parts of the encoder with `torch.compile`; pays on a GPU.
        cache: where decoded pictures are kept: ``"no"``, ``"memory"``, ``"disk"`` or ``"auto"``
            (`tlseg_lite.data.cache`).
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
    keep: str = "best"
    workers: int = 0
    seed: int = 0
    micro_batch: int = 0
    checkpointing: bool = False
    compile: bool = False
    cache: str = "no"

    why: str = field(default="", compare=False, repr=False)
    """For people: why `for_this_machine` chose this recipe."""

    def __post_init__(self):
        if self.sam not in VARIANTS:
            raise ValueError(f"sam is {self.sam!r}; expected one of {', '.join(VARIANTS)}")
        if self.precision not in PRECISIONS:
            raise ValueError(
                f"precision is {self.precision!r}; expected one of {', '.join(PRECISIONS)}"
            )
        if self.cache not in CACHES:
            raise ValueError(f"cache is {self.cache!r}; expected one of {', '.join(CACHES)}")
        if self.keep not in KEPT:
            raise ValueError(f"keep is {self.keep!r}; expected one of {', '.join(KEPT)}")
        for name in ("checkpointing", "compile"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} is {getattr(self, name)!r}; expected True or False")
        whole = (("epochs", 1), ("batch_size", 1), ("workers", 0), ("seed", 0), ("micro_batch", 0))
        for name, least in whole:
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
        """What decides the result, as plain values for JSON; not the explanation, not `HOW`."""
        return {k: v for k, v in asdict(self).items() if k != "why" and k not in HOW}

    def how(self) -> dict[str, Any]:
        """What decides time and memory alone, as plain values for JSON."""
        return {name: getattr(self, name) for name in HOW}

    @classmethod
    def laptop(cls) -> Recipe:
        """`sam_mini` at 256 px on two CPU cores, in minutes."""
        return cls(cache="memory")

    @classmethod
    def t4(cls, sam: str = "vit_b") -> Recipe:
        """ViT-B, or on request ViT-L, at 1024 px in float16 on a 16 GB GPU such as Colab's T4.

        Checkpointing keeps the activations of one block at a time; if two images at once are too
        many all the same, they go through the model one by one.
        """
        return cls(
            sam=sam,
            epochs=30,
            batch_size=2,
            learning_rate=2e-4,
            precision="fp16",
            workers=2,
            checkpointing=True,
            cache="auto",
        )

    @classmethod
    def paper(cls) -> Recipe:
        """The papers' recipe: ViT-L at 1024 px, AdamW 2e-4, cosine, 50 epochs (an A100).

        The papers do not give the batch. Here it is 4 on every machine, so that the schedule and
        the result are the same; as many of these at once as fit into memory.
        """
        return cls(
            sam="vit_l",
            epochs=50,
            batch_size=4,
            learning_rate=2e-4,
            precision="bf16",
            workers=4,
            cache="auto",
        )

    @classmethod
    def for_this_machine(cls, train: Dataset | None = None, model: Module | None = None) -> Recipe:
        """The recipe that fits: by the GPU's memory, or as ``TLSEG_RECIPE`` says.

        No GPU: `laptop`. Under 30 GB: `t4` (ViT-B). From 30 GB on: `paper` (ViT-L). ``why`` says
        what was found, and about how many minutes the training takes.

        Args:
            train: the training images that the minutes are for; None: 539, as in the paper.
            model: measure a few steps of it on `train` (`tlseg_lite.preflight`), instead of
                estimating from the speed of matrix products on this machine.

        Raises:
            ValueError: ``TLSEG_RECIPE`` names no recipe, or a model without images.
        """
        if model is not None and train is None:
            raise ValueError("a model was given and no images: give train as well")
        recipe = _by_memory(cls)
        if model is not None:
            from tlseg_lite.training.preflight import preflight

            told = preflight(model, train, recipe)
            recipe, minutes = told.recipe, told.minutes
            basis = f"{len(train)} images, from steps measured just now"
        else:
            from tlseg_lite.training.machine import estimated_minutes

            images = PAPER_IMAGES if train is None else len(train)
            minutes, estimate = estimated_minutes(recipe, images)
            basis = f"{images} images, an estimate: {estimate}"
        return replace(recipe, why=f"{recipe.why}; about {_rounded(minutes)} for {basis}")


PAPER_IMAGES = 539
"""Training images of the papers: 70 % of Bijie's 770."""


def _by_memory(cls: type[Recipe]) -> Recipe:
    import torch

    if wanted := os.environ.get("TLSEG_RECIPE"):
        return replace(_fixed(wanted), why=f"TLSEG_RECIPE={wanted}")
    if not torch.cuda.is_available():
        return replace(cls.laptop(), why="no CUDA device: sam_mini on the CPU")
    gpu = torch.cuda.get_device_properties(0)
    gib = gpu.total_memory / 2**30
    found = f"{gpu.name} with {gib:.0f} GiB"
    if gib < 30:
        precision = "bf16" if torch.cuda.get_device_capability(0) >= (8, 0) else "fp16"
        why = f"{found}: ViT-B at 1024 px, activations computed twice to save memory"
        return replace(cls.t4(), precision=precision, why=why)
    return replace(cls.paper(), why=f"{found}: ViT-L at 1024 px, as in the paper")


def _rounded(minutes: float) -> str:
    if minutes < 1:
        return "a minute"
    if minutes < 90:
        return f"{minutes:.0f} minutes"
    return f"{minutes / 60:.0f} hours ({minutes:.0f} minutes)"


RECIPES = ("laptop", "t4", "paper", "for_this_machine")


def _fixed(name: str) -> Recipe:
    if name not in RECIPES[:3]:
        raise ValueError(f"unknown recipe {name!r}; choose one of {', '.join(RECIPES[:3])}")
    return getattr(Recipe, name)()


def named_recipe(name: str) -> Recipe:
    """`Recipe.laptop`, `.t4`, `.paper` or `.for_this_machine` by name; ValueError for another."""
    if name not in RECIPES:
        raise ValueError(f"unknown recipe {name!r}; choose one of {', '.join(RECIPES)}")
    return getattr(Recipe, name)()
