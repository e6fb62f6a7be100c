"""Checks of chapter 1: IoU, boxes, corrections, many candidates, the predicted IoU."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch

from tlseg_lite.exercises.verdict import (
    Wrong,
    agrees,
    call,
    near,
    numbers,
    on_fresh_inputs,
    parts,
    supported,
)
from tlseg_lite.sam.prompting import iou


def check_1_1(answer: Any) -> str:
    truth, guess = np.zeros((40, 60), bool), np.zeros((40, 60), bool)
    truth[10:30, 10:30], guess[10:30, 15:45] = True, True
    overlap, union = (truth & guess).sum(), (truth | guess).sum()
    a, b = truth.sum(), guess.sum()
    mistakes = (
        (overlap / a, "you divided by the landslide; that is the recall. IoU takes the union."),
        (overlap / b, "you divided by the mask; that is the precision. IoU takes the union."),
        (overlap / (a + b), "you divided by the sum of the areas; it counts the overlap twice."),
        (2 * overlap / (a + b), "this is F1 (Dice). IoU counts the overlap once, over the union."),
        (overlap / truth.size, "you divided by the whole image; nothing outside counts."),
        (1 - overlap / union, "this is one minus the IoU."),
    )
    near(answer, float(iou(guess, truth)), 0.006, mistakes, "the IoU")
    return f"{overlap} pixels in both, {union} in either."


def _blobs(n: int) -> list[torch.Tensor]:
    from scipy import ndimage

    rng = np.random.default_rng(12)
    found = []
    for k in range(n):
        field = ndimage.gaussian_filter(rng.standard_normal((48, 72)), 4 + k)
        found.append(torch.from_numpy(field > np.quantile(field, 0.8)))
    return found


def check_1_2(answer: Any) -> str:
    def truth(mask, beyond=1):
        y, x = mask.nonzero().unbind(1)
        box = torch.zeros_like(mask)
        box[y.min() : y.max() + beyond, x.min() : x.max() + beyond] = True
        return float(iou(box, mask))

    def short(mask):
        y, x = mask.nonzero().unbind(1)
        return float(mask.sum() / ((x.max() - x.min()) * (y.max() - y.min())))

    lost = "your box ends one row and one column too early: it reaches from the first landslide "
    lost += "pixel to the last, both of them included (x1 - x0 + 1 pixels)."
    mistakes = (
        (short, lost),
        (lambda m: truth(m, beyond=0), lost),
        (lambda m: float(m.float().mean()), "this is the landslide's share of the whole image."),
        (lambda m: 1 / truth(m), "you divided the box by the mask; an IoU is never above 1."),
        (lambda m: 1.0, "a box covers all of the mask, but also what is beside it: not always 1."),
    )
    on_fresh_inputs(answer, [(m,) for m in _blobs(3)], truth, 1e-3, mistakes)
    return "The mask lies inside, so the union is the box. What a model has above that is its own."


def check_1_3(answer: Any) -> str:
    from scipy.ndimage import distance_transform_edt

    target = torch.zeros(50, 80, dtype=torch.bool)
    target[10:40, 20:60] = True
    missing, surplus = target.clone(), target.clone()
    missing[10:40, 44:60] = False
    surplus[22:46, 4:20] = True
    for prediction, label in ((missing, 1), (surplus, 0)):
        x, y, given = numbers(call(answer, prediction, target), 3, "x, y and label")
        wrong = (prediction != target).numpy()
        depth = distance_transform_edt(np.pad(wrong, 1))[1:-1, 1:-1]
        x, y = round(x), round(y)
        inside = 0 <= y < 50 and 0 <= x < 80
        if not inside or depth[y, x] < depth.max() - 1e-9:
            turned = 0 <= x < 50 and 0 <= y < 80
            if turned and depth[x, y] >= depth.max() - 1e-9:
                raise Wrong("you gave y first. A click is x (column), then y (row).")
            if inside and target[y, x] and prediction[y, x]:
                raise Wrong("you click where the mask is right already; click into the error.")
            if inside and wrong[y, x]:
                raise Wrong("your click is in the error, but near its rim: take the deepest pixel.")
            raise Wrong(f"your click ({x}, {y}) is not in the error.")
        if given != label:
            kind = "missing" if label else "too much"
            raise Wrong(
                f"a click on what is {kind} wants the label {label}, you gave {given:g}: 1 means "
                "'this belongs to it', 0 means 'this does not'."
            )
    return "The label is the truth at that pixel."


@cache
def _boxes_and_mask() -> tuple[np.ndarray, torch.Tensor]:
    from tlseg_lite.data import SyntheticLandslides

    mask = SyntheticLandslides(8, size=128, seed=3)[7]["mask"][0] > 0
    ends = np.sort(np.random.default_rng(0).integers(0, 129, (1000, 2, 2)), axis=1)
    boxes = ends.reshape(1000, 4)  # left, top, right, bottom
    return boxes, mask


def given_1_4() -> dict[str, Any]:
    """boxes (1000, 4): left, top, right, bottom; mask: bool (128, 128)."""
    boxes, mask = _boxes_and_mask()
    return {"boxes": boxes.copy(), "mask": mask.clone()}


def _box_ious(boxes: np.ndarray, mask: torch.Tensor) -> np.ndarray:
    total = np.pad(mask.numpy().astype(int).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    x0, y0, x1, y1 = boxes.T
    both = total[y1, x1] - total[y0, x1] - total[y1, x0] + total[y0, x0]
    return both / ((x1 - x0) * (y1 - y0) + int(mask.sum()) - both)


def check_1_4(answer: Any) -> str:
    answer = parts(answer, ("predicted", "measured"))
    predicted = numbers(answer["predicted"], 4, "predicted")
    measured = numbers(answer["measured"], 4, "measured")
    boxes, mask = _boxes_and_mask()
    counts = (1, 10, 100, 1000)

    def best(values):
        return [float(values[:n].max()) for n in counts]

    values = _box_ious(boxes, mask)
    means = [float(values[:n].mean()) for n in counts]
    turned = best(_box_ious(boxes[:, [1, 0, 3, 2]], mask))

    mistakes = (
        (means, "these are means. Asked is the best of the first 1, 10, 100, 1000 boxes."),
        (values[[n - 1 for n in counts]], "these are the IoUs of box 1, 10, 100, 1000; take the "
         "best up to there."),
        (turned, "x and y are exchanged: a box is left, top, right, bottom; rows are y."),
    )  # fmt: skip
    if not agrees(measured, best(values), 0.005, mistakes):
        if sorted(measured) != measured:
            raise Wrong("the best of more boxes cannot be worse: start at the first box each time.")
        off = next(i for i, v in enumerate(best(values)) if abs(measured[i] - v) > 0.005)
        x0, y0, x1, y1 = (int(v) for v in boxes[0])
        both = int(mask[y0:y1, x0:x1].sum())
        raise Wrong(
            f"the best of the first {counts[off]} is not {measured[off]:.3f}. Try it with box 1: "
            f"it has {(x1 - x0) * (y1 - y0)} pixels, {both} of them landslide, and the landslide "
            f"has {int(mask.sum())} in all. Its IoU follows as in 1.1."
        )
    miss = max(abs(p - m) for p, m in zip(predicted, best(values), strict=True))
    return (
        f"Your prediction was off by at most {miss:.2f}. A thousand boxes know nothing, and the "
        f"best of them has an IoU of {max(values):.2f}: it was chosen with the truth at hand."
    )


def check_1_5(answer: Any) -> str:
    answer = parts(answer, ("predicted", "true", "correlation", "verdict"))
    expected, true = (numbers(answer[name], None, name) for name in ("predicted", "true"))
    n = len(expected)
    if n != len(true):
        raise Wrong(f"{n} scores and {len(true)} IoUs: they belong together in pairs.")
    if n < 12:
        raise Wrong(f"{n} pairs are too few; take the three masks of four images or more.")
    if min(true) < 0 or max(true) > 1:
        raise Wrong("'true' holds values outside 0 to 1: an IoU is a fraction.")
    if np.std(expected) == 0 or np.std(true) == 0:
        raise Wrong("all values of a column are alike; a correlation needs differences.")
    r = float(np.corrcoef(expected, true)[0, 1])
    rank = [np.argsort(np.argsort(values)) for values in (expected, true)]
    mistakes = [
        (r * r, "this is r squared; it loses the sign."),
        (float(np.cov(expected, true)[0, 1]), "this is the covariance; divide by both deviations."),
        (float(np.corrcoef(*rank)[0, 1]), "this is the correlation of the ranks (Spearman's)."),
    ]
    if n % 3 == 0:
        best = np.asarray(true).reshape(-1, 3).max(1)
        mistakes.append((float(np.mean(best)), "this is the mean IoU of the best mask."))
    near(answer["correlation"], r, 0.006, mistakes, "the correlation")
    # Fisher's z: roughly normal with variance 1 / (n - 3) for independent pairs
    half = 1.96 / np.sqrt(n - 3)
    low, high = np.tanh(np.arctanh(np.clip(r, -0.999, 0.999)) + np.array([-half, half]))
    span = f"a rough 95 % interval of r is {low:.2f} to {high:.2f}"
    supported(answer["verdict"], "verdict", low, high, ("yes", "no", "open"), span)
    return f"{n} pairs, {span}. The score was trained to fit some object, not a landslide."
