"""`check`: find the check of an exercise, give it the answer, print what it found."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

from tlseg_lite.exercises.verdict import Unanswered, Verdict, Wrong, refuse_placeholders

CHAPTERS = {
    "1": "ch1_zero_shot",
    "2": "ch2_adapters",
    "3": "ch3_training",
    "4": "ch4_ablations",
    "5": "ch5_metrics",
    "6": "ch6_tables",
    "7": "ch7_comparison",
    "8": "ch8_map",
    "9": "ch9_clicks",
    "C": "capstone",
    "A1": "a1_sam_mini",
    "A2": "a2_scenes",
}
"""Chapter or appendix -> the module with its checks, named ``check_<chapter>_<exercise>``."""


@cache
def _of_chapter(chapter: str, prefix: str) -> dict[str, Callable[..., Any]]:
    """A chapter's checks or material, by number; the other chapters' modules are not imported."""
    module = import_module(f"tlseg_lite.exercises.{CHAPTERS[chapter]}")
    start = f"{prefix}_{chapter}_"
    own = {n.removeprefix(start): f for n, f in vars(module).items() if n.startswith(start)}
    return {f"{chapter}.{part}": own[part] for part in sorted(own, key=int)}


def _functions(prefix: str) -> dict[str, Callable[..., Any]]:
    return {n: f for chapter in CHAPTERS for n, f in _of_chapter(chapter, prefix).items()}


def known() -> list[str]:
    """The numbers of all exercises in the order of the book: "1.1", ..., "C.1", ..., "A2.5"."""
    return list(_functions("check"))


def _named(number: str, prefix: str, what: str) -> Callable[..., Any]:
    chapter = str(number).partition(".")[0]
    own = _of_chapter(chapter, prefix) if chapter in CHAPTERS else {}
    if str(number) not in own:
        raise ValueError(f"no {what} {number!r}; there are {', '.join(_functions(prefix))}")
    return own[str(number)]


def check(number: str, answer: Any) -> Verdict:
    """Print whether an answer is right, and if it is not, what went wrong.

    Args:
        number: of the exercise, such as "2.3" or "A1.2".
        answer: what the exercise asks for: a number, a word, an array, a function, a table.
            ``None`` and ``...`` are the untouched stub: not answered yet.

    Returns:
        a `Verdict`, true where the answer is right; its message is printed, too.

    Raises:
        ValueError: there is no such exercise; names those that there are.
    """
    function = _named(number, "check", "exercise")
    try:
        refuse_placeholders(answer)
        verdict = Verdict(str(number), True, f"{number}: right. {function(answer)}")
    except Unanswered as missing:
        verdict = Verdict(str(number), False, f"{number}: not answered yet.{missing}")
    except Wrong as wrong:
        verdict = Verdict(str(number), False, f"{number}: not yet: {wrong}")
    print(verdict)
    return verdict


def given(number: str) -> Any:
    """What an exercise works on: a table, images, measured values. Made anew at each call.

    Raises:
        ValueError: the exercise has nothing of that kind; names those that have.
    """
    return _named(number, "given", "material for exercise")()
