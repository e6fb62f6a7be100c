"""What clicks are worth to a model: fills book/results/clicks.csv.

    python benchmarks/clicks.py --epochs 12                  # adapted models and SAM, three seeds
    python benchmarks/clicks.py --epochs 12 --minutes 30     # as much as fits; call again to go on
    python benchmarks/clicks.py --epochs 12 --part val --out trial.csv   # before a decision

On real images divided by blocks (``--data bijie-blocks``, the full set from ``--root`` or
``TLSEG_REAL``). TransLandSeg is trained with and without corrective clicks, and a simulated user
then corrects each test image with up to 20 clicks; SAM itself gets the same clicks, or a box around
each landslide. Clicks are hints to the decoder ("clicks"), or orders ("held clicks": the answer
obeys where it was clicked and changes near the last click only, as `tl.correct` does). It may be
stopped and started at any time: finished rows are kept.
"""

import argparse
import json
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from comparison import add_options, changed

import tlseg_lite as tl
from tlseg_lite.adapters.correction import Correction
from tlseg_lite.experiments import interactive
from tlseg_lite.experiments.models import Design, named_designs
from tlseg_lite.experiments.results import SCORES, Rows, score_columns
from tlseg_lite.experiments.run import about_data, run_jobs, settings
from tlseg_lite.experiments.splits import Splits, describe_ids, named_data

OUT = Path(__file__).resolve().parent.parent / "book" / "results" / "clicks.csv"

KEY = (
    *("data", "data_version", "model", "trained_clicks", "prompt", "part", "seed", "image_size"),
    *("backbone", "recipe"),
)
HELD = "held clicks"
PROMPTS = ("clicks", HELD)
MEASURED = tuple(
    [f"{name}_{k}" for k in interactive.SHOWN for name in ("miou", "landslide_iou", "image_iou")]
    + [f"{name}_{round(100 * t)}" for t in interactive.TARGETS for name in ("noc", "failures")]
)
COLUMNS = (
    *("data", "model", "trained_clicks", "prompt", "part", "seed", "status", "train_images"),
    *("images", *MEASURED, "val_miou", "val_landslide_iou", "best_epoch", "epochs", "seconds"),
    *("image_size", "backbone", "recipe", "data_version", "data_source", "train_ids", "val_ids"),
    *("image_ids", "commit", "version", "torch", "device", "finished"),
)
"""miou_3: after three clicks on each image, over the pixels of all; image_iou_3: the mean over the
images. noc_80: clicks until an image's IoU is 0.80, at most 20; failures_80: images that are below
it after 20. seconds, val_...: of the training, in the row that came first."""


@dataclass
class Trained:
    """A design trained with so many rounds of clicks in a step, and then corrected."""

    name: str
    design: Design
    sam: Any
    data: Splits
    seed: int
    recipe: tl.Recipe
    prompt: str
    part: str
    models: Path
    about: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        self.recipe = replace(self.recipe, seed=self.seed)
        self.about = _about(self.sam, self.data, self.seed, self.part) | {
            "model": self.name,
            "trained_clicks": self.recipe.clicks,
            "prompt": self.prompt,
            "recipe": json.dumps(settings(self.recipe)),
        }

    def __str__(self) -> str:
        return f"{self.name}, trained with {self.recipe.clicks} clicks, seed {self.seed}"

    @property
    def file(self) -> Path:
        """Of the trained model: both kinds of clicks need it."""
        name = f"{self.name}-{self.recipe.clicks}-{self.seed}.safetensors"
        return self.models / name

    def run(self, own: Path, shared: Path) -> dict[str, Any]:
        train, val, _ = self.data.parts(self.seed, 0)
        row = {
            "train_images": len(train),
            "train_ids": describe_ids(train.ids),
            "val_ids": describe_ids(val.ids),
            "epochs": self.recipe.epochs,
        }
        if self.file.is_file():
            model = tl.TransLandSeg.load(self.file, sam=self.sam)
            if model.run["recipe"] != self.recipe.as_dict():
                raise ValueError(f"{self.file} was trained with {model.run['recipe']}; move it")
        else:
            model = tl.TransLandSeg(self.sam, self.design.config, seed=self.seed, prompts=True)
            try:
                done = tl.fit(model, train, val, self.recipe, own, progress=False)
            except FloatingPointError as error:
                return row | {"status": " ".join(f"diverged: {error}".split())}
            self.models.mkdir(parents=True, exist_ok=True)
            model.save(self.file)
            best = done.history.loc[done.history.epoch == done.best_epoch].iloc[0]
            row |= {f"val_{name}": f"{getattr(best, name):.6f}" for name in SCORES[:2]}
            row |= {"best_epoch": done.best_epoch, "seconds": f"{done.history.seconds.sum():.1f}"}
        start = partial(Correction, model, hold=self.prompt == HELD)
        return row | _clicked(start, _part(self.data, self.seed, self.part))


@dataclass
class Zero:
    """SAM itself with the same clicks, or with a box around each landslide."""

    sam: Any
    data: Splits
    prompt: str
    part: str
    about: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        self.about = _about(self.sam, self.data, 0, self.part) | {
            "model": self.sam.variant,
            "trained_clicks": 0,
            "prompt": self.prompt,
            "recipe": "{}",
        }

    def __str__(self) -> str:
        return f"{self.sam.variant}, {self.prompt}"

    def run(self, own: Path, shared: Path) -> dict[str, Any]:
        images = _part(self.data, 0, self.part)
        if self.prompt != "boxes":
            hold = self.prompt == HELD
            return _clicked(partial(interactive.PromptedSam, self.sam, hold=hold), images)
        samples = [images[i] for i in range(len(images))]
        row = score_columns((interactive.boxed_mask(self.sam, s), s["mask"][0]) for s in samples)
        return _images(images) | {
            "miou_1": row["test_miou"],
            "landslide_iou_1": row["test_landslide_iou"],
        }


def _part(data: Splits, seed: int, part: str):
    return data.parts(seed, 0)[("train", "val", "test").index(part)]


def _about(sam, data: Splits, seed: int, part: str) -> dict[str, Any]:
    about = {k: v for k, v in about_data(data, seed, 0).items() if k not in ("fold", "folds")}
    about |= {"part": part, "image_size": sam.image_encoder.img_size}
    return about | {"backbone": sam.origin["fingerprint"]}


def _images(images) -> dict[str, Any]:
    return {"status": "done", "images": len(images), "image_ids": describe_ids(images.ids)}


def _clicked(start, images) -> dict[str, Any]:
    return interactive.click_through(start, images).row() | _images(images)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--designs", nargs="+", default=["TransLandSeg"], help="groups or names")
    parser.add_argument("--clicks", nargs="+", type=int, default=[2, 0], help="rounds in a step")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--data", default="bijie-blocks")
    parser.add_argument("--part", choices=("val", "test"), default="test", help="what is clicked")
    parser.add_argument("--models", type=Path, help="folder for the trained models")
    parser.add_argument("--kept", action="store_true", help="only models that are trained already")
    add_options(parser, OUT, precision="no", image_size=256)
    return parser.parse_args()


def main() -> None:
    chosen = options()
    (data,) = named_data(chosen.data, chosen.val, chosen.root)
    recipe = changed(tl.Recipe.laptop(len(data.parts(0, 0)[0])), chosen)
    sam = tl.load_sam("sam_mini", image_size=chosen.image_size)
    designs = named_designs(chosen.designs)
    models = chosen.models or chosen.out.with_name(f"{chosen.out.name}.models")
    zero = [Zero(sam, data, how, chosen.part) for how in (*PROMPTS, "boxes")]
    trained = [
        Trained(name, design, sam, data, seed, replace(recipe, clicks=clicks), prompt, *where)
        for where in [(chosen.part, models)]
        for seed in chosen.seeds
        for clicks in chosen.clicks
        for name, design in designs.items()
        for prompt in PROMPTS
    ]
    if chosen.kept:
        trained = [job for job in trained if job.file.is_file()]
    jobs: list[Zero | Trained] = [*zero, *trained]
    rows = Rows(chosen.out, COLUMNS, KEY)
    run_jobs(jobs, rows, minutes=chosen.minutes)
    shown = ["model", "trained_clicks", "prompt", "seed", *MEASURED]
    print(rows.frame()[shown].T.to_string())


if __name__ == "__main__":
    main()
