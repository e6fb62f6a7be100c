"""Checks of chapter 1: IoU, boxes, corrections, many candidates, the model's own score."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch

from tlseg_lite.exercises.verdict import (
    Wrong,
    call,
    choice,
    close,
    near,
    number,
    numbers,
    on_fresh_inputs,
    parts,
    shown,
)
from tlseg_lite.sam.prompting import iou


def check_1_1(answer: Any) -> str:
    truth, guess = np.zeros((40, 60), bool), np.zeros((40, 60), bool)
    truth[10:30, 10:30], guess[10:30, 15:45] = True, True
    overlap, union = (truth & guess).sum(), (truth | guess).sum()
    a, b = truth.sum(), guess.sum()
    mistakes = (
        (
            overlap / a,
            "you divided by the landslide; that is the recall. IoU takes the union.",
        ),
        (overlap / b, "you divided by the mask; that is the precision. IoU takes the union."),
        (overlap / (a + b), "you divided by the sum of the areas; it counts the overlap twice."),
        (2 * overlap / (a + b), "this is F1 (Dice). IoU counts the overlap once, over the union."),
        (overlap / truth.size, "you divided by the whole picture; nothing outside counts."),
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
    def ends(mask):
        y, x = mask.nonzero().unbind(1)
        return int(x.min()), int(y.min()), int(x.max()), int(y.max())

    def truth(mask):
        x0, y0, x1, y1 = ends(mask)
        box = torch.zeros_like(mask)
        box[y0 : y1 + 1, x0 : x1 + 1] = True
        return float(iou(box, mask))

    def short(mask):
        x0, y0, x1, y1 = ends(mask)
        return float(mask.sum()) / ((x1 - x0) * (y1 - y0))

    def cut(mask):
        x0, y0, x1, y1 = ends(mask)
        box = torch.zeros_like(mask)
        box[y0:y1, x0:x1] = True
        return float(iou(box, mask))

    lost = "your box ends one row and one column too early: it reaches from the first landslide "
    lost += "pixel to the last, both of them included (x1 - x0 + 1 pixels)."
    mistakes = (
        (short, lost),
        (cut, lost),
        (lambda m: float(m.float().mean()), "this is the landslide's share of the whole picture."),
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
        x, y, said = numbers(call(answer, prediction, target), 3, "x, y and label")
        wrong = (prediction != target).numpy()
        depth = distance_transform_edt(np.pad(wrong, 1))[1:-1, 1:-1]
        x, y = round(x), round(y)
        inside = 0 <= y < 50 and 0 <= x < 80
        if not inside or depth[y, x] < depth.max() - 1e-9:
            turned = 0 <= x < 50 and 0 <= y < 80
            if turned and depth[x, y] >= depth.max() - 1e-9:
                raise Wrong("you gave y first. A click is x (column), then y (row).")
            if inside and target[y, x] and prediction[y, x]:
                raise Wrong("you click where the mask is right already; look for the error.")
            if inside and wrong[y, x]:
                raise Wrong("your click is in the error, but near its rim: take the deepest pixel.")
            raise Wrong(f"your click ({x}, {y}) is not in the error.")
        if said != label:
            kind = "missing" if label else "too much"
            raise Wrong(
                f"a click on what is {kind} wants the label {label}, you gave {said:g}: 1 says "
                "'this belongs to it', 0 says 'this does not'."
            )
    return "The label is what the truth says at that pixel."


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

    def alike(wanted):
        return all(close(m, w, 0.005) for m, w in zip(measured, wanted, strict=True))

    if not alike(best(values)):
        if alike(means):
            raise Wrong("these are means. Asked is the best of the first 1, 10, 100, 1000 boxes.")
        if alike([float(values[n - 1]) for n in counts]):
            raise Wrong("these are the IoUs of box 1, 10, 100, 1000; take the best up to there.")
        if alike(turned):
            raise Wrong("x and y are exchanged: a box is left, top, right, bottom; rows are y.")
        if sorted(measured) != measured:
            raise Wrong("the best of more boxes cannot be worse: start at the first box each time.")
        raise Wrong(f"measured is {shown(measured)}; hold the first box's IoU against 1.1 by hand.")
    miss = max(abs(p - m) for p, m in zip(predicted, best(values), strict=True))
    return (
        f"Your prediction was off by at most {miss:.2f}. A thousand boxes know nothing, and the "
        f"best of them has an IoU of {max(values):.2f}: it was chosen with the truth at hand."
    )


def check_1_5(answer: Any) -> str:
    answer = parts(answer, ("said", "true", "correlation", "verdict"))
    said, true = numbers(answer["said"], None, "said"), numbers(answer["true"], None, "true")
    if len(said) != len(true):
        raise Wrong(f"{len(said)} scores and {len(true)} IoUs: they belong together in pairs.")
    if len(said) < 12:
        raise Wrong(
            f"{len(said)} pairs are too few; take the three masks of four pictures or more."
        )
    if min(true) < 0 or max(true) > 1:
        raise Wrong("'true' holds values outside 0 to 1: an IoU is a fraction.")
    if np.std(said) == 0 or np.std(true) == 0:
        raise Wrong("all values of a column are alike; a correlation needs differences.")
    r = float(np.corrcoef(said, true)[0, 1])
    rank = [np.argsort(np.argsort(values)) for values in (said, true)]
    best = np.asarray(true).reshape(-1, 3).max(1) if len(true) % 3 == 0 else None
    mistakes = [
        (r * r, "this is r squared; it loses the sign."),
        (float(np.cov(said, true)[0, 1]), "this is the covariance; divide by both deviations."),
        (float(np.corrcoef(*rank)[0, 1]), "this is the correlation of the ranks (Spearman's)."),
    ]
    if best is not None:
        mistakes.append((float(np.mean(best)), "this is the mean IoU of the best mask."))
    near(number(answer["correlation"]), r, 0.006, mistakes, "the correlation")
    # Fisher's z: roughly normal with variance 1 / (n - 3) for independent pairs
    half = 1.96 / np.sqrt(len(said) - 3)
    low, high = np.tanh(np.arctanh(np.clip(r, -0.999, 0.999)) + np.array([-half, half]))
    wanted = "yes" if low > 0 else "no" if high < 0 else "open"
    told = choice(answer["verdict"], ("yes", "no", "open"), "verdict")
    span = f"a rough 95 % interval of r is {low:.2f} to {high:.2f}"
    if told != wanted:
        raise Wrong(f"your verdict is {told!r}, but {span}: that reads {wanted!r}.")
    return f"{len(said)} pairs, {span}. The score was trained to fit some object, not a landslide."
