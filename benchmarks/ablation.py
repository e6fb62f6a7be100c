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

OUT = Path(__file__).resolve().parent.parent / "book" / "results" / "ablation.csv"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--designs", nargs="+", default=["all"], help="groups or names")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--data", nargs="+", default=["synthetic", "real"])
    parser.add_argument("--recipe", default="laptop")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--minutes", type=float, help="start no further run after this time")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    recipe = tl.recipes.named_recipe(options.recipe)
    if options.epochs:
        recipe = replace(recipe, epochs=options.epochs)
    frame = tl.ablation.run(
        options.designs, options.seeds, options.data, recipe, options.out, minutes=options.minutes
    )
    print(tl.ablation.summary(frame).to_string(index=False, float_format="{:.4f}".format))
    print(tl.ablation.findings(frame).to_string(index=False, float_format="{:.4f}".format))


if __name__ == "__main__":
    main()
