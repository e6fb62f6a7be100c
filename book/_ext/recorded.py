"""What is recorded in book/results: each file's contents, and where its numbers come from."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from tlseg_lite.core.records import renamed

NOT_RUN = "not run"

# what the project records, in the order of the page: file -> (what it holds, how it is made)
RECORDS = {
    "sam_mini_pretraining.csv": ("learning curve of sam_mini", "tlseg-lite pretrain"),
    "sam_mini_scores.csv": ("scores of sam_mini with clicks and boxes", "sam_mini_scores.py"),
    "mask_choice.csv": ("the choice among the three masks, trained anew", "mask_choice.py"),
    "ablation.csv": ("the grid of ATL designs", "ablation.py"),
    "comparison.csv": ("TransLandSeg and the compared models, one protocol", "comparison.py"),
    "comparison_real.csv": ("the same on hundreds of real images", "comparison.py"),
    "ablation_real.csv": ("ATL designs on hundreds of real images", "ablation.py"),
    "recipe_search.csv": ("recipes tried on real Bijie, validation only", "recipe_search.py"),
    "transfer.csv": ("models in another place and sensor", "transfer.py"),
    "error_kinds.csv": ("kinds of errors on real test images", "error_kinds.py"),
    "error_notes.csv": ("the best and worst ten of them, judged by eye", "error_kinds.py"),
    "clicks.csv": ("what clicks are worth to an adapted model and to SAM", "clicks.py"),
    "labelling.csv": ("what clicks buy as labels", "labelling.py"),
    "correction_speed.csv": ("what a click and a step with clicks cost", "correction_speed.py"),
    "drone_scene.csv": (
        "a drone orthophoto, mapped after learning its left half",
        "drone_scene.py",
    ),
    "scene_speed.csv": ("what a map costs beside the model", "scene_speed.py"),
    "separability.csv": ("what one colour threshold can do", "separability.py"),
    "encoder_speed.csv": ("speed and memory of the encoder", "encoder_speed.py"),
    "gpu_counts.csv": ("work and memory of a training step, by counting", "gpu_counts.py"),
    "data_loading.csv": ("how fast images are read", "data_loading.py"),
}
_MADE_ON = ("device", "trained_on", "hardware", "gpu")
_MADE_AT = ("finished", "measured", "date")
_LONG = 90  # characters; longer cells stay in the file


@dataclass
class Table:
    """Headers and rows of text; `text` is one or more paragraphs above it, `note` one below.

    `one_line`: each row is one line, however long, and the table scrolls.
    """

    headers: list[str]
    rows: list[list[str]] = field(default_factory=list)
    note: str = ""
    title: str = ""
    text: str = ""
    one_line: bool = False


def read(folder: Path, name: str) -> pd.DataFrame | None:
    """A record, or None where it is not there or has no rows."""
    path = folder / name
    if not path.is_file():
        return None
    # a commit such as 12345e6 is no number
    names = ("commit", "version", "package", "weights", "backbone", "fingerprint")
    frame = renamed(pd.read_csv(path, dtype=dict.fromkeys(names, str)))
    return frame if len(frame) else None


def made(frame: pd.DataFrame) -> dict[str, str]:
    """Where a record comes from: hardware, dates, commits, as far as its columns say."""

    def values(columns: tuple[str, ...], cut: int | None = None) -> list[str]:
        found = [frame[c] for c in columns if c in frame]
        texts = pd.concat(found).dropna().astype(str).str.strip() if found else []
        return list(dict.fromkeys(text[:cut] for text in texts if text))

    days = sorted(values(_MADE_AT, 10))
    commits = values(("commit",), 7)
    versions = values(("version", "package"))
    return {
        "made on": "; ".join(values(_MADE_ON)) or "not recorded",
        "when": " to ".join(dict.fromkeys([days[0], days[-1]])) if days else "not recorded",
        "code": ", ".join(f"commit {c}" for c in commits)
        or ", ".join(f"version {v}" for v in versions)
        or "not recorded",
    }


def provenance(frame: pd.DataFrame) -> str:
    facts = made(frame)
    return f"Made on {facts['made on']}; {facts['when']}; {facts['code']}."


def records(folder: Path) -> Iterator[Table]:
    """What is recorded, and what is not."""
    files = dict(RECORDS)
    files |= {p.name: ("", "") for p in sorted(folder.glob("*.csv")) if p.name not in RECORDS}
    rows = []
    for name, (what, how) in files.items():
        frame = read(folder, name)
        holds = f"{what} ({how})" if what else ""
        if frame is None:
            rows.append([name, holds, "0", "–", "–", NOT_RUN])
            continue
        facts = made(frame)
        code = f"{facts['when']}, {facts['code']}"
        rows.append([name, holds, str(len(frame)), facts["made on"], code, "recorded"])
    headers = ["file", "holds (made by)", "rows", "made on", "when, with which code", "status"]
    yield Table(headers, rows, "The programs ending in .py are in the folder benchmarks.")


def contents(folder: Path, name: str, most: int = 40) -> Table | None:
    """A record's rows as a table: columns that vary; what is the same in all rows in the note."""
    frame = read(folder, name)
    if frame is None:
        return None
    hidden = {*_MADE_ON, *_MADE_AT, "commit", "version", "package", "torch", "numpy"}
    shown, same = [], []
    for column in frame.columns:
        texts = frame[column].map(_text)
        if column in hidden or texts.str.len().max() > _LONG or (texts == "").all():
            continue
        if texts.nunique() == 1 and len(frame) > 1:
            same.append(f"{column}: {texts.iloc[0]}")
        else:
            shown.append(column)
    rows = [[_text(v) for v in row] for row in frame[shown].head(most).itertuples(index=False)]
    note = f"In all rows: {', '.join(same)}. " if same else ""
    if len(frame) > most:
        note += f"The first {most} of {len(frame)} rows. "
    title = f"{name}: {RECORDS.get(name, ('',))[0]}"
    return Table(shown, rows, note + provenance(frame), title, one_line=True)


def _text(value) -> str:
    if isinstance(value, float):
        if math.isnan(value):
            return ""
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    if isinstance(value, str) and value.startswith(("{", "[")):
        try:
            return json.dumps(json.loads(value))
        except ValueError:
            return value
    return str(value)


def others(folder: Path) -> Iterator[Table]:
    """The contents of the records that have no table of their own above."""
    own = {"ablation.csv", "sam_mini_pretraining.csv"}
    names = [name for name in RECORDS if name not in own]
    names += [p.name for p in sorted(folder.glob("*.csv")) if p.name not in RECORDS]
    for name in names:
        table = contents(folder, name)
        if table is not None:
            yield table
