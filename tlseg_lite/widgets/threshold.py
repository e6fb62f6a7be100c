"""Move the threshold of a model and see which pixels turn, in images and in scores."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import torch

from tlseg_lite.metrics import thresholds as curves
from tlseg_lite.sam import prompting as zero_shot
from tlseg_lite.widgets.confusion import KINDS, score_table
from tlseg_lite.widgets.page import Widget, pack, pack_masks, picture_uri, stage, tinted

SHOWN = ("TP", "FN", "FP")  # true negatives stay as they are in the image
OPACITY = 0.55


def threshold_slider(
    logits: Sequence[torch.Tensor],
    samples: Sequence[dict[str, Any]],
    *,
    metric: str = "miou",
    pictures: int = 3,
    side: int = 256,
    name: str = "validation images",
) -> Widget:
    """A slider over the thresholds 1 % to 99 %, with images, counts and scores.

    The counts are those of `curves.threshold_curve` at every threshold; each image's pixels
    turn at the threshold at which they do in `metrics.confusion`.

    Args:
        logits: float (1, H, W), one for each sample.
        samples: items of a dataset, with ``image``, ``mask`` and ``id``.
        metric: the field of `Scores` that the button "best" maximises, on all images.
        pictures: how many of the first samples can be shown.
        side: larger images are thinned to at most this many pixels along their longer side, by
            whole steps, for display; the counts are those of all pixels.
        name: what the images are, in words; it stands in the table's caption.

    Raises:
        ValueError: no sample, or as many logits as samples are not there.
    """
    logits, samples = list(logits), list(samples)
    if not samples or len(logits) != len(samples):
        raise ValueError(
            f"{len(logits)} logits for {len(samples)} samples; expected as many, at least one"
        )
    masks = [sample["mask"] for sample in samples]
    curve = curves.threshold_curve(logits, masks)
    best = int(np.argmin(np.abs(curve.thresholds - curve.best(metric))))
    shown = []
    for values, sample in list(zip(logits, samples, strict=True))[:pictures]:
        single = curves.threshold_curve([values], [sample["mask"]])
        shown.append(_picture(values, sample, curve.thresholds, single, side))
    data = {
        "counts": _counts(curve),
        "best": best,
        "metric": metric,
        "pictures": shown,
        "kinds": {kind: KINDS[kind] for kind in SHOWN},
        "opacity": OPACITY,
    }
    first = samples[0]
    level, truth = _levels(logits[0], curve.thresholds), np.asarray(first["mask"])[0] > 0
    step = shown[0]["step"]
    found, known = level[::step, ::step] > best, truth[::step, ::step]
    masks = (found & known, ~found & known, found & ~known)
    layers = [(mask, KINDS[kind], OPACITY) for kind, mask in zip(SHOWN, masks, strict=True)]
    alt = f"The image {first['id']} with found, missed and wrongly called pixels in colour."
    picture = stage(
        shown[0]["uri"], alt, tinted(layers), known.shape,
        'role="img" aria-label="found, missed and wrongly called pixels; the text has the counts"',
    )  # fmt: skip
    options = "".join(
        f'<option value="{i}">{escape(str(sample["id"]))}</option>'
        for i, sample in enumerate(samples[: len(shown)])
    )
    legend = " ".join(
        f'<span><span class="swatch" style="background:{KINDS[kind]}"></span>{text}</span>'
        for kind, text in zip(SHOWN, ("found", "missed", "false alarm"), strict=True)
    )
    body = (
        f'<label data-live>threshold (probability) <output></output><input type="range" min="0" '
        f'max="{len(curve.thresholds) - 1}" step="1" value="{best}"></label>'
        '<p data-live><button type="button">best threshold for these images</button></p>'
        f'<p class="state" aria-live="polite">{escape(describe(best, curve, single_of=shown[0]))}'
        f'</p><div class="columns"><div>{picture}<p>{legend}</p>'
        f"<label data-live>image <select>{options}</select></label></div>"
        f"{score_table(f'scores over {len(samples)} {name}', curve.matrices[best])}</div>"
    )
    return Widget("threshold", "Move the threshold", body, data)


def describe(k: int, curve: curves.ThresholdCurve, single_of: dict[str, Any]) -> str:
    """One state in words; the script writes the same."""
    tp, fp, fn, _ = single_of["counts"][k]
    union = tp + fp + fn
    iou = tp / union if union else 1.0
    return (
        f"Threshold {k + 1} %. In the image {single_of['id']}: {tp} pixels found, {fn} missed, "
        f"{fp} false alarms, landslide IoU {100 * iou:.1f} %."
    )


def _levels(logits: torch.Tensor, thresholds: np.ndarray) -> np.ndarray:
    """For each pixel the number of thresholds that its logit is above, (H, W) of 0..T."""
    values = np.asarray(logits.detach().cpu(), dtype=np.float64)[0]
    return np.searchsorted(thresholds, values.ravel(), side="left").reshape(values.shape)


def _counts(curve: curves.ThresholdCurve) -> list[list[int]]:
    return [[int(value) for value in matrix.counts()] for matrix in curve.matrices]


def _picture(
    logits: torch.Tensor,
    sample: dict[str, Any],
    thresholds: np.ndarray,
    single: curves.ThresholdCurve,
    side: int,
) -> dict[str, Any]:
    height, width = sample["mask"].shape[-2:]
    step = -(-max(height, width) // side)
    levels = _levels(logits, thresholds)[::step, ::step]
    truth = np.asarray(sample["mask"])[0, ::step, ::step] > 0
    return {
        "id": str(sample["id"]),
        "step": step,
        "width": truth.shape[1],
        "height": truth.shape[0],
        "uri": picture_uri(zero_shot.as_pixels(sample["image"])[::step, ::step]),
        "levels": pack(levels),
        "truth": pack_masks([truth]),
        "counts": _counts(single),
    }
