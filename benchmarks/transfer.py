"""Another place, another sensor: fills book/results/transfer.csv.

    TLSEG_REAL=PATH python benchmarks/transfer.py                 # all: hours on two cores
    TLSEG_REAL=PATH python benchmarks/transfer.py --minutes 30    # as much as fits; call again
    python benchmarks/transfer.py --models TransLandSeg --seeds 0 1 2 --image-size 128

A model learns from one set (Bijie, Landslide4Sense, or synthetic scenes) and is tested on the test
part of another: as it is; with the new images' colours matched to the old ones in the mean; and
after learning from ten labelled images of the new set, with and without matched colours. "only the
ten" is the same model that has seen nothing but these. Landslide4Sense is taken whole, 1280 m a
side, and in windows of 32 pixels, 320 m a side, which is about what an image of Bijie shows.
"""

import argparse
import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from comparison import NETWORK_RATE, add_options, changed

import tlseg_lite as tl
from tlseg_lite.data.splits import Subset
from tlseg_lite.experiments import comparison
from tlseg_lite.experiments.measures import measures_for
from tlseg_lite.experiments.results import SCORES, Rows, score_columns
from tlseg_lite.experiments.run import about_data, run_jobs, settings
from tlseg_lite.experiments.splits import (
    BLOCKS,
    InMemory,
    SyntheticSplits,
    describe_ids,
    digest,
    named_data,
)
from tlseg_lite.experiments.transfer import Colours, MatchedColours, Windows
from tlseg_lite.training.evaluation import answers

OUT = Path(__file__).resolve().parent.parent / "book" / "results" / "transfer.csv"

KEY = (
    *("data", "data_version", "source_data", "model", "adaptation", "labelled", "window", "seed"),
    *("image_size", "backbone", "recipe"),
)
COLUMNS = (
    *("data", "source_data", "model", "adaptation", "labelled", "window", "seed", "status"),
    *("train_images", "test_images"),
    *(f"test_{name}" for name in SCORES),
    *("test_tp", "test_fp", "test_fn", "test_tn", "seconds", "image_size", "backbone", "recipe"),
    *("data_version", "data_source", "train_ids", "test_ids"),
    *("commit", "version", "torch", "device", "finished"),
)
"""data: what is tested on; data_version: of it, then of what was learned first; labelled: images of
it that were learned; window: side of the squares that Landslide4Sense is cut into, pixels, 0: none;
seconds: of all training that led to the row."""

ADAPTATIONS = {
    # name: (colours matched, labelled images are learned, the other set is learned first)
    "as it is": (False, False, True),
    "colours": (True, False, True),
    "ten labels": (False, True, True),
    "colours, ten labels": (True, True, True),
    "only the ten": (False, True, False),
}
SCENES, SCENE_EPOCHS = 1000, 4
STEPS = 300
"""Of learning from the labelled images."""


@dataclass
class Transfer:
    """One model from one set to another, adapted in one way."""

    adaptation: str
    name: str
    model: comparison.Model
    seed: int
    source: str
    target: Any
    sets: dict[str, Any]
    window: int
    chosen: argparse.Namespace
    about: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        self.colours, self.labels, self.before = ADAPTATIONS[self.adaptation]
        first = {"first": settings(self._first_recipe())} if self.before else {}
        second = {"labelled": settings(self._few())} if self.labels else {}
        about = about_data(self.target, self.seed, 0)
        if self.before:
            about["data_version"] += "+" + self.sets[self.source].version
        self.about = {k: v for k, v in about.items() if k not in ("fold", "folds")} | {
            "source_data": self.source if self.before else "nothing",
            "model": self.name,
            "adaptation": self.adaptation,
            "labelled": self.chosen.labelled if self.labels else 0,
            "window": self.window if self.before or self._windows(self.target.name) else 0,
            "image_size": self.chosen.image_size,
            "backbone": self.model.backbone,
            "recipe": json.dumps(first | second),
        }

    def __str__(self) -> str:
        return f"{self.source} to {self.target.name}, {self.name}, {self.adaptation}, {self.seed}"

    def _first_recipe(self) -> tl.Recipe:
        """Of the first set: about as many steps on each."""
        recipe = changed(tl.Recipe.laptop(1000), self.chosen)
        epochs = {"scenes": SCENE_EPOCHS, "landslide4sense-blocks": math.ceil(recipe.epochs / 3)}
        rate = NETWORK_RATE if self.name in tl.baselines.LAPTOP_ENCODERS else 1.0
        return replace(
            recipe,
            epochs=epochs.get(self.source, recipe.epochs),
            learning_rate=recipe.learning_rate * rate * self.model.rate,
            seed=self.seed,
        )

    def _few(self) -> tl.Recipe:
        """Of the labelled images: the laptop's for a few, the last epoch is kept."""
        images = self.chosen.labelled * (self._windows(self.target.name) or 1)
        recipe = changed(tl.Recipe.laptop(), self.chosen)
        epochs = math.ceil(STEPS / math.ceil(images / recipe.batch_size))
        rate = tl.Recipe.laptop().learning_rate
        rate *= self.model.rate
        return replace(recipe, epochs=epochs, learning_rate=rate, keep="last", seed=self.seed)

    def _windows(self, name: str) -> int:
        """In how many windows an image of a set is cut; 0: not at all."""
        cut = self.window and name.startswith("landslide4sense")
        return (128 // self.window) ** 2 if cut else 0

    def _seen(self, images, name: str, *, fullest: bool = False):
        """Images of a set as the models see them."""
        return Windows(images, self.window, fullest=fullest) if self._windows(name) else images

    def run(self, own: Path, shared: Path) -> dict[str, Any]:
        train, val, test = self.target.parts(self.seed, 0)
        few = InMemory(Subset(train, range(self.chosen.labelled)))
        name, seconds, learned = self.target.name, 0.0, 0
        model = self.model.build(self.seed)
        if self.before:
            images = self._first_images()
            learned += len(images[0])
            path, seconds = self._first(model, images, shared)
            model.load_trained_state(type(model).load_tensors(path), path)
        see = self._in_old_colours(train) if self.colours else (lambda images: images)
        if self.labels:
            images = self._seen(see(few), name)
            watched = self._seen(see(Subset(val, range(2))), name)  # the last epoch is kept
            done = tl.fit(model, images, watched, self._few(), own, progress=False)
            seconds += float(done.history.seconds.sum())
            learned += len(images)
        tested = self._seen(see(test), name)
        return {
            "status": "done",
            "train_images": learned,
            "test_images": len(test),
            "train_ids": describe_ids(few.ids) if self.labels else "",
            "test_ids": describe_ids(test.ids),
            "seconds": f"{seconds:.1f}",
            **score_columns(self._pairs(model, tested), self._measures()),
        }

    def _measures(self):
        """Landslides are counted in whole images only."""
        return () if self._windows(self.target.name) else measures_for(self.target.name)

    @staticmethod
    def _pairs(model, images):
        for sample, logits in answers(model, images):
            yield (logits[0] > 0).cpu(), sample["mask"][0]

    def _first_images(self) -> list:
        """Training and validation images of the other set."""
        parts = self.sets[self.source].parts(self.seed, 0)[:2]
        return [self._seen(part, self.source, fullest=True) for part in parts]

    def _first(self, model, images: list, shared: Path) -> tuple[Path, float]:
        """The model that has learned the other set, for all adaptations, and its seconds."""
        recipe, source = self._first_recipe(), self.sets[self.source]
        window = self.window if self._windows(self.source) else 0
        what = (self.name, self.model.backbone, self.seed, self.chosen.image_size, window)
        key = digest(*what, source.name, source.version, json.dumps(settings(recipe)))
        path = shared / f"first-{key}.safetensors"
        if not path.is_file():
            done = tl.fit(model, *images, recipe, shared / f"first-{key}", progress=False)
            seconds = {"seconds": float(done.history.seconds.sum())}
            path.with_suffix(".json").write_text(json.dumps(seconds))
            model.save(path)
        return path, json.loads(path.with_suffix(".json").read_text())["seconds"]

    def _in_old_colours(self, train):
        """The change of colours, from training images of both sets alone."""
        wanted = Colours.of(self.sets[self.source].parts(0, 0)[0])
        own = Colours.of(train)
        return lambda images: MatchedColours(images, own, wanted)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", default=["TransLandSeg", "unet"])
    parser.add_argument("--sources", nargs="+", default=[*BLOCKS, "scenes"])
    parser.add_argument("--targets", nargs="+", default=list(BLOCKS), choices=BLOCKS)
    parser.add_argument("--adaptations", nargs="+", default=list(ADAPTATIONS), choices=ADAPTATIONS)
    parser.add_argument("--windows", nargs="+", type=int, default=[0, 32], help="pixels; 0: none")
    parser.add_argument("--labelled", type=int, default=10)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    add_options(parser, OUT, precision="no", image_size=128, epochs=15)
    chosen = parser.parse_args()
    sets = {name: named_data(name, root=chosen.root)[0] for name in BLOCKS}
    sets["scenes"] = SyntheticSplits(SCENES, 40, 1, size=None)
    sam = tl.load_sam("sam_mini", image_size=chosen.image_size)
    models = comparison.models(chosen.models, sam=sam, image_size=chosen.image_size)
    rows = Rows(chosen.out, COLUMNS, KEY)
    jobs = {}
    for seed in chosen.seeds:
        for name, model in models.items():
            for source, target, window in ways(chosen):
                for adaptation in chosen.adaptations:
                    given = (adaptation, name, model, seed, source, sets[target], sets, window)
                    job = Transfer(*given, chosen)
                    jobs.setdefault(rows.key(job.about), job)  # "only the ten" has every source
    run_jobs(jobs.values(), rows, minutes=chosen.minutes, report=print)
    shown = ["source_data", "data", "window", "model", "adaptation", "seed", "test_landslide_iou"]
    print(rows.frame()[shown].to_string(index=False))


def ways(chosen: argparse.Namespace):
    """(source, target, window): windows only where Landslide4Sense is one of the two."""
    for source in chosen.sources:
        for target in chosen.targets:
            if source == target:
                continue
            for window in chosen.windows:
                cut = any(each.startswith("landslide4sense") for each in (source, target))
                if cut or not window:
                    yield source, target, window


if __name__ == "__main__":
    main()
