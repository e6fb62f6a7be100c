"""Checks of chapter 4: paired intervals, the best of many, equivalence, how many seeds."""

from __future__ import annotations

from typing import Any

import numpy as np

from tlseg_lite.exercises.verdict import (
    Wrong,
    agrees,
    choice,
    close,
    near,
    number,
    numbers,
    on_fresh_inputs,
    own_rows,
    parts,
    shown,
    supported,
)
from tlseg_lite.experiments.summary import SETTING, interval, per_seed

FIRST = (71.4, 68.9, 74.2, 70.1, 72.6)  # made up: MIoU in percent of two designs, five seeds
SECOND = (70.1, 68.2, 72.0, 70.0, 70.9)


def given_4_1() -> Any:
    """MIoU in percent of two designs with five seeds each."""
    import pandas as pd

    return pd.DataFrame({"A": FIRST, "B": SECOND}, index=pd.Index(range(5), name="seed"))


def check_4_1(answer: Any) -> str:
    from scipy import stats

    low, high = numbers(answer, 2, "low and high")
    a, b = np.array(FIRST), np.array(SECOND)
    d, n = a - b, len(a)
    mean, s = d.mean(), d.std(ddof=1)

    def ends(factor, spread, centre=mean):
        return centre - factor * spread, centre + factor * spread

    t, unpaired = float(stats.t.ppf(0.975, n - 1)), stats.t.ppf(0.975, 2 * n - 2)
    pooled = np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / n)
    mistakes = (
        (ends(t, s), "the root of n is missing: this holds for single seeds, not for their mean."),
        (ends(1.96, s / n**0.5), "1.96 is for many values. With five, Student's t has a factor."),
        (ends(2, s / n**0.5), "2 is for many values. With five, Student's t is larger."),
        (ends(t, d.std() / n**0.5), "the deviation divides by n - 1 here (ddof=1), not by n."),
        (ends(stats.t.ppf(0.975, n), s / n**0.5), "t has n - 1 degrees of freedom."),
        (ends(stats.t.ppf(0.95, n - 1), s / n**0.5), "this is the 90 % interval: 2.5 % a side."),
        (ends(unpaired, pooled), "this is not paired: subtract by seed."),
        (ends(t, s / n**0.5, -mean), "this is B minus A."),
        ((low, high) if low > high else (np.inf, np.inf), "low and high are exchanged."),
    )
    if agrees((low, high), interval(d)[1:], 0.02, mistakes):
        wide = unpaired * pooled / (t * s / n**0.5)
        return f"Zero lies outside. Without pairs it would be {wide:.1f} times as wide."
    centre = (low + high) / 2
    if close(centre, mean, 0.02):
        raise Wrong(f"the middle is right, the width is not: {shown(high - low)} in all.")
    raise Wrong(f"the middle should be the mean difference, {mean:.2f}; yours is {centre:.2f}.")


def _best_of(designs: int, noise: float) -> float:
    """Expected maximum of normal noise over some designs."""
    from scipy import integrate, stats

    def density(x):
        return x * designs * stats.norm.pdf(x) * stats.norm.cdf(x) ** (designs - 1)

    return noise * float(integrate.quad(density, -9, 9)[0])


def check_4_2(answer: Any) -> str:
    answer = parts(answer, ("predicted", "measured"))
    predicted = number(answer["predicted"], "predicted")
    noise = 1.5
    truth = _best_of(9, noise)
    mistakes = (
        (0.0, "the mean over the nine is not too good. Take the best of the nine, then the mean."),
        (noise, "this is the noise of one score, not of the best of nine."),
        (noise / 3, "this is the uncertainty of a mean of nine. Nobody reports the mean of nine."),
        (truth / noise, "this is in standard deviations; in points it is 1.5 times as much."),
        (-truth, "this is the worst of the nine."),
        (_best_of(90_000, noise), "the maximum goes over the nine of each trial, not over all."),
    )
    near(answer["measured"], truth, 0.08, mistakes, "measured")
    miss = abs(predicted - truth)
    return f"Your prediction was off by {miss:.1f} points. Choose on validation, and it is gone."


EQUIVALENCE = (  # mean, spread, seeds, margin: made up, points
    (0.2, 0.8, 8, 3.0),
    (0.2, 4.0, 4, 3.0),
    (6.0, 1.0, 6, 3.0),
    (-7.0, 1.5, 5, 3.0),
    (1.5, 0.3, 6, 3.0),
    (3.0, 1.5, 6, 3.0),
    (-1.2, 0.4, 7, 1.0),
    (0.3, 0.2, 9, 1.0),
)


def check_4_3(answer: Any) -> str:
    from scipy import stats

    rng = np.random.default_rng(5)
    cases = []
    for mean, spread, n, margin in EQUIVALENCE:
        z = rng.standard_normal(n)
        cases.append(((mean + spread * (z - z.mean()) / z.std(ddof=1)).tolist(), margin))

    def reading(low, high, margin):
        if -margin < low and high < margin:
            return "smaller"
        return "larger" if low > margin or high < -margin else "open"

    def within(d, margin, factor, root):
        half = factor * np.std(d, ddof=1) / root
        return reading(np.mean(d) - half, np.mean(d) + half, margin)

    def by_zero(d, margin):
        _, low, high = interval(d)
        return "smaller" if low <= 0 <= high else "larger"

    def by_mean(d, margin):
        return "smaller" if abs(np.mean(d)) < margin else "larger"

    def one_side(d, margin):
        _, low, high = interval(d)
        return "smaller" if high < margin else "larger" if low > margin else "open"

    def normal(d, margin):
        return within(d, margin, 1.96, len(d) ** 0.5)

    def single(d, margin):
        return within(d, margin, stats.t.ppf(0.975, len(d) - 1), 1)

    mistakes = (
        (by_zero, "you ask whether zero is inside. That a difference is small needs a margin."),
        (by_mean, "you compare the mean only. The whole interval has to lie within the margin."),
        (one_side, "a difference of -7 is not small: the margin has two sides."),
        (normal, "take Student's t, not 1.96: with so few seeds it matters."),
        (single, "divide the deviation by the root of n: the interval is that of the mean."),
    )

    def words(d, margin):
        _, low, high = interval(d)
        return f"an interval of {low:.2f} to {high:.2f} and a margin of {margin:g}"

    on_fresh_inputs(
        answer, cases, lambda d, margin: reading(*interval(d)[1:], margin), 0, mistakes, words,
        accept=lambda result: choice(result, ("smaller", "larger", "open"), "the result"),
    )  # fmt: skip
    return "An interval that contains zero is not yet a small difference; a narrow one is."


def check_4_4(answer: Any) -> str:
    from scipy import stats

    def fewest(spread, effect, wide=1):
        n = 2
        while wide * stats.t.ppf(0.975, n - 1) * spread / n**0.5 >= effect:
            n += 1
        return n

    def constant(factor):
        return lambda s, e: max(2, int(np.ceil((factor * s / e) ** 2)))

    def single(spread, effect):
        return 2 if stats.t.ppf(0.975, 1) * spread < effect else 10_000

    short = "you stop one short: that is the last n that is too few."
    mistakes = (
        (constant(1.96), "1.96 is Student's t for infinitely many seeds; t depends on n, so try "
         "n by n."),
        (constant(stats.t.ppf(0.975, 2)), "t changes with n; you kept that of three seeds."),
        (lambda s, e: fewest(s, e, 2), "the half width has to be below the effect, not the whole "
         "width."),
        (lambda s, e: fewest(s, e) - 1, short),
        (lambda s, e: max(2, fewest(s, e) - 1), short),
        (lambda s, e: fewest(s, e) + 1, "one fewer is enough."),
        (single, "divide the spread by the root of n."),
    )  # fmt: skip
    cases = [(1.0, 1.0), (2.0, 1.0), (0.5, 3.0), (3.0, 2.0), (1.5, 0.5)]

    def words(spread, effect):
        half = stats.t.ppf(0.975, 9) * spread / 10**0.5
        return (
            f"a spread of {spread:g} and an effect of {effect:g} points (with ten seeds the half "
            f"width is {half:.2f})"
        )

    on_fresh_inputs(answer, cases, fewest, 0.1, mistakes, words)
    return "Half the effect wants about four times the seeds."


def check_4_5(answer: Any) -> str:
    answer = parts(answer, ("rows", "better"))
    rows = answer["rows"]
    needed = [*SETTING, "design", "seed", "folds", "test_tp", "test_fp", "test_fn", "test_tn"]
    needed, what = [*needed, "test_miou"], "data, backbone or recipe"
    names = own_rows(rows, "design", "tl.ablation.run", needed, SETTING, what)
    wide = per_seed(rows).pivot(index="seed", columns="design", values="value")
    if wide.isna().any().any() or len(wide) < 2:
        raise Wrong("each design needs the same two seeds or more: without pairs no comparison.")
    mean, low, high = interval(wide[names[0]] - wide[names[1]])
    span = f"{names[0]} minus {names[1]}: {100 * mean:+.1f} points, "
    span += f"95 % interval {100 * low:+.1f} to {100 * high:+.1f}"
    supported(answer["better"], "better", low, high, (*names, "open"), span)
    return f"{span}, from {len(wide)} seeds."
