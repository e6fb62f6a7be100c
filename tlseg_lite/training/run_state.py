"""The files of a training run: written after each epoch, read when the run goes on.

``state.pt`` holds what the next epoch needs, ``previous.pt`` the same of the epoch before. Each
file is written beside its place and then moved there, so a kill at any moment leaves a whole one.
"""

from __future__ import annotations

import io
import os
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from tlseg_lite.core.errors import CheckpointError
from tlseg_lite.core.files import write_atomically
from tlseg_lite.training.recipe import Recipe

if TYPE_CHECKING:
    import pandas as pd
    from accelerate import Accelerator


@dataclass(frozen=True)
class Run:
    """What `fit` leaves: the folder, the learning curve, and the epoch whose weights are kept.

    That is the epoch that validation chose, or the last one (`Recipe.keep`).
    """

    out: Path
    history: pd.DataFrame
    best_epoch: int
    best_miou: float

    @property
    def best(self) -> Path:
        """The saved model of that epoch."""
        return self.out / "best.safetensors"


class RunState:
    """The state of one run. The main process alone reads and writes files; all know the same.

    Attributes:
        rows: of the history, one for each finished epoch.
        micro_batch: images at once that fitted into memory at last; None: not known yet.
    """

    def __init__(
        self,
        out: Path,
        model: torch.nn.Module,
        optimiser: torch.optim.Optimizer,
        recipe: Recipe,
        accelerator: Accelerator,
    ):
        self.out, self.model, self.optimiser, self.recipe = out, model, optimiser, recipe
        self.accelerator = accelerator
        self.rows: list[dict[str, Any]] = []
        self.micro_batch: int | None = None
        self.path, self.previous = out / "state.pt", out / "previous.pt"

    def restore(self, resume: bool) -> int:
        """Load the state if there is one, or remove it; the number of finished epochs.

        Raises:
            CheckpointError: the state cannot be read; the one of the epoch before is named.
            ValueError: it belongs to a run with other settings.
        """
        saved = self._on_all(lambda: self._found(resume))
        if saved is None:
            self._share(self.model.trained_state())  # the same start everywhere
            return 0
        self.model.load_trained_state(saved["model"], self.path)
        self.optimiser.load_state_dict(saved["optimiser"])
        if self.accelerator.scaler is not None and saved["scaler"]:
            self.accelerator.scaler.load_state_dict(saved["scaler"])
        self.rows, self.micro_batch = saved["rows"], saved.get("micro_batch")
        return len(self.rows)

    def _found(self, resume: bool) -> dict[str, Any] | None:
        for left_over in self.out.glob(".*.part"):  # of a kill while a file was written
            left_over.unlink(missing_ok=True)
        if not resume:
            self.path.unlink(missing_ok=True)
            self.previous.unlink(missing_ok=True)
        # killed between two moves: the former state is there, under its second name
        path = self.path if self.path.exists() else self.previous
        if not path.exists():
            return None
        try:
            saved = _read(path)
        except _UNREADABLE as error:
            raise CheckpointError(self._unreadable(path, error)) from error
        wanted, about = _plain(self._about()), saved["about"]
        if differing := sorted(k for k in wanted if about.get(k) != wanted[k]):
            told = ", ".join(f"{k} was {about.get(k)!r}, now {wanted[k]!r}" for k in differing)
            raise ValueError(
                f"{self.out} holds a run with other settings ({told}); "
                "choose another folder, or resume=False to replace it"
            )
        return saved

    def _unreadable(self, path: Path, error: Exception) -> str:
        remedy = "delete it to start anew"
        if path == self.path:
            try:
                finished = len(_read(self.previous)["rows"])
                remedy = f"delete it to go on after epoch {finished} with {self.previous}"
            except _UNREADABLE:
                pass  # there is none: the run is in its first epochs
        return (
            f"{path} cannot be read ({type(error).__name__}); {remedy}, "
            f"or use resume=False to replace the run, or the model in {self.out}/best.safetensors"
        )

    def _about(self) -> dict[str, Any]:
        recipe = self.recipe.as_dict()
        del recipe["epochs"]  # may change without making it another run
        return {**recipe, **self.model.description()}

    def finish_epoch(self, row: dict[str, Any]) -> None:
        """Record an epoch; write the best model first, then the state, then the curve.

        Raises:
            OSError: the disk is full or cannot be written; the files of the epoch before are kept.
        """
        self.rows.append(row)
        if not self.accelerator.is_main_process:
            return
        try:
            if row["epoch"] == self._best()["epoch"]:
                self.model.save(self.out / "best.safetensors")
            write_atomically(self.path, self._write)
            self._write_history()
        except OSError as error:
            raise OSError(
                error.errno,
                f"{error.strerror or error}. Make room there and make the same call again: "
                f"it goes on after epoch {len(self.rows) - 1}",
            ) from error

    def _write(self, temporary: Path) -> None:
        """Write the state; when it is whole, keep the former one as the previous one."""
        scaler = self.accelerator.scaler
        state = {
            "about": _plain(self._about()),
            "rows": self.rows,
            "micro_batch": self.micro_batch,
            "model": self.model.trained_state(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": scaler.state_dict() if scaler is not None else None,
        }
        data = io.BytesIO()  # torch.save hides the kind of an error on a file
        torch.save(state, data)
        temporary.write_bytes(data.getbuffer())
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        if self.path.exists():
            os.replace(self.path, self.previous)

    def _write_history(self) -> None:
        history = self.history()
        write_atomically(self.out / "history.csv", lambda t: history.to_csv(t, index=False))

    def _best(self) -> dict[str, Any]:
        if self.recipe.keep == "last":
            return self.rows[-1]
        return max(self.rows, key=lambda row: row["miou"])  # the first of equals

    def history(self) -> pd.DataFrame:
        import pandas as pd

        return pd.DataFrame(self.rows)

    def close(self) -> Run:
        """The finished run; the model has the kept epoch's weights, on all processes."""
        run = Run(self.out, self.history(), self._best()["epoch"], self._best()["miou"])
        if self.accelerator.is_main_process:
            self._write_history()  # a kill may have come between the state and the curve
        saved = self._on_all(lambda: type(self.model).load_tensors(run.best))
        self.model.load_trained_state(saved, run.best)
        self.model.eval()
        return run

    def _on_all(self, read):
        """What `read` returns or raises on the main process, on every process."""
        if self.accelerator.num_processes == 1:
            return read()
        from accelerate.utils import broadcast_object_list

        told = [None, None]
        if self.accelerator.is_main_process:
            try:
                told[0] = read()
            except (ValueError, OSError) as error:
                told[1] = error
        value, error = broadcast_object_list(told)
        if error is not None:
            raise error
        return value

    def _share(self, tensors: dict[str, torch.Tensor]) -> None:
        """Give every process the main one's tensors."""
        if self.accelerator.num_processes == 1:
            return
        from accelerate.utils import broadcast

        for tensor in tensors.values():
            tensor.copy_(broadcast(tensor.clone()))


# what torch.load raises for a file that is cut off, overwritten or not of this kind
_UNREADABLE = (
    *(OSError, RuntimeError, ValueError, TypeError, KeyError, EOFError),
    pickle.UnpicklingError,
)


def _read(path: Path) -> dict[str, Any]:
    saved = torch.load(path, map_location="cpu", weights_only=True)
    for key in ("about", "rows", "model", "optimiser", "scaler"):
        saved[key]
    return saved


def _plain(value: Any) -> Any:
    """Tuples as lists, all the way down, as they come back from a file."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value
