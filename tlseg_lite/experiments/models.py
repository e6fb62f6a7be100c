"""What is trained: the designs of an ablation, the models of a comparison, and SAM with prompts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tlseg_lite as tl
from tlseg_lite.adapters.atl import DESIGNS, ATLConfig
from tlseg_lite.adapters.lora import LoRAConfig
from tlseg_lite.core.moved import renamed
from tlseg_lite.sam.variants import VARIANTS

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__getattr__ = renamed(__name__, {"Contestant": "Model", "contestants": "models"})


@dataclass(frozen=True)
class Design:
    """What is trained: adapters or none, the encoder or not, and the rate beside the recipe's.

    Attributes:
        config: an `ATLConfig`, a `LoRAConfig`, or None for no adapters.
        tune_encoder: train the whole encoder too.
        rate: factor on the recipe's learning rate; 1 except where a design needs another one.
    """

    config: ATLConfig | LoRAConfig | None
    tune_encoder: bool = False
    rate: float = 1.0

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        config = None if self.config is None else self.config.as_dict()
        return {"config": config, "tune_encoder": self.tune_encoder, "rate": self.rate}


@dataclass(frozen=True)
class Model:
    """A model to be trained, by the function that makes it.

    Attributes:
        build: seed -> an untrained model in TransLandSeg's form.
        weights: what its encoder starts from, in a word: ``"sam_mini"``, ``"random"``, a file.
        backbone: fingerprint of these weights; empty for random ones.
        rate: factor on the recipe's learning rate.
        scenes_rate: the same while it learns synthetic scenes; None: `rate`.
    """

    build: Callable[[int], Module]
    weights: str = "random"
    backbone: str = ""
    rate: float = 1.0
    scenes_rate: float | None = None


def groups(variant: str = "sam_mini") -> dict[str, dict[str, Design]]:
    """The named designs by group, for a SAM variant.

    ``table4``: the nine of Table IV. ``released``: the two with the released structure.
    ``bottleneck``: TransLandSeg with other d. ``depth``: TransLandSeg in the first or last k
    blocks only. ``tuning``: decoder only, everything (at the recipe's rate and at a tenth of it),
    LoRA, and TransLandSeg without the zero start.
    """
    v = VARIANTS[variant]
    d, depth = v.width // 32, v.depth
    widths = sorted({1, 2, d // 2, 2 * d, 4 * d} - {0, d})
    shares = sorted({depth // 4, depth // 2, 3 * depth // 4} - {0, depth})
    first = {f"first-{k}-blocks": tuple(range(k)) for k in shares}
    last = {f"last-{k}-blocks": tuple(range(depth - k, depth)) for k in shares}
    return {
        "table4": {n: Design(c) for n, c in DESIGNS.items() if c.source == "block"},
        "released": {n: Design(c) for n, c in DESIGNS.items() if c.source == "shared"},
        "bottleneck": {f"bottleneck-{w}": Design(ATLConfig(bottleneck=w)) for w in widths},
        "depth": {n: Design(ATLConfig(blocks=blocks)) for n, blocks in {**first, **last}.items()},
        "tuning": {
            "decoder-only": Design(None),
            "full-fine-tuning": Design(None, tune_encoder=True),
            "full-fine-tuning-tenth-rate": Design(None, tune_encoder=True, rate=0.1),
            "LoRA-4": Design(LoRAConfig(4)),
            "LoRA-8": Design(LoRAConfig(8)),
            "no-zero-init": Design(ATLConfig(zero_init=False)),
        },
    }


def named_designs(names: str | Iterable[str], variant: str = "sam_mini") -> dict[str, Design]:
    """Designs by their own names or by groups' names (``"all"``: every group), in order.

    Raises:
        ValueError: an unknown name; lists the known ones.
    """
    by_group = groups(variant)
    every = {name: design for group in by_group.values() for name, design in group.items()}
    known = {name: {name: design} for name, design in every.items()} | by_group | {"all": every}
    chosen: dict[str, Design] = {}
    for name in [names] if isinstance(names, str) else names:
        if name not in known:
            raise ValueError(
                f"unknown design {name!r}; groups: all, {', '.join(by_group)}; "
                f"designs: {', '.join(every)}"
            )
        chosen |= known[name]
    return chosen


def adapted(sam, design: Design) -> Model:
    """A design on a loaded SAM's weights."""

    def build(seed: int):
        return tl.TransLandSeg(sam, design.config, seed=seed, tune_encoder=design.tune_encoder)

    weights = Path(sam.origin["weights"]).name
    return Model(build, weights, sam.origin["fingerprint"], design.rate)


def _on_random_weights(variant: str, image_size: int, design: Design) -> Model:
    def build(seed: int):
        sam = tl.load_sam(variant, weights=None, seed=seed, image_size=image_size)
        return tl.TransLandSeg(sam, design.config, seed=seed)

    return Model(build, rate=design.rate)


def _baseline(name: str, image_size: int, rate: float, scenes_rate: float | None) -> Model:
    def build(seed: int):
        return tl.build_baseline(name, image_size=image_size, seed=seed)

    return Model(build, rate=rate, scenes_rate=scenes_rate)


def models(
    names: Iterable[str] | None = None,
    *,
    image_size: int | None = None,
    sam=None,
    network_rate: float = 1.0,
    network_scenes_rate: float | None = None,
) -> dict[str, Model]:
    """The models of a comparison by name, in the order of `names` (None: all).

    TransLandSeg, TransLandSeg-released, LandslideNet, LoRA-4, decoder-only: on `sam`. The first
    and the last also ``"... on random weights"``: the same SAM, frozen, but never trained.
    full-fine-tuning-tenth-rate: no adapters, all of `sam` is trained (`groups`). The six
    baselines from scratch, with the encoders of `tlseg_lite.baselines.LAPTOP_ENCODERS`. Asked for
    by name, the other `tlseg_lite.adapters.atl.DESIGNS`, too.

    Args:
        names: which; None: all.
        image_size: of the baselines; None: `sam`'s.
        sam: a loaded SAM; None: ``load_sam("sam_mini")``.
        network_rate: factor on the recipe's learning rate for the six baselines.
        network_scenes_rate: the same on synthetic scenes; None: `network_rate`.

    Raises:
        ValueError: an unknown name; lists the known ones.
    """
    sam = sam or tl.load_sam("sam_mini")
    side = image_size or sam.image_encoder.img_size
    own = ("TransLandSeg", "TransLandSeg-released", "LandslideNet", "LoRA-4", "decoder-only")
    names = None if names is None else list(names)
    others = [name for name in names or () if name in DESIGNS and name not in own]
    designs = named_designs((*own, "full-fine-tuning-tenth-rate", *others))
    every = {name: adapted(sam, design) for name, design in designs.items()}
    for name in ("TransLandSeg", "decoder-only"):
        blank = _on_random_weights(sam.variant, side, designs[name])
        every[f"{name} on random weights"] = blank
    for name in tl.baselines.LAPTOP_ENCODERS:
        every[name] = _baseline(name, side, network_rate, network_scenes_rate)
    if names is None:
        return every
    if unknown := [name for name in names if name not in every]:
        raise ValueError(f"unknown model {unknown[0]!r}; choose from {', '.join(every)}")
    return {name: every[name] for name in names}


def prompted_mask(sam, sample: Mapping[str, Any], how: str) -> Tensor:
    """SAM's mask for a sample, bool (H, W).

    Args:
        sam: from `tlseg_lite.load_sam`.
        sample: ``image`` and ``mask``, as datasets give them.
        how: ``"automatic masks"`` (the one that fits the mask best), ``"click"`` (in the middle of
            the largest landslide) or ``"box"`` (around it); of the three masks of a prompt, the
            one with the highest predicted IoU. Without a landslide: an empty mask.
    """
    import numpy as np
    import torch
    from scipy.ndimage import label

    from tlseg_lite.sam import prompting

    truth = sample["mask"][0].numpy() > 0
    parts, number = label(truth, np.ones((3, 3)))
    if not number:
        return torch.zeros(truth.shape, dtype=torch.bool)
    if how == "automatic masks":
        _, record = prompting.best_automatic(prompting.automatic(sam, sample["image"]), truth)
        found = np.zeros_like(truth) if record is None else record["segmentation"]
        return torch.as_tensor(found)
    largest = parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    if how == "click":
        answer = prompting.segment(sam, sample["image"], [prompting.inner_point(largest)])
    else:
        y, x = np.nonzero(largest)
        box = (x.min(), y.min(), x.max(), y.max())
        answer = prompting.segment(sam, sample["image"], box=box)
    return answer.masks[int(answer.scores.argmax())]
