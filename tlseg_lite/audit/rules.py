"""Arithmetic that every row of scores obeys, and which column would have to change where it fails.

Each rule is a sentence with the row's own numbers, so that a reader can follow it by hand.
"""

from __future__ import annotations

from itertools import combinations

from tlseg_lite.audit.conventions import SHORT, Convention
from tlseg_lite.audit.recover import closed_form, fit


def _f1(iou: float) -> float:
    """The F1 of the class whose IoU this is, both in percent: F1 = 2 IoU / (1 + IoU)."""
    return 200 * iou / (100 + iou)


def broken_rules(given: dict[str, float], rounding: float) -> list[str]:
    """Sentences for what is impossible in columns given in percent; empty where no rule is broken.

    Args:
        given: columns (names of `COLUMNS`) in percent.
        rounding: half a unit of the last printed digit, percentage points.
    """
    broken = [
        f"Impossible: {name} is {value:g} %, and a score lies between 0 and 100 %."
        for name, value in given.items()
        if not 0 <= value <= 100
    ]
    if broken:
        return broken
    slack = 4 * rounding  # each number is off by up to two roundings; two meet in a rule
    get = given.get
    p, r, f1, miou = get("precision"), get("recall"), get("f1"), get("miou")
    iou, slide_f1 = get("landslide_iou"), get("landslide_f1")
    if f1 is not None and p is not None and r is not None and p + r > 0:
        harmonic = 2 * p * r / (p + r)
        if f1 > harmonic + slack and (iou is None or abs(f1 - _f1(iou)) > slack):
            broken.append(
                f"F1 {f1:g} is above {harmonic:.2f}, the harmonic mean of P {p:g} and REC {r:g}: "
                "no F1 exceeds it (the mean of the two class F1s is at most as high)."
            )
    if f1 is not None and miou is not None:
        low, high = (_f1(max(2 * miou - 100, 0)) + _f1(min(2 * miou, 100))) / 2, _f1(miou)
        if f1 < low - slack:
            broken.append(
                f"F1 {f1:g} is too low for MIoU {miou:g} if it covers both classes: then the mean "
                f"of the two class F1s lies between {low:.2f} and {high:.2f}, and the harmonic "
                "mean of macro P and REC is never below that."
            )
    for name, value in (("landslide F1", slide_f1), ("F1", f1)):
        if iou is not None and value is not None and slack < iou - value:
            broken.append(
                f"Landslide IoU {iou:g} is above {name} {value:g}: of one class, F1 = 2 IoU / "
                f"(1 + IoU) is never below IoU; here it would be {_f1(iou):.2f}."
            )
    both = iou is not None and slide_f1 is not None
    if both and iou <= slide_f1 + slack and abs(slide_f1 - _f1(iou)) > slack:
        broken.append(
            f"Landslide F1 {slide_f1:g} does not belong to landslide IoU {iou:g}, whose F1 is "
            f"{_f1(iou):.2f}."
        )
    broken += _iou_rules(given, slack)
    return broken


def _iou_rules(given: dict[str, float], slack: float) -> list[str]:
    miou, iou, oa = given.get("miou"), given.get("landslide_iou"), given.get("oa")
    if miou is None or iou is None:
        return []
    ground = 2 * miou - iou
    if not -slack <= ground <= 100 + slack:
        return [
            f"MIoU {miou:g} and landslide IoU {iou:g} leave {ground:.2f} for the background's "
            "IoU: no landslide share gives that."
        ]
    if oa is None:
        return []
    closed = closed_form(given)
    if closed is None:
        return []
    # the two IoUs alone fix the errors: TP + TN + e = e (1 + IoU1 / (1 - IoU1) + ...) = 1
    per_error = 1 + iou / (100 - iou) + ground / (100 - ground)
    needed = 100 - 100 / per_error
    # moving the background IoU by its rounding moves the OA by about as much
    if abs(oa - needed) <= 3 * slack:
        return []
    high = "high" if oa > needed else "low"
    return [
        f"OA {oa:g} is too {high}: landslide IoU {iou:g} and background IoU {ground:.2f} "
        f"(2 MIoU - IoU) need an OA of {needed:.2f}."
    ]


def suspect_columns(
    given: dict[str, float], rounding: float, conventions: list[Convention]
) -> list[str]:
    """Which columns, left out, let the rest agree; one sentence for each, at most two columns."""
    if len(given) <= 3:
        return []
    likely = [convention for convention in conventions if convention.iou == "union"]
    for count in (1, 2):
        lines = []
        for dropped in combinations(given, count):
            rest = {name: value for name, value in given.items() if name not in dropped}
            if len(rest) < 3:
                continue
            for convention in likely:
                found = fit(rest, rounding, convention)
                if found.fits and found.rank == 3 and found.landslide_share <= 0.5:
                    scores = found.scores()
                    would = " and ".join(
                        f"{SHORT[d]} would be {100 * convention.value(d, scores):.2f}"
                        for d in dropped
                    )
                    left = "" if len(rest) > 3 else " (three numbers, which nothing checks)"
                    lines.append(
                        f"Without {' and '.join(SHORT[d] for d in dropped)} the rest agrees{left}: "
                        f"P and REC {convention.average}, F1 {convention.f1.replace('_', ' ')}, "
                        f"landslide share {100 * found.landslide_share:.2f} %; {would}."
                    )
                    break
        if lines:
            return lines
    what = "pair of columns" if len(given) > 4 else "single column"
    return [f"No {what} explains it: without it the rest contradicts itself as well."]
