"""Checks of chapter 5: averages, the share of landslides, thresholds, outlines, intervals."""

from __future__ import annotations

from typing import Any

import numpy as np

from tlseg_lite.exercises.verdict import (
    Wrong,
    agrees,
    call,
    choice,
    close,
    near,
    numbers,
    on_fresh_inputs,
    parts,
)
from tlseg_lite.metrics.confusion import ConfusionMatrix, confusion


def check_5_1(answer: Any) -> str:
    answer = parts(answer, ("precision", "miou", "landslide_f1"))
    tp, fp, fn, tn = 30, 20, 50, 900
    s = ConfusionMatrix(tp, fp, fn, tn).scores()
    pooled = 100 * (tp + tn) / 1000
    mistakes = (
        (100 * s.landslide_precision, "this is the landslide class alone; macro is the mean with "
         "the background's, TN / (TN + FN)."),
        (100 * s.background_precision, "this is the background alone."),
        (100 * s.recall, "this is the macro recall: you divided by the mask's pixels; precision "
         "divides by the predicted ones."),
        (50 * (tp / (tp + fp) + tn / (tn + fp)), "the background has TN / (TN + FN): the pixels "
         "called background."),
        (pooled, "this counts both classes together (micro average); that is OA."),
    )  # fmt: skip
    near(answer["precision"], 100 * s.precision, 0.06, mistakes, "precision")
    mistakes = (
        (100 * s.landslide_iou, "this is the landslide's IoU; MIoU is the mean with the "
         "background's."),
        (50 * (tp / (tp + tn + fp) + s.background_iou), "this is Eq. 20 as printed; the union is "
         "TP + FP + FN."),
        (50 * (s.landslide_f1 + s.background_f1), "this is the mean of the two F1s."),
        (pooled, "this is OA."),
    )  # fmt: skip
    near(answer["miou"], 100 * s.miou, 0.06, mistakes, "miou")
    mistakes = (
        (200 * s.miou / (1 + s.miou), "2 IoU / (1 + IoU) holds for one class; you put the MIoU "
         "into it."),
        (100 * s.f1, "this is the paper's F1, from macro P and macro REC."),
        (100 * s.f1_mean_of_classes, "this is the mean of the two classes' F1."),
        (50 * (s.landslide_precision + s.landslide_recall), "F1 is the harmonic mean of P and REC, "
         "not the arithmetic one."),
        (100 * s.landslide_iou, "this is the IoU: F1 counts the overlap twice."),
    )  # fmt: skip
    near(answer["landslide_f1"], 100 * s.landslide_f1, 0.06, mistakes, "landslide_f1")
    return f"MIoU {100 * s.miou:.1f} is a landslide F1 of {100 * s.landslide_f1:.1f}."


def _table_2() -> ConfusionMatrix:
    from tlseg_lite.audit import published, recover_confusion

    names = ("precision", "recall", "oa", "miou", "landslide_iou")
    row = published().query("table == 'II' and row == 'TransLandSeg'").iloc[0]
    return recover_confusion(**{name: row[name] for name in names}).confusion


def check_5_2(answer: Any) -> str:
    answer = parts(answer, ("predicted", "measured"))
    names = ("oa", "miou", "landslide_f1")
    measured = numbers(answer["measured"], 3, "measured")
    guesses = answer["predicted"]
    if not isinstance(guesses, (list, tuple)) or len(guesses) != 3:
        raise Wrong("'predicted' should be three words: 'up', 'down' or 'same' for each score.")
    guesses = [choice(g, ("up", "down", "same"), "a prediction") for g in guesses]
    tp, fp, fn, tn = _table_2().counts()
    extra = 1000 / 1140

    def values(*counts):
        s = ConfusionMatrix(*counts).scores()
        return [100 * getattr(s, name) for name in names]

    old, new = values(tp, fp, fn, tn), values(tp, fp, fn, tn + extra)
    mistakes = (
        (old, "these are the old scores; add the new pixels to TN first."),
        (values(tp, fp, fn, tn + 1000), "the matrix holds fractions: 1000 patches are 1000 / 1140 "
         "of the old pixels."),
        (values(tp, fp, fn, tn + 1), "1000 patches are not as many as the 1140 before."),
        (values(tp + extra, fp, fn, tn), "the new pixels hold no landslide: they are TN."),
        (values(tp, fp + extra, fn, tn), "the model is perfect there: no false alarm."),
        ([v / 100 for v in new], "give percent, not fractions."),
    )  # fmt: skip
    if not agrees(measured, new, 0.02, mistakes):
        where = next(i for i in range(3) if not close(measured[i], new[i], 0.02))
        raise Wrong(f"{names[where]} is {measured[where]:.2f}; add the matrices, then score once.")
    hits, changes = 0, []
    for name, guess, a, b in zip(names, guesses, old, new, strict=True):
        hits += guess == ("same" if close(a, b, 0.01) else "up" if b > a else "down")
        changes.append(f"{name} {a:.2f} to {b:.2f}")
    changes = ", ".join(changes)
    return f"{hits} of your 3 predictions came true: {changes}. The map is no better."


def _scored(seed: int, shift: float, n: int = 4):
    """Logits and masks of a made-up model: a slope at the landslide's rim, with noise."""
    from scipy import ndimage

    rng = np.random.default_rng(seed)
    logits, masks = [], []
    for k in range(n):
        field = ndimage.gaussian_filter(rng.standard_normal((40, 50)), 4 + k % 3)
        field /= field.std()
        masks.append(field > 0.6 + 0.25 * k)
        noise = ndimage.gaussian_filter(rng.standard_normal((40, 50)), 1.0)
        logits.append(3.0 * (field - 0.6 - 0.25 * k) + 3.0 * noise + shift)
    return logits, masks


def check_5_3(answer: Any) -> str:
    from tlseg_lite.metrics.thresholds import choose_threshold

    cases = [(*_scored(4, 1.6), *_scored(9, 2.8)), (*_scored(6, -2.6), *_scored(2, -1.4))]

    def pooled(logits, masks, cut):
        total = sum(confusion(x, m, threshold=cut) for x, m in zip(logits, masks, strict=True))
        return total.scores().landslide_iou

    def chosen(logits, masks, metric="landslide_iou"):
        return choose_threshold(logits, masks, metric=metric)

    def truth(logits, masks, test_logits, test_masks):
        return pooled(test_logits, test_masks, chosen(logits, masks))

    def per_image(logits, masks, test_logits, test_masks):
        cut = chosen(logits, masks)
        pairs = zip(test_logits, test_masks, strict=True)
        return float(np.mean([pooled([x], [m], cut) for x, m in pairs]))

    mistakes = (
        (lambda x, m, test_x, test_m: truth(test_x, test_m, test_x, test_m),
         "the threshold was chosen on the test images; then the score is fitted to them."),
        (lambda x, m, test_x, test_m: truth(x, m, x, m),
         "this is the score on the validation images, on which the threshold was chosen."),
        (lambda x, m, *test: pooled(*test, 0.0), "you cut at logit 0 and chose nothing."),
        (lambda x, m, *test: pooled(*test, 0.5),
         "you cut at 0.5: that is for probabilities, these are logits."),
        (lambda x, m, *test: pooled(*test, chosen(x, m, "landslide_recall")),
         "you chose by recall: whoever calls everything landslide misses nothing."),
        (per_image, "this is the mean over the images; asked is the pooled score."),
    )  # fmt: skip
    on_fresh_inputs(answer, cases, truth, 0.004, mistakes)
    return "Below the best that the test images allow, as an honest score is."


def given_5_4() -> dict[str, np.ndarray]:
    """truth, and two predictions of it: shifted, and with a hole; bool (100, 100) each."""
    truth = np.zeros((100, 100), bool)
    truth[20:80, 20:80] = True
    hole = truth.copy()
    hole[40:60, 40:60] = False
    return {"truth": truth, "shifted": np.roll(truth, 3, axis=1), "hole": hole}


def check_5_4(answer: Any) -> str:
    from tlseg_lite.metrics.boundary import boundary_f1

    answer = parts(answer, ("predicted", "measured"))
    names = ("shifted", "hole")
    guess = choice(answer["predicted"], names, "predicted")
    masks, measured = given_5_4(), parts(answer["measured"], names)

    def outline(name, tolerance=2.0):
        return boundary_f1(masks[name], masks["truth"], tolerance=tolerance).f1

    for name in names:
        iou, f1 = numbers(measured[name], 2, name)
        counted = confusion(masks[name], masks["truth"]).scores()
        true = counted.landslide_iou
        match = boundary_f1(masks[name], masks["truth"], tolerance=2.0)
        if close(iou, match.f1, 0.002) and close(f1, true, 0.002):
            raise Wrong(f"{name}: IoU first, boundary F1 second.")
        wrong_iou = ((counted.landslide_f1, "this is F1."), (counted.miou, "this is MIoU."))
        near(iou, true, 0.002, wrong_iou, f"the IoU of {name}")
        wrong_f1 = (
            (outline(name, 0), "this is with a tolerance of 0; asked are 2 pixels."),
            (outline(name, 1), "this is with a tolerance of 1 pixel; asked are 2."),
            (outline(name, 3), "this is with a tolerance of 3 pixels; asked are 2."),
            (match.precision, "this is the outline's precision alone."),
            (match.recall, "this is the outline's recall alone."),
        )
        near(f1, match.f1, 0.002, wrong_f1, f"the boundary F1 of {name}")
    better = max(names, key=outline)
    hit = "came true" if guess == better else f"did not come true: it is {better!r}"
    return f"Your prediction {hit}. A shift hardly moves the area and moves all of an edge."


def check_5_5(answer: Any) -> str:
    from tlseg_lite.metrics.intervals import bootstrap

    rng = np.random.default_rng(8)
    images = []
    for _ in range(24):
        quality, slide = rng.uniform(0.2, 0.95), int(rng.uniform(100, 3000))
        tp = round(quality * slide)
        fp = round(rng.uniform(0, 0.5) * slide)
        images.append(ConfusionMatrix(tp, fp, slide - tp, 20_000 - slide - fp))
    truth = bootstrap(images, "landslide_iou", repeats=4000)
    width = truth.high - truth.low
    low, high = numbers(call(answer, list(images)), 2, "low and high")
    if close(low, truth.low, 0.15 * width) and close(high, truth.high, 0.15 * width):
        return f"{100 * truth.low:.0f} to {100 * truth.high:.0f} %: 24 images are few."
    counts = np.array([m.counts() for m in images])
    drawn = rng.integers(0, 24, (1000, 24))
    ious = np.array([m.scores().landslide_iou for m in images])
    total = counts.sum(0)
    pixels = rng.multinomial(int(total.sum()), total / total.sum(), 1000)
    draws = counts[drawn].sum(1)
    iou = draws[:, 0] / draws[:, :3].sum(1)

    def percentiles(values, share=0.95):
        return np.quantile(values, [(1 - share) / 2, (1 + share) / 2])

    wrong = (
        (percentiles(pixels[:, 0] / pixels[:, :3].sum(1)), 0.5,
         "this draws pixels. Those of one image are not independent; draw images."),
        (percentiles(ious[drawn].mean(1)), 0.1,
         "this is the mean of the images' IoUs; add up the counts, then score."),
        (percentiles(ious), 0.1, "this is the spread of single images, not of the total."),
        (percentiles(iou, 0.68), 0.12, "this is one standard deviation to either side, 68 %."),
        (percentiles(iou, 0.9), 0.04, "this is the 90 % interval: cut 2.5 % off on either side."),
    )  # fmt: skip
    if high - low < 1e-6:
        raise Wrong("the interval has no width: draw with replacement, 24 images of 24 each time.")
    for (a, b), share, explanation in wrong:
        if close(low, a, share * (b - a)) and close(high, b, share * (b - a)):
            raise Wrong(explanation)
    if low > 1 or high > 1:
        raise Wrong("give fractions from 0 to 1, as the scores have.")
    raise Wrong(
        f"{low:.3f} to {high:.3f} for 24 images. Draw 24 of them with replacement, add up their "
        "counts, score once, repeat a thousand times, and take the quantiles 0.025 and 0.975."
    )
