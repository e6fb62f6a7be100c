"""What was expected before the runs on hundreds of real images, beside what came out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from recorded import NOT_RUN, Table

_ASKED_FIRST = ["decoder-only", "TransLandSeg on random weights", "unet"]  # of Landslide4Sense
PREDICTIONS = Path(__file__).resolve().parents[2] / "benchmarks" / "PREDICTIONS.md"


def predictions(text: str) -> list[tuple[str, str]]:
    """The questions of the file's table, each with what was expected."""
    lines = [line.strip("| \n").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    pairs = [(line[0].replace("`", ""), line[1].replace("`", "")) for line in lines]
    return pairs[1:]  # the first is the header


def expected(folder: Path) -> Iterator[Table]:
    """The questions in their order; what was measured is computed from the records."""
    import tlseg_lite as tl

    grid = tl.ablation.read(folder / "ablation_real.csv")
    designs = tl.ablation.summary(grid) if len(grid) else pd.DataFrame({"design": []})
    every = tl.comparison.read(folder / "comparison_real.csv")
    every = every[every.status == "done"]
    frame = every[every.data == "bijie-blocks"]
    elsewhere = every[every.data == "landslide4sense-blocks"]
    small = elsewhere[elsewhere.image_size == 128]
    measured = {
        "Does the adapter pay": lambda: _minus(designs, "decoder-only"),
        "Does the residual": lambda: _finding(tl.ablation.findings(grid), "the residual matters"),
        "Outside or inside": lambda: _finding(tl.ablation.findings(grid), "outside beats inside"),
        "LoRA of rank 4": lambda: _minus(designs, "LoRA-4"),
        "Frozen SAM": lambda: _leads(frame, ["TransLandSeg on random weights"]),
        "Is TransLandSeg": lambda: _leads(frame, list(tl.baselines.LAPTOP_ENCODERS)),
        "From how many": lambda: _curve(frame, "unet"),
        "From how many images on is DeepLabv3+": lambda: _curve(frame, "deeplabv3plus"),
        "What does full": lambda: _leads(frame, ["full-fine-tuning-tenth-rate"]),
        "Which changes": lambda: _trials(folder / "recipe_search.csv"),
        "Test MIoU of": lambda: _best(frame, "TransLandSeg"),
        "Test MIoU at": lambda: _best(frame, "TransLandSeg-1"),
        "Another place": lambda: _transfer(folder / "transfer.csv"),
        "Does learning synthetic": lambda: _scenes(every),
        "The same comparison on": lambda: _leads(small, _ASKED_FIRST),
        "Do flips and quarter turns": lambda: _turns(small),
        "The other designs": lambda: _leads(small, list(set(small.model) - set(_ASKED_FIRST))),
        "Does the width": lambda: _group(grid, "bottleneck"),
        "Does it matter which": lambda: _group(grid, "depth"),
        "Why do the adapters pay": lambda: _leads(elsewhere, ["decoder-only"]),
        "Do the adapters pay": lambda: _leads(elsewhere, ["decoder-only"], "real-378"),
    }
    rows = []
    for question, expectation in predictions(PREDICTIONS.read_text(encoding="utf-8")):
        starts = [start for start in measured if question.startswith(start)]
        answer = measured[max(starts, key=len)]() if starts else ""
        rows.append([question, expectation, answer or NOT_RUN])
    note = "Expectations: benchmarks/PREDICTIONS.md, written before the runs on the test part. "
    note += "Measured: points of test MIoU where nothing else is said, intervals of 95 % over "
    note += "seeds; without an interval there is one seed, and the question is open."
    yield Table(["question", "expected", "measured"], rows, note)


def _points(mean: float, low: float, high: float, pairs: int) -> str:
    """A difference as percentage points, with its interval and what that decides."""
    from tlseg_lite.experiments import words

    text, why = words.points(mean, low, high), words.would_take(mean, low, high, pairs)
    if math.isnan(low):
        return f"{text}, {why}"
    return f"{text}, {pairs} seeds: {f'open, {why}' if why else 'decided'}"


def _minus(designs: pd.DataFrame, other: str) -> str:
    """TransLandSeg minus another design, at the ablation's size."""
    row = designs[(designs.design == other) & (designs.get("pairs", 0) > 0)]
    if row.empty:
        return ""
    r = row.iloc[0]
    lead = _points(-r.difference, -r.difference_high, -r.difference_low, int(r.pairs))
    return f"TransLandSeg minus {_name(other)} {lead}"


def _group(grid: pd.DataFrame, name: str) -> str:
    """Each design of a group of the ablation minus TransLandSeg."""
    import tlseg_lite as tl
    from tlseg_lite.experiments import words
    from tlseg_lite.experiments.models import groups

    its = grid[grid.design.isin(["TransLandSeg", *groups()[name]])]
    if its.design.nunique() < 2:
        return ""
    return words.designs(tl.ablation.summary(its))


def _finding(findings: pd.DataFrame, name: str) -> str:
    row = findings[findings.finding == name] if len(findings) else findings
    if row.empty:
        return ""
    r = row.iloc[0]
    return _points(r.difference, r.low, r.high, int(r.pairs))


def _leads(frame: pd.DataFrame, models: list[str], training_data: str = "real") -> str:
    """TransLandSeg's lead over some models trained on the same images, by size of the input."""
    import tlseg_lite as tl

    real, found = frame[frame.training_data == training_data], []
    for side, rows in real.groupby("image_size", sort=False):
        table = tl.comparison.summary(rows)
        for r in table[table.model.isin(models) & (table.pairs > 0)].itertuples():
            lead = _points(r.lead, r.lead_low, r.lead_high, int(r.pairs))
            found.append(f"{_name(r.model)} at {side:.0f} px {lead}")
    return f"TransLandSeg's lead over {'; '.join(found)}" if found else ""


def _curve(frame: pd.DataFrame, model: str) -> str:
    """TransLandSeg's lead over a model by the number of images."""
    import tlseg_lite as tl

    few = frame[frame.training_data.str.fullmatch(r"real(-\d+)?")]
    sides = few[few.training_data != "real"].image_size
    if sides.empty:
        return ""
    table = tl.comparison.summary(few[few.image_size == sides.mode().iloc[0]])
    table = table[(table.model == model) & (table.pairs > 0)].sort_values("train_images")
    found = [
        f"{r.train_images:.0f} images {_points(r.lead, r.lead_low, r.lead_high, int(r.pairs))}"
        for r in table.itertuples()
    ]
    return f"TransLandSeg's lead over {_name(model)}: {'; '.join(found)}" if len(found) > 1 else ""


def _trials(path: Path) -> str:
    """The trials on validation, by their scores."""
    from tlseg_lite.experiments import words

    if not path.is_file():
        return ""
    trials = pd.read_csv(path)
    trials = trials[trials.status == "done"]
    return words.trials(trials) if len(trials) else ""


def _scenes(every: pd.DataFrame) -> str:
    from tlseg_lite.experiments import words
    from tlseg_lite.experiments.summary import scenes_first

    table = scenes_first(every)
    return words.scenes(table).replace("\n", " ") if len(table) else ""


def _turns(frame: pd.DataFrame) -> str:
    """TransLandSeg with both augmentations, on validation and on the test images."""
    from tlseg_lite.experiments import words

    rows = frame[(frame.model == "TransLandSeg") & (frame.training_data == "real")]
    change = rows.recipe.map(words.augmentation)
    seeds = rows[change != ""].seed
    found = [
        f"seed {r.seed}{how or ', all changes'}: {100 * r.val_miou:.1f} on validation, "
        f"{100 * r.test_miou:.1f} on the test images"
        for r, how in zip(rows.itertuples(), change, strict=True)
        if r.seed in set(seeds)
    ]
    return "; ".join(found)


def _best(frame: pd.DataFrame, model: str) -> str:
    """The test scores of a model at 256 px."""
    from tlseg_lite.experiments import words

    rows = frame[(frame.model == model) & (frame.image_size == 256)]
    found = [
        f"{100 * r.test_miou:.1f} (trained on {words.trained_on(r.training_data)}, seed {r.seed}"
        f"{words.augmentation(r.recipe)})"
        for r in rows.itertuples()
    ]
    return ", ".join(found)


def _transfer(path: Path) -> str:
    """Bijie to Landslide4Sense, the whole patches."""
    from tlseg_lite.experiments import words

    if not path.is_file():
        return ""
    rows = pd.read_csv(path)
    known = rows.source_data.isin(["bijie-blocks", "nothing"])
    rows = rows[known & (rows.data == "landslide4sense-blocks") & (rows.window == 0)]
    return words.transfer(rows) if (rows.adaptation == "as it is").any() else ""


def _name(model: str) -> str:
    from tlseg_lite.experiments.words import name_of

    return name_of(model)
