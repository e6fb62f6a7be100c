"""All models under one protocol: fills book/results/comparison.csv and comparison.npz.

    python benchmarks/comparison.py                         # everything: many hours on two cores
    python benchmarks/comparison.py --minutes 30            # as much as fits; call again to go on
    python benchmarks/comparison.py --models TransLandSeg unet --diets real --seeds 0 1 2
    python benchmarks/comparison.py --data bijie --test-root PATH   # test on one's own full Bijie
    python benchmarks/comparison.py --data scenes           # learned from scenes, tested on others
    python benchmarks/comparison.py --data few-scenes --epochs 10 --keep best  # from 48 of them

Real images are the 20 + 20 samples, by five-fold cross-validation, or with ``--test-root`` all of
them for training and the rest of the full dataset for test. It may be stopped and started at any
time: finished rows are kept and not done again.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import tlseg_lite as tl
from tlseg_lite.experiments import comparison
from tlseg_lite.experiments.splits import FoldSplits, Splits, SyntheticSplits

OUT = Path(__file__).resolve().parent.parent / "book" / "results" / "comparison.csv"

DATA = {
    "bijie": None,
    "landslide4sense": None,
    "scenes": "synthetic",
    "few-scenes": "real",
}
"""What is tested on, and for generated scenes the one diet: scenes as in the other rows, or the few
that come with the test."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", help="names; else all")
    parser.add_argument("--diets", nargs="+", default=list(comparison.DIETS), help="or real-5, ...")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--data", nargs="+", default=["bijie", "landslide4sense"], choices=DATA)
    parser.add_argument("--test-root", type=Path, help="folder of the full dataset: its test part")
    parser.add_argument("--scenes", type=int, default=1500, help="generated scenes for training")
    parser.add_argument("--test-scenes", type=int, default=200, help="with scenes and few-scenes")
    parser.add_argument("--scene-epochs", type=int, default=4)
    parser.add_argument("--scene-rate", type=float, default=1.5e-3, help="learning rate on them")
    parser.add_argument("--epochs", type=int, default=20, help="on the real images")
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument(
        "--keep", default="last", choices=tl.recipes.KEPT, help="epoch kept on the real images"
    )
    parser.add_argument(
        "--val", type=float, default=0.1, help="share of the real images that validates"
    )
    parser.add_argument("--precision", default="no", help="bf16 where the processor knows it")
    parser.add_argument("--image-size", type=int, default=256)
    parser.add_argument("--minutes", type=float, help="start no further run after this time")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    recipe = replace(tl.Recipe.laptop(), precision=options.precision)
    if options.learning_rate:
        recipe = replace(recipe, learning_rate=options.learning_rate)
    first = replace(recipe, epochs=options.scene_epochs, learning_rate=options.scene_rate)
    recipe = replace(recipe, epochs=options.epochs, keep=options.keep)
    sam = tl.load_sam("sam_mini", image_size=options.image_size)
    models = comparison.contestants(options.models, sam=sam)
    for name in options.data:
        data, diet = images(name, options), DATA[name]
        if options.models is None and diet is None:
            comparison.prompted(sam, data, options.out)
        style = "landslide4sense" if name == "landslide4sense" else "bijie"
        frame = comparison.run(
            models,
            [diet] if diet else options.diets,
            options.seeds,
            data,
            options.out,
            recipe=recipe,
            first=first,
            scenes=SyntheticSplits(options.scenes, 40, 1, size=None, style=style),
            image_size=options.image_size,
            minutes=options.minutes,
            masks=None if diet else options.out.with_suffix(".npz"),
        )
    print(comparison.summary(frame).to_string(index=False, float_format="{:.4f}".format))


def images(name: str, options: argparse.Namespace) -> Splits:
    """The real samples by folds, or all of them and the rest of the full dataset; or scenes."""
    if name == "few-scenes":
        return SyntheticSplits(48, 16, options.test_scenes, size=None)
    if name == "scenes":
        data = SyntheticSplits(1, 1, options.test_scenes, size=None)  # only the last count
        data.source = f"{options.test_scenes} other synthetic scenes, drawn anew for each seed"
        return data
    real = tl.data.samples(name)
    if options.test_root is None:
        return FoldSplits(real, f"{name}-samples", val=options.val)
    full = {"bijie": tl.data.Bijie, "landslide4sense": tl.data.Landslide4Sense}[name]
    return comparison.Holdout(real, full(options.test_root), f"{name}-full", val=options.val)


if __name__ == "__main__":
    main()
