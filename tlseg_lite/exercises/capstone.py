"""Checks of the capstone's milestones: a split that does not leak, the area, an honest report."""

from __future__ import annotations

from typing import Any

import numpy as np

from tlseg_lite.exercises.verdict import Wrong, close, near, number, parts, supported
from tlseg_lite.metrics.confusion import ConfusionMatrix

PARTS = ("train", "val", "test")
SIDE = 12


def given_C_1() -> Any:
    """Tiles of one large image, cut without gaps: id, row and column, in no useful order."""
    import pandas as pd

    tiles = pd.DataFrame(
        [
            {"id": f"tile-{row:02d}-{column:02d}", "row": row, "column": column}
            for row in range(SIDE)
            for column in range(SIDE)
        ]
    )
    return tiles.sample(frac=1, random_state=2).reset_index(drop=True)


def check_C_1(answer: Any) -> str:
    answer = parts(answer, PARTS)
    table = given_C_1()
    place = {t.id: (t.row, t.column) for t in table.itertuples()}
    chosen = {}
    for name in PARTS:
        ids = list(answer[name]) if hasattr(answer[name], "__iter__") else None
        if ids is None or isinstance(answer[name], str):
            raise Wrong(f"{name} should be a list of ids.")
        if unknown := [i for i in ids if not isinstance(i, str) or i not in place]:
            raise Wrong(f"{name} holds {unknown[0]!r}, which is no id of the table.")
        if len(set(ids)) < len(ids):
            raise Wrong(f"{name} holds an id twice.")
        chosen[name] = ids
    for a, b in (("train", "val"), ("train", "test"), ("val", "test")):
        if both := set(chosen[a]) & set(chosen[b]):
            raise Wrong(f"{len(both)} tiles are in {a} and in {b}; the parts share no tile.")
    for name, least in (("train", 60), ("val", 12), ("test", 18)):
        if len(chosen[name]) < least:
            raise Wrong(f"{name} has {len(chosen[name])} of the 144 tiles; {least} at least.")

    def touching(name, others):
        beside = np.array([place[i] for other in others for i in chosen[other]])
        return sum(bool((np.abs(beside - place[i]).max(1) == 1).any()) for i in chosen[name])

    if leaks := touching("test", ("train", "val")):
        how = "a random split does that. Cut the area in blocks" if leaks > 15 else "leave a gap"
        raise Wrong(
            f"{leaks} of {len(chosen['test'])} test tiles touch a tile of training or validation "
            f"(corners count): a landslide on the border is in both parts; {how}, and drop the "
            "row of tiles between."
        )
    if leaks := touching("val", ("train",)):
        raise Wrong(
            f"{leaks} of {len(chosen['val'])} validation tiles touch a training tile: the epoch "
            "would be chosen on ground that was trained on."
        )
    used = sum(map(len, chosen.values()))
    return f"{used} of 144 tiles are used; the other {144 - used} are the price of honesty."


def check_C_2(answer: Any) -> str:
    mapped, precision, recall = 3.2, 0.70, 0.56
    truth = mapped * precision / recall
    f1 = 2 * precision * recall / (precision + recall)
    mistakes = (
        (mapped, "this is the mapped area. It holds false alarms, and lacks what was missed."),
        (mapped * precision, "this is the part of the map that is right; add what was missed."),
        (mapped / recall, "the false alarms are still in it: take them off first."),
        (mapped * recall / precision, "upside down: false alarms take away, missed ones add."),
        (mapped * recall, "recall is the share of the true area that was found: divide by it."),
        (mapped / precision, "false alarms make the map too large: multiply by the precision."),
        (mapped * f1, "F1 mixes two errors that pull in opposite directions."),
        (mapped * precision * recall, "divide by the recall."),
    )
    near(answer, truth, 0.02, mistakes, "the area")
    return "A map that misses more than it invents shows too small an area."


def check_C_3(answer: Any) -> str:
    from tlseg_lite.metrics.intervals import bootstrap, compare

    names = ("model", "baseline", "landslide_iou", "low", "high", "claim")
    answer = parts(answer, names)
    counted = {}
    for name in ("model", "baseline"):
        rows = answer[name]
        if not isinstance(rows, (list, tuple)) or len(rows) < 6:
            raise Wrong(f"{name} should be a list with a confusion matrix for each of 6 or more "
                        "images: an interval needs images.")  # fmt: skip
        try:
            matrices = [
                row if isinstance(row, ConfusionMatrix) else ConfusionMatrix(*row) for row in rows
            ]
            counted[name] = [ConfusionMatrix(*matrix.counts()) for matrix in matrices]
            sizes = [sum(matrix.counts()) for matrix in counted[name]]
        except (TypeError, ValueError) as error:
            raise Wrong(f"{name} holds something that is no confusion matrix: {error}") from error
        if min(sizes) <= 1.5:
            raise Wrong(f"{name} holds fractions; count pixels, so that images add up.")
    try:
        difference = compare(counted["baseline"], counted["model"], "landslide_iou", repeats=4000)
    except ValueError as error:
        raise Wrong(f"the two models were not scored on the same images: {error}.") from error
    total = sum(counted["model"]).scores()
    each = [matrix.scores().landslide_iou for matrix in counted["model"]]
    mistakes = (
        (float(np.mean(each)), "this is the mean over the images; add up the counts first."),
        (total.landslide_f1, "this is F1."),
        (total.miou, "this is MIoU: half of it is the background's."),
        (total.oa, "this is OA, which a map without landslides has, too."),
        (max(each), "this is your best image."),
    )
    near(answer["landslide_iou"], total.landslide_iou, 0.002, mistakes, "landslide_iou")
    wanted = bootstrap(counted["model"], "landslide_iou", repeats=4000)
    low, high = number(answer["low"], "low"), number(answer["high"], "high")
    room = 0.12 * (wanted.high - wanted.low) + 0.002
    if not (close(low, wanted.low, room) and close(high, wanted.high, room)):
        if close(low, difference.low, room) and close(high, difference.high, room):
            raise Wrong("low and high are those of the difference; asked is the model's interval.")
        raise Wrong(
            f"the interval {low:.2f} to {high:.2f} is not that of drawing these "
            f"{len(each)} images; tl.statistics.bootstrap gives it."
        )
    span = f"model minus baseline {100 * difference.difference:+.1f} points, "
    span += f"95 % interval {100 * difference.low:+.1f} to {100 * difference.high:+.1f}"
    words = ("better", "worse", "open")
    supported(answer["claim"], "claim", difference.low, difference.high, words, span)
    return f"{span}, {len(each)} images."
