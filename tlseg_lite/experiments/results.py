"""A CSV file of finished runs that grows by whole lines, whatever kills the process."""

from __future__ import annotations

import contextlib
import csv
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tlseg_lite.metrics.confusion import ConfusionMatrix

SCORES = ("miou", "landslide_iou", "landslide_f1", "precision", "recall", "f1", "oa")
COUNTS = ("tp", "fp", "fn", "tn")
"""What a row of results has of a test: scores as fractions, and counts of pixels."""


def measured(confusion: ConfusionMatrix) -> dict[str, str | int]:
    """A row's scores and counts."""
    scores = confusion.scores()
    row = {f"test_{name}": f"{getattr(scores, name):.6f}" for name in SCORES}
    return row | dict(zip((f"test_{c}" for c in COUNTS), confusion.counts(), strict=True))


class Rows:
    """Rows with fixed columns in a CSV file; a line counts once its newline is on the disk.

    A line without its newline was being written when the process died: it is not read, and the
    next `append` cuts it off.

    Args:
        path: the file; made by the first `append`.
        columns: names of the columns, in order.
    """

    def __init__(self, path: str | Path, columns: Sequence[str]):
        self.path, self.columns = Path(path), list(columns)

    def read(self) -> list[dict[str, str]]:
        """The finished rows, all values as text; none if there is no file.

        Raises:
            ValueError: other columns than expected, or a damaged line; names the line.
        """
        text = self._finished().decode("utf-8")
        if not text:
            return []
        lines = list(csv.reader(io.StringIO(text, newline="")))
        if lines[0] != self.columns:
            odd = sorted(set(lines[0]) ^ set(self.columns)) or ["their order"]
            raise ValueError(
                f"{self.path} has other columns than this version writes ({', '.join(odd[:4])}); "
                "choose another file"
            )
        for number, line in enumerate(lines[1:], 2):
            if len(line) != len(self.columns):
                raise ValueError(
                    f"{self.path}, line {number}: {len(line)} values, expected "
                    f"{len(self.columns)}; remove the line, its run is then done again"
                )
        return [dict(zip(self.columns, line, strict=True)) for line in lines[1:]]

    def append(self, row: dict[str, Any]) -> None:
        """Add one row, in one write that reaches the disk before this returns.

        Raises:
            ValueError: the row has other columns, or a value with a line break.
            OSError: the file cannot be written.
        """
        if set(row) != set(self.columns):
            raise ValueError(f"row and file differ in {sorted(set(row) ^ set(self.columns))}")
        if odd := [name for name, value in row.items() if "\n" in str(value)]:
            raise ValueError(f"{odd[0]} holds a line break; a row is one line")
        finished = self._finished()
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        if not finished:
            writer.writerow(self.columns)
        writer.writerow([row[name] for name in self.columns])
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "ab") as file:
            file.truncate(len(finished))  # a torn last line
            file.write(text.getvalue().encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())

    def _finished(self) -> bytes:
        """The file up to its last newline."""
        content = self.path.read_bytes() if self.path.is_file() else b""
        return content[: content.rfind(b"\n") + 1]

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the file, so that no second process runs the same grid into it.

        The hold ends with the process, however it ends. (Not on Windows, which has no such lock.)

        Raises:
            RuntimeError: another process holds it.
        """
        try:
            import fcntl
        except ImportError:  # Windows
            yield
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RuntimeError(
                    f"another process is writing {self.path}; wait for it or choose another file"
                ) from None
            yield
