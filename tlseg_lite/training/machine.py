"""How fast this machine multiplies matrices, and so about how long a training takes on it."""

from __future__ import annotations

import csv
import time
from functools import cache, lru_cache
from pathlib import Path

import torch

from tlseg_lite.sam.variants import PATCH, variant
from tlseg_lite.training.recipe import Recipe

RECORDED = Path(__file__).parent / "tables" / "training_speed.csv"
UNRECORDED_SHARE = 1 / 3
"""Share of the matrix rate that a training step is taken to reach where none was measured."""

_DTYPES = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def training_flop(sam: str, image_size: int | None = None) -> float:
    """Floating-point operations of a training step for one image, encoder alone.

    Its forward pass and the gradient of its inputs, which costs as much again; the gradients of
    frozen weights are not computed. Counted as SAM computes it: padded windows are paid in full.
    """
    v = variant(sam)
    side = (image_size or v.image_size) // PATCH
    tokens, width = side * side, v.width
    padded = (-(-side // v.window) * v.window) ** 2
    of_all = len(v.global_blocks)
    in_windows = v.depth - of_all
    macs = v.depth * tokens * 8 * width**2  # the two layers of each block's MLP
    macs += (of_all * tokens + in_windows * padded) * 4 * width**2  # q, k, v and the projection
    macs += of_all * 2 * tokens * tokens * width  # q k' and its product with v
    macs += in_windows * 2 * padded * v.window**2 * width
    macs += tokens * width * 3 * PATCH**2  # patches to tokens
    macs += tokens * v.decoder_width * (width + 9 * v.decoder_width)  # the neck
    return 2.0 * 2.0 * macs


@cache
def matrix_rate(device: str, precision: str = "no", side: int | None = None) -> float:
    """Operations a second of a square matrix product on `device`, the best of a few, measured."""
    side = side or (8192 if device.startswith("cuda") else 1024)
    a = torch.ones(side, side, device=device, dtype=_DTYPES[precision])
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        product = a @ a
        product[0, 0].item()  # waits for a GPU
        best = min(best, time.perf_counter() - began)
    return 2.0 * side**3 / best


@lru_cache(maxsize=1)
def recorded() -> tuple[dict[str, str], ...]:
    """Rows of the recorded speeds: what ran where, and the share of the matrix rate it reached."""
    with open(RECORDED, encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))


def estimated_minutes(recipe: Recipe, images: int) -> tuple[float, str]:
    """Minutes of a training without validation, and what the estimate stands on, in words."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rate = matrix_rate(device, recipe.precision if device == "cuda" else "no")
    rows = [r for r in recorded() if (r["kind"], r["sam"]) == (device, recipe.sam)]
    if rows:
        share = float(rows[-1]["share"])
        basis = f"{share:.0%} of the measured matrix rate, as recorded on {rows[-1]['device']}"
    else:
        share = UNRECORDED_SHARE
        basis = f"a third of the measured matrix rate is assumed, no run of {recipe.sam} on a "
        basis += f"{'GPU' if device == 'cuda' else 'CPU'} is recorded"
    work = training_flop(recipe.sam) * (3 / 2 if recipe.checkpointing else 1)
    return recipe.epochs * images * work / (share * rate) / 60, basis
