"""TransLandSeg and the models it is compared with, trained under one protocol.

The same images, splits, augmentation, loss, epochs and seeds for every model; the epoch is chosen
on validation, or with a handful of validation images the last one is kept (`Recipe.keep`); the test
images are looked at once. A row of the CSV file is a finished run. What a model learns from is its
*diet*: real images only, generated scenes only, generated scenes first and real images then, or a
"soup", the average of the weights after the one and after the other (`tlseg_lite.blend`).
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tlseg_lite.core.provenance import provenance
from tlseg_lite.experiments.comparison_job import DIETS, Job, real_images, row_key
from tlseg_lite.experiments.comparison_summary import COLUMNS, of_one_start, pooled, read, summary
from tlseg_lite.experiments.models import Contestant, contestants, prompted_mask
from tlseg_lite.experiments.results import Rows, measured
from tlseg_lite.experiments.splits import FoldSplits, Holdout, Splits, SyntheticSplits, ids_in_words
from tlseg_lite.metrics.confusion import confusion
from tlseg_lite.training.recipe import Recipe

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "COLUMNS",
    "DIETS",
    "Contestant",
    "Holdout",
    "contestants",
    "of_one_start",
    "pooled",
    "prompted",
    "read",
    "run",
    "summary",
]


def run(
    models: Mapping[str, Contestant],
    diets: Sequence[str],
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
) -> pd.DataFrame:
    """Train and test every model on every diet with every seed; a row for each finished run.

    Rows that `out` has already are not done again, and an interrupted training goes on after its
    last finished epoch. With generated scenes in the diet, a model learns them once for each seed;
    what it learned stays in a folder beside `out`, named after it, for further rows to begin with.

    Args:
        models: from `contestants`, or your own.
        diets: of `DIETS`, or ``"real-N"`` for N real training images.
        seeds: how many (0, 1, ...), or which.
        data: a `Splits` of real images, or ``"bijie"``, ``"landslide4sense"``: the real samples
            by five-fold cross-validation.
        out: the CSV file.
        recipe: for the real images; None: `Recipe.laptop`.
        first: for the generated scenes; None: eight epochs of `recipe`.
        scenes: the generated scenes; None: 600 for training, 40 for validation, in the style of
            the real ones.
        image_size: side of the models' input.
        minutes: start no further run after this time; call again to go on.
        masks: a file for the first seed's predicted masks, as `mask_store` keeps them,
            by (data, model, diet, image id).
        report: is called with a line for each finished run; None: silence.

    Returns:
        all rows of the file, as `read` does.

    Raises:
        ValueError: an unknown diet or dataset.
        RuntimeError: another process is writing `out`.
    """
    for diet in diets:
        real_images(diet)
    recipe = recipe or Recipe.laptop()
    first = first or replace(recipe, epochs=8)
    if isinstance(data, str):
        data = _samples(data)
    style = "landslide4sense" if "landslide4sense" in data.name else "bijie"
    scenes = scenes or SyntheticSplits(600, 40, 1, size=None, style=style)
    say = report or (lambda line: None)
    out, began = Path(out), time.monotonic()
    rows = Rows(out, COLUMNS)
    seeds = list(range(seeds) if isinstance(seeds, int) else seeds)
    with rows.alone():
        done = {row_key(row) for row in rows.read()}
        for seed in seeds:
            for name, model in models.items():
                for diet in diets:
                    for fold in range(1 if diet == "synthetic" else data.folds):
                        job = Job(
                            name, model, diet, seed, fold, data, scenes, recipe, first, image_size
                        )
                        about = job.about()
                        if row_key(about) in done:
                            continue
                        if minutes is not None and time.monotonic() - began > 60 * minutes:
                            return read(out)
                        kept = masks if seed == seeds[0] else None
                        folder = out.with_name(out.name + ".runs")
                        row = about | job.train(folder, kept) | provenance()
                        rows.append(dict.fromkeys(COLUMNS, "") | row)
                        shutil.rmtree(job.folder(folder), ignore_errors=True)
                        say(f"{name}, {diet}, seed {seed}, fold {fold}: {row['test_miou']}")
    return read(out)


def prompted(sam, data: Splits | str, out: str | Path) -> pd.DataFrame:
    """SAM itself, never trained on landslides, on the same test images; three rows of `out`.

    Automatic masks (the one that fits best), a click in the largest landslide, a box around it:
    all three are told something about the true mask, which the trained models are not. Of the
    three masks of a prompt SAM's own choice counts. An image without landslide gets no mask.

    Args:
        sam: from `load_sam`.
        data: as in `run`; every image is tested once.
        out: the CSV file.

    Returns:
        all rows of the file, as `read` does.
    """
    data = _samples(data) if isinstance(data, str) else data
    tests = [data.parts(0, fold)[2] for fold in range(data.folds)]
    ids = [key for part in tests for key in part.ids]
    rows = Rows(out, COLUMNS)
    with rows.alone():
        done = {row_key(row) for row in rows.read()}
        for name in ("automatic masks", "click", "box"):
            about = {
                "data": data.name,
                "data_version": data.version,
                "data_source": data.source,
                "model": f"{sam.variant}, {name}",
                "diet": "none",
                "seed": 0,
                "fold": 0,
                "folds": 1,
                "image_size": sam.image_encoder.img_size,
                "weights": Path(sam.origin["weights"]).name,
                "backbone": sam.origin["fingerprint"],
                "recipe": "{}",
            }
            if row_key(about) in done:
                continue
            began, total = time.monotonic(), None
            for part in tests:
                for i in range(len(part)):
                    sample = part[i]
                    mask = prompted_mask(sam, sample, name)
                    counts = confusion(mask, sample["mask"][0])
                    total = counts if total is None else total + counts
            row = measured(total) | {
                "test_images": len(ids),
                "test_ids": ids_in_words(ids),
                "train_images": 0,
            }
            row |= {"trainable": 0, "total": sum(p.numel() for p in sam.parameters())}
            row |= {"best_epoch": 0, "seconds": f"{time.monotonic() - began:.1f}"}
            rows.append(dict.fromkeys(COLUMNS, "") | about | row | provenance())
    return read(out)


def _samples(name: str) -> Splits:
    from tlseg_lite.data import samples

    return FoldSplits(samples(name), f"{name}-samples")
