"""Ablations: designs x seeds x data, one CSV row for each finished run, resumable at any time.

`run` fills the file, `tlseg_lite.experiments.ablation_summary` reads it: means with t
intervals, differences paired by seed, and the papers' three findings held against the rows.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlseg_lite.adapters.atl import DESIGNS, ATLConfig
from tlseg_lite.adapters.lora import LoRAConfig
from tlseg_lite.core.provenance import provenance
from tlseg_lite.experiments.ablation_summary import contrast, findings, read, summary
from tlseg_lite.experiments.results import COUNTS, SCORES, Rows, measured
from tlseg_lite.experiments.splits import Splits, ids_in_words, named_data
from tlseg_lite.sam.variants import VARIANTS
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
COLUMNS = (
    *("data", "design", "seed", "fold", "folds", "status"),
    *(f"test_{name}" for name in (*SCORES, *COUNTS)),
    *(f"val_{name}" for name in SCORES),
    *("best_epoch", "epochs", "train_images", "adapters", "trainable", "total", "seconds"),
    *("variant", "image_size", "weights", "backbone", "config", "recipe", "data_version"),
    *("data_source", "train_ids", "val_ids", "test_ids"),
    *("commit", "version", "torch", "device", "finished"),
)
"""Of the CSV file. Scores are fractions; test_tp to test_tn count pixels; seconds: training."""


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
    chosen: dict[str, Design] = {}
    for name in [names] if isinstance(names, str) else names:
        if name == "all":
            chosen |= every
        elif name in by_group:
            chosen |= by_group[name]
        elif name in every:
            chosen[name] = every[name]
        else:
            raise ValueError(
                f"unknown design {name!r}; groups: all, {', '.join(by_group)}; "
                f"designs: {', '.join(every)}"
            )
    return chosen


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
) -> pd.DataFrame:
    """Train and test every design with every seed; append a row to `out` for each finished run.

    Runs whose row is in `out` are not done again; a run that was interrupted goes on after its
    last finished epoch, from the folder ``<out>.runs``. All designs of a seed see the same
    images, the same division and the same start of the decoder, so they can be compared in pairs.
    The epoch is chosen on validation; the test images are looked at once, at the end.

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

    Returns:
        all rows of the file for `read` and `summary` (also those of other calls).

    Raises:
        ValueError: an unknown name, or a file with other columns.
        RuntimeError: another process is writing `out`.
    """
    import tlseg_lite as tl
    from tlseg_lite.core.progress import bar

    recipe = recipe or Recipe.laptop()
    if not isinstance(designs, Mapping):
        designs = named_designs(designs, recipe.sam if sam is None else sam.variant)
    chosen = {n: d if isinstance(d, Design) else Design(d) for n, d in designs.items()}
    seeds = range(seeds) if isinstance(seeds, int) else list(seeds)
    given = [data] if isinstance(data, (str, Splits)) else data
    sources = [s for d in given for s in (named_data(d) if isinstance(d, str) else [d])]
    sam = sam or tl.load_sam(recipe.sam)
    rows, first = Rows(out, COLUMNS), _is_first_process()
    began = time.monotonic()
    with rows.alone() if first else contextlib.nullcontext():
        done = {_key(row) for row in rows.read()}
        _wait_for_everyone()
        todo = [
            (source, seed, fold, name)
            for source in sources
            for seed in seeds
            for fold in range(source.folds)
            for name in chosen
        ]
        with bar(todo, desc="runs", show=progress) as shown:
            for source, seed, fold, name in shown:
                about = _about(source, seed, fold, name, chosen[name], sam, recipe)
                if _key(about) in done:
                    continue
                late = minutes is not None and time.monotonic() - began > 60 * minutes
                if _as_the_first_says(late):
                    break
                folder = _folder(rows.path, about)
                row = _train(source, seed, fold, chosen[name], sam, recipe, folder)
                if first:
                    rows.append(dict.fromkeys(COLUMNS, "") | about | row | provenance())
                    shutil.rmtree(folder, ignore_errors=True)
                _wait_for_everyone()
    with contextlib.suppress(OSError):  # not there, or another grid's runs are in it
        folder_of_runs(rows.path).rmdir()
    return read(out)


def folder_of_runs(out: Path) -> Path:
    """Where unfinished runs of the file `out` are kept."""
    return out.with_name(out.name + ".runs")


def _folder(out: Path, about: dict[str, Any]) -> Path:
    digest = hashlib.sha256(json.dumps(_key(about)).encode()).hexdigest()[:16]
    return folder_of_runs(out) / digest


def _key(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in _KEY)


def _about(source, seed, fold, name, design: Design, sam, recipe: Recipe) -> dict[str, Any]:
    """What identifies a run, and where its images and weights are from."""
    settings = recipe.as_dict()
    for part in ("seed", "sam"):  # in columns of their own
        del settings[part]
    return {
        "data": source.name,
        "data_version": source.version,
        "design": name,
        "config": json.dumps(design.as_dict()),
        "seed": seed,
        "fold": fold,
        "variant": sam.variant,
        "image_size": sam.image_encoder.img_size,
        "backbone": sam.origin["fingerprint"],
        "weights": Path(sam.origin["weights"]).name,
        "recipe": json.dumps(settings),
    }


def _train(source, seed, fold, design: Design, sam, recipe: Recipe, folder: Path) -> dict:
    """One run, from its parts to the scores; goes on in `folder` if it was interrupted there."""
    import tlseg_lite as tl

    train, val, test = source.parts(seed, fold)
    recipe = replace(recipe, seed=seed, learning_rate=recipe.learning_rate * design.rate)
    model = tl.TransLandSeg(sam, design.config, seed=seed, tune_encoder=design.tune_encoder)
    counts = tl.count_parameters(model)
    row = {
        "status": "done",
        "folds": source.folds,
        "epochs": recipe.epochs,
        "train_images": len(train),
        "adapters": counts.adapters,
        "trainable": counts.trainable,
        "total": counts.total,
        "data_source": source.source,
        "train_ids": ids_in_words(train.ids),
        "val_ids": ids_in_words(val.ids),
        "test_ids": ids_in_words(test.ids),
    }
    try:
        done = tl.fit(model, train, val, recipe, folder, progress=False)
    except FloatingPointError as error:
        return row | {"status": " ".join(f"diverged: {error}".split())}
    scores = tl.evaluate(model, test, batch_size=recipe.batch_size)
    best = done.history.loc[done.history.epoch == done.best_epoch].iloc[0]
    row |= measured(scores.confusion)
    row |= {f"val_{name}": f"{best[name]:.6f}" for name in SCORES}
    return row | {
        "best_epoch": done.best_epoch,
        "seconds": f"{done.history.seconds.sum():.1f}",
    }


def _is_first_process() -> bool:
    from accelerate import PartialState

    return PartialState().is_main_process


def _as_the_first_says(value: bool) -> bool:
    """The first process's value in all of them: clocks differ, decisions must not."""
    from accelerate.utils import broadcast_object_list

    return broadcast_object_list([value])[0]


def _wait_for_everyone() -> None:
    from accelerate import PartialState

    PartialState().wait_for_everyone()
