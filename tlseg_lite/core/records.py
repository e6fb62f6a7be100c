"""The project's recorded measurements, `book/results`, as the chapters read them.

They are part of the repository and not of the package: an installed package without a checkout
beside it has none, and the chapters then show what they measure themselves.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

RENAMED = {
    "against_need": "throughput_over_demand",
    "best_of_3": "oracle",
    "own_choice": "highest_predicted_iou",
    "click_best_of_3": "click_oracle",
    "click_own_choice": "click_highest_predicted_iou",
    "pictures": "images",
    "pictures_seen": "images_seen",
    "pictures_without": "images_without",
}
"""Columns of older records, and the names that they have now."""

METHODS = {"own choice": "highest predicted IoU", "best of 3": "oracle (best of 3)"}
"""Words in the column `method` of older records, and what is written now."""


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
    """The table `name`, such as ``"sam_mini_scores.csv"``, with today's names of its columns.

    None, and a printed word, where it is not there.
    """
    import pandas as pd

    path = find(name)
    if path is None:
        print(f"{name} is not here: it is part of the project's repository, book/results")
        return None
    return renamed(pd.read_csv(path))


def renamed(frame: pd.DataFrame) -> pd.DataFrame:
    """A record with today's names of its columns and methods; those that it has already stay."""
    frame = frame.rename(columns={k: v for k, v in RENAMED.items() if v not in frame})
    if "method" in frame:
        for old, new in METHODS.items():
            pattern = rf"(?<!\()\b{old}\b"
            frame["method"] = frame["method"].str.replace(pattern, new, regex=True)
    return frame
