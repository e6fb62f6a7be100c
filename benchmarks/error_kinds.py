"""What kinds of errors models make on real test images: fills book/results/error_kinds.csv.

    TLSEG_REAL=PATH python benchmarks/error_kinds.py
    TLSEG_REAL=PATH python benchmarks/error_kinds.py --sheets FOLDER   # pictures to look at

Each model is trained as in benchmarks/comparison.py (Bijie divided by blocks, 128 px) and answers
for every test image. A row is an image: its landslide IoU, and where its wrong pixels are. They
are counted by rule (`tlseg_lite.experiments.error_kinds`); what the worst and the best ten images
show is judged by eye and typed into book/results/error_notes.csv. The sheets are for that; no
picture of a real image is kept.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from comparison import NETWORK_RATE, add_options, changed

import tlseg_lite as tl
from tlseg_lite.core.provenance import provenance
from tlseg_lite.experiments import comparison
from tlseg_lite.experiments.error_kinds import KINDS, error_kinds
from tlseg_lite.experiments.results import Rows
from tlseg_lite.experiments.splits import named_data
from tlseg_lite.training.evaluation import answers

OUT = Path(__file__).resolve().parent.parent / "book" / "results" / "error_kinds.csv"

KEY = ("data", "data_version", "model", "seed", "image_size", "image")
COLUMNS = (
    *("data", "model", "seed", "image", "height", "width", "landslide_iou", "landslide_pixels"),
    *(*KINDS, "image_size", "data_version", "commit", "version", "torch", "device", "finished"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", default=["TransLandSeg", "decoder-only", "unet"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sheets", type=Path, help="folder for pictures of best and worst images")
    parser.add_argument("--runs", type=Path, default=OUT.with_name(f"{OUT.name}.runs"))
    add_options(parser, OUT, precision="no", image_size=128, epochs=15)
    chosen = parser.parse_args()
    (data,) = named_data("bijie-blocks", root=chosen.root)
    train, val, test = data.parts(chosen.seed, 0)
    sam = tl.load_sam("sam_mini", image_size=chosen.image_size)
    rows = Rows(chosen.out, COLUMNS, KEY)
    done = {rows.key(row) for row in rows.read()}
    for name, one in comparison.models(chosen.models, sam=sam, network_rate=NETWORK_RATE).items():
        recipe = changed(tl.Recipe.laptop(len(train)), chosen)
        rate = recipe.learning_rate * one.rate
        recipe = replace(recipe, learning_rate=rate, seed=chosen.seed)
        model = one.build(chosen.seed)
        tl.fit(model, train, val, recipe, chosen.runs / name, progress=False)
        found = {}
        for index, (sample, logits) in enumerate(answers(model, test)):
            mask, truth = (logits[0] > 0).cpu(), sample["mask"][0] > 0
            kinds = error_kinds(mask, truth)
            found[index] = kinds["landslide_iou"], mask
            row = kinds | {
                "data": data.name,
                "data_version": data.version,
                "model": name,
                "seed": chosen.seed,
                "image_size": chosen.image_size,
                "image": sample["id"],
                "height": mask.shape[0],
                "width": mask.shape[1],
            }
            if rows.key(row) not in done:
                rows.append(row | provenance())
        if chosen.sheets:
            draw(test, found, chosen.sheets / name)


def draw(test, found, stem: Path) -> None:
    """The ten best and the ten worst images with outlines of label and answer."""
    import matplotlib.pyplot as plt

    stem.parent.mkdir(parents=True, exist_ok=True)
    order = sorted(found, key=lambda index: found[index][0])
    for word, part in (("worst", order[:10]), ("best", order[-10:])):
        fig, axes = plt.subplots(4, 5, figsize=(20, 16), layout="constrained")
        for place, index in enumerate(part):
            iou, mask = found[index]
            sample = test[index]
            ax = axes[2 * (place // 5), place % 5]
            ax.imshow(sample["image"].permute(1, 2, 0))
            ax.set_title(sample["id"])
            tl.plots.overlay(
                axes[2 * (place // 5) + 1, place % 5], sample, mask.float(), f"IoU {iou:.2f}"
            )
        for ax in axes.flat:
            ax.set_axis_off()
        fig.savefig(stem.with_name(f"{stem.name}-{word}.png"), dpi=60)
        plt.close(fig)


if __name__ == "__main__":
    main()
