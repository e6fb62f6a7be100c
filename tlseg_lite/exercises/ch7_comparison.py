"""Checks of chapter 7: a verdict from counts, the time of a step, comparable rows, curves."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tlseg_lite.exercises.verdict import (
    Wrong,
    choice,
    near,
    number,
    numbers,
    on_fresh_inputs,
    own_rows,
    parts,
    shown,
    side_of_zero,
    supported,
)
from tlseg_lite.experiments.results import COUNTS
from tlseg_lite.experiments.summary import interval, pooled_score

if TYPE_CHECKING:
    import pandas as pd

WORDS = ("ahead", "behind", "open")
RUNS = (  # made up, in thousands of pixels: model, seed, fold, counts; fold 1 has few landslides
    ("A", 0, 0, 145, 36, 75, 744),
    ("A", 0, 1, 16, 10, 14, 960),
    ("A", 1, 0, 173, 43, 47, 737),
    ("A", 1, 1, 19, 11, 11, 959),
    ("A", 2, 0, 160, 40, 60, 740),
    ("A", 2, 1, 17, 10, 13, 960),
    ("B", 0, 0, 135, 38, 85, 742),
    ("B", 0, 1, 19, 5, 11, 965),
    ("B", 1, 0, 163, 46, 57, 734),
    ("B", 1, 1, 22, 6, 8, 964),
    ("B", 2, 0, 148, 42, 72, 738),
    ("B", 2, 1, 20, 6, 10, 964),
)


def given_7_1() -> Any:
    """Pixel counts (thousands) of two models, three seeds, two folds."""
    import pandas as pd

    return pd.DataFrame(RUNS, columns=["model", "seed", "fold", *COUNTS])


def _differences(score: str, by: tuple[str, ...] = ("seed",)) -> pd.Series:
    """A minus B by seed, in points; of several groups in a seed the mean."""
    import pandas as pd

    groups = given_7_1().groupby(["model", *by])
    values = pd.Series({key: pooled_score(runs, score, prefix="") for key, runs in groups})
    return 100 * (values["A"] - values["B"]).groupby(level=0).mean()


def check_7_1(answer: Any) -> str:
    answer = parts(answer, ("difference", "verdict"))
    claim = choice(answer["verdict"], WORDS, "verdict")
    mean, low, high = interval(_differences("miou"))
    folds = interval(_differences("miou", ("seed", "fold")))
    mistakes = (
        (folds[0], "this is the mean of the folds' MIoUs. Add the counts of the folds first."),
        (-mean, "this is B minus A."),
        (interval(_differences("landslide_iou"))[0], "this is the landslide's IoU, not MIoU."),
        (3 * mean, "this is the sum over the seeds; give their mean."),
    )
    near(answer["difference"], mean, 0.01, mistakes, "difference")
    span = f"95 % interval {low:+.2f} to {high:+.2f}"
    if claim == "open":
        raise Wrong(
            f"verdict 'open': the paired {span} does not contain zero. Subtract within each "
            "seed first; the spread of the models' own scores cancels."
        )
    supported(claim, "verdict", low, high, WORDS, f"the {span} of A minus B")
    other = side_of_zero(*folds[1:], WORDS)
    return f"{span}. The mean of the folds' MIoUs would have said {other!r}."


def check_7_2(answer: Any) -> str:
    import tlseg_lite as tl

    answer = parts(answer, ("predicted", "share", "adapters", "everything", "ratio"))
    predicted = number(answer["predicted"], "predicted")
    counts = tl.model.budget("sam_mini", tl.DESIGNS["TransLandSeg"])
    share = counts.trainable / counts.total
    mistakes = (
        (counts.adapters / counts.total, "the mask decoder trains, too."),
        (counts.decoder / counts.total, "the adapters train, too."),
        (counts.trainable / (counts.total - counts.trainable), "divide by all parameters."),
    )
    near(answer["share"], share, 0.002, mistakes, "share")
    seconds = {name: numbers(answer[name], None, name) for name in ("adapters", "everything")}
    for name, values in seconds.items():
        if len(values) < 3 or min(values) <= 0:
            raise Wrong(f"{name!r} should be the seconds of three steps or more, all above zero.")
    a, b = (float(np.median(values)) for values in seconds.values())
    mistakes = (
        (b / a, "this is upside down: TransLandSeg's seconds are to be divided."),
        (a - b, "this is a difference of seconds; divide."),
        (np.mean(seconds["adapters"]) / np.mean(seconds["everything"]), "take the medians."),
    )
    near(answer["ratio"], a / b, 0.01 * a / b, mistakes, "ratio")
    return (
        f"{100 * share:.0f} % of the weights take {100 * a / b:.0f} % of the time; you guessed "
        f"{100 * predicted:.0f} %."
    )


def _pairs_of_rows() -> list[tuple[dict, dict]]:
    """Rows with one, several or no differences in what has to be the same."""
    stage = {"epochs": 30, "learning_rate": 0.0005, "augment": True}
    base = {
        "data": "bijie-samples",
        "data_version": "4d80b191552e",
        "model": "TransLandSeg",
        "training_data": "real",
        "seed": 0,
        "fold": 2,
        "image_size": 256,
        "recipe": json.dumps({"real": stage}),
        "test_miou": 0.74,
    }
    turned = json.dumps({"real": dict(reversed(stage.items()))}, separators=(",", ":"))
    slower = json.dumps({"real": stage | {"learning_rate": 0.001}})
    scenes = json.dumps({"real": stage, "scenes": stage | {"epochs": 8}})
    changes = (
        {"model": "unet", "test_miou": 0.61},
        {"model": "unet", "seed": 1, "fold": 0},
        {"model": "unet", "recipe": turned},
        {"model": "unet", "recipe": slower},
        {"model": "unet", "image_size": 128},
        {"data_version": "0011aabbccdd"},
        {"training_data": "synthetic+real", "data_version": "4d80b191552e+77", "recipe": scenes},
        {"data": "landslide4sense-samples", "data_version": "99aa", "model": "ccnet"},
        {"training_data": "real-5"},
    )
    return [(dict(base), base | change) for change in changes]


def check_7_3(answer: Any) -> str:
    plain = ("data", "data_version", "training_data", "image_size")

    def differing(a, b, names):
        return {name for name in names if a[name] != b[name]}

    def truth(a, b, *further):
        recipes = json.loads(a["recipe"]) != json.loads(b["recipe"])
        return differing(a, b, (*plain, *further)) | ({"recipe"} if recipes else set())

    mistakes = (
        (lambda a, b: differing(a, b, (*plain, "recipe")),
         "you compare the recipes as texts. Another order is still the same recipe."),
        (lambda a, b: truth(a, b, *(name for name in a if name != "recipe")),
         "model, score, seed and fold may differ: they are compared or paired."),
        (lambda a, b: truth(a, b, "model"), "the model may differ: it is what is compared."),
        (lambda a, b: truth(a, b, "seed", "fold"),
         "seed and fold may differ: runs are paired or averaged over them."),
        (lambda a, b: truth(a, b) - {"training_data"},
         "'real-5' and 'real' are not the same: five images against all."),
    )  # fmt: skip

    def names_in(result):
        if not isinstance(result, (list, tuple, set)) or any(
            not isinstance(name, str) for name in result
        ):
            raise Wrong(f"your function gives {shown(result)}; a list of names is wanted.")
        return set(result)

    def words(a, b):
        return f"two rows that differ in {', '.join(n for n in a if a[n] != b[n])}"

    on_fresh_inputs(answer, _pairs_of_rows(), truth, 0, mistakes, words, names_in)
    return "An empty list: the rows may be compared. Seed and fold are for pairing."


def check_7_4(answer: Any) -> str:
    def last_worse(images, a, b):
        """A minus B, and the last place where A is worse, or None."""
        d = np.asarray(a, float) - np.asarray(b, float)
        worse = np.flatnonzero(d < 0)
        return d, (worse[-1] if len(worse) else None)

    def crossing(images, d, i):
        """Where a straight line between the points i and i + 1 is zero."""
        return images[i] + d[i] / (d[i] - d[i + 1]) * (images[i + 1] - images[i])

    def truth(images, a, b):
        d, i = last_worse(images, a, b)
        if i is None:
            return float(images[0])
        return math.inf if i == len(images) - 1 else crossing(images, d, i)

    def no_line(images, a, b):
        found = truth(images, a, b)
        return found if math.isinf(found) else float(min(n for n in images if n >= found - 1e-9))

    def first(images, a, b):
        d, _ = last_worse(images, a, b)
        if d[0] >= 0 or d.max() < 0:
            return float(images[0]) if d[0] >= 0 else math.inf
        return crossing(images, d, int((d >= 0).argmax()) - 1)

    def halfway(images, a, b):
        _, i = last_worse(images, a, b)
        inside = i is not None and i < len(images) - 1
        return (images[i] + images[i + 1]) / 2 if inside else truth(images, a, b)

    cases = [
        ([5, 10, 13], [60.0, 70.0, 74.0], [64.0, 68.0, 69.0]),
        ([5, 10, 13], [66.0, 70.0, 74.0], [64.0, 68.0, 69.0]),
        ([5, 10, 13], [60.0, 61.0, 62.0], [64.0, 68.0, 69.0]),
        ([5, 10, 20, 40], [60.0, 66.0, 67.0, 75.0], [62.0, 64.0, 70.0, 71.0]),
        ([5, 10, 20], [60.0, 66.0, 67.0], [62.0, 64.0, 70.0]),
        ([2, 4, 8, 16], [50.0, 55.0, 60.0, 70.0], [52.0, 58.0, 61.0, 64.0]),
    ]

    def words(images, a, b):
        return f"{images} images, A {a}, B {b}"

    mistakes = (
        (no_line, "between two points the curves are straight: interpolate."),
        (first, "this is the first crossing. B may come back: take the last one."),
        (lambda n, a, b: truth(n, b, a), "this is where B becomes as good as A."),
        (halfway, "the lines need not cross in the middle: weigh by the differences."),
    )
    on_fresh_inputs(answer, cases, truth, 1e-6, mistakes, words)
    return "With intervals at the points, the crossing would have one, too."


def check_7_5(answer: Any) -> str:
    import tlseg_lite as tl

    answer = parts(answer, ("rows", "model", "verdict"))
    rows, own = answer["rows"], answer["model"]
    same, what = (
        ("data", "data_version", "training_data", "image_size", "recipe"),
        "data, training data, size or recipe",
    )
    names = own_rows(rows, "model", "tl.comparison.run", tl.comparison.COLUMNS, same, what)
    if not isinstance(own, str) or own not in names:
        raise Wrong(f"your model {shown(own)} is not in the rows, which have {', '.join(names)}.")
    if own in tl.comparison.models():
        raise Wrong(f"{own!r} is one of the package's own; add a model of yours, by a new name.")
    other = next(name for name in names if name != own)
    mine, theirs = (tl.comparison.pooled(rows[rows.model == name]) for name in (own, other))
    seeds = sorted(mine.keys() & theirs.keys())
    if len(seeds) < 2:
        raise Wrong("both models need the same two seeds or more, with all their folds: no pairs.")
    mean, low, high = interval([mine[s] - theirs[s] for s in seeds])
    span = f"{own} minus {other}: {100 * mean:+.1f} points, "
    span += f"95 % interval {100 * low:+.1f} to {100 * high:+.1f}"
    supported(answer["verdict"], "verdict", low, high, WORDS, span)
    return f"{span}, from {len(seeds)} seeds."
