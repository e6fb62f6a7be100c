"""The picture at the top of the book: synthetic scenes, `sam_mini`, zero-shot, and TransLandSeg.

Usage: python benchmarks/intro_picture.py [--model book/try_it.safetensors]. Writes
book/_static/result.png. Only synthetic scenes are shown, because the real samples may not be passed
on with this project; they are of a seed that the model has not been trained on.
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch
from matplotlib.colors import to_rgb

import tlseg_lite as tl

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=ROOT / "book" / "try_it.safetensors")
    options = parser.parse_args()
    sam = tl.load_sam("sam_mini")
    model = tl.TransLandSeg.load(options.model)
    test = tl.data.SyntheticLandslides(40, seed=2)
    shown = [i for i in range(len(test)) if test[i]["mask"].mean() > 0.04][:4]  # the first ones
    figure, axes = plt.subplots(4, len(shown), figsize=(10, 8.6), layout="constrained")
    for column, index in enumerate(shown):
        draw(axes[:, column], test[index], sam, model)
    names = (
        "mapped landslide",
        "sam_mini, zero-shot:\none click",
        "sam_mini, zero-shot:\nautomatic mode",
        "TransLandSeg,\nno prompt",
    )
    for ax, name in zip(axes[:, 0], names, strict=True):
        words = {"rotation": 90, "va": "center", "ha": "center", "fontsize": 11}
        ax.text(-0.14, 0.5, name, transform=ax.transAxes, **words)
    figure.get_layout_engine().set(rect=(0.03, 0, 0.97, 1))
    figure.savefig(ROOT / "book" / "_static" / "result.png", dpi=100)


def draw(axes, sample: dict, sam, model) -> None:
    """A column: the landslide, SAM's answers without training, and the adapted model's."""
    x, y = centre(sample["mask"][0])
    clicked = tl.zero_shot.segment(sam, sample["image"], points=[(x, y)])
    records = tl.zero_shot.automatic(sam, sample["image"], points_per_side=12)
    best = max(records, key=lambda record: record["predicted_iou"])
    masks = (
        sample["mask"][0] > 0,
        clicked.masks[int(clicked.scores.argmax())],
        torch.from_numpy(best["segmentation"]),
        tl.predict(model, sample["image"])[0] > 0,
    )
    for ax, mask in zip(axes, masks, strict=True):
        own = mask is masks[0]
        colour = tl.plots.LANDSLIDE if own else tl.plots.PREDICTED_OUTLINE
        tl.plots.show_image(ax, sample["image"])
        layer = torch.zeros(*mask.shape, 4)
        layer[mask] = torch.tensor([*to_rgb(colour), 0.45])
        ax.imshow(layer)
        tl.plots.outline(ax, mask, colour)
        if not own:
            tl.plots.outline(ax, sample["mask"], tl.plots.LANDSLIDE, 1.0)
            iou = float(tl.zero_shot.iou(mask, sample["mask"]))
            ax.text(0.5, -0.03, f"IoU {iou:.2f}", transform=ax.transAxes, ha="center", va="top")
    axes[1].plot([x], [y], marker="*", color="white", markeredgecolor="black", ms=9)


def centre(mask: torch.Tensor) -> tuple[int, int]:
    """The landslide pixel (x, y) that lies deepest inside."""
    from scipy.ndimage import distance_transform_edt

    depth = torch.as_tensor(distance_transform_edt(mask.numpy()))
    y, x = divmod(int(depth.argmax()), mask.shape[1])
    return x, y


if __name__ == "__main__":
    main()
