"""Three numbers make a confusion matrix, and a confusion matrix makes all scores: sliders."""

from __future__ import annotations

from tlseg_lite.metrics.confusion import ConfusionMatrix
from tlseg_lite.widgets.page import Widget

KINDS = {"TP": "#009E73", "FN": "#D55E00", "FP": "#0072B2", "TN": "#DDDDDD"}
"""Colours of the four kinds of pixels, from Okabe and Ito's colour-blind-safe palette."""

ROWS = {
    "oa": ("OA", "#555555"),
    "precision": ("P macro", "#999999"),
    "recall": ("REC macro", "#999999"),
    "f1": ("F1 macro", "#999999"),
    "miou": ("MIoU", "#999999"),
    "landslide_precision": ("landslide P", "#E69F00"),
    "landslide_recall": ("landslide REC", "#E69F00"),
    "landslide_f1": ("landslide F1", "#E69F00"),
    "landslide_iou": ("landslide IoU", "#E69F00"),
}
"""Fields of `Scores`, what the papers call them, and the colour of their bars."""


def matrix(share: float, recall: float, precision: float) -> ConfusionMatrix:
    """The confusion matrix (fractions of all pixels) behind three scores of the landslide class.

    Args:
        share: of landslide pixels, in 0..1.
        recall, precision: of the landslide class, in 0..1, precision above 0. Where the share
            leaves too few background pixels for so many false alarms, all of them are.
    """
    tp = share * recall
    fp = min(tp * (1 / precision - 1), 1 - share)
    return ConfusionMatrix(tp, fp, share - tp, 1 - share - fp)


def confusion_sliders(share: float = 2.4, recall: float = 60, precision: float = 60) -> Widget:
    """Sliders for the landslide share, recall and precision, with all scores that follow.

    Args:
        share: landslide pixels in percent, 0.1 to 50.
        recall, precision: of the landslide class in percent, 1 to 100.

    Raises:
        ValueError: a value out of its range.
    """
    starts = {"share": share, "recall": recall, "precision": precision}
    ranges = {"share": (0.1, 50, 0.1), "recall": (1, 100, 1), "precision": (1, 100, 1)}
    for name, (low, high, _) in ranges.items():
        if not low <= starts[name] <= high:
            raise ValueError(f"{name} is {starts[name]!r}; expected percent from {low} to {high}")
    start = matrix(share / 100, recall / 100, precision / 100)
    titles = {"share": "landslide share", "recall": "recall", "precision": "precision"}
    sliders = "".join(
        f'<label data-live>{titles[name]} <output></output><input type="range" class="{name}" '
        f'min="{low}" max="{high}" step="{step}" value="{starts[name]:g}"></label>'
        for name, (low, high, step) in ranges.items()
    )
    names = ("TP", "FP", "FN", "TN")
    counts = ", ".join(
        f"{name} {100 * value:.2f} %" for name, value in zip(names, start, strict=True)
    )
    legend = " ".join(
        f'<span><span class="swatch" style="background:{colour}"></span>{name}</span>'
        for name, colour in KINDS.items()
    )
    body = (
        f'<div class="columns"><div>{sliders}<p class="state" aria-live="polite">{counts}</p>'
        '<div class="stage" style="aspect-ratio:1;max-width:16rem" data-live><canvas width="100" '
        'height="100" role="img" aria-label="10 000 pixels, coloured by their kind in the shares '
        'that the text names"></canvas></div>'
        f"<p data-live>{legend}; one small square is 0.01 %</p></div>"
        f"{score_table('scores that follow', start)}</div>"
    )
    return Widget("confusion", "Move the confusion matrix", body, {"kinds": KINDS})


def score_table(caption: str, counts: ConfusionMatrix) -> str:
    """All scores of a matrix as a table with bars; the script changes its numbers."""
    values = counts.scores()
    rows = "".join(
        f'<tr data-score="{field}"><th scope="row">{title}</th>'
        f'<td class="number">{100 * getattr(values, field):.1f} %</td>'
        f'<td class="bar"><span style="background:{colour};'
        f'width:{100 * getattr(values, field):.1f}%"></span></td></tr>'
        for field, (title, colour) in ROWS.items()
    )
    return f"<div><table><caption>{caption}</caption><tbody>{rows}</tbody></table></div>"
