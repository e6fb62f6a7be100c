"""The recorded ablation behind chapter 4: fills book/results/ablation.csv.

    python benchmarks/ablation.py                    # the whole grid: many hours on two cores
    python benchmarks/ablation.py --minutes 20       # as much as fits; call again to go on
    python benchmarks/ablation.py --designs table4 --seeds 0 1 2 --data synthetic --epochs 10
    python benchmarks/ablation.py --data bijie-blocks --root PATH --image-size 128  # a full copy

It may be stopped and started at any time: finished rows are kept and not done again.
"""

import argparse
from pathlib import Path

from comparison import add_options, changed, record

import tlseg_lite as tl
from tlseg_lite.experiments.measures import measures_for
from tlseg_lite.experiments.splits import BLOCKS, SyntheticSplits

OUT = Path(__file__).resolve().parent.parent / "book" / "results" / "ablation.csv"


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--designs", nargs="+", default=["all"], help="groups or names")
    parser.add_argument("--seeds", type=int, nargs="+", default=[*range(5)])
    parser.add_argument("--data", nargs="+", default=["synthetic", "real"])
    parser.add_argument("--recipe", default="laptop")
    parser.add_argument(
        "--images", type=int, nargs=3, metavar=("TRAIN", "VAL", "TEST"), help="synthetic scenes"
    )
    add_options(parser, OUT)
    return parser.parse_args()


def main() -> None:
    chosen = options()
    chosen.out = record(chosen)
    root = chosen.root
    data = [s for name in chosen.data for s in tl.ablation.named_data(name, chosen.val, root)]
    images = min(len(splits.parts(0, 0)[0]) for splits in data)
    recipe = changed(tl.recipes.named_recipe(chosen.recipe, images), chosen)
    sam = tl.load_sam(recipe.sam, image_size=chosen.image_size)
    if chosen.images:
        own = SyntheticSplits(*chosen.images, size=sam.image_encoder.img_size)
        data = [own if isinstance(s, SyntheticSplits) else s for s in data]
    grid = (chosen.designs, chosen.seeds, data, recipe, chosen.out)
    measures = measures_for(data[0].name) if set(chosen.data) <= set(BLOCKS) else ()
    frame = tl.ablation.run(*grid, sam=sam, minutes=chosen.minutes, measures=measures)
    print(tl.ablation.summary(frame).to_string(index=False, float_format="{:.4f}".format))
    print(tl.ablation.findings(frame).to_string(index=False, float_format="{:.4f}".format))


if __name__ == "__main__":
    main()
