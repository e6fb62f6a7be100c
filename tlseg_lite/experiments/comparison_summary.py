"""What the rows of a comparison say: reading the file, means and intervals over seeds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tlseg_lite.experiments.ablation_summary import interval
from tlseg_lite.experiments.results import COUNTS, SCORES, Rows
from tlseg_lite.metrics.confusion import ConfusionMatrix

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    *("data", "model", "diet", "seed", "fold", "folds", "train_images", "test_images"),
    *(f"test_{name}" for name in (*SCORES, *COUNTS)),
    *("val_miou", "best_epoch", "trainable", "total", "seconds"),
    *("image_size", "weights", "backbone", "recipe", "data_version", "data_source", "test_ids"),
    *("commit", "version", "torch", "device", "finished"),
)
"""Of the CSV file. Scores are fractions; test_tp to test_tn count pixels; seconds: training."""


def read(path: str | Path) -> pd.DataFrame:
    """The rows of a file that `run` wrote; no rows if it is not there.

    Raises:
        ValueError: the file has other columns, or a damaged line.
    """
    import pandas as pd

    frame = pd.DataFrame(Rows(path, COLUMNS).read(), columns=list(COLUMNS))
    numbers = [c for c in COLUMNS if c.startswith(("test_", "val_")) and c != "test_ids"]
    numbers += ["seed", "fold", "folds", "train_images", "best_epoch", "trainable", "total"]
    for column in [*numbers, "seconds", "image_size"]:
        frame[column] = pd.to_numeric(frame[column], errors="coerce")
    return frame


def of_one_start(frame: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The rows of models that start from random weights, or from one and the same set of SAM's.

    Scores from two sets of weights are not to be compared. Of several in the file it is the set
    with the most rows.

    Args:
        frame: from `run` or `read`.

    Returns:
        the rows; the fingerprint of the set, empty where all start from random weights.
    """
    backbone = frame.backbone.fillna("")
    rows_of = backbone[backbone != ""].value_counts()
    chosen = rows_of.index[0] if len(rows_of) else ""
    return frame[backbone.isin(["", chosen])], chosen


def pooled(runs: pd.DataFrame, score: str = "miou") -> dict[int, float]:
    """A score of one model for each seed, as a fraction; a seed with missing folds is left out.

    Args:
        runs: rows of `read` of one model and setting; the pixels of all folds of a seed are
            counted together.
        score: a field of `Scores`.
    """
    counts = [f"test_{name}" for name in COUNTS]
    return {
        int(seed): getattr(ConfusionMatrix(*(int(v) for v in folds[counts].sum())).scores(), score)
        for seed, folds in runs.groupby("seed")
        if len(folds) == folds.folds.iloc[0]
    }


def summary(frame: pd.DataFrame, *, score: str = "miou", confidence: float = 0.95) -> pd.DataFrame:
    """A row for each dataset, diet and model, best first.

    The pixels of all folds of a seed are counted together; a seed with missing folds is left out.

    Args:
        frame: from `run` or `read`.
        score: a field of `Scores`: miou, landslide_iou, landslide_f1, precision, recall, f1, oa.
        confidence: of the t intervals over seeds.

    Returns:
        data, diet, model, weights, seeds, mean, low, high (fractions), trainable, seconds (of
        training, mean of a fold).
    """
    import pandas as pd

    group = ["data", "data_version", "diet", "model", "weights", "backbone", "recipe"]
    found = []
    for key, runs in frame.groupby(group, sort=False):
        about = dict(zip(group, key, strict=True))
        values = list(pooled(runs, score).values())
        if not values:
            continue
        mean, low, high = interval(values, confidence)
        found.append(
            {name: about[name] for name in ("data", "diet", "model", "weights")}
            | {"seeds": len(values), "mean": mean, "low": low, "high": high}
            | {"trainable": int(runs.trainable.iloc[0]), "seconds": runs.seconds.mean()}
        )
    names = ["data", "diet", "model", "weights", "seeds", "mean", "low", "high"]
    table = pd.DataFrame(found, columns=[*names, "trainable", "seconds"])
    return table.sort_values(["data", "diet", "mean"], ascending=[True, True, False], kind="stable")
