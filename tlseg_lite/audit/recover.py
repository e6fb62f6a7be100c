"""From the numbers of a results table back to the confusion matrix behind them.

A table prints up to six scores, but a confusion matrix of fractions has only three degrees of
freedom (TP + FP + FN + TN = 1). So the scores of one row are not independent: three of them give
the matrix, the others must agree. ``recover_confusion`` finds the matrix by least squares and
how well the row agrees with itself. With e = 1 - OA and IoU0 = 2 MIoU - IoU1 there is even a closed
form, TP = e IoU1 / (1 - IoU1) and TN = e IoU0 / (1 - IoU0); it is the start of the fit, and how
far its TP + TN + e is from 1 is the row's ``closure``.
"""

from __future__ import annotations

import math

import numpy as np

from tlseg_lite.audit.conventions import Convention, Recovered, UnderdeterminedError, as_percent
from tlseg_lite.metrics.confusion import ConfusionMatrix


def recover_confusion(
    precision: float | None = None,
    recall: float | None = None,
    oa: float | None = None,
    miou: float | None = None,
    landslide_iou: float | None = None,
    f1: float | None = None,
    *,
    convention: Convention | None = None,
    decimals: int | None = None,
    **others: float | None,
) -> Recovered:
    """The normalised confusion matrix whose scores are nearest to the printed ones.

    Args:
        precision, recall, oa, miou, landslide_iou, f1: the row, as printed: percent, or fractions
            where no value exceeds 1. None or NaN: the table does not have it.
        convention: what P, REC, F1 and IoU mean; by default as in the TransLandSeg paper (macro
            averages, their harmonic mean, TP / (TP + FP + FN)).
        decimals: digits after the point that a value in percent was printed with; by default as
            many as the values show.
        others: ``background_iou``, ``landslide_precision``, ``landslide_recall``, ``landslide_f1``,
            ``landslide_share``.

    Returns:
        A ``Recovered``. Where no column distinguishes the classes, landslide is the rarer one.
        A row that contradicts itself is recovered too: look at ``fits`` and ``residual``.

    Raises:
        UnderdeterminedError: fewer than three independent columns.
        ValueError: a value is outside 0 to 100 %, or no value is given.
    """
    row = dict(precision=precision, recall=recall, f1=f1, oa=oa, miou=miou)
    row |= {"landslide_iou": landslide_iou, **others}
    given, rounding = as_percent(row, decimals)
    for name, value in given.items():
        if not 0 <= value <= 100:
            raise ValueError(f"{name} is {value:g} %, expected 0 to 100 %")
    found = fit(given, rounding, convention or Convention())
    if found.rank < 3:
        raise UnderdeterminedError(
            f"{', '.join(given)} hold {found.rank} independent numbers, a confusion matrix needs 3 "
            "(F1 as the harmonic mean of P and REC adds none; OA, MIoU and landslide IoU are two; "
            "perfect scores fit any landslide share): add P, REC, OA, an IoU or the landslide share"
        )
    return found


def closed_form(given: dict[str, float]) -> tuple[float, float, float] | None:
    """(TP, TN, FP + FN) before normalisation from OA, MIoU and landslide IoU in percent."""
    if not {"oa", "miou", "landslide_iou"} <= set(given):
        return None
    slide = given["landslide_iou"] / 100
    ground = 2 * given["miou"] / 100 - slide
    if not (0 <= slide < 1 and 0 <= ground < 1):
        return None
    error = 1 - given["oa"] / 100
    return error * slide / (1 - slide), error * ground / (1 - ground), error


def fit(given: dict[str, float], rounding: float, convention: Convention) -> Recovered:
    """Least squares for columns in percent, from several starts; never raises for a poor fit."""
    columns, printed = tuple(given), np.array(list(given.values()))

    def misfits(z: np.ndarray) -> np.ndarray:
        return 100 * np.array(convention.values(columns, _fractions(z))) - printed

    solutions = []
    for start in _starts(given):
        z = _solve(misfits, start)
        x = _fractions(z)
        if x[0] + x[2] > 0.5 and not convention.tells_classes_apart(columns):
            z = np.array([-z[0], z[2] - z[0], z[1] - z[0]])  # the classes swap their names
        solutions.append((float(np.square(misfits(z)).sum()), z))
    solutions.sort(key=lambda pair: pair[0])
    best = solutions[0][1]
    error, x = misfits(best), _fractions(best)
    residual = float(np.abs(error).max())
    worst = residual if residual <= rounding else _least_worst(misfits, best, residual)
    others: list[tuple[float, ...]] = []
    for cost, z in solutions[1:]:
        y = _fractions(z)
        if cost < solutions[0][0] + rounding**2 and all(
            max(abs(a - b) for a, b in zip(y, known, strict=True)) > 0.005 for known in [x, *others]
        ):
            others.append(y)
    jacobian = _jacobian(misfits, best)
    rank = _rank(jacobian)
    if worst > 2 * rounding:  # a poor fit ends anywhere: count at an ordinary matrix instead
        rank = _rank(_jacobian(misfits, np.log(np.array([0.08, 0.02, 0.03]) / 0.87)))
    elif rank < 3 <= len(columns) and not _is_free(misfits, best, max(2 * rounding, 1e-3)):
        rank = 3  # flat to first order only, as where FP equals FN and the shares are equal
    closed = closed_form(given) if convention.iou == "union" else None
    return Recovered(
        *x,
        residual=residual,
        misfits=dict(zip(columns, error.tolist(), strict=True)),
        closure=None if closed is None else sum(closed),
        landslide_share_range=_share_range(best, jacobian, error, max(rounding, worst), rank),
        rank=rank,
        alternatives=tuple(ConfusionMatrix(*y) for y in others) if rank == 3 else (),
        convention=convention,
        rounding=rounding,
        least_residual=worst,
    )


def _solve(function, start: np.ndarray) -> np.ndarray:
    """Where the squares are least; the faint pull to the start keeps open directions solvable."""
    from scipy.optimize import least_squares

    return least_squares(
        lambda z: np.append(function(z), 1e-7 * (z - start)),
        start,
        jac=lambda z: np.concatenate([_jacobian(function, z), 1e-7 * np.eye(3)]),
        method="lm",
        xtol=1e-13,
        ftol=1e-13,
        x_scale=1.0,
    ).x


def _is_free(misfits, z: np.ndarray, slack: float) -> bool:
    """Whether another landslide share meets the columns as well."""

    def share(z: np.ndarray) -> float:
        x = _fractions(z)
        return 100 * (x[0] + x[2])

    for other in (0.9 * share(z), 1.1 * share(z)):
        moved = _solve(lambda y, other=other: np.append(misfits(y), share(y) - other), z)
        if np.abs(misfits(moved)).max() <= slack and abs(share(moved) - other) < 0.01 * other:
            return True
    return False


def _fractions(z: np.ndarray) -> tuple[float, ...]:
    """(TP, FP, FN, TN) > 0 with sum 1 from three free numbers, the logarithms of x / TN."""
    x = [math.exp(min(max(value, -30.0), 30.0)) for value in z.tolist()] + [1.0]
    total = sum(x)
    return tuple(value / total for value in x)


def _starts(given: dict[str, float]) -> list[np.ndarray]:
    """The closed form where it applies, and matrices from rare to common landslides."""
    starts = []
    closed = closed_form(given)
    if closed is not None and min(closed) > 0:
        tp, tn, error = closed
        starts += [np.log(np.array([tp, fp * error, (1 - fp) * error]) / tn) for fp in (0.4, 0.7)]
    error = min(max(1 - given.get("oa", 95.0) / 100, 1e-4), 0.5)
    for share in (0.02, 0.1, 0.4) if not starts else ():
        for fp in (0.25, 0.75):
            wrong = np.array([fp, 1 - fp]) * min(error, share)
            tp = max(share - wrong[1], share / 10)
            starts.append(np.log(np.array([tp, *wrong]) / (1 - share - wrong[0])))
    return starts


def _rank(jacobian: np.ndarray) -> int:
    singular = np.linalg.svd(jacobian, compute_uv=False)
    return int((singular > 1e-5 * max(singular[0], 1.0)).sum())


def _jacobian(function, z: np.ndarray) -> np.ndarray:
    step = 1e-5
    return np.stack([(function(z + d) - function(z - d)) / (2 * step) for d in step * np.eye(3)], 1)


def _least_worst(misfits, z: np.ndarray, residual: float) -> float:
    """The smallest possible largest misfit near ``z``, by repeated linear programmes."""
    from scipy.optimize import linprog

    reach, best = 0.5, residual
    for _ in range(12):
        error, jacobian = misfits(z), _jacobian(misfits, z)
        one = np.ones((len(error), 1))
        step = linprog(
            [0, 0, 0, 1],
            A_ub=np.block([[jacobian, -one], [-jacobian, -one]]),
            b_ub=np.concatenate([-error, error]),
            bounds=[(-reach, reach)] * 3 + [(0, None)],
        )
        value = np.abs(misfits(z + step.x[:3])).max() if step.success else np.inf
        if value < best:
            gain, best, z = best - value, float(value), z + step.x[:3]
            if gain < 1e-7:
                break
        else:
            reach /= 4
    return best


def _share_range(
    z: np.ndarray, jacobian: np.ndarray, error: np.ndarray, slack: float, rank: int
) -> tuple[float, float]:
    """Landslide shares, to first order, that keep every misfit within ``slack`` points."""
    from scipy.optimize import linprog

    x = _fractions(z)
    share = x[0] + x[2]
    if rank < 3:
        return 0.0, 1.0
    gradient = np.array([x[0], 0, x[2]]) - share * np.array(x[:3])  # of the share by z
    ends = []
    for sign in (1, -1):
        found = linprog(
            sign * gradient,
            A_ub=np.concatenate([jacobian, -jacobian]),
            b_ub=np.maximum(np.concatenate([slack - error, slack + error]), 0),
            bounds=[(-3, 3)] * 3,
        )
        moved = _fractions(z + found.x) if found.success else x
        ends.append(float(moved[0] + moved[2]))
    return min(*ends, share), max(*ends, share)
