"""TransLandSeg and the models it is compared with, trained under one protocol.

The same images, splits, augmentation, loss, epochs and seeds for every model; the epoch is chosen
on validation, the test images are looked at once. A row of the CSV file is a finished run. What a
model learns from is its *diet*: real images only, generated scenes only, or generated scenes first
and real images then.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlseg_lite.ablation_data import FoldSplits, Splits, SyntheticSplits, ids_in_words
from tlseg_lite.provenance import provenance
from tlseg_lite.recipes import Recipe
from tlseg_lite.rows import Rows

if TYPE_CHECKING:
    import pandas as pd
    from torch.nn import Module

__all__ = [
    "COLUMNS",
    "DIETS",
    "Contestant",
    "Holdout",
    "contestants",
    "read",
    "run",
    "summary",
]

DIETS = ("real", "synthetic", "synthetic+real")
"""What a model is trained on; ``"real-5"`` means five of the real training images, and so on."""

_SCORES = ("miou", "landslide_iou", "landslide_f1", "precision", "recall", "f1", "oa")
_COUNTS = ("tp", "fp", "fn", "tn")
_KEY = ("data", "data_version", "model", "diet", "seed", "fold", "image_size", "backbone", "recipe")
COLUMNS = (
    *("data", "model", "diet", "seed", "fold", "folds", "train_images", "test_images"),
    *(f"test_{name}" for name in (*_SCORES, *_COUNTS)),
    *("val_miou", "best_epoch", "trainable", "total", "seconds"),
    *("image_size", "weights", "backbone", "recipe", "data_version", "data_source", "test_ids"),
    *("commit", "version", "torch", "device", "finished"),
)
"""Of the CSV file. Scores are fractions; test_tp to test_tn count pixels; seconds: training."""


@dataclass(frozen=True)
class Contestant:
    """A model of the comparison.

    Attributes:
        build: seed -> an untrained model in TransLandSeg's form.
        weights: what its encoder starts from, in a word: ``"sam_mini"``, ``"random"``, a file.
        backbone: fingerprint of these weights; empty for random ones.
        rate: factor on the recipe's learning rate.
    """

    build: Callable[[int], Module]
    weights: str = "random"
    backbone: str = ""
    rate: float = 1.0


class Holdout(Splits):
    """Train on one dataset, test on another: no cross-validation.

    Args:
        train: its images are divided into training and validation, by the seed.
        test: images of `train` (by id) are left out of it.
        name: short, for the CSV file.
        val: share of `train` that chooses the epoch.
    """

    def __init__(self, train, test, name: str, *, val: float = 0.2):
        from tlseg_lite.data.splits import Subset

        known = set(train.ids)
        self.train, self.val, self.name = train, val, name
        self.test = Subset(test, [i for i, key in enumerate(test.ids) if key not in known])
        if not len(self.test):
            raise ValueError(f"all {len(test)} test images are training images too")
        self.source = f"{train.source}; test: {test.source}"

    def parts(self, seed: int, fold: int):
        from tlseg_lite.data import split

        train, val = split(self.train, (1 - self.val, self.val), seed)
        return train, val, self.test

    def _version(self) -> str:
        words = repr((self.val, sorted(self.train.ids), sorted(self.test.ids)))
        return hashlib.sha256(words.encode()).hexdigest()[:12]


def contestants(names: Iterable[str] | None = None, *, image_size: int | None = None, sam=None):
    """The models by name, in the order of `names` (None: all).

    TransLandSeg, TransLandSeg-released, LandslideNet, decoder-only: on `sam`. The first and the
    last also ``"... on random weights"``: the same SAM, frozen, but never trained. The six
    baselines from scratch, with the encoders of `tlseg_lite.baselines.LAPTOP_ENCODERS`.

    Args:
        names: which; None: all.
        image_size: of the baselines; None: `sam`'s.
        sam: a loaded SAM; None: ``load_sam("sam_mini")``.

    Raises:
        ValueError: an unknown name; lists the known ones.
    """
    import tlseg_lite as tl

    sam = sam or tl.load_sam("sam_mini")
    side = image_size or sam.image_encoder.img_size
    known = {"weights": Path(sam.origin["weights"]).name, "backbone": sam.origin["fingerprint"]}

    def adapted(config, blank: bool = False) -> Contestant:
        def build(seed: int):
            base = sam
            if blank:
                base = tl.load_sam(sam.variant, weights=None, seed=seed, image_size=side)
            return tl.TransLandSeg(base, config, seed=seed)

        return Contestant(build) if blank else Contestant(build, **known)

    def baseline(name: str) -> Contestant:
        def build(seed: int):
            return tl.build_baseline(name, image_size=side, seed=seed)

        return Contestant(build)

    every = {
        name: adapted(tl.DESIGNS[name])
        for name in ("TransLandSeg", "TransLandSeg-released", "LandslideNet")
    }
    every["decoder-only"] = adapted(None)
    every["TransLandSeg on random weights"] = adapted(tl.DESIGNS["TransLandSeg"], blank=True)
    every["decoder-only on random weights"] = adapted(None, blank=True)
    every |= {name: baseline(name) for name in tl.baselines.LAPTOP_ENCODERS}
    if names is None:
        return every
    unknown = [name for name in names if name not in every]
    if unknown:
        raise ValueError(f"unknown model {unknown[0]!r}; choose from {', '.join(every)}")
    return {name: every[name] for name in names}


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
    report: Callable[[str], None] | None = print,
) -> pd.DataFrame:
    """Train and test every model on every diet with every seed; a row for each finished run.

    Rows that `out` has already are not done again, and an interrupted training goes on after its
    last finished epoch. With generated scenes in the diet, a model learns them once for each seed.

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
        report: is called with a line for each finished run; None: silence.

    Returns:
        all rows of the file, as `read` does.

    Raises:
        ValueError: an unknown diet or dataset.
        RuntimeError: another process is writing `out`.
    """
    for diet in diets:
        _real_images(diet)
    recipe = recipe or Recipe.laptop()
    first = first or replace(recipe, epochs=8)
    if isinstance(data, str):
        data = _samples(data)
    style = "landslide4sense" if "landslide4sense" in data.name else "bijie"
    scenes = scenes or SyntheticSplits(600, 40, 1, size=None, style=style)
    say = report or (lambda line: None)
    out, began = Path(out), time.monotonic()
    rows = Rows(out, COLUMNS)
    with rows.alone():
        done = {_key(row) for row in rows.read()}
        for seed in range(seeds) if isinstance(seeds, int) else seeds:
            for name, model in models.items():
                for diet in diets:
                    for fold in range(1 if diet == "synthetic" else data.folds):
                        job = _Job(name, model, diet, seed, fold, data, scenes, recipe, first)
                        about = job.about(image_size)
                        if _key(about) in done:
                            continue
                        if minutes is not None and time.monotonic() - began > 60 * minutes:
                            return read(out)
                        row = about | job.train(out.with_name(out.name + ".runs")) | provenance()
                        rows.append(dict.fromkeys(COLUMNS, "") | row)
                        say(f"{name}, {diet}, seed {seed}, fold {fold}: {row['test_miou']}")
    return read(out)


@dataclass
class _Job:
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

    def about(self, image_size: int) -> dict[str, Any]:
        """What identifies the run."""
        settings: dict[str, Any] = {}
        version = self.data.version
        if self.diet != "synthetic":
            settings["real"] = _settings(self.recipe)
        if self.diet.startswith("synthetic"):
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
            "image_size": image_size,
            "weights": self.model.weights,
            "backbone": self.model.backbone,
            "recipe": json.dumps(settings),
        }

    def train(self, folder: Path) -> dict[str, Any]:
        """Both stages, as far as the diet has them, and the test."""
        import tlseg_lite as tl

        model = self.model.build(self.seed)
        parts = [self.data.parts(self.seed, fold) for fold in range(self.data.folds)]
        train, val, test = parts[self.fold]
        seconds, count, history, best = 0.0, 0, None, 0
        if self.diet.startswith("synthetic"):
            done = self._learn_scenes(model, folder)
            seconds, count = float(done.history.seconds.sum()), self.scenes.numbers[0]
            history, best = done.history, done.best_epoch
        if self.diet == "synthetic":
            from torch.utils.data import ConcatDataset

            tests = [part[2] for part in parts]  # no real image was seen: all are test images
            ids = [key for part in tests for key in part.ids]
            test = ConcatDataset(tests)
        else:
            from tlseg_lite.data.splits import Subset

            limit = _real_images(self.diet)
            if limit:
                train = Subset(train, list(range(min(limit, len(train)))))
            recipe = self._recipe(self.recipe)
            done = tl.fit(model, train, val, recipe, self._folder(folder), progress=False)
            seconds += float(done.history.seconds.sum())
            count += len(train)
            history, best, ids = done.history, done.best_epoch, test.ids
        scores = tl.evaluate(model, test, batch_size=self.recipe.batch_size)
        total = tl.count_parameters(model)
        row = {f"test_{name}": f"{getattr(scores, name):.6f}" for name in _SCORES}
        row |= dict(zip((f"test_{c}" for c in _COUNTS), scores.confusion.counts(), strict=True))
        return row | {
            "train_images": count,
            "test_images": len(ids),
            "test_ids": ids_in_words(ids),
            "val_miou": f"{history.loc[history.epoch == best].iloc[0].miou:.6f}",
            "best_epoch": best,
            "trainable": total.trainable,
            "total": total.total,
            "seconds": f"{seconds:.1f}",
        }

    def _learn_scenes(self, model: Module, folder: Path):
        """Fit `model` to the scenes; the run is kept, for the other folds start from it."""
        import tlseg_lite as tl

        key = (self.name, self.model.backbone, self.seed, self.scenes.version)
        words = json.dumps([*key, _settings(self.first)])
        folder = folder / ("scenes-" + hashlib.sha256(words.encode()).hexdigest()[:16])
        train, val, _ = self.scenes.parts(self.seed, 0)
        return tl.fit(model, train, val, self._recipe(self.first), folder, progress=False)

    def _folder(self, folder: Path) -> Path:
        words = json.dumps(_key(self.about(0)))
        return folder / hashlib.sha256(words.encode()).hexdigest()[:16]

    def _recipe(self, recipe: Recipe) -> Recipe:
        rate = recipe.learning_rate * self.model.rate
        return replace(recipe, seed=self.seed, learning_rate=rate)


def _settings(recipe: Recipe) -> dict[str, Any]:
    values = recipe.as_dict()
    for part in ("seed", "workers", "sam"):  # in columns of their own, or without effect
        del values[part]
    return values


def _real_images(diet: str) -> int | None:
    """The N of ``"real-N"``; None for the other diets."""
    if diet in DIETS:
        return None
    head, _, number = diet.partition("-")
    if head != "real" or not number.isdecimal() or int(number) < 1:
        raise ValueError(f"unknown diet {diet!r}; choose from {', '.join(DIETS)}, or 'real-5'")
    return int(number)


def _samples(name: str) -> Splits:
    from tlseg_lite.data import samples

    return FoldSplits(samples(name), f"{name}-samples")


def _key(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in _KEY)


def read(path: str | Path) -> pd.DataFrame:
    """The rows of a file that `run` wrote; no rows if it is not there.

    Raises:
        ValueError: the file has other columns, or a damaged line.
    """
    import pandas as pd

    frame = pd.DataFrame(Rows(path, COLUMNS).read(), columns=list(COLUMNS))
    numbers = [c for c in COLUMNS if c.startswith(("test_", "val_")) and c != "test_ids"]
    numbers += ["seed", "fold", "folds", "train_images", "best_epoch", "trainable", "total"]
    for column in [*numbers, "seconds", "image_size"]:
        frame[column] = pd.to_numeric(frame[column], errors="coerce")
    return frame


def summary(frame: pd.DataFrame, *, score: str = "miou", confidence: float = 0.95) -> pd.DataFrame:
    """A row for each dataset, diet and model, best first.

    The pixels of all folds of a seed are counted together; a seed with missing folds is left out.

    Args:
        frame: from `run` or `read`.
        score: a field of `Scores`: miou, landslide_iou, landslide_f1, precision, recall, f1, oa.
        confidence: of the t intervals over seeds.

    Returns:
        data, diet, model, weights, seeds, mean, low, high (fractions), trainable, seconds (of
        training, mean of a fold).
    """
    import pandas as pd

    from tlseg_lite.ablation_summary import interval
    from tlseg_lite.metrics import ConfusionMatrix

    counts = [f"test_{name}" for name in _COUNTS]
    group = ["data", "data_version", "diet", "model", "weights", "backbone", "recipe"]
    found = []
    for key, runs in frame.groupby(group, sort=False):
        about = dict(zip(group, key, strict=True))
        values = []
        for _, folds in runs.groupby("seed"):
            if len(folds) == folds.folds.iloc[0]:
                matrix = ConfusionMatrix(*(int(v) for v in folds[counts].sum()))
                values.append(getattr(matrix.scores(), score))
        if not values:
            continue
        mean, low, high = interval(values, confidence)
        found.append(
            {name: about[name] for name in ("data", "diet", "model", "weights")}
            | {"seeds": len(values), "mean": mean, "low": low, "high": high}
            | {"trainable": int(runs.trainable.iloc[0]), "seconds": runs.seconds.mean()}
        )
    names = ["data", "diet", "model", "weights", "seeds", "mean", "low", "high"]
    table = pd.DataFrame(found, columns=[*names, "trainable", "seconds"])
    return table.sort_values(["data", "diet", "mean"], ascending=[True, True, False], kind="stable")
