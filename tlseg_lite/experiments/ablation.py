"""Ablations: designs x seeds x data, one CSV row for each finished run, resumable at any time.

`run` fills the file; `summary`, `contrast` and `findings` say what the rows say: means with t
intervals, differences paired by seed, and the papers' three findings against the rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import tlseg_lite as tl
from tlseg_lite.adapters.atl import ATLConfig
from tlseg_lite.adapters.lora import LoRAConfig
from tlseg_lite.experiments.models import Design, adapted, groups, named_designs
from tlseg_lite.experiments.results import Measure, Rows, columns
from tlseg_lite.experiments.run import (
    Job,
    about_data,
    complete_recipe,
    run_jobs,
    seed_list,
    settings,
)
from tlseg_lite.experiments.splits import Splits, named_data
from tlseg_lite.experiments.summary import SETTING, contrast, findings, paired
from tlseg_lite.training.recipe import Recipe

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "COLUMNS",
    "Design",
    "contrast",
    "findings",
    "groups",
    "named_data",
    "named_designs",
    "read",
    "run",
    "summary",
]

_KEY = (
    *("data", "data_version", "design", "config", "seed", "fold"),
    *("variant", "image_size", "backbone", "recipe"),
)
COLUMNS = columns(_KEY)
"""Of the CSV file. Scores are fractions; test_tp to test_tn count pixels; seconds: training."""


def _rows(path: str | Path) -> Rows:
    return Rows(path, COLUMNS, _KEY, converted={"recipe": complete_recipe})


def read(path: str | Path) -> pd.DataFrame:
    """The rows of a file that `run` wrote, without a torn last line; no rows if it is not there.

    Raises:
        ValueError: the file has other columns, or a damaged line.
    """
    return _rows(path).frame()


def run(
    designs: str | Iterable[str] | Mapping[str, Design | ATLConfig | LoRAConfig | None],
    seeds: int | Iterable[int],
    data: str | Splits | Sequence[str | Splits] = "synthetic",
    recipe: Recipe | None = None,
    out: str | Path = "ablation.csv",
    *,
    sam=None,
    minutes: float | None = None,
    progress: bool = True,
    measures: Sequence[Measure] = (),
) -> pd.DataFrame:
    """Train and test every design with every seed; append a row to `out` for each finished run.

    Runs whose row is in `out` are not done again; a run that was interrupted goes on after its
    last finished epoch, from the folder ``<out>.runs``. All designs of a seed see the same
    images, the same division and the same start of the decoder, so they can be compared in pairs.
    The epoch is chosen on validation; the test images are looked at once, at the end. A run that
    diverges is a row, too, with that as its status.

    Args:
        designs: names of designs or groups (`groups`), or a mapping from names to designs.
        seeds: how many (0, 1, ...), or which.
        data: ``"synthetic"``, ``"real"`` (both real sample sets, by cross-validation), another
            name of `named_data`, a `Splits`, or several of these.
        recipe: settings of each run; its seed is replaced. None: `Recipe.laptop`.
        out: the CSV file.
        sam: a loaded SAM; None: ``load_sam(recipe.sam)``.
        minutes: start no further run after this time; call again to go on.
        progress: show a bar.
        measures: further counts of the test, `tlseg_lite.experiments.results.Measure`.

    Returns:
        all rows of the file for `read` and `summary` (also those of other calls).

    Raises:
        ValueError: an unknown name, or a file with other columns.
        RuntimeError: another process runs into `out`.
    """
    recipe = recipe or Recipe.laptop()
    if not isinstance(designs, Mapping):
        designs = named_designs(designs, recipe.sam if sam is None else sam.variant)
    chosen = {n: d if isinstance(d, Design) else Design(d) for n, d in designs.items()}
    given = [data] if isinstance(data, (str, Splits)) else data
    sources = [s for d in given for s in (named_data(d) if isinstance(d, str) else [d])]
    sam = sam or tl.load_sam(recipe.sam)
    jobs = [
        _job(name, design, source, seed, fold, sam, recipe, measures)
        for source in sources
        for seed in seed_list(seeds)
        for fold in range(source.folds)
        for name, design in chosen.items()
    ]
    run_jobs(jobs, _rows(out), minutes=minutes, progress=progress)
    return read(out)


def _job(name, design: Design, source, seed, fold, sam, recipe: Recipe, measures) -> Job:
    model, side = adapted(sam, design), sam.image_encoder.img_size
    about = about_data(source, seed, fold) | {
        "design": name,
        "config": json.dumps(design.as_dict()),
        "variant": sam.variant,
        "image_size": side,
        "backbone": model.backbone,
        "weights": model.weights,
        "recipe": json.dumps(settings(recipe)),
    }
    own = {"measures": measures, "about": about}
    return Job(name, model, source, seed, fold, recipe, side, **own)


def summary(
    frame: pd.DataFrame,
    *,
    score: str = "miou",
    reference: str = "TransLandSeg",
    confidence: float = 0.95,
) -> pd.DataFrame:
    """A row for each setting and design: mean over seeds, and the difference from `reference`.

    Args:
        frame: from `run` or `read`.
        score: of the test images, as in `summary.per_seed`.
        reference: the design that the others are compared with, paired by seed.
        confidence: of the t intervals.

    Returns:
        data, weights, epochs, design, seeds, mean, low, high, difference, difference_low,
        difference_high, pairs, diverged, adapters, trainable, seconds (mean of a seed), ordered
        by setting, best first. Scores and differences are fractions.
    """
    table = paired(frame, SETTING, ("design",), reference, score=score, confidence=confidence)
    names = ["data", "weights", "epochs", "design", "seeds", "mean", "low", "high", "difference"]
    names += ["difference_low", "difference_high", "pairs", "diverged", "adapters", "trainable"]
    return table[[*names, "seconds"]]
