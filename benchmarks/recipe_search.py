"""Which recipe uses hundreds of real images? Trials on the validation part of Bijie alone.

    TLSEG_REAL=PATH python benchmarks/recipe_search.py                # all trials, hours
    TLSEG_REAL=PATH python benchmarks/recipe_search.py --minutes 30   # as many as fit; call again
    TLSEG_REAL=PATH python benchmarks/recipe_search.py --only rate-2e-3

The images of ``TLSEG_REAL/Bijie-landslide-dataset`` are divided once by blocks of five neighbouring
numbers; a trial trains on the first part and is scored on the second. The third is not read.
Finished trials are rows of book/results/recipe_search.csv and are not run again; an interrupted one
goes on after its last epoch.
"""

import argparse
import json
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import tlseg_lite as tl
from tlseg_lite.core.provenance import provenance
from tlseg_lite.data.splits import split_by_blocks
from tlseg_lite.experiments.results import Rows
from tlseg_lite.experiments.splits import InMemory, SyntheticSplits, describe_ids, digest

OUT = Path(__file__).resolve().parent.parent / "book" / "results" / "recipe_search.csv"

BASE = tl.Recipe(epochs=30, precision="bf16", cache="memory")
"""What a trial changes; bfloat16 needs a processor that has it."""

TRIALS = {
    # name: (model, image size, changes of BASE)
    "laptop": ("TransLandSeg", 256, {}),
    "rate-1e-3": ("TransLandSeg", 256, {"learning_rate": 1e-3}),
    "rate-2e-3": ("TransLandSeg", 256, {"learning_rate": 2e-3}),
    "rate-4e-3": ("TransLandSeg", 256, {"learning_rate": 4e-3}),
    # the best middle layers on validation at 128 px, five seeds (ablation_real.csv)
    "rate-2e-3-middle-1": ("TransLandSeg-1", 256, {"learning_rate": 2e-3}),
    "rate-2e-3-batch-8": ("TransLandSeg", 256, {"learning_rate": 2e-3, "batch_size": 8}),
    "rate-2e-3-float32": ("TransLandSeg", 256, {"learning_rate": 2e-3, "precision": "no"}),
    "rate-2e-3-60-epochs": ("TransLandSeg", 256, {"learning_rate": 2e-3, "epochs": 60}),
    "rate-2e-3-384px": ("TransLandSeg", 384, {"learning_rate": 2e-3}),
    "rate-2e-3-no-decay": ("TransLandSeg", 256, {"learning_rate": 2e-3, "weight_decay": 0.0}),
    "rate-2e-3-turns": ("TransLandSeg", 256, {"learning_rate": 2e-3, "augment": "turns"}),
    "rate-2e-3-no-augment": ("TransLandSeg", 256, {"learning_rate": 2e-3, "augment": False}),
    "rate-2e-3-seed-1": ("TransLandSeg", 256, {"learning_rate": 2e-3, "seed": 1}),
    "unet": ("unet", 256, {}),
    "unet-rate-1e-3": ("unet", 256, {"learning_rate": 1e-3}),
    "unet-rate-2e-3": ("unet", 256, {"learning_rate": 2e-3}),
    "unet-rate-2e-4": ("unet", 256, {"learning_rate": 2e-4}),
    "unet-rate-1e-3-batch-8": ("unet", 256, {"learning_rate": 1e-3, "batch_size": 8}),
    "unet-rate-1e-3-60-epochs": ("unet", 256, {"learning_rate": 1e-3, "epochs": 60}),
    "unet-rate-1e-3-384px": ("unet", 384, {"learning_rate": 1e-3}),
    # a fifth of the epochs, with a cosine of their own: to be compared with each other only
    "short-rate-2e-3": ("TransLandSeg", 256, {"learning_rate": 2e-3, "epochs": 6}),
    "short-rate-2e-3-float32": (
        "TransLandSeg",
        256,
        {"learning_rate": 2e-3, "epochs": 6, "precision": "no"},
    ),
    "short-rate-4e-3": ("TransLandSeg", 256, {"learning_rate": 4e-3, "epochs": 6}),
    "short-rate-2e-3-no-augment": (
        "TransLandSeg",
        256,
        {"learning_rate": 2e-3, "epochs": 6, "augment": False},
    ),
    "short-rate-2e-3-turns": (
        "TransLandSeg",
        256,
        {"learning_rate": 2e-3, "epochs": 6, "augment": "turns"},
    ),
    "short-rate-2e-3-batch-8": (
        "TransLandSeg",
        256,
        {"learning_rate": 2e-3, "epochs": 6, "batch_size": 8},
    ),
    "short-unet-batch-8": ("unet", 256, {"epochs": 6, "batch_size": 8}),
    "short-unet-turns": ("unet", 256, {"epochs": 6, "augment": "turns"}),
    "short-unet-no-augment": ("unet", 256, {"epochs": 6, "augment": False}),
    "short-unet-rate-1e-3": ("unet", 256, {"learning_rate": 1e-3, "epochs": 6}),
    "short-unet-rate-2e-3": ("unet", 256, {"learning_rate": 2e-3, "epochs": 6}),
    "short-unet": ("unet", 256, {"epochs": 6}),
    # the average of the weights over about the last hundred steps, one epoch
    "ema": ("TransLandSeg", 256, {"learning_rate": 2e-3, "ema": 0.99}),
    "ema-384px": ("TransLandSeg", 384, {"learning_rate": 2e-3, "ema": 0.99}),
    "scenes-ema": ("TransLandSeg", 256, {"learning_rate": 2e-3, "ema": 0.99}),
    "scenes-ema-lower-rate": ("TransLandSeg", 256, {"learning_rate": 1e-3, "ema": 0.99}),
    "short-ema": ("TransLandSeg", 256, {"learning_rate": 2e-3, "epochs": 6, "ema": 0.99}),
    "short-unet-ema": ("unet", 256, {"epochs": 6, "ema": 0.99}),
}

SCENES, SCENE_EPOCHS = 1000, 4
"""Of trials whose name begins with "scenes": generated scenes that are learned first, with the
trial's other settings. Their time counts in the trial's seconds."""

COLUMNS = (
    *("trial", "model", "image_size", "recipe", "status", "val_miou", "val_landslide_iou"),
    *("val_miou_8_views", "best_epoch", "epochs", "train_images", "val_images", "seconds"),
    *("data_version", "backbone", "train_ids", "val_ids"),
    *("commit", "version", "torch", "device", "finished"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", choices=TRIALS, help="these trials")
    parser.add_argument("--minutes", type=float, help="start no further trial after this time")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    if not os.environ.get("TLSEG_REAL"):
        parser.error("TLSEG_REAL names no folder with Bijie-landslide-dataset in it")
    data = tl.data.Bijie(Path(os.environ["TLSEG_REAL"]) / "Bijie-landslide-dataset")
    train, val, _ = split_by_blocks(data)
    val = InMemory(val)
    version = digest(train.ids, val.ids, train[0])
    rows = Rows(options.out, COLUMNS, key=("trial", "data_version"))
    began = time.monotonic()
    provenance()  # notes the commit that runs, before another one is made
    for name in options.only or TRIALS:
        if (name, version) in {rows.key(row) for row in rows.read()}:
            continue
        if options.minutes is not None and time.monotonic() - began > 60 * options.minutes:
            return
        row = run(name, train, val, options.out.with_name(f"{options.out.name}.runs") / name)
        rows.append(dict.fromkeys(COLUMNS, "") | row | {"data_version": version} | provenance())
        print(f"{name}: {row['val_miou']} ({row['status']})", flush=True)


def run(name: str, train, val, folder: Path) -> dict:
    """One trial: a row without its provenance."""
    kind, size, changes = TRIALS[name]
    recipe, backbone = replace(BASE, **changes), ""
    if kind in tl.DESIGNS:
        sam = tl.load_sam("sam_mini", image_size=size)
        model = tl.TransLandSeg(sam, tl.DESIGNS[kind], seed=recipe.seed)
        backbone = sam.origin["fingerprint"]
    else:
        model = tl.build_baseline(kind, image_size=size, seed=recipe.seed)
    row = {
        "trial": name,
        "model": kind,
        "image_size": size,
        "recipe": json.dumps(recipe.as_dict()),
        "epochs": recipe.epochs,
        "train_images": len(train),
        "val_images": len(val),
        "train_ids": describe_ids(train.ids),
        "val_ids": describe_ids(val.ids),
        "backbone": backbone,
    }
    before = 0.0
    try:
        if name.startswith("scenes"):
            before = learn_scenes(model, recipe, folder.with_name(f"{name}-first"))
        done = tl.fit(model, train, val, recipe, folder, progress=False)
    except FloatingPointError as error:
        return row | {"status": " ".join(f"diverged: {error}".split())}
    best = done.history.loc[done.history.epoch == done.best_epoch].iloc[0]
    views = tl.evaluate(model, val, views=8)
    for left in (folder, folder.with_name(f"{name}-first")):
        shutil.rmtree(left, ignore_errors=True)
    return row | {
        "status": "done",
        "val_miou": f"{best.miou:.6f}",
        "val_landslide_iou": f"{best.landslide_iou:.6f}",
        "val_miou_8_views": f"{views.miou:.6f}",
        "best_epoch": done.best_epoch,
        "seconds": f"{before + done.history.seconds.sum():.1f}",
    }


def learn_scenes(model, recipe: tl.Recipe, folder: Path) -> float:
    """Train on generated scenes; the seconds that it took."""
    scenes = SyntheticSplits(SCENES, 40, 1, size=None)
    parts = scenes.parts(recipe.seed, 0)[:2]
    done = tl.fit(model, *parts, replace(recipe, epochs=SCENE_EPOCHS), folder, progress=False)
    return float(done.history.seconds.sum())


if __name__ == "__main__":
    main()
