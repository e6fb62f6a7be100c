"""What rows say, of ablations and of comparisons: pooling by seed, interval, pairs, verdict."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tlseg_lite.experiments.results import COUNTS
from tlseg_lite.metrics.confusion import ConfusionMatrix

if TYPE_CHECKING:
    import pandas as pd

SETTING = ("data", "data_version", "variant", "image_size", "backbone", "recipe")
"""Columns in which the rows of an ablation must agree to be compared."""

PROTOCOL = ("data", "training_data", "data_version", "image_size", "recipe")
"""The same of a comparison, where models may start from other weights."""

FINDINGS = {
    "the residual matters": (
        ("TransLandSeg", "TransLandSeg-2"),
        ("TransLandSeg-7", "TransLandSeg-3"),
    ),
    "outside beats inside": (
        ("TransLandSeg", "TransLandSeg-5"),
        ("TransLandSeg-8", "TransLandSeg-6"),
    ),
}
"""Table IV's paired claims: designs that should be better, and their counterparts, in order."""

MIDDLE_FINDING = "the middle does not matter much"
MIDDLES = ("TransLandSeg", "TransLandSeg-1", "TransLandSeg-2", "TransLandSeg-4", "TransLandSeg-5")
"""The designs of Table IV that differ in their middle layers only."""


def interval(values: Iterable[float], confidence: float = 0.95) -> tuple[float, float, float]:
    """Mean and Student's t interval of independent values; (mean, NaN, NaN) for a single one."""
    values = list(values)
    n = len(values)
    mean = math.fsum(values) / n if n else math.nan
    if n < 2:
        return mean, math.nan, math.nan
    # not ttest_1samp(...).confidence_interval: it warns where all values are equal, as those of
    # two models that both call everything background are
    deviation = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1))
    half = float(_half_width(deviation, n, confidence))
    return mean, mean - half, mean + half


def _half_width(deviation: float, n: int | np.ndarray, confidence: float = 0.95) -> Any:
    """Of Student's t interval of the mean of n values, from their standard deviation."""
    from scipy import stats

    return stats.t.ppf(0.5 + confidence / 2, n - 1) * deviation / np.sqrt(n)


def verdict(low: float, high: float, above: str = "ahead", below: str = "behind") -> str:
    """What an interval says of a difference: `above` zero, `below` it, or ``"open"``.

    Open is one that contains zero, and that of a single value (NaN), which has no ends.
    """
    return above if low > 0 else below if high < 0 else "open"


MOST_SEEDS = 1000
"""More are not counted by `seeds_needed`."""


def seeds_needed(difference: float, low: float, high: float, seeds: int) -> float:
    """How many seeds would give an interval of 95 % without zero, mean and spread as they are.

    The standard deviation follows from the interval, half width = t(n - 1) s / sqrt(n); the answer
    is the smallest n whose half width is below the difference.

    Args:
        difference: the mean over `seeds`.
        low, high: its 95 % interval, from `interval`.
        seeds: how many it was computed from.

    Returns:
        a whole number; NaN where there is no interval, infinity above `MOST_SEEDS`.
    """
    if math.isnan(low) or seeds < 2:
        return math.nan
    deviation = (high - low) / 2 / _half_width(1.0, seeds)
    counts = np.arange(2, MOST_SEEDS + 1)
    enough = counts[_half_width(deviation, counts) < abs(difference)]
    return float(enough[0]) if len(enough) else math.inf


def pooled_score(runs: pd.DataFrame, score: str = "miou", prefix: str = "test_") -> float:
    """A score, as a fraction, of the counts of all rows added.

    Args:
        runs: with the columns tp, fp, fn, tn, each behind `prefix`.
        score: a field of `Scores`: miou, landslide_iou, landslide_f1, precision, recall, f1, oa.
    """
    counts = runs[[f"{prefix}{name}" for name in COUNTS]].sum()
    return getattr(ConfusionMatrix(*(int(v) for v in counts)).scores(), score)


def per_seed(
    frame: pd.DataFrame, score: str = "miou", by: Sequence[str] | None = None
) -> pd.DataFrame:
    """One value for each group of rows and seed: the pixels of all folds counted together.

    A seed is left out while some of its folds are missing or diverged.

    Args:
        frame: rows as `ablation.read` or `comparison.read` give them.
        score: as in `pooled_score`.
        by: columns that tell the groups apart; None: the setting and what is compared in it,
            `SETTING` and design, or `PROTOCOL`, model and its weights.

    Returns:
        the columns of `by`, seed, value (a fraction), and of epochs, weights, adapters, trainable
        and seconds (the sum over the folds) those that `frame` has.

    Raises:
        ValueError: a group has more rows in a seed than there are folds.
    """
    import pandas as pd

    if by is None:
        ablation = "design" in frame
        by = (*SETTING, "design") if ablation else (*PROTOCOL, "model", "weights", "backbone")
    about = [*by, "seed"]
    about += [n for n in ("epochs", "weights", "adapters", "trainable") if n in frame]
    about = list(dict.fromkeys(about))
    counts = [f"test_{name}" for name in COUNTS]
    rows = []
    for _, runs in frame.groupby([*by, "seed"], sort=False, dropna=False):
        first = runs.iloc[0]
        if len(runs) > first.folds:
            raise ValueError(
                f"seed {first.seed:g} has {len(runs)} rows for {first.folds:g} folds: they are of "
                "several settings; give the rows of one, or one run under each name"
            )
        if len(runs) < first.folds or runs[counts].isna().any().any():
            continue
        row = {name: first[name] for name in about} | {"value": pooled_score(runs, score)}
        rows.append(row | ({"seconds": runs.seconds.sum()} if "seconds" in runs else {}))
    names = [*about, *(["seconds"] if "seconds" in frame else []), "value"]
    return pd.DataFrame(rows, columns=names)


def paired(
    frame: pd.DataFrame,
    setting: Sequence[str],
    names: Sequence[str],
    reference: str,
    *,
    score: str = "miou",
    confidence: float = 0.95,
) -> pd.DataFrame:
    """A row for each setting and what is compared in it: its mean, and its lead over `reference`.

    Args:
        frame: from `run` or `read`.
        setting: columns that must agree.
        names: columns that name what is compared; `reference` is a value of the first. Where
            several of its rows differ in the other ones, each is compared with its own.
        score, confidence: as in `per_seed` and `interval`.

    Returns:
        the columns of `setting` and `names`; seeds, mean, low, high; difference (to the
        reference), difference_low, difference_high, pairs (seeds of both); diverged (runs);
        epochs, weights, adapters, trainable, train_images, seconds (mean of a seed) and
        fold_seconds (of a run), in the order of the settings, best first.
    """
    import pandas as pd

    setting, names = list(setting), list(names)
    frame = frame.fillna({"backbone": "", "weights": ""})
    found = []
    for key, rows in frame.groupby(setting, sort=False, dropna=False):
        runs_of = dict(iter(rows.groupby(names, sort=False)))
        seeds_of = dict(iter(per_seed(rows, score, names).groupby(names, sort=False)))
        values = {name: seeds.set_index("seed").value for name, seeds in seeds_of.items()}
        for name in sorted(values, key=lambda name: -values[name].mean()):
            mean, low, high = interval(values[name], confidence)
            other = _reference(values, reference, name)
            pairs = [] if other is None else (values[name] - values[other]).dropna()
            middle, below, above = interval(pairs, confidence)
            runs, seeds = runs_of[name], seeds_of[name]
            first = seeds.iloc[0]
            row = dict(zip([*setting, *names], [*key, *name], strict=True))
            row |= {"seeds": len(seeds), "mean": mean, "low": low, "high": high}
            row |= {"difference": middle, "difference_low": below, "difference_high": above}
            row |= {"pairs": len(pairs), "diverged": _diverged(runs)}
            row |= {n: first.get(n) for n in ("epochs", "weights", "adapters", "trainable")}
            row |= {"train_images": runs.train_images.mean(), "seconds": seeds.seconds.mean()}
            found.append(row | {"fold_seconds": runs.seconds.mean()})
    columns = [*setting, *names, "seeds", "mean", "low", "high", "difference", "difference_low"]
    columns += ["difference_high", "pairs", "diverged", "epochs", "weights", "adapters"]
    columns += ["trainable", "train_images", "seconds", "fold_seconds"]
    return pd.DataFrame(found, columns=list(dict.fromkeys(columns)))


def _reference(values: Mapping[tuple, pd.Series], reference: str, name: tuple) -> tuple | None:
    """What `name` is compared with: the only one called `reference`, or the one of its kind."""
    known = [other for other in values if other[0] == reference]
    if name in known:
        return None
    if len(known) == 1:
        return known[0]
    return next((other for other in known if other[1:] == name[1:]), None)


def _diverged(runs: pd.DataFrame) -> int:
    return int(runs.status.str.startswith("diverged").sum()) if "status" in runs else 0


def scenes_first(frame: pd.DataFrame) -> pd.DataFrame:
    """What learning synthetic scenes before the real images adds, paired by seed.

    A row after scenes is compared with the one of the same model, seed, input size and real
    images, learned with the same recipe, that has seen no scenes.

    Args:
        frame: from `comparison.read`.

    Returns:
        data, image_size, model, images (training images that are real), without, after (means of
        the seeds of both), gain, gain_low, gain_high (95 % over the seeds), pairs; scores are
        fractions; a row for each model and number of images, ascending.
    """
    import pandas as pd

    columns = ["data", "image_size", "model", "images"]
    done = frame[(frame.status == "done") & frame.training_data.str.contains("real")]
    done = done.assign(
        own=done.training_data.str.removeprefix("synthetic+"),
        recipe=[json.dumps(json.loads(text).get("real"), sort_keys=True) for text in done.recipe],
    ).rename(columns={"train_images": "images"})
    key = ["data", "image_size", "model", "backbone", "own", "recipe"]
    first = done.training_data.str.startswith("synthetic+")
    after = per_seed(done[first], by=key)[[*key, "seed", "value"]]
    both = per_seed(done[~first], by=[*key, "images"]).merge(
        after, on=[*key, "seed"], suffixes=("", "_after")
    )
    rows = []
    for group, seeds in both.groupby(columns, sort=False):
        gain, low, high = interval(seeds.value_after - seeds.value)
        row = dict(zip(columns, group, strict=True))
        row |= {"without": seeds.value.mean(), "after": seeds.value_after.mean()}
        row |= {"gain": gain, "gain_low": low, "gain_high": high, "pairs": len(seeds)}
        rows.append(row)
    names = [*columns, "without", "after", "gain", "gain_low", "gain_high", "pairs"]
    return pd.DataFrame(rows, columns=names).sort_values(columns, kind="stable")


def contrast(
    frame: pd.DataFrame,
    better: Sequence[str],
    worse: Sequence[str],
    *,
    score: str = "miou",
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Mean of ``better[i] - worse[i]``, paired by seed, for each setting of an ablation.

    Returns:
        columns of `SETTING`, epochs, weights, difference, low, high (fractions), pairs (seeds).
    """
    import pandas as pd

    rows = []
    for _, setting in per_seed(frame, score).groupby(list(SETTING), sort=False):
        wide = setting.pivot(index="seed", columns="design", values="value")
        pairs = _differences(wide, list(better), list(worse))
        mean, low, high = interval(pairs, confidence)
        row = setting.iloc[0][[*SETTING, "epochs", "weights"]].to_dict()
        rows.append(row | {"difference": mean, "low": low, "high": high, "pairs": len(pairs)})
    names = [*SETTING, "epochs", "weights", "difference", "low", "high", "pairs"]
    return pd.DataFrame(rows, columns=names)


def _differences(wide: pd.DataFrame, better: list[str], worse: list[str]) -> list[float]:
    """For each seed that has all these designs: mean of better[i] - worse[i]."""
    if not better or not {*better, *worse} <= set(wide.columns):
        return []
    complete = wide[list(dict.fromkeys([*better, *worse]))].dropna()
    if not len(complete):
        return []
    return (complete[better].to_numpy() - complete[worse].to_numpy()).mean(1).tolist()


def findings(frame: pd.DataFrame, *, score: str = "miou", confidence: float = 0.95) -> pd.DataFrame:
    """The papers' three findings against the rows, a row for each setting and finding.

    ``holds``: the whole interval of the paired difference is above zero; ``reversed``: below;
    ``open``: it contains zero, or there are fewer than two complete seeds. The difference is the
    mean over the finding's pairs of designs that are there; ``designs`` names them. For "the
    middle does not matter much" it is the largest difference between TransLandSeg and another
    middle (in absolute value); the finding holds where all four of those intervals stay below the
    residual's effect, and is ``reversed`` where one lies above it altogether.

    Returns:
        data, weights, epochs, finding, designs, difference, low, high (fractions), pairs (seeds),
        verdict.
    """
    import pandas as pd

    rows = []
    for _, runs in frame.groupby(list(SETTING), sort=False):
        seeds = per_seed(runs, score)
        if not len(seeds):
            continue
        about = seeds.iloc[0][["data", "weights", "epochs"]].to_dict()
        wide = seeds.pivot(index="seed", columns="design", values="value")
        found = _findings_of(wide, confidence)
        rows += [about | {"finding": name} | row for name, row in found.items()]
    names = ["data", "weights", "epochs", "finding", "designs", "difference", "low", "high"]
    return pd.DataFrame(rows, columns=[*names, "pairs", "verdict"])


def _findings_of(wide: pd.DataFrame, confidence: float) -> dict[str, dict]:
    """The findings of one setting, from its values by seed and design."""

    def difference(better: Sequence[str], worse: Sequence[str]) -> dict:
        known = [pair for pair in zip(better, worse, strict=True) if set(pair) <= set(wide)]
        pairs = _differences(wide, [b for b, _ in known], [w for _, w in known])
        mean, low, high = interval(pairs, confidence)
        designs = ", ".join(f"{b} - {w}" for b, w in known)
        ends = {"low": low, "high": high, "pairs": len(pairs), "designs": designs}
        return {"difference": mean} | ends

    found = {name: difference(*designs) for name, designs in FINDINGS.items()}
    for row in found.values():
        row["verdict"] = verdict(row["low"], row["high"], "holds", "reversed")
    others = [difference((other,), MIDDLES[:1]) for other in MIDDLES[1:]]
    known = [other for other in others if other["pairs"]]
    if known:
        largest = max(known, key=lambda other: abs(other["difference"]))
        decided = len(known) == len(others)
        residual = found["the residual matters"]
        word = _middle_verdict(known, residual) if decided else "open"
        found[MIDDLE_FINDING] = largest | {"verdict": word}
    return found


def _middle_verdict(others: list[dict], residual: dict) -> str:
    if not residual["low"] > 0:
        return "open"
    furthest = [max(abs(o["low"]), abs(o["high"])) for o in others]
    if all(f < residual["low"] for f in furthest):
        return "holds"
    nearest = [max(0.0, o["low"], -o["high"]) for o in others]
    return "reversed" if any(n > residual["high"] for n in nearest) else "open"
