"""TransLandSeg and the models it is compared with, trained under one protocol.

The same images, splits, augmentation, loss, epochs and seeds for every model; the epoch is chosen
on validation, or with a handful of validation images the last one is kept (`Recipe.keep`); the test
images are looked at once. A row of the CSV file is a finished run. What a model learns from is its
*training data*: real images only, synthetic scenes only, synthetic scenes first and real images
then, or a "soup", the average of the weights after the one and after the other (`tl.blend`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlseg_lite.core.moved import renamed, renamed_argument
from tlseg_lite.experiments.models import Model, models, prompted_mask
from tlseg_lite.experiments.results import Measure, Rows, columns, score_columns
from tlseg_lite.experiments.run import (
    TRAINING_DATA,
    Job,
    about_data,
    complete_recipe,
    real_images,
    run_jobs,
    seed_list,
    settings,
)
from tlseg_lite.experiments.splits import (
    FoldSplits,
    Holdout,
    Splits,
    SyntheticSplits,
    describe_ids,
)
from tlseg_lite.experiments.summary import PROTOCOL, paired, per_seed, verdict
from tlseg_lite.training.recipe import Recipe

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "COLUMNS",
    "TRAINING_DATA",
    "Holdout",
    "Model",
    "models",
    "pooled",
    "prompted",
    "read",
    "run",
    "summary",
    "with_one_backbone",
]

__getattr__ = renamed(
    __name__,
    {
        "Contestant": "Model",
        "DIETS": "TRAINING_DATA",
        "contestants": "models",
        "of_one_start": "with_one_backbone",
    },
)

_KEY = (
    *("data", "data_version", "model", "training_data", "seed", "fold"),
    *("image_size", "backbone", "recipe"),
)
COLUMNS = columns(_KEY)
"""Of the CSV file. Scores are fractions; test_tp to test_tn count pixels; seconds: training."""


def _rows(path: str | Path) -> Rows:
    return Rows(path, COLUMNS, _KEY, {"diet": "training_data"}, {"recipe": complete_recipe})


def read(path: str | Path) -> pd.DataFrame:
    """The rows of a file that `run` wrote; no rows if it is not there.

    Raises:
        ValueError: the file has other columns, or a damaged line.
    """
    return _rows(path).frame()


@renamed_argument("diets", "training_data")
def run(
    models: Mapping[str, Model],
    training_data: Sequence[str],
    seeds: int | Iterable[int],
    data: Splits | str,
    out: str | Path,
    *,
    recipe: Recipe | None = None,
    first: Recipe | None = None,
    scenes: SyntheticSplits | None = None,
    image_size: int = 256,
    minutes: float | None = None,
    masks: str | Path | None = None,
    report: Callable[[str], None] | None = print,
    measures: Sequence[Measure] = (),
) -> pd.DataFrame:
    """Train and test every model on all training data with every seed; a row for each run.

    Rows that `out` has already are not done again, and an interrupted training goes on after its
    last finished epoch. With synthetic scenes in the training data, a model learns them once for
    each seed; what it learned stays in a folder beside `out`, named after it, for further rows to
    begin with. A run that diverges is a row, too, with that as its status.

    Args:
        models: from `models`, or your own.
        training_data: of `TRAINING_DATA`, or ``"real-N"`` for N real training images, or
            ``"synthetic+real-N"`` for the scenes first and then N of them.
        seeds: how many (0, 1, ...), or which.
        data: a `Splits` of real images, or ``"bijie"``, ``"landslide4sense"``: the real samples
            by five-fold cross-validation.
        out: the CSV file.
        recipe: for the real images; None: `Recipe.laptop`.
        first: for the synthetic scenes; None: eight epochs of `recipe`.
        scenes: the synthetic scenes; None: 600 for training, 40 for validation, in the style of
            the real ones.
        image_size: side of the models' input.
        minutes: start no further run after this time; call again to go on.
        masks: a file for the first seed's predicted masks, as `results.add_masks` keeps them,
            by (data, model, training data, image id).
        report: is called with a line for each finished run; None: silence.
        measures: further counts of the test, `tlseg_lite.experiments.results.Measure`.

    Returns:
        all rows of the file, as `read` does.

    Raises:
        ValueError: unknown training data or dataset.
        RuntimeError: another process runs into `out`.
    """
    for each in training_data:
        real_images(each)
    recipe = recipe or Recipe.laptop()
    data = _samples(data) if isinstance(data, str) else data
    if scenes is None:
        style = "landslide4sense" if "landslide4sense" in data.name else "bijie"
        scenes = SyntheticSplits(600, 40, 1, size=None, style=style)
    first = first or replace(recipe, epochs=8)
    seeds = seed_list(seeds)
    jobs = [
        Job(
            name=name,
            model=model,
            data=data,
            seed=seed,
            fold=fold,
            recipe=recipe,
            image_size=image_size,
            training_data=each,
            scenes=scenes,
            scenes_recipe=first,
            masks=masks if seed == seeds[0] else None,
            measures=measures,
        )
        for seed in seeds
        for name, model in models.items()
        for each in training_data
        for fold in range(1 if each == "synthetic" else data.folds)
    ]
    for job in jobs:
        job.about = _about(job)
    run_jobs(jobs, _rows(out), minutes=minutes, report=report)
    return read(out)


def _about(job: Job) -> dict[str, Any]:
    about, stages = about_data(job.data, job.seed, job.fold), {}
    if job.training_data == "synthetic":
        about["folds"] = 1  # all real images are tested at once
    else:
        stages["real"] = settings(job.recipe)
    if job.has_scenes:
        stages["scenes"] = settings(job.scenes_recipe) | {"scenes": job.scenes.numbers[0]}
        about["data_version"] += "+" + job.scenes.version
    return about | {
        "model": job.name,
        "training_data": job.training_data,
        "image_size": job.image_size,
        "weights": job.model.weights,
        "backbone": job.model.backbone,
        "recipe": json.dumps(stages),
    }


def prompted(sam, data: Splits | str, out: str | Path) -> pd.DataFrame:
    """SAM itself, never trained on landslides, on the same test images; three rows of `out`.

    Automatic masks (the one that fits best), a click in the largest landslide, a box around it:
    all three know something of the true mask, which the trained models do not. Of the
    three masks of a prompt the one with the highest predicted IoU counts. An image without
    landslide gets no mask.

    Args:
        sam: from `load_sam`.
        data: as in `run`; every image is tested once.
        out: the CSV file.

    Returns:
        all rows of the file, as `read` does.
    """
    data = _samples(data) if isinstance(data, str) else data
    jobs = [_Prompted(sam, data, how) for how in ("automatic masks", "click", "box")]
    run_jobs(jobs, _rows(out))
    return read(out)


class _Prompted:
    """One run of `prompted`, in the form of a `Job`."""

    def __init__(self, sam, data: Splits, how: str):
        self.sam, self.data, self.how = sam, data, how
        self.about = about_data(data, 0, 0) | {
            "model": f"{sam.variant}, {how}",
            "training_data": "none",
            "folds": 1,
            "image_size": sam.image_encoder.img_size,
            "weights": Path(sam.origin["weights"]).name,
            "backbone": sam.origin["fingerprint"],
            "recipe": "{}",
        }

    def run(self, own: Path, shared: Path) -> dict[str, Any]:
        began = time.monotonic()
        tests = [self.data.parts(0, fold)[2] for fold in range(self.data.folds)]
        ids = [key for part in tests for key in part.ids]
        samples = (part[i] for part in tests for i in range(len(part)))
        row = score_columns(
            (prompted_mask(self.sam, s, self.how), *(s[k][0] for k in ("mask", "valid") if k in s))
            for s in samples
        )
        row |= {"status": "done", "test_images": len(ids), "test_ids": describe_ids(ids)}
        row |= dict.fromkeys(("train_images", "best_epoch", "epochs", "adapters", "trainable"), 0)
        row["total"] = sum(p.numel() for p in self.sam.parameters())
        return row | {"seconds": f"{time.monotonic() - began:.1f}"}


def _samples(name: str) -> Splits:
    from tlseg_lite.data import samples

    return FoldSplits(samples(name), f"{name}-samples")


def with_one_backbone(frame: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The rows of models that start from random weights, or from one and the same set of SAM's.

    Scores from two sets of weights are not to be compared. Of several in the file it is the set
    with the most rows.

    Args:
        frame: from `run` or `read`.

    Returns:
        the rows; the fingerprint of the set, empty where all start from random weights.
    """
    backbone = frame.backbone.fillna("")
    rows_of = backbone[backbone != ""].value_counts()
    chosen = rows_of.index[0] if len(rows_of) else ""
    return frame[backbone.isin(["", chosen])], chosen


def pooled(runs: pd.DataFrame, score: str = "miou") -> dict[int, float]:
    """A score of one model for each seed, as a fraction; a seed with missing folds is left out.

    Args:
        runs: rows of `read` of one model and setting; the pixels of all folds of a seed are
            counted together.
        score: a field of `Scores`.

    Raises:
        ValueError: the rows of a seed are of several settings.
    """
    values = per_seed(runs, score, by=())
    return {int(seed): v for seed, v in sorted(zip(values.seed, values.value, strict=True))}


def summary(
    frame: pd.DataFrame,
    *,
    score: str = "miou",
    reference: str = "TransLandSeg",
    confidence: float = 0.95,
) -> pd.DataFrame:
    """A row for each setting and model, best first, and the lead of `reference` over it.

    The pixels of all folds of a seed are counted together; a seed with missing folds is left out.

    Args:
        frame: from `run` or `read`.
        score: a field of `Scores`: miou, landslide_iou, landslide_f1, precision, recall, f1, oa.
        reference: the model that the others are compared with, paired by seed.
        confidence: of the t intervals over seeds.

    Returns:
        data, training_data, model, weights, seeds, mean, low, high, trainable, seconds (of
        training, mean of a fold), train_images (mean), pairs (seeds of both models), lead,
        lead_low, lead_high, verdict (on `reference`: ahead, behind, open; empty without pairs),
        diverged, data_version, image_size, backbone, recipe. Scores and leads are fractions.
    """
    of = ("model", "weights", "backbone")
    table = paired(frame, PROTOCOL, of, reference, score=score, confidence=confidence)
    table["lead"] = -table.difference
    table["lead_low"], table["lead_high"] = -table.difference_high, -table.difference_low
    ends = zip(table.lead_low, table.lead_high, table.pairs, strict=True)
    table["verdict"] = [verdict(low, high) if pairs else "" for low, high, pairs in ends]
    table["seconds"] = table.fold_seconds
    names = ["data", "training_data", "model", "weights", "seeds", "mean", "low", "high"]
    names += ["trainable", "seconds", "train_images", "pairs", "lead", "lead_low", "lead_high"]
    names += ["verdict", "diverged", "data_version", "image_size", "backbone", "recipe"]
    table = table[names]
    order = ["data", "training_data", "mean"]
    return table.sort_values(order, ascending=[True, True, False], kind="stable")
