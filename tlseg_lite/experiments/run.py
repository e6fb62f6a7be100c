"""The loop over runs that ablations and comparisons share: train, test, one row; resumable.

A `Job` is one run. `run_jobs` does those whose row is not in the file yet. Under ``accelerate
launch`` all processes train, and the first one alone locks, reads and writes the files.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tlseg_lite as tl
from tlseg_lite.core.progress import bar
from tlseg_lite.core.provenance import provenance
from tlseg_lite.experiments.measures import false_alarms
from tlseg_lite.experiments.models import Model
from tlseg_lite.experiments.results import SCORES, Measure, Rows, add_masks, score_columns
from tlseg_lite.experiments.splits import Splits, SyntheticSplits, describe_ids, digest
from tlseg_lite.training.evaluation import answers
from tlseg_lite.training.recipe import Recipe

if TYPE_CHECKING:
    from accelerate import PartialState
    from torch.nn import Module
    from torch.utils.data import Dataset

TRAINING_DATA = ("real", "synthetic", "synthetic+real", "soup")
"""What a model is trained on; ``"real-5"`` means five of the real training images, and so on, with
at most as many for validation; ``"synthetic+real-5"`` the scenes first, then these five."""


def real_images(training_data: str) -> int | None:
    """The N of ``"real-N"`` or ``"synthetic+real-N"``; None for the others of `TRAINING_DATA`.

    Raises:
        ValueError: neither of these.
    """
    if training_data in TRAINING_DATA:
        return None
    head, _, number = training_data.partition("-")
    if head not in ("real", "synthetic+real") or not number.isdecimal() or int(number) < 1:
        raise ValueError(
            f"unknown training data {training_data!r}; choose from {', '.join(TRAINING_DATA)}, "
            "'real-5' or 'synthetic+real-5'"
        )
    return int(number)


def settings(recipe: Recipe) -> dict[str, Any]:
    """A recipe's part in a row's key."""
    elsewhere = ("seed", "workers", "sam")  # in columns of their own, or without effect
    return {name: value for name, value in recipe.as_dict().items() if name not in elsewhere}


@lru_cache
def complete_recipe(text: str) -> str:
    """A row's recipe with the fields that are newer than the row, at their defaults."""
    known = settings(Recipe())

    def complete(part: dict[str, Any]) -> dict[str, Any]:
        if "epochs" in part:
            return known | part
        return {stage: complete(settings) for stage, settings in part.items()}

    return json.dumps(complete(json.loads(text)))


def seed_list(seeds: int | Iterable[int]) -> list[int]:
    """How many (0, 1, ...), or which."""
    return list(range(seeds) if isinstance(seeds, int) else seeds)


def folder_of_runs(out: Path) -> Path:
    """Where unfinished runs of the file `out` are kept."""
    return out.with_name(out.name + ".runs")


def about_data(data: Splits, seed: int, fold: int) -> dict[str, Any]:
    """The columns that say which images a run has."""
    return {
        "data": data.name,
        "data_version": data.version,
        "data_source": data.source,
        "seed": seed,
        "fold": fold,
        "folds": data.folds,
    }


@dataclass
class Job:
    """One run: a model, what it learns from, and where it is tested.

    Attributes:
        name, model: what is trained.
        data: the images that it is tested on, and their part for training.
        seed, fold: which of them.
        recipe: for `data`.
        image_size: side of the model's input.
        training_data: of `TRAINING_DATA`, ``"real-N"`` or ``"synthetic+real-N"``.
        scenes, scenes_recipe: synthetic scenes, where these are part of the training data.
        masks: a file for the predicted masks.
        measures: further counts of the test.
        about: columns of the row that are known beforehand, among them its key.
    """

    name: str
    model: Model
    data: Splits
    seed: int
    fold: int
    recipe: Recipe
    image_size: int
    training_data: str = "real"
    scenes: SyntheticSplits | None = None
    scenes_recipe: Recipe | None = None
    masks: str | Path | None = None
    measures: Sequence[Measure] = ()
    about: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.name}, {self.training_data}, seed {self.seed}, fold {self.fold}"

    def run(self, own: Path, shared: Path) -> dict[str, Any]:
        """Train and test; a training that diverges is a row too, without scores.

        Args:
            own: folder of this run; of no use once the row is there.
            shared: where the models that have learned the scenes are kept, for all folds.
        """
        model = self.model.build(self.seed)
        train, val, test = self._parts()
        row = self._described(model, train, val, test)
        try:
            row |= self._train(model, train, val, own, shared)
        except FloatingPointError as error:
            return row | {"status": " ".join(f"diverged: {error}".split())}
        return row | self._test(model, test) | {"status": "done"}

    def _parts(self) -> tuple[Dataset, Dataset, Dataset]:
        from tlseg_lite.data.splits import Subset

        train, val, test = self.data.parts(self.seed, self.fold)
        if self.training_data == "synthetic":  # no real image is seen: all are test images
            folds = range(self.data.folds)
            test = Joined([self.data.parts(self.seed, fold)[2] for fold in folds])
        elif limit := real_images(self.training_data):
            train = Subset(train, list(range(min(limit, len(train)))))
            val = Subset(val, list(range(min(limit, len(val)))))  # who has N has not more for it
        return train, val, test

    def _described(self, model: Module, train, val, test) -> dict[str, Any]:
        counts = tl.count_parameters(model)
        only_scenes = self.training_data == "synthetic"
        scenes = self.scenes.numbers[0] if self.has_scenes else 0
        row = {"scenes_rate": self._scenes_rate()} if self.has_scenes else {}
        return row | {
            "train_images": scenes + (0 if only_scenes else len(train)),
            "test_images": len(test),
            "train_ids": "" if only_scenes else describe_ids(train.ids),
            "val_ids": "" if only_scenes else describe_ids(val.ids),
            "test_ids": describe_ids(test.ids),
            "rate": self.model.rate,
            "epochs": (self.scenes_recipe if only_scenes else self.recipe).epochs,
            "adapters": counts.adapters,
            "trainable": counts.trainable,
            "total": counts.total,
        }

    @property
    def has_scenes(self) -> bool:
        """Whether synthetic scenes are part of the training data."""
        return self.training_data.startswith("synthetic") or self.training_data == "soup"

    def _train(self, model, train, val, own: Path, shared: Path) -> dict[str, Any]:
        """Both stages, as far as the training data has them; the trained weights are in `model`."""
        seconds, untrained, taught = 0.0, _copy(model.trained_state()), None
        if self.has_scenes:
            parts, recipe = self.scenes.parts(self.seed, 0), self._for_scenes()
            done = tl.fit(model, *parts[:2], recipe, shared / self.scenes_key(), progress=False)
            seconds += float(done.history.seconds.sum())
            taught = _copy(model.trained_state())
        if self.training_data != "synthetic":
            if self.training_data == "soup":
                model.load_trained_state(untrained, "the untrained model")
            recipe = self._recipe(self.recipe, self.model.rate)
            done = tl.fit(model, train, val, recipe, own, progress=False)
            seconds += float(done.history.seconds.sum())
        best = done.history.loc[done.history.epoch == done.best_epoch].iloc[0]
        if self.training_data == "soup":
            best = tl.evaluate(tl.blend(model, taught), val)
        row = {f"val_{name}": f"{getattr(best, name):.6f}" for name in SCORES}
        return row | {"best_epoch": done.best_epoch, "seconds": f"{seconds:.1f}"}

    def _recipe(self, recipe: Recipe, rate: float) -> Recipe:
        return replace(recipe, seed=self.seed, learning_rate=recipe.learning_rate * rate)

    def _scenes_rate(self) -> float:
        return self.model.rate if self.model.scenes_rate is None else self.model.scenes_rate

    def _for_scenes(self) -> Recipe:
        return self._recipe(self.scenes_recipe, self._scenes_rate())

    def _test(self, model: Module, test: Dataset) -> dict[str, Any]:
        predicted = {}

        def pairs():
            for sample, logits in answers(model, test, self.recipe.batch_size):
                mask = (logits[0] > 0).cpu()
                if self.masks is not None:
                    key = (self.data.name, self.name, self.training_data, sample["id"])
                    predicted[key] = mask.numpy()
                yield mask, *(sample[key][0] for key in ("mask", "valid") if key in sample)

        row = score_columns(pairs(), self.measures)
        if predicted and is_first_process():
            add_masks(self.masks, predicted)
        if self.data.negatives is not None:
            shown = answers(model, self.data.negatives, self.recipe.batch_size)
            row |= false_alarms((logits[0] > 0).cpu() for _, logits in shown)
        return row

    def scenes_key(self) -> str:
        """Names the model that has learned the scenes, for all folds and training data."""
        what = (self.name, self.model.backbone, self.seed, self.image_size, self.scenes.version)
        return "scenes-" + digest(*what, json.dumps(settings(self._for_scenes())))


class Joined:
    """Datasets one after the other, with their ids."""

    def __init__(self, parts: Sequence[Dataset]):
        from torch.utils.data import ConcatDataset

        self._all = ConcatDataset(parts)
        self.ids = [key for part in parts for key in part.ids]
        self.source = " and ".join(getattr(part, "source", type(part).__name__) for part in parts)

    def __len__(self) -> int:
        return len(self._all)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self._all[index]


def _copy(state: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tensor.clone() for name, tensor in state.items()}


def run_jobs(
    jobs: Iterable[Job],
    rows: Rows,
    *,
    minutes: float | None = None,
    progress: bool = False,
    report: Callable[[str], None] | None = None,
) -> None:
    """Do the jobs whose row is not in the file, and append a row for each.

    An interrupted training goes on after its last finished epoch, from the folder ``<out>.runs``.

    Args:
        jobs: the runs in order: `Job`, or what has its `about` and `run`.
        rows: the file.
        minutes: start no further run after this time.
        progress: show a bar.
        report: is called with a line for each finished run.

    Raises:
        RuntimeError: another process runs jobs into the same file.
    """
    first, folder, began = is_first_process(), folder_of_runs(rows.path), time.monotonic()
    with rows.alone() if first else contextlib.nullcontext():
        done = _broadcast({rows.key(row) for row in rows.read()} if first else None)
        with bar(list(jobs), desc="runs", show=progress and first) as shown:
            for job in shown:
                key = rows.key(job.about)
                if key in done:
                    continue
                late = minutes is not None and time.monotonic() - began > 60 * minutes
                if _broadcast(late):  # clocks differ, decisions must not
                    break
                own = folder / digest(*key)
                row = job.about | job.run(own, folder)
                if first:
                    rows.append(dict.fromkeys(rows.columns, "") | row | provenance())
                    shutil.rmtree(own, ignore_errors=True)
                    if report is not None:
                        report(f"{job}: {row.get('test_miou', row['status'])}")
                _processes().wait_for_everyone()
        if first:
            with contextlib.suppress(OSError):  # not there, or other runs are in it
                folder.rmdir()


def is_first_process() -> bool:
    """Whether this is the process that writes, of those that ``accelerate launch`` has started."""
    return _processes().is_main_process


def _broadcast(value: Any) -> Any:
    """The first process's value in all of them."""
    from accelerate.utils import broadcast_object_list

    _processes()
    return broadcast_object_list([value])[0]


def _processes() -> PartialState:
    from accelerate import PartialState
    from accelerate.utils import parse_flag_from_env

    # as `Accelerator` does, which comes later and takes the state as it finds it
    return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"))
