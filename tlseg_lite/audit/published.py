"""The published tables as data, each row with its source."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def _table(name: str) -> pd.DataFrame:
    import pandas as pd

    with (files("tlseg_lite.audit") / "tables" / name).open(encoding="utf-8") as file:
        return pd.read_csv(file, dtype={"table": str}, keep_default_na=True)


def published() -> pd.DataFrame:
    """All rows of the TransLandSeg paper's tables I to IV and the LandslideNet article's 1 to 3.

    Columns: ``source`` (paper, table and row in words), ``paper``, ``table``, ``row``, ``dataset``;
    the scores in percent as printed, under the names that ``check`` takes; ``mean_f1`` (the
    article's mF1); ``parameters_total`` and ``parameters_trainable`` in millions; the design
    (``middle``, ``residual``, ``placement``) of Table IV; ``note``; ``cite`` (key in the book's
    references). What a table does not print is NaN.
    """
    frame = _table("published.csv")
    words = frame["paper"] + ", Table " + frame["table"] + ", row " + frame["row"]
    frame.insert(0, "source", words)
    return frame


def official_results() -> pd.DataFrame:
    """Landslide F1 in percent on the official test part of Landslide4Sense (800 patches)."""
    return _table("official_results.csv")
