"""The recorded ablation behind chapter 4: fills book/results/ablation.csv.

    python benchmarks/ablation.py                    # the whole grid: many hours on two cores
    python benchmarks/ablation.py --minutes 20       # as much as fits; call again to go on
    python benchmarks/ablation.py --designs table4 --seeds 3 --data synthetic --epochs 10

It may be stopped and started at any time: finished rows are kept and not done again.
"""

import argparse
from pathlib import Path

from comparison import add_options, changed

import tlseg_lite as tl
from tlseg_lite.experiments.splits import SyntheticSplits

OUT = Path(__file__).resolve().parent.parent / "book" / "results" / "ablation.csv"


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--designs", nargs="+", default=["all"], help="groups or names")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--data", nargs="+", default=["synthetic", "real"])
    parser.add_argument("--recipe", default="laptop")
    parser.add_argument(
        "--images", type=int, nargs=3, metavar=("TRAIN", "VAL", "TEST"), help="synthetic scenes"
    )
    add_options(parser, OUT)
    return parser.parse_args()


def main() -> None:
    chosen = options()
    recipe = changed(tl.recipes.named_recipe(chosen.recipe), chosen)
    sam = tl.load_sam(recipe.sam, image_size=chosen.image_size)
    data = [s for name in chosen.data for s in tl.ablation.named_data(name, chosen.val)]
    if chosen.images:
        own = SyntheticSplits(*chosen.images, size=sam.image_encoder.img_size)
        data = [own if isinstance(s, SyntheticSplits) else s for s in data]
    grid = (chosen.designs, chosen.seeds, data, recipe, chosen.out)
    frame = tl.ablation.run(*grid, sam=sam, minutes=chosen.minutes)
    print(tl.ablation.summary(frame).to_string(index=False, float_format="{:.4f}".format))
    print(tl.ablation.findings(frame).to_string(index=False, float_format="{:.4f}".format))


if __name__ == "__main__":
    main()
