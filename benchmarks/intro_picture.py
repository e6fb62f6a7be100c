"""The picture at the top of the book: synthetic scenes, `sam_mini`, zero-shot, and TransLandSeg.

Usage: python benchmarks/intro_picture.py [--epochs 20]. Writes book/_static/result.png. Only
generated scenes are shown, because the real samples may not be passed on with this project.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch

import tlseg_lite as tl

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--train", type=int, default=80, help="number of training scenes")
    options = parser.parse_args()
    sam = tl.load_sam("sam_mini")
    model = tl.TransLandSeg(sam, tl.DESIGNS["TransLandSeg"])
    train = tl.data.SyntheticLandslides(options.train, seed=0)
    val = tl.data.SyntheticLandslides(16, seed=1)
    recipe = replace(tl.Recipe.laptop(), epochs=options.epochs)
    with tempfile.TemporaryDirectory() as folder:
        run = tl.fit(model, train, val, recipe, out=folder)
    print(f"validation MIoU {run.best_miou:.3f} in epoch {run.best_epoch}")
    test = tl.data.SyntheticLandslides(40, seed=2)
    shown = [i for i in range(len(test)) if test[i]["mask"].mean() > 0.04][:5]  # the first ones
    figure, axes = plt.subplots(3, len(shown), figsize=(10, 6.2), layout="constrained")
    for column, index in enumerate(shown):
        sample = test[index]
        x, y = centre(sample["mask"][0])
        clicked = tl.zero_shot.segment(sam, sample["image"], points=[(x, y)])
        best = clicked.masks[int(torch.as_tensor(clicked.scores).argmax())]
        predicted = (tl.predict(model, sample["image"])[0] > 0).float()
        tl.plots.overlay(axes[0, column], sample, title="")
        tl.plots.overlay(axes[1, column], sample, torch.as_tensor(best).float(), title="")
        axes[1, column].plot([x], [y], marker="*", color="white", markeredgecolor="black", ms=9)
        tl.plots.overlay(axes[2, column], sample, predicted, title="")
    names = ("scene and landslide", "sam_mini, zero-shot: one click", "adapted: TransLandSeg")
    for ax, name in zip(axes[:, 0], names, strict=True):
        ax.text(-0.06, 0.5, name, rotation=90, va="center", ha="right", transform=ax.transAxes)
    figure.get_layout_engine().set(rect=(0, 0.05, 1, 0.95))
    tl.plots.legend(figure)
    figure.savefig(ROOT / "book" / "_static" / "result.png", dpi=110)


def centre(mask: torch.Tensor) -> tuple[int, int]:
    """The landslide pixel (x, y) that lies deepest inside."""
    from scipy.ndimage import distance_transform_edt

    depth = torch.as_tensor(distance_transform_edt(mask.numpy()))
    y, x = divmod(int(depth.argmax()), mask.shape[1])
    return x, y


if __name__ == "__main__":
    main()
