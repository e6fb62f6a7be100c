"""Training settings as values: what the laptop, a T4 and the paper's A100 train with.

A recipe starts nothing. `Recipe.for_this_machine`, which looks at the machine, comes from
`tlseg_lite.training.preflight`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from tlseg_lite.data.cache import WHERE as CACHES
from tlseg_lite.sam.variants import VARIANTS

PRECISIONS = ("no", "bf16", "fp16")
KEPT = ("best", "last")
AUGMENTATIONS = {"all": True, "turns": "turns", "none": False}
"""Values of `Recipe.augment` by their names for a command line."""
_LATER = ("ema", "clicks")
"""Fields that older records do not know; they are switched off there."""
HOW = ("workers", "micro_batch", "checkpointing", "compile", "cache")
"""Fields that change time and memory, and not what comes out: no part of a run's identity."""


def _one_of(default: str, choices: Iterable[str]) -> Any:
    return _setting(default, lambda value: value in tuple(choices), f"one of {', '.join(choices)}")


def _whole(default: int, least: int = 0) -> Any:
    def fits(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and value >= least

    return _setting(default, fits, f"an int of at least {least}")


def _number(default: float, high: float = float("inf")) -> Any:
    def fits(value: Any) -> bool:
        return isinstance(value, (int, float)) and 0 <= value <= high

    return _setting(default, fits, f"a number from 0.0 to {high}")


def _is_share(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1


def _switch(default: bool) -> Any:
    return _setting(default, lambda value: isinstance(value, bool), "True or False")


def _setting(default: Any, fits: Any, expected: str) -> Any:
    """A field with its rule, which `Recipe.__post_init__` applies."""
    return field(default=default, metadata={"fits": fits, "expected": expected})


@dataclass(frozen=True)
class Recipe:
    """How a model is trained; every field is read by `tlseg_lite.fit` or by who builds the model.

    Attributes:
        sam: the SAM variant to build the model on.
        epochs: passes over the training images.
        batch_size: images in a step of the optimizer, on all processes together.
        learning_rate: AdamW's, after the warm-up; it decays to zero along a cosine.
        weight_decay: AdamW's.
        warmup: share of all steps in which the learning rate rises linearly, in [0, 1).
        dice_weight: share of Dice in the loss, in [0, 1].
        precision: ``"no"`` (float32), ``"bf16"`` or ``"fp16"`` autocast.
        clip: the gradient's norm is cut to this; 0: never.
        augment: changes of the training images: True, flips, turns, zooms and colour changes;
            ``"turns"``, flips and quarter turns alone; False, none.
        keep: the weights that are left: ``"best"``, of the epoch with the best validation MIoU, or
            ``"last"``, of the last epoch. A handful of validation images chooses by luck; then the
            number of epochs is better fixed beforehand.
        ema: decay of an exponential moving average of the trained weights over the steps, in
            [0, 1); the average is what is validated, kept and tested. 0: the weights themselves.
        clicks: rounds of corrective clicks that follow the answer without a prompt in each step,
            for a `TransLandSeg` with ``prompts=True``; 0: it is trained without prompts.
        workers: processes that load images; 0: in the training process.
        seed: of the order of the images, the augmentation and the initial adapters.
        micro_batch: images that go through the model at once on one process; their gradients are
            added up to those of the batch. 0: as many as fit into memory.
        checkpointing: of each encoder block keep its input only and compute the block again in the
            backward pass: half as much work again, and a fraction of the memory.
        compile: fuse parts of the encoder with `torch.compile`; pays on a GPU.
        cache: where decoded images are kept: ``"no"``, or ``"memory"`` (also called ``"auto"``), of
            which at most half of what is free is used (`tlseg_lite.data.cache`).
    """

    sam: str = _one_of("sam_mini", VARIANTS)
    epochs: int = _whole(30, least=1)
    batch_size: int = _whole(4, least=1)
    learning_rate: float = _number(5e-4)
    weight_decay: float = _number(0.01)
    warmup: float = _number(0.05, high=1.0)
    dice_weight: float = _number(0.5, high=1.0)
    precision: str = _one_of("no", PRECISIONS)
    clip: float = _number(1.0)
    augment: bool | str = _setting(
        True, lambda value: isinstance(value, bool) or value == "turns", 'True, "turns" or False'
    )
    keep: str = _one_of("best", KEPT)
    ema: float = _setting(0.0, _is_share, "a number from 0.0 to below 1.0")
    clicks: int = _whole(0)
    workers: int = _whole(0)
    seed: int = _whole(0)
    micro_batch: int = _whole(0)
    checkpointing: bool = _switch(False)
    compile: bool = _switch(False)
    cache: str = _one_of("no", CACHES)

    why: str = field(default="", compare=False, repr=False)
    """For people: why `for_this_machine` chose this recipe."""

    def __post_init__(self):
        for each in fields(self):
            value, rule = getattr(self, each.name), each.metadata
            if rule and not rule["fits"](value):
                raise ValueError(f"{each.name} is {value!r}; expected {rule['expected']}")

    def as_dict(self) -> dict[str, Any]:
        """What decides the result, as plain values for JSON; not the explanation, not `HOW`.

        Without clicks there is no ``clicks``, and without an average no ``ema``, as in what was
        written before there were any.
        """
        values = {k: v for k, v in asdict(self).items() if k != "why" and k not in HOW}
        return {k: v for k, v in values.items() if v or k not in _LATER}

    def how(self) -> dict[str, Any]:
        """What decides time and memory alone, as plain values for JSON."""
        return {name: getattr(self, name) for name in HOW}

    @classmethod
    def laptop(cls, images: int | None = None) -> Recipe:
        """`sam_mini` at 256 px on two CPU cores: minutes for a few images, an hour for hundreds.

        Args:
            images: for training. From `HUNDREDS` on the learning rate is four times that for a
                few, and the augmentation is flips and quarter turns alone: the best of those
                tried for TransLandSeg on Bijie's validation images
                (book/results/recipe_search.csv). A UNet from scratch wants 5e-4 there, too.
                None: a few.
        """
        if images is None or images < HUNDREDS:
            return cls(cache="memory")
        why = f"{images} images: the laptop's recipe for hundreds, learning rate 2e-3, turns alone"
        return cls(cache="memory", learning_rate=2e-3, augment="turns", why=why)

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


HUNDREDS = 150
"""From so many training images on `Recipe.laptop` takes the recipe for hundreds."""

PAPER_IMAGES = 539
"""Training images of the papers: 70 % of Bijie's 770."""

RECIPES = ("laptop", "t4", "paper", "for_this_machine")


def named_recipe(name: str, images: int | None = None) -> Recipe:
    """`Recipe.laptop`, `.t4`, `.paper` or `.for_this_machine` by name.

    Args:
        name: of `RECIPES`.
        images: for training, by which the laptop's recipe is chosen.

    Raises:
        ValueError: another name.
    """
    if name not in RECIPES:
        raise ValueError(f"unknown recipe {name!r}; choose one of {', '.join(RECIPES)}")
    by_number = (images,) if name in ("laptop", "for_this_machine") else ()
    return getattr(Recipe, name)(*by_number)
