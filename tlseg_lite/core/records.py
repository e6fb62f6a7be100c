"""The project's recorded measurements, `book/results`, as the chapters read them.

They are part of the repository and not of the package: an installed package without a checkout
beside it has none, and the chapters then show what they measure themselves.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def find(name: str) -> Path | None:
    """The file `name` of ``book/results``, or None.

    Looked for in the checkout that this package is imported from, in the working folder and in
    the folders above it.
    """
    here = Path.cwd().resolve()
    for root in (Path(__file__).resolve().parents[2], here, *here.parents):
        path = root / "book" / "results" / name
        if path.is_file():
            return path
    return None


def read(name: str) -> pd.DataFrame | None:
    """The table `name`, such as ``"sam_mini_scores.csv"``; None, and a printed word, without it."""
    import pandas as pd

    path = find(name)
    if path is None:
        print(f"{name} is not here: it is part of the project's repository, book/results")
        return None
    return pd.read_csv(path)
