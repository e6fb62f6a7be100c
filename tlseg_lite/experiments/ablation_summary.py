"""What the rows of an ablation say: means, paired differences, and the papers' findings."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tlseg_lite.experiments.results import COUNTS

if TYPE_CHECKING:
    import pandas as pd

SETTING = ("data", "data_version", "variant", "image_size", "backbone", "recipe")
"""Columns that must agree for rows to be compared."""

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

MIDDLES = ("TransLandSeg", "TransLandSeg-1", "TransLandSeg-2", "TransLandSeg-4", "TransLandSeg-5")
"""The designs of Table IV that differ in their middle layers only."""


def read(path: str | Path) -> pd.DataFrame:
    """The rows of a file that `run` wrote, without a torn last line; no rows if it is not there.

    Raises:
        ValueError: the file has other columns, or a damaged line.
    """
    import pandas as pd

    from tlseg_lite.experiments.ablation import COLUMNS
    from tlseg_lite.experiments.results import Rows

    frame = pd.DataFrame(Rows(path, COLUMNS).read(), columns=list(COLUMNS))
    numbers = [c for c in COLUMNS if c.startswith(("test_", "val_")) and not c.endswith("ids")]
    numbers += ["seed", "fold", "folds", "best_epoch", "epochs", "train_images", "image_size"]
    for column in [*numbers, "adapters", "trainable", "total", "seconds"]:
        frame[column] = pd.to_numeric(frame[column], errors="coerce")
    return frame


def per_seed(frame: pd.DataFrame, score: str = "miou") -> pd.DataFrame:
    """One value for each setting, design and seed: the pixels of all folds counted together.

    A seed is left out while some of its folds are missing or diverged.

    Args:
        frame: from `run` or `read`.
        score: a field of `Scores`: miou, landslide_iou, landslide_f1, precision, recall, f1, oa.

    Returns:
        columns of `SETTING`, epochs, weights, design, seed, adapters, trainable, seconds, value
        (a fraction).
    """
    import pandas as pd

    from tlseg_lite.metrics.confusion import ConfusionMatrix

    counts = [f"test_{name}" for name in COUNTS]
    rows = []
    for _, runs in frame.groupby([*SETTING, "design", "seed"], sort=False):
        if len(runs) < runs.folds.iloc[0] or runs[counts].isna().any().any():
            continue
        first = runs.iloc[0]
        scores = ConfusionMatrix(*(int(v) for v in runs[counts].sum())).scores()
        rows.append(
            {
                **{name: first[name] for name in SETTING},
                **{name: first[name] for name in ("epochs", "weights", "design", "seed")},
                **{name: first[name] for name in ("adapters", "trainable")},
                "seconds": runs.seconds.sum(),
                "value": getattr(scores, score),
            }
        )
    names = [*SETTING, "epochs", "weights", "design", "seed", "adapters", "trainable", "seconds"]
    return pd.DataFrame(rows, columns=[*names, "value"])


def interval(values: Iterable[float], confidence: float = 0.95) -> tuple[float, float, float]:
    """Mean and Student's t interval of independent values; (mean, NaN, NaN) for a single one."""
    values = list(values)
    n = len(values)
    mean = math.fsum(values) / n if n else math.nan
    if n < 2:
        return mean, math.nan, math.nan
    from scipy import stats

    deviation = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1))
    half = float(stats.t.ppf(0.5 + confidence / 2, n - 1)) * deviation / math.sqrt(n)
    return mean, mean - half, mean + half


def summary(
    frame: pd.DataFrame,
    *,
    score: str = "miou",
    reference: str = "TransLandSeg",
    confidence: float = 0.95,
) -> pd.DataFrame:
    """A row for each setting and design: mean over seeds, and the difference from `reference`.

    Args:
        frame: from `run` or `read`.
        score: of the test images, as in `per_seed`.
        reference: the design that the others are held against, paired by seed.
        confidence: of the t intervals.

    Returns:
        data, weights, epochs, design, seeds, mean, low, high, difference, difference_low,
        difference_high, pairs, diverged, adapters, trainable, seconds (mean of a seed), ordered
        by setting, best first. Scores and differences are fractions.
    """
    import pandas as pd

    values = per_seed(frame, score)
    rows = []
    for key, setting in values.groupby(list(SETTING), sort=False):
        wide = setting.pivot(index="seed", columns="design", values="value")
        same = (frame[list(SETTING)] == list(key)).all(axis=1)
        ordered = sorted(wide, key=lambda name: -wide[name].mean())
        for design in ordered:
            runs = setting[setting.design == design]
            mean, low, high = interval(wide[design].dropna(), confidence)
            row = {
                "data": key[0],
                "weights": runs.weights.iloc[0],
                "epochs": runs.epochs.iloc[0],
                "design": design,
                "seeds": len(runs),
                "mean": mean,
                "low": low,
                "high": high,
            }
            pairs = _differences(wide, (design,), (reference,))
            if design == reference:
                pairs = []
            middle, below, above = interval(pairs, confidence)
            failed = frame[same & (frame.design == design)].status.str.startswith("diverged")
            row |= {
                "difference": middle,
                "difference_low": below,
                "difference_high": above,
                "pairs": len(pairs),
                "diverged": int(failed.sum()),
                "adapters": int(runs.adapters.iloc[0]),
                "trainable": int(runs.trainable.iloc[0]),
                "seconds": runs.seconds.mean(),
            }
            rows.append(row)
    names = ("data", "weights", "epochs", "design", "seeds", "mean", "low", "high", "difference")
    names += ("difference_low", "difference_high", "pairs", "diverged", "adapters", "trainable")
    return pd.DataFrame(rows, columns=[*names, "seconds"])


def _differences(wide, better: Sequence[str], worse: Sequence[str]) -> list[float]:
    """For each seed that has all these designs: mean of better[i] - worse[i]."""
    if not better or not {*better, *worse} <= set(wide.columns):
        return []
    complete = wide[list(dict.fromkeys([*better, *worse]))].dropna()
    if not len(complete):
        return []
    return (complete[list(better)].to_numpy() - complete[list(worse)].to_numpy()).mean(1).tolist()


def contrast(
    frame: pd.DataFrame,
    better: Sequence[str],
    worse: Sequence[str],
    *,
    score: str = "miou",
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Mean of ``better[i] - worse[i]``, paired by seed, for each setting in `frame`.

    Returns:
        columns of `SETTING`, epochs, weights, difference, low, high (fractions), pairs (seeds).
    """
    import pandas as pd

    values = per_seed(frame, score)
    rows = []
    for _, setting in values.groupby(list(SETTING), sort=False):
        wide = setting.pivot(index="seed", columns="design", values="value")
        pairs = _differences(wide, better, worse)
        mean, low, high = interval(pairs, confidence)
        first = setting.iloc[0]
        rows.append(
            {
                **{name: first[name] for name in (*SETTING, "epochs", "weights")},
                "difference": mean,
                "low": low,
                "high": high,
                "pairs": len(pairs),
            }
        )
    names = [*SETTING, "epochs", "weights", "difference", "low", "high", "pairs"]
    return pd.DataFrame(rows, columns=names)


def findings(frame: pd.DataFrame, *, score: str = "miou", confidence: float = 0.95) -> pd.DataFrame:
    """The papers' three findings held against the rows, a row for each setting and finding.

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
    for key, setting in per_seed(frame, score).groupby(list(SETTING), sort=False):
        runs = frame[(frame[list(SETTING)] == list(key)).all(axis=1)]
        about = setting.iloc[0][["data", "weights", "epochs"]].to_dict()
        there = set(setting.design)

        def difference(better, worse, runs=runs, there=there):
            known = [p for p in zip(better, worse, strict=True) if set(p) <= there]
            table = contrast(
                runs,
                [b for b, _ in known],
                [w for _, w in known],
                score=score,
                confidence=confidence,
            )
            names = ", ".join(f"{b} - {w}" for b, w in known)
            return table.iloc[0][["difference", "low", "high", "pairs"]].to_dict() | {
                "designs": names
            }

        told = {name: difference(*designs) for name, designs in FINDINGS.items()}
        for name, row in told.items():
            rows.append({**about, "finding": name, **row, "verdict": _sign(row)})
        others = [difference((other,), MIDDLES[:1]) for other in MIDDLES[1:]]
        known = [other for other in others if other["pairs"]]
        if known:
            largest = max(known, key=lambda other: abs(other["difference"]))
            verdict = _middle_verdict(known, told["the residual matters"])
            verdict = verdict if len(known) == len(others) else "open"
            rows.append(
                {**about, "finding": "the middle does not matter much", **largest}
                | {"verdict": verdict}
            )
    names = ["data", "weights", "epochs", "finding", "designs", "difference", "low", "high"]
    return pd.DataFrame(rows, columns=[*names, "pairs", "verdict"])


def _sign(row: dict) -> str:
    if row["low"] > 0:
        return "holds"
    return "reversed" if row["high"] < 0 else "open"


def _middle_verdict(others: list[dict], residual: dict) -> str:
    if not residual["low"] > 0:
        return "open"
    furthest = [max(abs(o["low"]), abs(o["high"])) for o in others]
    if all(f < residual["low"] for f in furthest):
        return "holds"
    nearest = [max(0.0, o["low"], -o["high"]) for o in others]
    return "reversed" if any(n > residual["high"] for n in nearest) else "open"
