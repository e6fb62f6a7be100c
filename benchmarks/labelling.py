"""What clicks buy as labels: fills book/results/labelling.csv.

    python benchmarks/labelling.py                  # three seeds
    python benchmarks/labelling.py --minutes 30     # as much as fits; call again to go on

On real images divided by blocks (``--data bijie-blocks``). A model learns from 10 labelled images
and proposes masks for 40 others; a simulated user corrects each with at most k clicks; then a
model learns from all 50. Compared with the 10 alone, with 40 true masks, and with as many more
images, drawn at random, as the clicks would have outlined by hand: a corner of an outline counts
as a click. Every model gets the same number of steps, and the last epoch's weights are tested.
"""

import argparse
import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from comparison import add_options, changed

import tlseg_lite as tl
from tlseg_lite.data.splits import Subset
from tlseg_lite.experiments.labelling import LabelledByClicks, outline_points
from tlseg_lite.experiments.results import Rows
from tlseg_lite.experiments.run import Joined, about_data, run_jobs, settings
from tlseg_lite.experiments.splits import InMemory, describe_ids, named_data

OUT = Path(__file__).resolve().parent.parent / "book" / "results" / "labelling.csv"

KEY = (
    *("data", "data_version", "labels", "clicks", "known", "unlabelled", "seed", "image_size"),
    *("backbone", "recipe", "steps"),
)
COLUMNS = (
    *("data", "labels", "clicks", "seed", "status", "known", "unlabelled", "train_images"),
    *("spent", "label_iou", "outline_points", "test_images", "test_miou", "test_landslide_iou"),
    *("steps", "epochs", "seconds", "image_size", "backbone", "recipe", "data_version"),
    *("data_source", "train_ids", "test_ids", "commit", "version", "torch", "device", "finished"),
)
"""labels: "known" (the first images alone), "clicks" (corrected with at most `clicks`), "true", or
"random" (as many true masks as those clicks would have outlined). spent: clicks on all images;
label_iou: mean IoU of the new masks with the true ones; outline_points: corners of the true
outlines of the unlabelled images, the mean of an image."""

ARMS = (("known", 0), ("clicks", 3), ("true", 0), ("random", 3), ("clicks", 0), ("clicks", 1))


@dataclass
class Labels:
    """One way to come to labels, and what a model learns from them."""

    labels: str
    clicks: int
    sam: Any
    data: Any
    seed: int
    chosen: argparse.Namespace
    about: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        chosen = self.chosen
        self.recipe = replace(changed(tl.Recipe.laptop(), chosen), seed=self.seed, keep="last")
        self.recipe = replace(self.recipe, clicks=chosen.rounds)
        about = about_data(self.data, self.seed, 0)
        self.about = {k: v for k, v in about.items() if k not in ("fold", "folds")} | {
            "labels": self.labels,
            "clicks": self.clicks,
            "known": chosen.known,
            "unlabelled": chosen.unlabelled,
            "image_size": self.sam.image_encoder.img_size,
            "backbone": self.sam.origin["fingerprint"],
            "recipe": json.dumps({k: v for k, v in settings(self.recipe).items() if k != "epochs"}),
            "steps": chosen.steps,
        }

    def __str__(self) -> str:
        return f"{self.labels}, {self.clicks} clicks, seed {self.seed}"

    def run(self, own: Path, shared: Path) -> dict[str, Any]:
        train, val, test = self.data.parts(self.seed, 0)
        n, m = self.chosen.known, self.chosen.unlabelled
        known, others = (InMemory(Subset(train, part)) for part in (range(n), range(n, n + m)))
        points = [outline_points(others[i]["mask"]) for i in range(m)]
        row: dict[str, Any] = {"outline_points": f"{sum(points) / m:.2f}"}
        images = known
        if self.labels == "true":
            images = Joined([known, others])
        elif self.labels != "known":
            first = tl.TransLandSeg.load(self._first(known, val, shared), sam=self.sam)
            proposed = LabelledByClicks(first, others, self.clicks)
            spent = sum(proposed.spent)
            row |= {"spent": spent, "label_iou": f"{sum(proposed.iou) / m:.6f}"}
            if self.labels == "random":
                more = max(1, round(spent / (sum(points) / m)))
                proposed = InMemory(Subset(train, range(n + m, n + m + more)))
            images = Joined([known, proposed])
        if self.labels == "known":
            path = self._first(known, val, shared)
            model = tl.TransLandSeg.load(path, sam=self.sam)
            row |= json.loads(path.with_suffix(".json").read_text())
        else:
            model = self._model()
            row |= self._learn(model, images, val, own)
        scores = tl.evaluate(model, test)
        return row | {
            "status": "done",
            "train_images": len(images),
            "train_ids": describe_ids(images.ids),
            "test_images": len(test),
            "test_ids": describe_ids(test.ids),
            "test_miou": f"{scores.miou:.6f}",
            "test_landslide_iou": f"{scores.landslide_iou:.6f}",
        }

    def _model(self):
        return tl.TransLandSeg(self.sam, tl.DESIGNS["TransLandSeg"], seed=self.seed, prompts=True)

    def _first(self, known, val, shared: Path) -> Path:
        """The model that has learned the known images; all ways begin with it."""
        path = shared / f"known-{self.seed}.safetensors"
        if not path.is_file():
            model = self._model()
            about = self._learn(model, known, val, shared / f"known-{self.seed}")
            path.with_suffix(".json").write_text(json.dumps(about))
            model.save(path)
        return path

    def _learn(self, model, images, val, folder: Path) -> dict[str, Any]:
        epochs = math.ceil(self.chosen.steps / math.ceil(len(images) / self.recipe.batch_size))
        few = Subset(val, range(4))  # the last epoch counts: validation only watches
        recipe = replace(self.recipe, epochs=epochs)
        done = tl.fit(model, images, few, recipe, folder, progress=False)
        return {"epochs": epochs, "seconds": f"{done.history.seconds.sum():.1f}"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--data", default="bijie-blocks")
    parser.add_argument("--known", type=int, default=10, help="labelled images at the beginning")
    parser.add_argument("--unlabelled", type=int, default=40)
    parser.add_argument("--steps", type=int, default=150, help="of every training")
    parser.add_argument("--rounds", type=int, default=2, help="Recipe.clicks of every training")
    add_options(parser, OUT, precision="no", image_size=256)
    chosen = parser.parse_args()
    (data,) = named_data(chosen.data, chosen.val, chosen.root)
    sam = tl.load_sam("sam_mini", image_size=chosen.image_size)
    jobs = [
        Labels(labels, clicks, sam, data, seed, chosen)
        for labels, clicks in ARMS
        for seed in chosen.seeds
    ]
    rows = Rows(chosen.out, COLUMNS, KEY)
    run_jobs(jobs, rows, minutes=chosen.minutes)
    shown = ["labels", "clicks", "seed", "train_images", "spent", "label_iou", "test_landslide_iou"]
    print(rows.frame()[shown].to_string(index=False))


if __name__ == "__main__":
    main()
