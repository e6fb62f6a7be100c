"""The recorded ablation behind chapter 4: fills book/results/ablation.csv.

    python benchmarks/ablation.py                    # the whole grid: many hours on two cores
    python benchmarks/ablation.py --minutes 20       # as much as fits; call again to go on
    python benchmarks/ablation.py --designs table4 --seeds 3 --data synthetic --epochs 10

It may be stopped and started at any time: finished rows are kept and not done again.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import tlseg_lite as tl
from tlseg_lite.experiments.splits import SyntheticSplits

OUT = Path(__file__).resolve().parent.parent / "book" / "results" / "ablation.csv"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--designs", nargs="+", default=["all"], help="groups or names")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--data", nargs="+", default=["synthetic", "real"])
    parser.add_argument("--recipe", default="laptop")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--keep", choices=tl.recipes.KEPT, help="which epoch's weights are tested")
    parser.add_argument("--val", type=float, help="share of the real images that validates")
    parser.add_argument("--precision", help="bf16 where the processor knows it")
    parser.add_argument("--image-size", type=int, help="side of SAM's input instead of its own")
    parser.add_argument(
        "--images", type=int, nargs=3, metavar=("TRAIN", "VAL", "TEST"), help="synthetic scenes"
    )
    parser.add_argument("--minutes", type=float, help="start no further run after this time")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    recipe = tl.recipes.named_recipe(options.recipe)
    for name in ("epochs", "learning_rate", "keep", "precision"):
        if getattr(options, name):
            recipe = replace(recipe, **{name: getattr(options, name)})
    sam = tl.load_sam(recipe.sam, image_size=options.image_size)
    data = [s for name in options.data for s in tl.ablation.named_data(name, options.val)]
    if options.images:
        own = SyntheticSplits(*options.images, size=sam.image_encoder.img_size)
        data = [own if isinstance(s, SyntheticSplits) else s for s in data]
    frame = tl.ablation.run(
        options.designs,
        options.seeds,
        data,
        recipe,
        options.out,
        sam=sam,
        minutes=options.minutes,
    )
    print(tl.ablation.summary(frame).to_string(index=False, float_format="{:.4f}".format))
    print(tl.ablation.findings(frame).to_string(index=False, float_format="{:.4f}".format))


if __name__ == "__main__":
    main()
