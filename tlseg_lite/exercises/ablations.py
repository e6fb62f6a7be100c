"""Checks of chapter 4: paired intervals, the best of many, equivalence, how many seeds."""

from __future__ import annotations

from typing import Any

import numpy as np

from tlseg_lite.exercises.verdict import (
    Wrong,
    call,
    choice,
    close,
    near,
    numbers,
    on_fresh_inputs,
    parts,
    shown,
)
from tlseg_lite.experiments.summary import SETTING, interval, per_seed, verdict
from tlseg_lite.metrics.confusion import ConfusionMatrix

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

    t = float(stats.t.ppf(0.975, n - 1))
    _, *truth = interval(d)
    pooled = np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / n)
    mistakes = (
        (ends(t, s), "the root of n is missing: this holds for single seeds, not for their mean."),
        (ends(1.96, s / n**0.5), "1.96 is for many values. With five, Student's t has a factor."),
        (ends(2, s / n**0.5), "2 is for many values. With five, Student's t is larger."),
        (ends(t, d.std() / n**0.5), "the deviation divides by n - 1 here (ddof=1), not by n."),
        (ends(stats.t.ppf(0.975, n), s / n**0.5), "t has n - 1 degrees of freedom."),
        (ends(stats.t.ppf(0.95, n - 1), s / n**0.5), "this is the 90 % interval: 2.5 % a side."),
        (
            ends(stats.t.ppf(0.975, 2 * n - 2), pooled),
            "this is not paired: subtract by seed.",
        ),
        (ends(t, s / n**0.5, -mean), "this is B minus A."),
        ((low, high) if low > high else (np.inf, np.inf), "low and high are exchanged."),
    )
    for wrong, explanation in (((truth[0], truth[1]), ""), *mistakes):
        if close(low, wrong[0], 0.02) and close(high, wrong[1], 0.02):
            if explanation:
                raise Wrong(explanation)
            wide = stats.t.ppf(0.975, 2 * n - 2) * pooled / (t * s / n**0.5)
            return f"Zero lies outside. Without pairs it would be {wide:.1f} times as wide."
    centre = (low + high) / 2
    if close(centre, mean, 0.02):
        raise Wrong(f"the middle is right, the width is not: {shown(high - low)} in all.")
    raise Wrong(f"the middle should be the mean difference, {mean:.2f}; yours is {centre:.2f}.")


def _best_of(designs: int, noise: float) -> tuple[float, float]:
    """Expected maximum, and standard deviation of a single value, of normal noise."""
    from scipy import integrate, stats

    density = lambda x: x * designs * stats.norm.pdf(x) * stats.norm.cdf(x) ** (designs - 1)  # noqa: E731
    return noise * float(integrate.quad(density, -9, 9)[0]), noise


def check_4_2(answer: Any) -> str:
    answer = parts(answer, ("predicted", "measured"))
    predicted = numbers([answer["predicted"]], 1, "predicted")[0]
    truth, noise = _best_of(9, 1.5)
    mistakes = (
        (0.0, "the mean over the nine is not too good. Take the best of the nine, then the mean."),
        (noise, "this is the noise of one score, not of the best of nine."),
        (noise / 3, "this is the uncertainty of a mean of nine. Nobody reports the mean of nine."),
        (truth / noise, "this is in standard deviations; in points it is 1.5 times as much."),
        (-truth, "this is the worst of the nine."),
        (_best_of(90_000, 1.5)[0], "the maximum goes over the nine of each trial, not over all."),
    )
    near(answer["measured"], truth, 0.08, mistakes, "measured")
    miss = abs(predicted - truth)
    return f"Your prediction was off by {miss:.1f} points. Choose on validation, and it is gone."


def check_4_3(answer: Any) -> str:
    from scipy import stats

    rng = np.random.default_rng(5)
    cases = []
    for mean, spread, n, margin in (
        *((0.2, 0.8, 8, 3.0), (0.2, 4.0, 4, 3.0), (6.0, 1.0, 6, 3.0), (-7.0, 1.5, 5, 3.0)),
        *((1.5, 0.3, 6, 3.0), (3.0, 1.5, 6, 3.0), (-1.2, 0.4, 7, 1.0), (0.3, 0.2, 9, 1.0)),
    ):
        z = rng.standard_normal(n)
        cases.append(((mean + spread * (z - z.mean()) / z.std(ddof=1)).tolist(), margin))

    def ends(differences):
        return interval(differences)[1:]

    def truth(differences, margin):
        low, high = ends(differences)
        if -margin < low and high < margin:
            return "smaller"
        return "larger" if low > margin or high < -margin else "open"

    def by_zero(differences, margin):
        low, high = ends(differences)
        return "smaller" if low <= 0 <= high else "larger"

    def by_mean(differences, margin):
        return "smaller" if abs(np.mean(differences)) < margin else "larger"

    def one_side(differences, margin):
        low, high = ends(differences)
        return "smaller" if high < margin else "larger" if low > margin else "open"

    def normal(differences, margin):
        half = 1.96 * np.std(differences, ddof=1) / len(differences) ** 0.5
        mean = np.mean(differences)
        if abs(mean) + half < margin:
            return "smaller"
        return "larger" if abs(mean) - half > margin else "open"

    def single(differences, margin):
        half = stats.t.ppf(0.975, len(differences) - 1) * np.std(differences, ddof=1)
        mean = np.mean(differences)
        if abs(mean) + half < margin:
            return "smaller"
        return "larger" if abs(mean) - half > margin else "open"

    given = [
        choice(call(answer, *case), ("smaller", "larger", "open"), "the result") for case in cases
    ]
    right = [truth(*case) for case in cases]
    if given == right:
        return "An interval that contains zero is not yet a small difference; a narrow one is."
    for wrong, explanation in (
        (by_zero, "you ask whether zero is inside. That a difference is small needs a margin."),
        (by_mean, "you compare the mean only. The whole interval has to lie within the margin."),
        (one_side, "a difference of -7 is not small: the margin has two sides."),
        (normal, "take Student's t, not 1.96: with so few seeds it matters."),
        (single, "divide the deviation by the root of n: the interval is that of the mean."),
    ):
        if given == [wrong(*case) for case in cases]:
            raise Wrong(explanation)
    place = next(i for i, (a, b) in enumerate(zip(given, right, strict=True)) if a != b)
    low, high = ends(cases[place][0])
    raise Wrong(
        f"with an interval of {low:.2f} to {high:.2f} and a margin of {cases[place][1]:g} your "
        f"function says {given[place]!r}, and it is {right[place]!r}."
    )


def check_4_4(answer: Any) -> str:
    from scipy import stats

    def truth(spread, effect):
        n = 2
        while stats.t.ppf(0.975, n - 1) * spread / n**0.5 >= effect:
            n += 1
        return n

    def normal(spread, effect):
        return max(2, int(np.ceil((1.96 * spread / effect) ** 2)))

    def single(spread, effect):
        return 2 if stats.t.ppf(0.975, 1) * spread < effect else 10_000

    def whole(spread, effect):
        n = 2
        while 2 * stats.t.ppf(0.975, n - 1) * spread / n**0.5 >= effect:
            n += 1
        return n

    def fixed(spread, effect):
        return max(2, int(np.ceil((stats.t.ppf(0.975, 2) * spread / effect) ** 2)))

    mistakes = (
        (normal, "1.96 is Student's t for infinitely many seeds; t depends on n, so try n by n."),
        (fixed, "t changes with n; you kept that of three seeds."),
        (whole, "the half width has to be below the effect, not the whole width."),
        (lambda s, e: truth(s, e) - 1, "you stop one short: that is the last n that is too few."),
        (lambda s, e: truth(s, e) + 1, "one fewer is enough."),
        (lambda s, e: truth(s, e) - 1 if truth(s, e) > 2 else 2, "you stop one short."),
        (single, "divide the spread by the root of n."),
    )
    cases = [(1.0, 1.0), (2.0, 1.0), (0.5, 3.0), (3.0, 2.0), (1.5, 0.5)]
    on_fresh_inputs(
        answer,
        cases,
        truth,
        0.1,
        mistakes,
        lambda s, e: f"a spread of {s:g} and an effect of {e:g} points",
    )
    return "Half the effect wants about four times the seeds."


def check_4_5(answer: Any) -> str:
    import pandas as pd

    answer = parts(answer, ("rows", "better"))
    rows = answer["rows"]
    if not isinstance(rows, pd.DataFrame):
        raise Wrong(f"'rows' is a {type(rows).__name__}; give the table from tl.ablation.run.")
    needed = [*SETTING, "design", "seed", "folds", "test_tp", "test_fp", "test_fn", "test_tn"]
    if missing := [name for name in [*needed, "test_miou"] if name not in rows]:
        raise Wrong(f"the table lacks {', '.join(missing[:3])}: give what tl.ablation.run returns.")
    if rows.design.nunique() != 2:
        raise Wrong(f"there are {rows.design.nunique()} designs in the rows; compare two.")
    if len(rows[list(SETTING)].drop_duplicates()) != 1:
        raise Wrong("the rows differ in more than the design: data, backbone or recipe.")
    values = per_seed(rows)
    for _, row in rows.iterrows():
        counts = [row[f"test_{name}"] for name in ("tp", "fp", "fn", "tn")]
        if not close(float(row.test_miou), ConfusionMatrix(*counts).scores().miou, 1e-4):
            raise Wrong(f"the MIoU of {row.design}, seed {row.seed}, is not that of its counts.")
    wide = values.pivot(index="seed", columns="design", values="value")
    names = sorted(wide)
    if wide.isna().any().any() or len(wide) < 2:
        raise Wrong("each design needs the same two seeds or more: without pairs no comparison.")
    given = choice(answer["better"], (*names, "open"), "better")
    mean, low, high = interval(wide[names[0]] - wide[names[1]])
    wanted = verdict(low, high, *names)
    span = f"{names[0]} minus {names[1]}: {100 * mean:+.1f} points, "
    span += f"95 % interval {100 * low:+.1f} to {100 * high:+.1f}"
    if given != wanted:
        if given == (names[0] if mean > 0 else names[1]):
            raise Wrong(f"you compare the means only. {span}: it contains zero, so it is open.")
        raise Wrong(f"{span}. That reads {wanted!r}, and you say {given!r}.")
    return f"{span}, from {len(wide)} seeds."
