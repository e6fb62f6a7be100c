"""The book's figures: images with outlines, predictions, learning curves. One style for all.

Outlines are orange for the mapped landslide and light blue for the predicted one (Okabe and
Ito's colour-blind-safe palette; it shows on dark forest); score maps use viridis.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LANDSLIDE = "#E69F00"
PREDICTION = "#0072B2"
PREDICTED_OUTLINE = "#56B4E9"
FALSE_ALARM = "#CC79A7"
KINDS = {"hit": PREDICTED_OUTLINE, "miss": LANDSLIDE, "false alarm": FALSE_ALARM}
"""Colours of what `tlseg_lite.maps.compare` finds."""

WIDTH = 8.0
"""Width of a full figure in inches; the page scales it to the text."""


DARK = 0.4
"""An image whose brightest fiftieth begins below this value is stretched for display."""


def stretched(image: torch.Tensor) -> torch.Tensor:
    """An image (3, H, W) in [0, 1] as it is shown: a dark one stretched from its 2nd to its 98th
    percentile, all three channels alike, so that colours stay; others are returned as they are.

    Sentinel-2's surface reflectances are such dark images: a forest is at 0.03.
    """
    low, high = np.quantile(np.asarray(image.detach().cpu(), dtype=float), (0.02, 0.98))
    if high >= DARK or high - low < 1e-3:
        return image
    return ((image - low) / (high - low)).clamp(0, 1)


def show_image(ax: Axes, image: torch.Tensor, title: str = "") -> None:
    """An image, (3, H, W) in [0, 1], without axes; a dark one is `stretched`."""
    ax.imshow(np.asarray(stretched(image).detach().cpu()).transpose(1, 2, 0).clip(0, 1))
    ax.set_axis_off()
    ax.set_title(title, fontsize=9)


def outline(ax: Axes, mask: torch.Tensor, colour: str = LANDSLIDE, width: float = 1.5) -> None:
    """The border of a mask, (H, W) or (1, H, W) of 0/1, drawn over what `ax` shows."""
    mask = np.asarray(mask.detach().cpu(), dtype=float).squeeze()
    if mask.min() != mask.max():  # there is a border
        ax.contour(mask, levels=[0.5], colors=[colour], linewidths=width)


def overlay(
    ax: Axes,
    sample: dict[str, Any],
    prediction: torch.Tensor | None = None,
    title: str | None = None,
) -> None:
    """An image with its mapped landslides (orange) and, if given, predicted ones (blue)."""
    show_image(ax, sample["image"], sample["id"] if title is None else title)
    outline(ax, sample["mask"], LANDSLIDE)
    if prediction is not None:
        outline(ax, prediction, PREDICTED_OUTLINE)


def legend(figure: Figure, prediction: bool | str = True, other: str = "") -> None:
    """The meaning of the outlines, below the figure.

    Args:
        figure: it, with room at its lower edge.
        prediction: whether a predicted outline is drawn; a string: what it is, such as "SAM mask".
        other: what a white outline is, where there is one.
    """
    from matplotlib.lines import Line2D

    lines = [Line2D([], [], color=LANDSLIDE, label="mapped landslide")]
    if prediction:
        name = prediction if isinstance(prediction, str) else "predicted landslide"
        lines.append(Line2D([], [], color=PREDICTED_OUTLINE, label=name))
    if other:
        lines.append(Line2D([], [], color="grey", label=f"{other} (white)"))
    # at the left, so that the legend stays whole where a page shows a wide figure in two halves
    figure.legend(handles=lines, loc="lower left", ncols=len(lines), frameon=False, fontsize=9)


def mosaic(ax: Axes, image: torch.Tensor, records: Sequence[dict[str, Any]]) -> None:
    """All of SAM's automatic masks at once, each filled with a colour of its own and outlined.

    Args:
        ax: what to draw on.
        image: (3, H, W) in [0, 1].
        records: of `zero_shot.automatic`; a small mask is drawn over a larger one.
    """
    from matplotlib import colormaps

    show_image(ax, image)
    largest_first = sorted(records, key=lambda record: -record["area"])
    for number, record in enumerate(largest_first):
        inside = np.asarray(record["segmentation"], dtype=bool)
        colour = colormaps["viridis"]((0.5 + 0.618 * number) % 1)  # neighbours in the row differ
        layer = np.zeros((*inside.shape, 4))
        layer[inside] = (*colour[:3], 0.6)
        ax.imshow(layer)
        outline(ax, torch.from_numpy(inside), "white", 0.6)


def gallery(dataset: Sequence[dict[str, Any]], n: int = 8, columns: int = 4) -> Figure:
    """The first `n` images of a dataset with their landslides outlined."""
    import matplotlib.pyplot as plt

    n = min(n, len(dataset))
    rows = -(-n // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(WIDTH, 2.15 * rows + 0.3), squeeze=False, layout="constrained"
    )
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, index in zip(axes.flat, range(n), strict=False):
        overlay(ax, dataset[index])
    figure.get_layout_engine().set(rect=(0, 0.06, 1, 0.94))
    legend(figure, prediction=False)
    return figure


def predictions(model: torch.nn.Module, dataset: Sequence[dict[str, Any]], n: int = 4) -> Figure:
    """Images, the probability of landslide in each pixel, and both outlines, column by column."""
    import matplotlib.pyplot as plt

    from tlseg_lite.training.loop import predict

    n = min(n, len(dataset))
    figure, axes = plt.subplots(
        3, n, figsize=(WIDTH, WIDTH * 3 / max(n, 3)), squeeze=False, layout="constrained"
    )
    for column in range(n):
        sample = dataset[column]
        logits = predict(model, sample["image"]).cpu()
        show_image(axes[0, column], sample["image"], sample["id"])
        shown = axes[1, column].imshow(logits[0].sigmoid().numpy(), vmin=0, vmax=1, cmap="viridis")
        axes[1, column].set_axis_off()
        overlay(axes[2, column], sample, (logits > 0).float(), title="")
    figure.colorbar(shown, ax=axes[1, :], shrink=0.8, label="probability of landslide")
    figure.get_layout_engine().set(rect=(0, 0.05, 1, 0.95))
    legend(figure)
    return figure


def map_comparison(found: Any, comparison: Any, *, side: int = 1600) -> Figure:
    """A mapped scene with its hits, misses and false alarms outlined.

    Args:
        found: a `tlseg_lite.maps.Map`.
        comparison: of `tlseg_lite.maps.compare`, in the map's coordinate system.
        side: longest side of the scene's picture, pixels.
    """
    import matplotlib.pyplot as plt
    import rasterio
    from matplotlib.lines import Line2D
    from PIL import Image

    with rasterio.open(found.probability) as file:
        left, bottom, right, top = file.bounds
    with Image.open(found.folder / "quicklook.png") as picture:
        picture.thumbnail((side, side))
        pixels = np.asarray(picture.convert("RGB"))
    height = WIDTH * (top - bottom) / (right - left)
    figure, ax = plt.subplots(figsize=(WIDTH, min(height, WIDTH) + 0.4), layout="constrained")
    ax.imshow(pixels, extent=(left, right, bottom, top))
    lines = []
    for kind, colour in KINDS.items():
        chosen = comparison.objects[comparison.objects.kind == kind]
        if len(chosen):
            chosen.boundary.plot(ax=ax, color=colour, linewidth=1.4)
        lines.append(Line2D([], [], color=colour, label=f"{kind} ({comparison.counts[kind]})"))
    ax.set_aspect("equal")
    ax.set_axis_off()
    figure.get_layout_engine().set(rect=(0, 0.05, 1, 0.95))
    figure.legend(handles=lines, loc="lower center", ncols=3, frameon=False, fontsize=9)
    return figure


def learning_curve(history: pd.DataFrame) -> Figure:
    """Training loss (left) and validation MIoU and landslide IoU (right) by epoch."""
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 2.8), layout="constrained")
    left.plot(history["epoch"], history["loss"], color="black")
    left.set(xlabel="epoch", ylabel="training loss (BCE + Dice)")
    right.plot(history["epoch"], 100 * history["miou"], color=PREDICTION, label="MIoU")
    right.plot(
        history["epoch"],
        100 * history["landslide_iou"],
        "--",
        color=LANDSLIDE,
        label="landslide IoU",
    )
    best = history.loc[history["miou"].idxmax()]
    right.axvline(best["epoch"], color="grey", linewidth=0.8)
    right.set(xlabel="epoch", ylabel="validation score (%)", ylim=(0, 100))
    right.legend(frameon=False, fontsize=9, title=f"best epoch: {int(best['epoch'])}")
    return figure


def components(features: torch.Tensor, fit_on: torch.Tensor | None = None) -> np.ndarray:
    """Three principal components of token features as colours, (C, h, w) -> (h, w, 3) in [0, 1].

    Args:
        features: the features to show.
        fit_on: features (C, h, w) whose components and range are used; None: `features`.
            Showing two feature maps with the components of one makes their colours comparable.
    """
    features = features.detach().cpu()
    base = features if fit_on is None else fit_on.detach().cpu()
    flat = base.flatten(1).t().double()
    mean = flat.mean(0)
    _, _, basis = torch.linalg.svd(flat - mean, full_matrices=False)
    low, high = torch.quantile(
        (flat - mean) @ basis[:3].t(), torch.tensor([0.02, 0.98]).double(), 0
    )
    shown = (features.flatten(1).t().double() - mean) @ basis[:3].t()
    shown = ((shown - low) / (high - low).clamp(min=1e-9)).clamp(0, 1)
    return shown.reshape(*features.shape[1:], 3).numpy()
