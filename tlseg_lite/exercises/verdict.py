"""What a check reports, and the tools from which checks are made.

A check is a function of the answer. It returns a sentence where the answer is right, and raises
``Wrong`` with an explanation where it is not, or ``Unanswered`` where the stub is untouched. The
tools here compare an answer with the truth and, if it is off, with what typical mistakes give:
`near` a number, `agrees` several numbers, `on_fresh_inputs` a function, `supported` a claim.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tlseg_lite.core.tensors import is_tensor, to_numpy
from tlseg_lite.metrics.confusion import ConfusionMatrix

Mistakes = Iterable[tuple[Any, str]]
"""Pairs of what a mistake gives and its explanation."""


@dataclass(frozen=True, repr=False)
class Verdict:
    """The result of a check: true where the answer is right; ``message`` has the reason."""

    number: str
    right: bool
    message: str

    def __bool__(self) -> bool:
        return self.right

    def __repr__(self) -> str:
        return self.message

    def _ipython_display_(self) -> None:
        """Nothing: `check` has printed the message already."""


class Wrong(Exception):
    """The answer is not right; the text explains it to the one who gave it."""


class Unanswered(Exception):
    """The stub is untouched, or a part of it."""


def refuse_placeholders(answer: Any) -> None:
    """Raise `Unanswered` for ``None`` and ``...``, also inside of a list, tuple or dictionary."""
    if answer is None or answer is ...:
        raise Unanswered("")
    if isinstance(answer, Mapping):
        missing = [str(key) for key, value in answer.items() if _open(value)]
        if missing:
            raise Unanswered(f" Still open: {', '.join(missing)}.")
    elif isinstance(answer, (list, tuple)):
        missing = [str(place + 1) for place, value in enumerate(answer) if _open(value)]
        if missing:
            raise Unanswered(f" Still open: place {', '.join(missing[:5])}.")


def _open(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(_open(part) for part in value)
    if isinstance(value, Mapping):
        return any(_open(part) for part in value.values())
    return value is None or value is ...


def shown(value: Any) -> str:
    """A value as a message repeats it, short."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)) and all(isinstance(v, float) for v in value):
        return ", ".join(f"{v:.4g}" for v in value)
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def number(value: Any, what: str = "the answer") -> float:
    """A single finite number from a Python, numpy or torch number.

    Raises:
        Wrong: it is something else.
    """
    if is_tensor(value) and value.numel() == 1:
        value = value.detach().cpu().item()
    elif isinstance(value, (np.generic, np.ndarray)) and value.size == 1:
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        kind = type(value).__name__
        raise Wrong(f"{what} should be a number, and you gave {shown(value)} ({kind}).")
    if not math.isfinite(value):
        raise Wrong(f"{what} should be a finite number, and you gave {value}.")
    return float(value)


def close(a: float, b: float, tolerance: float) -> bool:
    """Whether two numbers agree within a tolerance."""
    return abs(a - b) <= tolerance + 1e-12


def agrees(
    given: Any, truth: Any, tolerance: float, mistakes: Mistakes = (), prefix: str = ""
) -> bool:
    """Whether one or several numbers (or words) are `truth`, see `same`.

    Raises:
        Wrong: with the explanation of the first mistake that gives them.
    """
    if same(given, truth, tolerance):
        return True
    for wrong, explanation in mistakes:
        if same(given, wrong, tolerance):
            raise Wrong(prefix + explanation)
    return False


def near(
    value: Any, truth: float, tolerance: float, mistakes: Mistakes = (), what: str = "the answer"
) -> float:
    """The number, if it is `truth` within `tolerance`.

    Raises:
        Wrong: with the explanation of the first mistake that gives this number; else that it is
            a hundred times too large or too small (percent, fraction), or just too large or small.
    """
    given = number(value, what)
    if agrees(given, truth, tolerance, mistakes, f"{what} {shown(given)}: "):
        return given
    if truth and close(given / 100, truth, tolerance):
        raise Wrong(f"{what} {shown(given)} is a hundred times too large: percent or a fraction?")
    if truth and close(given * 100, truth, 100 * tolerance):
        raise Wrong(f"{what} {shown(given)} is a hundred times too small: percent or a fraction?")
    side = "large" if given > truth else "small"
    raise Wrong(f"{what} {shown(given)} is too {side}.")


def parts(answer: Any, names: Sequence[str]) -> dict[str, Any]:
    """The values of a dictionary that has exactly these keys.

    Raises:
        Wrong: it is no dictionary, or has other keys.
    """
    if not isinstance(answer, Mapping):
        kind = type(answer).__name__
        raise Wrong(f"a dictionary with {', '.join(names)} is wanted, and you gave a {kind}.")
    if missing := [name for name in names if name not in answer]:
        raise Wrong(f"the dictionary lacks {', '.join(missing)}.")
    if extra := [str(name) for name in answer if name not in names]:
        raise Wrong(f"the dictionary has {', '.join(extra)}; wanted are {', '.join(names)} only.")
    return dict(answer)


def choice(value: Any, options: Sequence[str], what: str = "the answer") -> str:
    """One of some words, whatever its capital letters.

    Raises:
        Wrong: another word, or no word at all.
    """
    words = {option.lower(): option for option in options}
    if not isinstance(value, str) or value.strip().lower() not in words:
        raise Wrong(f"{what} is {shown(value)}; choose one of {', '.join(map(repr, options))}.")
    return words[value.strip().lower()]


def numbers(values: Any, count: int | None = None, what: str = "the answer") -> list[float]:
    """Several finite numbers from a list, tuple, array or tensor.

    Raises:
        Wrong: no such thing, or another number of them.
    """
    values = to_numpy(values)
    if isinstance(values, np.ndarray) and values.ndim:
        values = values.ravel().tolist()
    elif hasattr(values, "tolist") and not isinstance(values, (np.generic, np.ndarray)):
        values = values.tolist()  # a pandas column
    if not isinstance(values, (list, tuple)):
        raise Wrong(f"{what} should be several numbers, and you gave {shown(values)}.")
    found = [number(value, f"{what}, place {i + 1}") for i, value in enumerate(values)]
    if count is not None and len(found) != count:
        raise Wrong(f"{what} should be {count} numbers, and you gave {len(found)}.")
    return found


def call(function: Any, *arguments: Any, name: str = "your function", copies: bool = True) -> Any:
    """What the function gives for the arguments, or for copies of them.

    Raises:
        Unanswered: it gives ``None`` or ``...``.
        Wrong: it is no function, or it raises an error, which the message repeats.
    """
    result = run(function, *(copy.deepcopy(arguments) if copies else arguments), name=name)
    refuse_placeholders(result)
    return result


def run(function: Any, *arguments: Any, name: str = "your function") -> Any:
    """As `call`, for a function that need not return anything."""
    if not callable(function):
        kind = type(function).__name__
        raise Wrong(f"a function is wanted, and you gave a {kind}. Leave out the brackets ().")
    try:
        return function(*arguments)
    except Exception as error:  # whatever the reader's code may raise
        text = " ".join(str(error).split())[:200]
        raise Wrong(f"{name} raised {type(error).__name__}: {text}") from error


def same(a: Any, b: Any, tolerance: float) -> bool:
    """Whether numbers, tuples, arrays or tensors agree in form and within a tolerance.

    Words and sets of words agree if they are equal.
    """
    if isinstance(a, (str, set)) or isinstance(b, (str, set)):
        return type(a) is type(b) and a == b
    a, b = to_numpy(a), to_numpy(b)
    try:
        a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    except (TypeError, ValueError):
        return False
    if a.shape != b.shape:
        return False
    return bool(np.allclose(a, b, rtol=0, atol=tolerance + 1e-12, equal_nan=True))


def on_fresh_inputs(
    function: Any,
    cases: Sequence[tuple],
    truth: Callable[..., Any],
    tolerance: float = 0,
    mistakes: Iterable[tuple[Callable[..., Any], str]] = (),
    describe: Callable[..., str] | None = None,
    accept: Callable[[Any], Any] | None = None,
) -> None:
    """Compare a function with the true one on inputs that the reader has not seen.

    Args:
        function: the answer.
        cases: tuples of arguments.
        truth: the right function.
        tolerance: absolute, for numbers and arrays.
        mistakes: pairs of a mistaken function and the explanation for who wrote it.
        describe: an input in words, for the message; None: the message has the result alone.
        accept: checks and converts each result of the answer, such as `choice`.

    Raises:
        Wrong, Unanswered: as `call`; else the first mistake that gives all of the results.
    """
    given = [call(function, *case) for case in cases]
    if accept is not None:
        given = [accept(result) for result in given]
    right = [truth(*copy.deepcopy(case)) for case in cases]
    pairs = list(zip(given, right, strict=True))
    off = [i for i, (a, b) in enumerate(pairs) if not same(a, b, tolerance)]
    if not off:
        return
    for mistaken, explanation in mistakes:
        wrong = [mistaken(*copy.deepcopy(case)) for case in cases]
        if all(same(a, b, tolerance) for a, b in zip(given, wrong, strict=True)):
            raise Wrong(explanation)
    first = off[0]
    where = f"for {describe(*cases[first])} " if describe else ""
    result = form(given[first], right[first])
    raise Wrong(f"{where}your function gives {result}. {len(off)} of {len(cases)} trials are off.")


def side_of_zero(low: float, high: float, words: Sequence[str]) -> str:
    """What an interval supports: the first of three words above zero, the second below, or else
    the third."""
    return words[0] if low > 0 else words[1] if high < 0 else words[2]


def supported(
    claim: Any, what: str, low: float, high: float, words: Sequence[str], span: str
) -> None:
    """Refuse a claim that an interval does not support.

    Args:
        claim: one of `words`.
        what: the claim's name in the answer.
        low, high: the interval's ends.
        words: see `side_of_zero`.
        span: the interval in words.

    Raises:
        Wrong: another word, or another one than `side_of_zero` gives.
    """
    claim, right = choice(claim, words, what), side_of_zero(low, high, words)
    if claim == right:
        return
    if right == words[2]:
        raise Wrong(f"you compare the means only. {span}: it contains zero, so it is {right}.")
    raise Wrong(f"{span}: that supports {right!r}, and you claim {claim!r}.")


def own_rows(
    rows: Any, compared: str, source: str, needed: Sequence[str], same: Sequence[str], what: str
) -> list[str]:
    """The two compared names in a reader's own table of runs, whose rows are alike and sound.

    Args:
        rows: the table.
        compared: the column of what is compared, "design" or "model".
        source: the call that gives such a table.
        needed: its columns.
        same: those that must not differ, `what` in words.

    Raises:
        Wrong: no such table, not two names, rows that cannot be compared, or an MIoU that is not
            that of the row's counts.
    """
    import pandas as pd

    if not isinstance(rows, pd.DataFrame):
        raise Wrong(f"'rows' is a {type(rows).__name__}; give the table of {source}.")
    if missing := [name for name in needed if name not in rows]:
        raise Wrong(f"the table lacks {', '.join(missing[:3])}: give what {source} gives.")
    names = list(rows[compared].unique())
    if len(names) != 2:
        raise Wrong(f"there are {len(names)} {compared}s in the rows; compare two.")
    if len(rows[list(same)].drop_duplicates()) != 1:
        raise Wrong(f"the rows differ in more than the {compared}: {what}.")
    for _, row in rows.iterrows():
        counts = ConfusionMatrix(*(int(row[f"test_{name}"]) for name in ("tp", "fp", "fn", "tn")))
        if not close(float(row.test_miou), counts.scores().miou, 1e-4):
            name = f"{row[compared]}, seed {row.seed}"
            raise Wrong(f"the MIoU of {name} is not that of its counts.")
    return sorted(names)


def form(given: Any, right: Any) -> str:
    """The two results in words: numbers as they are, arrays by their shape or distance."""
    if isinstance(right, set):
        return f"{sorted(given)}, and it should be {sorted(right)}"
    a, b = to_numpy(given), to_numpy(right)
    try:
        a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    except (TypeError, ValueError):
        return f"{shown(given)}, and something like {shown(right)} is wanted"
    if a.shape != b.shape:
        return f"an array of shape {a.shape}, and {b.shape} is wanted"
    if a.size == 1:
        return f"{a.item():.4g}, and it should be {b.item():.4g}"
    if a.size <= 4:
        return f"{shown(a.ravel().tolist())}, and it should be {shown(b.ravel().tolist())}"
    return f"an array that is off by up to {np.nanmax(np.abs(a - b)):.3g}"
