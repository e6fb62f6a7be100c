"""Checks of the appendix on sam_mini: the minimum, focal loss, one mask or three, prompts."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from tlseg_lite.exercises.verdict import Wrong, call, choice, near, numbers, on_fresh_inputs, parts

SINGLE, MEANT, OTHER = 0.90, (0.50, 0.22, 0.70), (0.10, 0.62, 0.84)


def check_A1_1(answer: Any) -> str:
    best = int(np.argmin(MEANT))
    truth = SINGLE + min(MEANT) + 0.5 * min(OTHER)
    means = SINGLE + np.mean(MEANT) + 0.5 * np.mean(OTHER)
    mistakes = (
        (means, "you took means. Then every mask learns the average; only the best one learns."),
        (SINGLE + sum(MEANT) + 0.5 * sum(OTHER), "you took sums; only the best of three counts."),
        (SINGLE + MEANT[best] + 0.5 * OTHER[best], "each reading picks its own best mask; you kept "
         "the first reading's for the second."),
        (SINGLE + min(a + 0.5 * b for a, b in zip(MEANT, OTHER, strict=True)), "each reading has "
         "a minimum of its own: one mask for the part, another one for the whole."),
        (SINGLE + min(MEANT) + min(OTHER), "the other reading counts half."),
        (min(MEANT) + 0.5 * min(OTHER), "the single mask m0 is missing; it learns what is meant."),
        (min(SINGLE, *MEANT) + 0.5 * min(OTHER), "m0 is no candidate of the minimum; it has a term "
         "of its own."),
        (SINGLE + max(MEANT) + 0.5 * max(OTHER), "you took the worst mask of three."),
    )  # fmt: skip
    near(answer, truth, 0.004, mistakes, "the loss")
    return "Mask 2 learns the part, mask 1 the whole, and mask 3 is left alone."


def check_A1_2(answer: Any) -> str:
    generator = torch.Generator().manual_seed(2)

    def draw():
        return torch.rand(6, 7, generator=generator)

    pixels = [(0.9, 1.0), (0.2, 0.0)]  # one by one, so that a message can name them
    cases = [(torch.tensor([p]), torch.tensor([t])) for p, t in pixels]
    cases += [(draw() * 0.98 + 0.01, (draw() > 0.7).float()) for _ in range(3)]

    def in_words(p, t):
        if p.numel() > 1:
            return f"{p.shape[0]} x {p.shape[1]} random pixels"
        return f"a single pixel with p = {float(p):g} and the truth {float(t):g}"

    def right(p, t):
        return torch.where(t > 0, p, 1 - p)

    def weighted(p, t, factor):
        return (factor * F.binary_cross_entropy(p, t, reduction="none")).mean()

    def focal(p, t):
        return weighted(p, t, (1 - right(p, t)) ** 2)

    mistakes = (
        (F.binary_cross_entropy, "this is plain cross-entropy; the factor is missing."),
        (lambda p, t: weighted(p, t, right(p, t) ** 2),
         "the factor is upside down: it should be small where the model is right already."),
        (lambda p, t: weighted(p, t, 1 - right(p, t)), "the factor is squared."),
        (lambda p, t: weighted(p, t, (1 - p) ** 2),
         "for background the probability of the truth is 1 - p: take p_t, not p."),
        (lambda p, t: p.numel() * focal(p, t), "take the mean, not the sum."),
        (lambda p, t: 20 * focal(p, t),
         "this has SAM's weight of 20 in it; asked is the focal loss alone."),
        (lambda p, t: -focal(p, t), "a loss is positive."),
        (lambda p, t: weighted(p, t, t * (1 - p) ** 2), "the background's pixels are missing."),
    )  # fmt: skip
    on_fresh_inputs(answer, cases, focal, 1e-4, mistakes, in_words)
    return "A pixel at 0.9 counts a hundredth of what plain cross-entropy gives it."


def check_A1_3(answer: Any) -> str:
    from tlseg_lite.pretraining import objective

    names = ("part", "whole", "undecided")
    answer = parts(answer, ("predicted", "measured"))
    guess = choice(answer["predicted"], names, "predicted")
    part, whole = torch.zeros(1, 64, 64), torch.zeros(1, 64, 64)
    whole[:, 8:40, 8:40] = 1
    part[:, 8:37, 8:40] = 1
    sure = 12.0
    masks = {
        "part": (2 * part - 1) * sure,
        "whole": (2 * whole - 1) * sure,
        "undecided": torch.where(part > 0, sure, torch.where(whole > 0, 0.0, -sure)),
    }
    both = {n: [float(objective.mask_losses(m[:, None], t)) for t in (part, whole)]
            for n, m in masks.items()}  # fmt: skip
    measured = parts(answer["measured"], names)
    for name in names:
        truth = sum(both[name]) / 2
        mistakes = (
            (sum(both[name]), "this is the sum of the two readings; take their mean."),
            (both[name][0], "this is the loss when the part is meant; take the mean of both."),
            (both[name][1], "this is the loss when the whole is meant; take the mean of both."),
        )
        near(measured[name], truth, 0.003, mistakes, f"the loss of {name!r}")
    best = min(names, key=lambda name: sum(both[name]))
    hit = "came true" if guess == best else f"did not come true: it is {best!r}"
    return f"Your prediction {hit}. All three lose little: three masks pay where readings differ."


def check_A1_4(answer: Any) -> str:
    labels = np.zeros((40, 60), dtype=int)
    labels[:, 40:], labels[5:9, 5:11], labels[30:34, 45:50] = 1, 2, 3
    rng, trials = np.random.default_rng(0), 1200
    counts, turned = np.zeros(4), 0
    for _ in range(trials):  # the generator is not copied: each call draws anew
        click = call(answer, labels.copy(), rng, copies=False)
        x, y = (round(v) for v in numbers(click, 2, "a click"))
        if not (0 <= y < 40 and 0 <= x < 60):
            turned += 0 <= x < 40 and 0 <= y < 60
            if turned:
                raise Wrong(f"the click ({x}, {y}) lies outside: x is the column, y the row.")
            raise Wrong(f"the click ({x}, {y}) lies outside the image of 60 x 40 pixels.")
        counts[labels[y, x]] += 1
    share = counts / trials
    area = np.bincount(labels.ravel()) / labels.size
    if np.abs(share - area).max() < 0.04:
        raise Wrong(
            "every pixel is equally likely, so nearly all clicks fall on the two large regions. "
            "Draw a region first, then a pixel in it."
        )
    if share.max() > 0.99:
        raise Wrong("nearly all clicks fall on one region; draw the region anew each time.")
    if np.abs(share - 0.25).max() > 0.06:
        shares = ", ".join(f"{100 * s:.0f} %" for s in share)
        if share[0] < 0.02 and abs(share[1] - 1 / 3) < 0.06:
            raise Wrong("region 0 is a region, too: it gets no click.")
        raise Wrong(f"the four regions get {shares} of the clicks; a quarter each is wanted.")
    return "The model's own pre-training stands between the two: `balance` in draw_prompts."


def check_A1_5(answer: Any) -> str:
    answer = parts(answer, ("error", "steps"))
    truth = 0.3 / np.sqrt(288)
    mistakes = (
        (0.3 / 288, "divide by the root of the number of regions."),
        (0.3, "this is the scatter of one region; a mean of 288 is known better."),
        (1.96 * truth, "this is the half width of a 95 % interval; asked is the standard error."),
        (0.3**2 / 288, "this is the variance of the mean; take its root."),
    )
    near(answer["error"], truth, 0.0006, mistakes, "error")
    if choice(answer["steps"], ("smaller", "larger", "same"), "steps") != "smaller":
        generator = np.random.default_rng(1)
        region = generator.normal(0, 0.28, 288)
        points = region + generator.normal(0, 0.1, (2000, 2, 288))
        step = (points[:, 1] - points[:, 0]).mean(1).std()
        raise Wrong(
            "the same regions are measured each time, so what is hard about a region is in both "
            "points of a step and cancels. With a scatter of 0.28 between regions and 0.1 within, "
            f"a step has an error of {step:.3f}; {truth:.3f} would be expected of new regions."
        )
    return "Pairs again: the regions are the same at each point of the curve."
