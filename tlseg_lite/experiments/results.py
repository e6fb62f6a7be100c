"""What a finished run leaves: a row of scores in a CSV file, and predicted masks in an NPZ file."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlseg_lite.core.files import write_atomically
from tlseg_lite.core.locks import locked
from tlseg_lite.core.moved import renamed
from tlseg_lite.metrics.confusion import ConfusionMatrix, confusion

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

__getattr__ = renamed(__name__, {"add": "add_masks", "read": "read_masks"})

SCORES = ("miou", "landslide_iou", "landslide_f1", "precision", "recall", "f1", "oa")
COUNTS = ("tp", "fp", "fn", "tn")
_PROVENANCE = ("commit", "version", "torch", "device", "finished")


def columns(key: Sequence[str]) -> tuple[str, ...]:
    """The columns of a file of runs: a short `key`, what was measured, then what is long.

    Scores are fractions; test_tp to test_tn count pixels; seconds: training.
    """
    long = ("variant", "image_size", "backbone", "config", "recipe", "data_version")
    return (
        *(*(name for name in key if name not in long), "folds", "status"),
        *("train_images", "test_images", *(f"test_{name}" for name in (*SCORES, *COUNTS))),
        *(f"val_{name}" for name in SCORES),
        *("best_epoch", "epochs", "adapters", "trainable", "total", "seconds", "weights"),
        *(name for name in long if name in key),
        *("data_source", "train_ids", "val_ids", "test_ids", *_PROVENANCE),
    )


_TEXT = (
    *("data", "design", "model", "training_data", "status", "variant", "weights", "backbone"),
    *("config", "recipe", "data_version", "data_source", "train_ids", "val_ids", "test_ids"),
    *("image_ids", "prompt", "part", "labels", "stage"),
    *_PROVENANCE,
)
"""Columns of words; all others are numbers."""

Measure = Callable[["Tensor", "Tensor"], Mapping[str, float]]
"""From the predicted mask, bool (H, W), and the true one, (H, W): further counts by name, such as
landslides found. A row has their sums over the test images, in columns ``test_NAME``."""


def score_columns(
    pairs: Iterable[tuple[Tensor, ...]], measures: Sequence[Measure] = ()
) -> dict[str, str | int | float]:
    """A row's columns of a test, from (predicted mask, true mask) of each image.

    A third one in a tuple says which pixels count; measures see no landslide in the others.
    """
    counts, sums = ConfusionMatrix(0, 0, 0, 0), {}
    for mask, truth, *valid in pairs:
        counts += confusion(mask, truth, *valid)
        if valid:
            mask = mask & (valid[0] > 0)
        for measure in measures:
            for name, value in measure(mask, truth).items():
                sums[f"test_{name}"] = sums.get(f"test_{name}", 0) + value
    scores = counts.scores()
    row = {f"test_{name}": f"{getattr(scores, name):.6f}" for name in SCORES}
    return row | dict(zip((f"test_{c}" for c in COUNTS), counts.counts(), strict=True)) | sums


class Rows:
    """Rows in a CSV file; a line counts once its newline is on the disk.

    A line without its newline was being written when the process died: it is not read, and the
    next `append` cuts it off. The file may lack columns that are newer than it is, and have others
    that `columns` does not know: these stay.

    Args:
        path: the file; made by the first `append`.
        columns: names of the columns, in order.
        key: of these, the ones that tell a row from all others: no file lacks them. None: all.
        renamed: old names of columns in older files, and the names that they have now.
        converted: for columns whose older texts mean the same as newer ones, the function from the
            one to the other.
    """

    def __init__(
        self,
        path: str | Path,
        columns: Sequence[str],
        key: Sequence[str] | None = None,
        renamed: Mapping[str, str] | None = None,
        converted: Mapping[str, Callable[[str], str]] | None = None,
    ):
        self.path, self.columns = Path(path), list(columns)
        self.key_columns = self.columns if key is None else list(key)
        self.renamed, self.converted = dict(renamed or {}), dict(converted or {})

    def key(self, row: Mapping[str, Any]) -> tuple[str, ...]:
        """What tells a row from all others."""
        return tuple(str(row[name]) for name in self.key_columns)

    def read(self) -> list[dict[str, str]]:
        """The finished rows, all values as text (empty: not in the file); none without a file.

        Raises:
            ValueError: other columns than expected, or a damaged line; names the line.
        """
        return self._parsed(self._finished())[1]

    def frame(self) -> pd.DataFrame:
        """The finished rows with numbers as numbers; a row without a status was finished."""
        import pandas as pd

        rows = self.read()
        frame = pd.DataFrame(rows, columns=list(rows[0]) if rows else self.columns)
        for column in frame.columns.difference(_TEXT):
            frame[column] = pd.to_numeric(frame[column], errors="coerce")
        if "status" in frame:
            frame["status"] = frame.status.replace("", "done")
        return frame

    def append(self, row: Mapping[str, Any]) -> None:
        """Add one row, which is on the disk before this returns; other processes may do the same.

        A column that the file does not have yet is added to it, empty in the rows before.

        Raises:
            ValueError: the row lacks a column, or a value has a line break.
            OSError: the file cannot be written; what it had is kept.
        """
        if missing := sorted(set(self.columns) - set(row)):
            raise ValueError(f"the row has no {', '.join(missing)}; give all of the file's columns")
        if odd := [name for name, value in row.items() if "\n" in str(value)]:
            raise ValueError(f"{odd[0]} holds a line break; a row is one line")
        with locked(self.path):
            finished = self._finished()
            header, rows = self._parsed(finished)
            names = [self.renamed.get(name, name) for name in header]
            columns = list(dict.fromkeys([*self.columns, *names, *row]))
            if header != columns:  # a new file, or an older one
                text = _as_lines(columns, [dict(zip(columns, columns, strict=True)), *rows, row])
                write_atomically(self.path, lambda part: part.write_bytes(text))
                return
            with open(self.path, "ab") as file:
                file.truncate(len(finished))  # a torn last line
                file.write(_as_lines(columns, [row]))
                file.flush()
                os.fsync(file.fileno())

    def alone(self) -> AbstractContextManager[None]:
        """Hold the file, so that no second process does the same runs; `append` stays free.

        Raises:
            RuntimeError: another process holds it.
        """
        return locked(self.path, purpose="runs", wait=False)

    def _finished(self) -> bytes:
        """The file up to its last newline."""
        content = self.path.read_bytes() if self.path.is_file() else b""
        return content[: content.rfind(b"\n") + 1]

    def _parsed(self, content: bytes) -> tuple[list[str], list[dict[str, str]]]:
        """The header as it is in the file, and the rows by today's names of the columns."""
        lines = list(csv.reader(io.StringIO(content.decode("utf-8"), newline="")))
        if not lines:
            return [], []
        names = [self.renamed.get(name, name) for name in lines[0]]
        if missing := [name for name in self.key_columns if name not in names]:
            odd = [*missing, *sorted(set(names) - set(self.columns))]
            raise ValueError(
                f"{self.path} has other columns than this version writes ({', '.join(odd[:4])}); "
                "choose another file"
            )
        for number, line in enumerate(lines[1:], 2):
            if len(line) != len(names):
                raise ValueError(
                    f"{self.path}, line {number}: {len(line)} values, expected "
                    f"{len(names)}; remove the line, its run is then done again"
                )
        empty = dict.fromkeys(self.columns, "")
        rows = [empty | dict(zip(names, line, strict=True)) for line in lines[1:]]
        for name, convert in self.converted.items():
            for row in rows:
                row[name] = convert(row[name])
        return lines[0], rows


def _as_lines(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writerows(rows)
    return text.getvalue().encode("utf-8")


def add_masks(path: str | Path, masks: Mapping[tuple[str, ...], np.ndarray]) -> None:
    """Put masks into the file, beside those that are there; it is replaced as a whole.

    Args:
        path: an ``.npz`` file; made if it is not there.
        masks: bool (H, W) arrays by key, a tuple of words such as (data, model, training data,
            image id).

    Raises:
        ValueError: a mask is not a two-dimensional bool array.
    """
    for key, mask in masks.items():
        if mask.ndim != 2 or mask.dtype != bool:
            raise ValueError(f"mask {key} is {mask.dtype} {mask.shape}; expected bool (H, W)")
    with locked(path):
        every = read_masks(path) | {tuple(key): mask for key, mask in masks.items()}
        keys = sorted(every)
        index = json.dumps([[list(key), *every[key].shape] for key in keys])
        packed = [np.packbits(every[key]) for key in keys]
        bits = np.concatenate(packed) if packed else np.zeros(0, "u1")

        def write(part: Path) -> None:
            with part.open("wb") as file:
                np.savez_compressed(file, index=np.array(index), bits=bits)

        write_atomically(path, write)


def read_masks(path: str | Path) -> dict[tuple[str, ...], np.ndarray]:
    """All masks of the file, bool (H, W) by key; none if it is not there.

    Raises:
        ValueError: not a file of `add_masks`, or a damaged one.
    """
    path = Path(path)
    if not path.exists():
        return {}
    try:
        with np.load(path, allow_pickle=False) as file:
            index, bits = json.loads(str(file["index"])), file["bits"]
        found, at = {}, 0
        for key, height, width in index:
            size = (height * width + 7) // 8
            flat = np.unpackbits(bits[at : at + size], count=height * width)
            found[tuple(key)] = flat.reshape(height, width).astype(bool)
            at += size
    except (OSError, ValueError, KeyError, EOFError, TypeError) as error:
        raise ValueError(f"{path} holds no masks: {error}; remove it and run again") from error
    return found
