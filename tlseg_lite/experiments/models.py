"""Who takes part in the comparison: TransLandSeg's designs, the baselines, SAM with prompts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.nn import Module


@dataclass(frozen=True)
class Contestant:
    """A model of the comparison.

    Attributes:
        build: seed -> an untrained model in TransLandSeg's form.
        weights: what its encoder starts from, in a word: ``"sam_mini"``, ``"random"``, a file.
        backbone: fingerprint of these weights; empty for random ones.
        rate: factor on the recipe's learning rate.
    """

    build: Callable[[int], Module]
    weights: str = "random"
    backbone: str = ""
    rate: float = 1.0


def contestants(names: Iterable[str] | None = None, *, image_size: int | None = None, sam=None):
    """The models by name, in the order of `names` (None: all).

    TransLandSeg, TransLandSeg-released, LandslideNet, decoder-only: on `sam`. The first and the
    last also ``"... on random weights"``: the same SAM, frozen, but never trained.
    full-fine-tuning-tenth-rate: no adapters, all of `sam` is trained (`ablation.groups`). The six
    baselines from scratch, with the encoders of `tlseg_lite.baselines.LAPTOP_ENCODERS`.

    Args:
        names: which; None: all.
        image_size: of the baselines; None: `sam`'s.
        sam: a loaded SAM; None: ``load_sam("sam_mini")``.

    Raises:
        ValueError: an unknown name; lists the known ones.
    """
    import tlseg_lite as tl
    from tlseg_lite.experiments.ablation import Design, named_designs

    sam = sam or tl.load_sam("sam_mini")
    side = image_size or sam.image_encoder.img_size
    known = {"weights": Path(sam.origin["weights"]).name, "backbone": sam.origin["fingerprint"]}

    def adapted(design: Design, blank: bool = False) -> Contestant:
        def build(seed: int):
            base = sam
            if blank:
                base = tl.load_sam(sam.variant, weights=None, seed=seed, image_size=side)
            return tl.TransLandSeg(base, design.config, seed=seed, tune_encoder=design.tune_encoder)

        return Contestant(build, rate=design.rate, **({} if blank else known))

    def baseline(name: str) -> Contestant:
        def build(seed: int):
            return tl.build_baseline(name, image_size=side, seed=seed)

        return Contestant(build)

    designs = {
        name: Design(tl.DESIGNS[name])
        for name in ("TransLandSeg", "TransLandSeg-released", "LandslideNet")
    }
    designs |= named_designs(("decoder-only", "full-fine-tuning-tenth-rate"))
    every = {name: adapted(design) for name, design in designs.items()}
    for name in ("TransLandSeg", "decoder-only"):
        every[f"{name} on random weights"] = adapted(designs[name], blank=True)
    every |= {name: baseline(name) for name in tl.baselines.LAPTOP_ENCODERS}
    if names is None:
        return every
    unknown = [name for name in names if name not in every]
    if unknown:
        raise ValueError(f"unknown model {unknown[0]!r}; choose from {', '.join(every)}")
    return {name: every[name] for name in names}


def prompted_mask(sam, sample: Mapping[str, Any], how: str):
    """SAM's mask for a sample, bool (H, W).

    Args:
        sam: from `tlseg_lite.load_sam`.
        sample: ``image`` and ``mask``, as datasets give them.
        how: ``"automatic masks"`` (the one that fits the mask best), ``"click"`` (in the middle of
            the largest landslide) or ``"box"`` (around it). Without a landslide: an empty mask.
    """
    import numpy as np
    import torch
    from scipy.ndimage import label

    from tlseg_lite.sam import prompting as zero_shot

    truth = sample["mask"][0].numpy() > 0
    parts, number = label(truth, np.ones((3, 3)))
    if not number:
        return torch.zeros(truth.shape, dtype=torch.bool)
    if how == "automatic masks":
        _, record = zero_shot.best_automatic(zero_shot.automatic(sam, sample["image"]), truth)
        found = np.zeros_like(truth) if record is None else record["segmentation"]
        return torch.as_tensor(found)
    largest = parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    if how == "click":
        answer = zero_shot.segment(sam, sample["image"], [zero_shot.inner_point(largest)])
    else:
        y, x = np.nonzero(largest)
        box = (x.min(), y.min(), x.max(), y.max())
        answer = zero_shot.segment(sam, sample["image"], box=box)
    return answer.masks[int(answer.scores.argmax())]
