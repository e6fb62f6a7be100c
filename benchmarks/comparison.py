"""All models under one protocol: fills book/results/comparison.csv and comparison.npz.

    python benchmarks/comparison.py                         # everything: many hours on two cores
    python benchmarks/comparison.py --minutes 30            # as much as fits; call again to go on
    python benchmarks/comparison.py --models TransLandSeg unet --training-data real --seeds 0 1 2
    python benchmarks/comparison.py --data bijie --test-root PATH   # test on one's own full Bijie
    python benchmarks/comparison.py --data scenes           # learned from scenes, tested on others
    python benchmarks/comparison.py --data few-scenes --epochs 10 --keep best  # from 48 of them
    python benchmarks/comparison.py --data bijie-blocks --root PATH   # hundreds: the full set
    python benchmarks/comparison.py --data bijie-blocks --training-data real-5 real-20 real-80

Real images are the 20 + 20 samples, by five-fold cross-validation, or with ``--test-root`` all of
them for training and the rest of the full dataset for test. It may be stopped and started at any
time: finished rows are kept and not done again.
"""

import argparse
import math
import time
from dataclasses import replace
from pathlib import Path

import tlseg_lite as tl
from tlseg_lite.experiments import comparison
from tlseg_lite.experiments.measures import measures_for
from tlseg_lite.experiments.run import real_images
from tlseg_lite.experiments.splits import (
    BLOCKS,
    FoldSplits,
    Splits,
    SyntheticSplits,
    named_data,
)
from tlseg_lite.training.recipe import AUGMENTATIONS

OUT = Path(__file__).resolve().parent.parent / "book" / "results" / "comparison.csv"

DATA = {
    "bijie": None,
    "landslide4sense": None,
    "scenes": "synthetic",
    "few-scenes": "real",
    **dict.fromkeys(BLOCKS),
}
"""What is tested on, and for synthetic scenes what is trained on: scenes as in the other rows, or
the few that come with the test."""


NETWORK_RATE = 0.25
"""Factor on the learning rate of the recipe for hundreds, for the networks from scratch: on Bijie's
validation images UNet is best at 5e-4 and TransLandSeg at 2e-3 (book/results/recipe_search.csv)."""


CURVE_STEPS, CHOOSING = 300, 80
"""With ``real-N`` of a full set: at least so many steps, however few the images are; and from so
many images on, validation chooses the epoch, below it the last one is kept."""


def add_options(parser: argparse.ArgumentParser, out: Path, **defaults) -> None:
    """The options that this program shares with the ablation's."""
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--keep", choices=tl.recipes.KEPT, help="which epoch's weights are tested")
    parser.add_argument("--val", type=float, help="share of the real images that validates")
    parser.add_argument("--root", type=Path, help="of blocks: the full set (else TLSEG_REAL)")
    parser.add_argument("--precision", help="bf16 where the processor knows it")
    parser.add_argument(
        "--augment",
        choices=AUGMENTATIONS,
        default="all",
        help="changes of training images; all, as in most recorded rows",
    )
    parser.add_argument("--image-size", type=int, help="side of SAM's input instead of its own")
    parser.add_argument("--minutes", type=float, help="start no further run after this time")
    parser.add_argument("--out", type=Path, default=out)
    parser.set_defaults(**defaults)


def record(chosen: argparse.Namespace) -> Path:
    """The CSV file: hundreds of real images have one of their own, ``..._real.csv``."""
    if chosen.out in (OUT, OUT.with_name("ablation.csv")) and set(chosen.data) <= set(BLOCKS):
        return chosen.out.with_stem(f"{chosen.out.stem}_real")
    return chosen.out


def changed(recipe: tl.Recipe, chosen: argparse.Namespace) -> tl.Recipe:
    """The recipe with what the options say."""
    names = ("epochs", "learning_rate", "keep", "precision")
    given = {name: getattr(chosen, name) for name in names if getattr(chosen, name) is not None}
    return replace(recipe, augment=AUGMENTATIONS[chosen.augment], **given)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", help="names; else all")
    parser.add_argument(
        "--training-data",
        nargs="+",
        default=list(comparison.TRAINING_DATA),
        help="or real-5, synthetic+real-5, ...",
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--data", nargs="+", default=["bijie", "landslide4sense"], choices=DATA)
    parser.add_argument("--test-root", type=Path, help="folder of the full dataset: its test part")
    parser.add_argument("--scenes", type=int, default=1500, help="synthetic scenes for training")
    parser.add_argument("--test-scenes", type=int, default=200, help="with scenes and few-scenes")
    parser.add_argument("--scene-epochs", type=int, default=4)
    parser.add_argument("--scene-rate", type=float, default=1.5e-3, help="learning rate on them")
    add_options(parser, OUT, val=0.1, precision="no", image_size=256)
    return parser.parse_args()


def recipe_for(data: Splits, chosen: argparse.Namespace, training_data: str) -> tl.Recipe:
    """The laptop's: for a few images (20 epochs, the last one is kept), or for hundreds.

    With ``real-N`` of a full set it is the one for N images, after scenes, too.
    """
    few = real_images(training_data) if data.name in BLOCKS else None
    recipe = tl.Recipe.laptop(few or len(data.parts(0, 0)[0]))
    if data.name not in BLOCKS:
        recipe = replace(recipe, epochs=20, keep="last")
    recipe = changed(recipe, chosen)
    if few:
        enough = math.ceil(CURVE_STEPS / math.ceil(few / recipe.batch_size))
        keep = recipe.keep if few >= CHOOSING else "last"
        recipe = replace(recipe, epochs=max(recipe.epochs, enough), keep=keep)
    return recipe


def main() -> None:
    chosen = options()
    chosen.out = record(chosen)
    first = replace(tl.Recipe.laptop(), precision=chosen.precision)
    first = replace(first, epochs=chosen.scene_epochs, learning_rate=chosen.scene_rate)
    sam = tl.load_sam("sam_mini", image_size=chosen.image_size)
    began = time.monotonic()
    for name in chosen.data:
        data, only = images(name, chosen), DATA[name]
        if chosen.models is None and only is None:
            comparison.prompted(sam, data, chosen.out)
        style = "landslide4sense" if name.startswith("landslide4sense") else "bijie"
        for each in [only] if only else chosen.training_data:
            recipe = recipe_for(data, chosen, each)
            hundreds = recipe.learning_rate > tl.Recipe.laptop().learning_rate
            rate = NETWORK_RATE if name in BLOCKS and hundreds else 1.0
            on_scenes = NETWORK_RATE if name in BLOCKS else None  # of few images, too
            frame = comparison.run(
                comparison.models(
                    chosen.models, sam=sam, network_rate=rate, network_scenes_rate=on_scenes
                ),
                [each],
                chosen.seeds,
                data,
                chosen.out,
                recipe=recipe,
                first=first,
                scenes=SyntheticSplits(chosen.scenes, 40, 1, size=None, style=style),
                image_size=chosen.image_size,
                minutes=None if chosen.minutes is None else chosen.minutes - minutes_since(began),
                masks=None if only or name in BLOCKS else chosen.out.with_suffix(".npz"),
                measures=measures_for(name) if name in BLOCKS else (),
            )
    print(comparison.summary(frame).to_string(index=False, float_format="{:.4f}".format))


def minutes_since(began: float) -> float:
    """Of the monotonic clock."""
    return (time.monotonic() - began) / 60


def images(name: str, chosen: argparse.Namespace) -> Splits:
    """The real samples by folds, or all of them and the rest of the full dataset; or scenes."""
    if name in BLOCKS:
        return named_data(name, root=chosen.root)[0]
    if name == "few-scenes":
        return SyntheticSplits(48, 16, chosen.test_scenes, size=None)
    if name == "scenes":
        data = SyntheticSplits(1, 1, chosen.test_scenes, size=None)  # only the last count
        data.source = f"{chosen.test_scenes} other synthetic scenes, drawn anew for each seed"
        return data
    real = tl.data.samples(name)
    if chosen.test_root is None:
        return FoldSplits(real, f"{name}-samples", val=chosen.val)
    full = {"bijie": tl.data.Bijie, "landslide4sense": tl.data.Landslide4Sense}[name]
    return comparison.Holdout(real, full(chosen.test_root), f"{name}-full", val=chosen.val)


if __name__ == "__main__":
    main()
