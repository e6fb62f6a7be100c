"""One run of a comparison: a model, what it learns from, and where it is tested."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlseg_lite.experiments import mask_store
from tlseg_lite.experiments.models import Contestant
from tlseg_lite.experiments.results import measured
from tlseg_lite.experiments.splits import Splits, SyntheticSplits, digest, ids_in_words
from tlseg_lite.metrics.confusion import ConfusionMatrix, confusion
from tlseg_lite.training.evaluation import answers
from tlseg_lite.training.recipe import Recipe

if TYPE_CHECKING:
    from torch.nn import Module

DIETS = ("real", "synthetic", "synthetic+real", "soup")
"""What a model is trained on; ``"real-5"`` means five of the real training images, and so on."""

_KEY = ("data", "data_version", "model", "diet", "seed", "fold", "image_size", "backbone", "recipe")


def real_images(diet: str) -> int | None:
    """The N of ``"real-N"``; None for the other diets."""
    if diet in DIETS:
        return None
    head, _, number = diet.partition("-")
    if head != "real" or not number.isdecimal() or int(number) < 1:
        raise ValueError(f"unknown diet {diet!r}; choose from {', '.join(DIETS)}, or 'real-5'")
    return int(number)


def row_key(row: Mapping[str, Any]) -> tuple[str, ...]:
    """What tells a row from all others."""
    return tuple(str(row[name]) for name in _KEY)


@dataclass
class Job:
    """One run: a model, what it learns from, and where it is tested."""

    name: str
    model: Contestant
    diet: str
    seed: int
    fold: int
    data: Splits
    scenes: SyntheticSplits
    recipe: Recipe
    first: Recipe
    image_size: int

    @property
    def _has_scenes(self) -> bool:
        return self.diet in ("synthetic", "synthetic+real", "soup")

    def about(self) -> dict[str, Any]:
        """What identifies the run."""
        settings: dict[str, Any] = {}
        version = self.data.version
        if self.diet != "synthetic":
            settings["real"] = _settings(self.recipe)
        if self._has_scenes:
            settings["scenes"] = _settings(self.first) | {"scenes": self.scenes.numbers[0]}
            version += "+" + self.scenes.version
        return {
            "data": self.data.name,
            "data_version": version,
            "data_source": self.data.source,
            "model": self.name,
            "diet": self.diet,
            "seed": self.seed,
            "fold": self.fold,
            "folds": 1 if self.diet == "synthetic" else self.data.folds,
            "image_size": self.image_size,
            "weights": self.model.weights,
            "backbone": self.model.backbone,
            "recipe": json.dumps(settings),
        }

    def train(self, folder: Path, masks: str | Path | None) -> dict[str, Any]:
        """Both stages, as far as the diet has them, and the test."""
        import tlseg_lite as tl

        model = self.model.build(self.seed)
        parts = [self.data.parts(self.seed, fold) for fold in range(self.data.folds)]
        train, val, test = parts[self.fold]
        seconds, count, history, best = 0.0, 0, None, 0
        untrained, taught = _copy(model.trained_state()), None
        if self._has_scenes:
            done = self._learn_scenes(model, folder)
            taught = _copy(model.trained_state())
            seconds, count = float(done.history.seconds.sum()), self.scenes.numbers[0]
            history, best = done.history, done.best_epoch
        if self.diet == "synthetic":
            from torch.utils.data import ConcatDataset

            tests = [part[2] for part in parts]  # no real image was seen: all are test images
            ids = [key for part in tests for key in part.ids]
            test = ConcatDataset(tests)
        else:
            from tlseg_lite.data.splits import Subset

            limit = real_images(self.diet)
            if limit:
                train = Subset(train, list(range(min(limit, len(train)))))
            recipe = self._recipe(self.recipe)
            if self.diet == "soup":
                model.load_trained_state(untrained, "the untrained model")
            done = tl.fit(model, train, val, recipe, self.folder(folder), progress=False)
            seconds += float(done.history.seconds.sum())
            count += len(train)
            history, best, ids = done.history, done.best_epoch, test.ids
        known = history.loc[history.epoch == best].iloc[0].miou
        if self.diet == "soup":
            known = tl.evaluate(tl.blend(model, taught), val).miou
        counts, predicted = ConfusionMatrix(0, 0, 0, 0), {}
        for sample, logits in answers(model, test, self.recipe.batch_size):
            mask = (logits > 0).cpu()
            counts += confusion(mask, sample["mask"])
            predicted[self.data.name, self.name, self.diet, sample["id"]] = mask[0].numpy()
        if masks is not None:
            mask_store.add(masks, predicted)
        total = tl.count_parameters(model)
        return measured(counts) | {
            "train_images": count,
            "test_images": len(ids),
            "test_ids": ids_in_words(ids),
            "val_miou": f"{known:.6f}",
            "best_epoch": best,
            "trainable": total.trainable,
            "total": total.total,
            "seconds": f"{seconds:.1f}",
        }

    def _learn_scenes(self, model: Module, folder: Path):
        """Fit `model` to the scenes; the run is kept, for the other folds start from it."""
        import tlseg_lite as tl

        train, val, _ = self.scenes.parts(self.seed, 0)
        recipe = self._recipe(self.first)
        return tl.fit(model, train, val, recipe, self.scenes_folder(folder), progress=False)

    def scenes_folder(self, folder: Path) -> Path:
        """Where the model that has learned the scenes is kept, for all folds and diets."""
        which = (self.name, self.model.backbone, self.seed, self.image_size, self.scenes.version)
        return folder / ("scenes-" + digest(*which, json.dumps(_settings(self.first))))

    def folder(self, folder: Path) -> Path:
        """Where the training on real images keeps its states; of no use once the row is there."""
        return folder / digest(*row_key(self.about()))

    def _recipe(self, recipe: Recipe) -> Recipe:
        rate = recipe.learning_rate * self.model.rate
        return replace(recipe, seed=self.seed, learning_rate=rate)


def _copy(state: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tensor.clone() for name, tensor in state.items()}


def _settings(recipe: Recipe) -> dict[str, Any]:
    values = recipe.as_dict()
    for part in ("seed", "sam"):  # in columns of their own
        del values[part]
    return values
