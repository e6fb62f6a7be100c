"""Sentences about recorded rows, computed from them: who leads, what a part adds, what is open."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from tlseg_lite.experiments.measures import edges_for
from tlseg_lite.experiments.summary import (
    FINDINGS,
    MOST_SEEDS,
    PROTOCOL,
    interval,
    seeds_needed,
)

if TYPE_CHECKING:
    import pandas as pd

NAMES = {
    "unet": "UNet",
    "pspnet": "PSPNet",
    "deeplabv3plus": "DeepLabv3+",
    "segformer": "SegFormer",
    "ccnet": "CCNet",
    "transunet": "TransUNet",
    "full-fine-tuning": "full fine-tuning",
    "full-fine-tuning-tenth-rate": "full fine-tuning at a tenth of the rate",
    "decoder-only": "mask decoder only",
    "LoRA-4": "LoRA of rank 4",
    "LoRA-8": "LoRA of rank 8",
    "TransLandSeg-released": "TransLandSeg as released",
    "TransLandSeg on random weights": "TransLandSeg on random frozen weights",
    "decoder-only on random weights": "mask decoder only, on random frozen weights",
}
"""A model's or a design's name for readers; others are called as they are."""

FROM_SCRATCH = ("unet", "pspnet", "deeplabv3plus", "segformer", "ccnet", "transunet")
"""Models that begin with random weights and train all of them."""


def name_of(model: str) -> str:
    """A model's name for readers: ``"PSPNet"`` for ``"pspnet"``, ``"bottleneck of 3"`` too."""
    if model in NAMES:
        return NAMES[model]
    if width := re.fullmatch(r"bottleneck-(\d+)", model):
        return f"bottleneck of {width[1]}"
    if part := re.fullmatch(r"(first|last)-(\d+)-blocks", model):
        return f"ATL in the {part[1]} {part[2]} blocks"
    return model


def percent(value: float) -> str:
    """A fraction in percent with one decimal and no unit: ``"79.5"``."""
    return f"{100 * value:.1f}"


def would_take(difference: float, low: float, high: float, seeds: int) -> str:
    """How many seeds an open difference would take; empty if it is decided.

    ``"one seed"`` where there is no interval, else ``"about 12 seeds would decide it"``.
    """
    if seeds < 2 or math.isnan(low):
        return "one seed"
    if not low <= 0 <= high:
        return ""
    enough = seeds_needed(difference, low, high, seeds)
    number = f"about {enough:.0f}" if enough <= MOST_SEEDS else f"over {MOST_SEEDS}"
    return f"{number} seeds would decide it"


def points(difference: float, low: float = math.nan, high: float = math.nan) -> str:
    """A difference of fractions in points, with its interval: ``"-1.5 (-2.1 to -0.9)"``.

    Each has its sign, and none is ``"-0.0"``.
    """
    text, *ends = (f"{round(100 * each, 1) + 0.0:+.1f}" for each in (difference, low, high))
    return text if math.isnan(low) else f"{text} ({ends[0]} to {ends[1]})"


def ranking(table: pd.DataFrame, reference: str = "TransLandSeg", *, short: bool = False) -> str:
    """The order of the models of one protocol, and whether networks from scratch are behind.

    Args:
        table: the rows of one protocol from `comparison.summary`.
        reference: the model that the sentence is about.
        short: without the scores, and without what each open lead would take.

    Raises:
        ValueError: the table has no row of the reference.
    """
    trained = table[table.trainable > 0].sort_values("mean", ascending=False)
    if reference not in set(trained.model):
        there = ", ".join(trained.model) or "none"
        raise ValueError(f"no row of {reference} among the trained models ({there})")
    own = float(trained[trained.model == reference]["mean"].iloc[0])
    lead = trained.lead.where(trained.pairs > 0, own - trained["mean"])  # on the same seeds
    order = ", ".join(f"{name_of(r.model)} {percent(r.mean)}" for r in trained.itertuples())
    networks = trained.model.isin(FROM_SCRATCH)
    scratch = trained[networks]
    text = "" if short else f"Test MIoU in percent: {order}."
    if len(scratch):
        ahead = trained[networks & (lead < 0)]
        names = ", ".join(name_of(model) for model in ahead.model)
        if len(ahead) == len(scratch):
            text += f" All networks from scratch ({names}) are ahead of {reference} by their means."
        elif len(ahead):
            verb = "is" if len(ahead) == 1 else "are"
            text += f" Of the networks from scratch {names} {verb} ahead of {reference} by their"
            text += " means, the others behind."
        else:
            text += f" All networks from scratch are behind {reference} by their means."
    if trained.seeds.max() == 1:
        text += " One seed each: there is no interval, and the order is open."
    else:
        text += _decided(trained, reference, short)
    return text.strip()


def _decided(table: pd.DataFrame, reference: str, short: bool) -> str:
    """Which leads of a comparison have an interval without zero, and what the others would take."""
    sure, unsure = [], {}
    for r in table[table.pairs > 0].itertuples():
        why = would_take(r.lead, r.lead_low, r.lead_high, int(r.pairs))
        if why:
            unsure.setdefault(why, []).append(name_of(r.model))
        else:
            side = "behind" if r.lead > 0 else "ahead"
            sure.append(f"{name_of(r.model)} is {side} by {percent(abs(r.lead))} points")
    text = f" Decided, with an interval without zero: {'; '.join(sure)}." if sure else ""
    if unsure and short:
        text += " All other leads are open." if sure else " No lead is decided."
    elif unsure:
        groups = "; ".join(f"{', '.join(names)} ({why})" for why, names in unsure.items())
        text += f" {'Open' if sure else 'No lead is decided. Open'} against {reference}: {groups}."
    return text


def parts(
    table: pd.DataFrame, reference: str = "TransLandSeg", designs: pd.DataFrame | None = None
) -> str:
    """What the adapters and the pre-training add: the reference beside rows that lack one of them.

    Args:
        table: the rows of one protocol from `comparison.summary`.
        reference: the whole model.
        designs: the summary of an ablation on the same images; for a part that it has with more
            seeds its rows are taken.
    """
    sentences = []
    for other, what in (
        ("decoder-only", "the adapters add to the mask decoder alone"),
        ("TransLandSeg on random weights", "the pre-trained weights add to random frozen ones"),
    ):
        row = table[(table.model == other) & (table.pairs > 0)]
        found = [(r.pairs, r.lead, r.lead_low, r.lead_high, "") for r in row.itertuples()]
        if designs is not None:
            row = designs[(designs.design == other) & (designs.pairs > 0)]
            found += [
                (r.pairs, -r.difference, -r.difference_high, -r.difference_low, " of the ablation")
                for r in row.itertuples()
            ]
        if found:
            pairs, lead, low, high, where = max(found, key=lambda each: each[0])
            text = f"{points(lead, low, high)} points are what {what}"
            why = would_take(lead, low, high, int(pairs))
            if pairs == 1:
                sentences.append(f"{text}, {why}{where}, open")
            else:
                sentences.append(f"{text}, {pairs} seeds{where}{f', open, {why}' if why else ''}")
    text = "; ".join(sentences)
    return f"{text}." if text else f"No row lacks one part of {reference}: nothing to compare."


def residual(summary: pd.DataFrame) -> str:
    """The designs without the residual beside their counterparts with it.

    Args:
        summary: from `ablation.summary`, of one setting.
    """
    means = summary.set_index("design")["mean"]
    sentences = []
    whole, without = FINDINGS["the residual matters"]
    for one, other in zip(whole, without, strict=True):
        if one in means and other in means:
            verb = "falls" if means[other] < means[one] else "rises"
            ends = f"from {percent(means[one])} to {percent(means[other])}"
            sentences.append(f"{verb} {ends} ({one}, {other})")
    if not sentences:
        return "No design is there with and without the residual."
    return f"Without the residual the test MIoU {' and '.join(sentences)}."


def designs(summary: pd.DataFrame, reference: str = "TransLandSeg") -> str:
    """Which designs differ from the reference for sure, and what the others would take.

    Args:
        summary: from `ablation.summary`, of one setting, with differences to the reference.
        reference: the design that the differences are to.
    """
    sure, unsure = [], []
    for r in summary[summary.pairs > 0].itertuples():
        measured = (r.difference, r.difference_low, r.difference_high)
        why = would_take(*measured, int(r.pairs))
        if why:
            unsure.append(f"{name_of(r.design)} {points(r.difference)} ({why})")
        else:
            sure.append(f"{name_of(r.design)} {points(*measured)}")
    if not sure and not unsure:
        return f"No design is there beside {reference}."
    parts = [f"Points of MIoU to {reference}."]
    parts += [f"Decided: {', '.join(sure)}."] if sure else []
    parts += [f"Open: {', '.join(unsure)}."] if unsure else []
    return " ".join(parts)


def by_images(table: pd.DataFrame, reference: str = "TransLandSeg") -> str:
    """A few-shot curve in words: where the reference is ahead, behind, or the question is open.

    Args:
        table: from `comparison.summary`, of one dataset, size and reference, with a row for each
            model and number of real images.
        reference: the model whose leads the table has.
    """
    sentences = []
    for model in dict.fromkeys(table.model):
        line = table[(table.model == model) & (table.pairs > 0)].sort_values("train_images")
        if model == reference or line.train_images.nunique() < 2:
            continue
        found = []
        for r in line.itertuples():
            verdict = r.verdict if r.pairs > 1 else "open"
            why = would_take(r.lead, r.lead_low, r.lead_high, int(r.pairs))
            if why and r.pairs > 1:
                verdict += f" ({why})"
            lead = points(r.lead, r.lead_low, r.lead_high)
            found.append(f"with {r.train_images:.0f} images {verdict}, {lead}")
        sentences.append(f"{reference} against {name_of(model)}, points: {'; '.join(found)}.")
    return "\n".join(sentences) or "No model has rows with several numbers of images."


def trained_on(training_data: str) -> str:
    """Training data of a comparison for readers: ``"synthetic scenes, then 20 real images"``."""
    first, _, last = training_data.rpartition("+")
    kind, _, number = last.partition("-")
    named = {"real": "all real images", "synthetic": "synthetic scenes"}
    text = f"{number} real images" if number else named.get(kind, kind)
    return f"synthetic scenes, then {text}" if first else text


def scenes(table: pd.DataFrame) -> str:
    """`summary.scenes_first` in words, a line for each model."""
    lines = []
    for (_, side, model), rows in table.groupby(["data", "image_size", "model"], sort=False):
        found = []
        for r in rows.itertuples():
            why = would_take(r.gain, r.gain_low, r.gain_high, int(r.pairs))
            verdict = f"open, {why}" if why else "decided"
            gain = points(r.gain, r.gain_low, r.gain_high)
            found.append(f"{gain} with {r.images:.0f} real images ({verdict})")
        lines.append(
            f"{name_of(model)} at {side:.0f} px after synthetic scenes: {'; '.join(found)}."
        )
    return "\n".join(lines) or "No row is there with and without synthetic scenes first."


def transfer(frame: pd.DataFrame) -> str:
    """What helps in another place, in words: the landslide IoU of each way, pooled over models.

    Args:
        frame: rows of ``book/results/transfer.csv``, with ``source_data``, ``data``, ``window``,
            ``model``, ``adaptation``, ``seed`` and ``test_landslide_iou``.
    """
    sentences = []
    setting = ["model", "data", "window"]
    for (model, data, window), group in frame.groupby(setting, sort=False):
        only = group[group.adaptation == "only the ten"].set_index("seed").test_landslide_iou
        for source, rows in group[group.source_data != "nothing"].groupby(
            "source_data", sort=False
        ):
            ways = rows.pivot(index="seed", columns="adaptation", values="test_landslide_iou")
            start = ways.get("as it is")
            if start is None:
                continue
            view = f", in windows of {window:.0f} pixels" if window else ""
            text = f"{name_of(model)}, {PLACES[source]} to {PLACES[data]}{view}: landslide IoU "
            text += f"{start.mean():.2f} as it is"
            for way, words in (
                ("colours", "by matched colours"),
                ("ten labels", "by ten labelled images"),
                ("colours, ten labels", "by both"),
            ):
                if way in ways:
                    text += f"; {_change(ways[way] - start)} {words}"
            if "ten labels" in ways and len(only):
                change = _change(ways["ten labels"] - only)
                text += f"; {change} over a model that has seen the ten alone ({only.mean():.2f})"
            sentences.append(f"{text}.")
    return "\n".join(sentences) or "No row is there of a model in another place."


def alarms(frame: pd.DataFrame, *, short: bool = False) -> str:
    """What models mark on images without a landslide, in words.

    Args:
        frame: rows of `comparison.read` of one training data and size, some with counts of
            ``test_negatives``.
        short: the range over the models instead of each one.
    """
    known = frame[frame.get("test_negatives", 0) > 0]
    if known.empty:
        return "No row has been tested on images without a landslide."
    if short:
        sums = known.groupby("model")[["test_negatives_with_alarm", "test_negatives"]].sum()
        share = 100 * sums.test_negatives_with_alarm / sums.test_negatives
        ends = (
            f"{share.min():.0f} to {share.max():.0f}" if len(share) > 1 else f"{share.iloc[0]:.0f}"
        )
        text = f"Of {known.test_negatives.iloc[0]:.0f} images without a landslide, such as no "
        return f"{text}training had, {ends} % get an alarm all the same."
    found = []
    for model, rows in known.groupby("model", sort=False):
        images = rows.test_negatives_with_alarm.sum() / rows.test_negatives.sum()
        pixels = rows.test_negative_pixels_alarmed.sum() / rows.test_negative_pixels.sum()
        found.append(
            f"{name_of(model)} on {images * 100:.0f} % of them, {percent(pixels)} % of the pixels"
        )
    number = known.test_negatives.iloc[0]
    return f"{number:.0f} images without a landslide. Something is marked by {'; '.join(found)}."


def by_size(
    runs: pd.DataFrame,
    reference: str = "TransLandSeg",
    others: Iterable[str] = ("decoder-only", "unet"),
) -> str:
    """Landslides that each model finds, by size, and the reference's lead in the share found.

    Args:
        runs: finished rows of one protocol from `comparison.read`, one fold each, with the counts
            ``test_small``, ``test_small_found`` and so on.
        reference: the model whose leads are given.
        others: the models that it is compared with, paired by seed; those that are there.
    """
    runs = runs[runs.filter(["test_small"]).notna().any(axis=1)]
    if runs.empty:
        return "No row has landslides by size."
    wide = {}
    for size in ("small", "middle", "large"):
        share = runs[f"test_{size}_found"] / runs[f"test_{size}"]
        wide[size] = runs.assign(share=share).pivot(index="seed", columns="model", values="share")
    means = {size: table.mean() for size, table in wide.items()}
    order = sum(means.values()).sort_values(ascending=False).index
    shares = {m: ", ".join(f"{100 * by[m]:.0f}" for by in means.values()) for m in order}
    small, large = edges_for(runs.data.iloc[0])
    text = f"Landslides found, in percent of the small (under {small:,} pixels), the middle and "
    text += f"the large ones (from {large:,}): "
    text += "; ".join(f"{name_of(model)} {share}" for model, share in shares.items()) + "."
    for model in others:
        if {reference, model} <= shares.keys():
            leads = {size: (t[reference] - t[model]).dropna() for size, t in wide.items()}
            found = "; ".join(f"{size} {points(*interval(v))}" for size, v in leads.items())
            text += f"\n{reference} minus {name_of(model)}, points: {found}."
    return text


def trials(frame: pd.DataFrame) -> str:
    """The trials of a search for a recipe, by their scores on validation.

    Args:
        frame: finished rows of ``book/results/recipe_search.csv``.
    """
    if frame.empty:
        return "No trial of a recipe is there."
    found = [
        f"{_settings(r)}: {percent(r.val_miou)}, {percent(r.val_miou_8_views)}"
        for r in frame.sort_values("val_miou", ascending=False).itertuples()
    ]
    text = "MIoU in percent on validation, then with test-time augmentation, one seed each."
    return f"{text} {'; '.join(found)}."


def _settings(row) -> str:
    """A trial's model and settings."""
    recipe = json.loads(row.recipe)
    text = f"{name_of(row.model)} at {row.image_size:.0f} px, {row.epochs:.0f} epochs, "
    text += f"rate {recipe['learning_rate']:g}"
    if recipe.get("precision") == "no":
        text += ", in float32"
    if recipe.get("batch_size", 4) != 4:
        text += f", batches of {recipe['batch_size']}"
    text += augmentation(row.recipe)
    if recipe.get("ema"):
        text += f", weights averaged ({recipe['ema']:g})"
    return text + (", after synthetic scenes" if row.trial.startswith("scenes") else "")


def augmentation(recipe: str) -> str:
    """What a recipe leaves out of the usual augmentation: ``", no augmentation"``, or nothing.

    Args:
        recipe: of a row: `Recipe.as_dict` in JSON; of a comparison also with its stages
            (``"real"`` and ``"scenes"``), of which the last one counts.
    """
    stages = json.loads(recipe)
    last = stages.get("real", stages)
    left_out = {False: ", no augmentation", "turns": ", flips and quarter turns only"}
    return left_out.get(last.get("augment", True), "")


PLACES = {
    "bijie-blocks": "Bijie",
    "landslide4sense-blocks": "Landslide4Sense",
    "scenes": "synthetic scenes",
}
"""Names of sets of images for readers."""


def _change(pairs: pd.Series) -> str:
    """A mean difference with its interval over the seeds."""
    mean, low, high = interval(pairs.dropna())
    ends = "" if math.isnan(low) else f" ({low:+.2f} to {high:+.2f})"
    return f"{mean:+.2f}{ends}"


def most_models(table: pd.DataFrame) -> pd.DataFrame:
    """Of a summary over several protocols the rows of the one with the most models.

    Raises:
        ValueError: the table is empty.
    """
    if table.empty:
        raise ValueError("the summary has no rows; give one of rows that are there")
    groups = [group for _, group in table.groupby(list(PROTOCOL), sort=False)]
    return max(groups, key=lambda group: group.model.nunique())
