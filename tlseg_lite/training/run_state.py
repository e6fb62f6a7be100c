"""The files of a training run: written after each epoch, read when the run goes on.

``state.pt`` holds what the next epoch needs, ``previous.pt`` the same of the epoch before. Each
file is written beside its place and then moved there, so a kill at any moment leaves a whole one.
"""

from __future__ import annotations

import io
import os
import pickle
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from tlseg_lite.core.errors import CheckpointError
from tlseg_lite.core.files import read_description, write_atomically
from tlseg_lite.core.locks import locked
from tlseg_lite.core.progress import say
from tlseg_lite.training.identity import differences, of_an_old_state, same_run
from tlseg_lite.training.recipe import Recipe
from tlseg_lite.training.weight_averaging import MovingAverage

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
        average: of the weights over the steps, as the recipe says.
    """

    def __init__(
        self,
        out: Path,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        recipe: Recipe,
        accelerator: Accelerator,
        identity: dict[str, Any],
    ):
        self.out, self.model, self.optimizer, self.recipe = out, model, optimizer, recipe
        self.accelerator, self.identity = accelerator, identity
        self.rows: list[dict[str, Any]] = []
        self.micro_batch: int | None = None
        self.average = MovingAverage(model, recipe.ema)
        self.path, self.previous = out / "state.pt", out / "previous.pt"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes out of the folder; RuntimeError if one is in it."""
        with ExitStack() as stack:
            self._on_all(lambda: stack.enter_context(locked(self.path, purpose="run", wait=False)))
            yield

    def restore(self, resume: bool, extend: bool = False) -> int:
        """Load the state if there is one, or remove it; the number of finished epochs.

        Args:
            resume: False: remove it.
            extend: the run may have been planned for fewer epochs.

        Raises:
            CheckpointError: the state cannot be read; the one of the epoch before is named.
            ValueError: it belongs to another run; says what differs.
        """
        saved, self.identity = self._on_all(lambda: (self._found(resume, extend), self.identity))
        self.model.run = self.identity  # goes into every file of the model
        if saved is None:
            self._share(self.model.trained_state())  # the same start everywhere
            self.average.restart()
            return 0
        self.model.load_trained_state(saved["model"], self.path)
        self.optimizer.load_state_dict(_as_here(saved["optimizer"], self.optimizer))
        if self.accelerator.scaler is not None and saved["scaler"]:
            self.accelerator.scaler.load_state_dict(saved["scaler"])
        if saved.get("average"):
            self.average.restore(saved["average"])
        self.rows, self.micro_batch = saved["rows"], saved.get("micro_batch")
        return len(self.rows)

    def _found(self, resume: bool, extend: bool) -> dict[str, Any] | None:
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
        self._check(saved, extend)
        return saved

    def _check(self, saved: dict[str, Any], extend: bool) -> None:
        """ValueError if the state is that of another run than `identity`."""
        before, now = saved.get("identity"), self.identity
        planned = now["recipe"]["epochs"]
        if before is None:
            before = of_an_old_state(saved["about"], max(planned, len(saved["rows"])))
            warnings.warn(
                f"{self.out} holds a run of version 0.1, which did not note its images: whether "
                "they are the ones of now cannot be compared",
                stacklevel=5,
            )
            now["before"] = {}  # what it has learned from so far is not known
        elif now["before"] and same_run(now["before"], before):  # this run has left its model so
            now["before"] = before.get("before")
        now["images"]["test"] = now["images"]["test"] or before["images"].get("test")
        epochs = before["recipe"]["epochs"]
        if extend and planned > epochs:
            say(
                f"{self.out}: planned for {epochs} epochs, {len(saved['rows'])} of them done; now "
                f"{planned}. The cosine of the learning rate is stretched over {planned} epochs, "
                "so the epochs to come have higher rates than they would have had, and the result "
                f"is not that of {planned} epochs from the start"
            )
            before = {**before, "recipe": {**before["recipe"], "epochs": planned}}
        if differing := differences(before, now):
            longer = planned > epochs and len(differing) == 1
            remedy = ", or extend=True (--extend) to train this one for longer" if longer else ""
            raise ValueError(
                f"{self.out} holds another run ({'; '.join(differing)}). Choose another folder, "
                f"or resume=False (--restart) to replace it{remedy}"
            )

    def _unreadable(self, path: Path, error: Exception) -> str:
        remedy = "to start anew"
        if path == self.path:
            try:
                finished = len(_read(self.previous)["rows"])
                remedy = f"to go on after epoch {finished} with {self.previous}"
            except _UNREADABLE:
                pass  # there is none: the run is in its first epochs
        best = self.out / "best.safetensors"
        kept = f". The kept model so far is {best}" if best.is_file() else ""
        if isinstance(error, OSError):
            return f"{path} cannot be read: {error.strerror or error}. Make it readable{kept}"
        return (
            f"{path} cannot be read ({type(error).__name__}): it is cut off, damaged, or no state "
            f"of a run. Move it to another folder {remedy}{kept}"
        )

    def finish_epoch(self, row: dict[str, Any]) -> None:
        """Record an epoch; write the best model first, then the state, then the curve.

        Ctrl-C and, where it is handled, SIGTERM wait until all is written.

        Raises:
            OSError: the disk is full or cannot be written; the files of the epoch before are kept.
        """
        saved = len(self.rows)
        self.rows.append(row)
        if not self.accelerator.is_main_process:
            return
        try:
            with _uninterrupted():
                if row["epoch"] == self._best()["epoch"]:
                    with self.average.in_model():
                        self.model.save(self.out / "best.safetensors")
                write_atomically(self.path, self._write)
                saved += 1
                self._write_history()
        except OSError as error:
            goes_on = f"it goes on after epoch {saved}" if saved else "no epoch was saved yet"
            raise OSError(
                error.errno,
                f"{error.strerror or error}. Make room there and make the same call again: "
                f"{goes_on}",
            ) from error

    def _write(self, temporary: Path) -> None:
        """Write the state; when it is whole, keep the former one as the previous one."""
        scaler = self.accelerator.scaler
        state = {
            "identity": self.identity,
            "rows": self.rows,
            "micro_batch": self.micro_batch,
            "model": self.model.trained_state(),
            "average": self.average.state(),
            "optimizer": self.optimizer.state_dict(),
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
        saved = self._on_all(lambda: self._kept(run.best))
        self.model.load_trained_state(saved, run.best)
        self.model.eval()
        return run

    def _kept(self, path: Path) -> dict[str, torch.Tensor]:
        """The kept epoch's tensors; CheckpointError if the file is not this run's."""
        about = read_description(path).get("run")
        if about and (
            differing := differences(about, {**self.identity, "recipe": about["recipe"]})
        ):
            raise CheckpointError(
                f"{path} is the model of another run than {self.path} ({'; '.join(differing)}); "
                "put this run's own model back, or choose another folder"
            )
        return type(self.model).load_tensors(path)

    def _on_all(self, read):
        """What `read` returns or raises on the main process, on every process."""
        if self.accelerator.num_processes == 1:
            return read()
        from accelerate.utils import broadcast_object_list

        shared = [None, None]
        if self.accelerator.is_main_process:
            try:
                shared[0] = read()
            except (ValueError, OSError, RuntimeError) as error:
                shared[1] = error
        value, error = broadcast_object_list(shared)
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


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Signals that Python handles are handled at the end of the block."""
    came, before = [], {}
    if threading.current_thread() is threading.main_thread():  # only it may set handlers
        for number in (signal.SIGINT, signal.SIGTERM):
            if callable(signal.getsignal(number)):
                wait = lambda number, frame: came.append((number, frame))  # noqa: E731
                before[number] = signal.signal(number, wait)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for number, frame in came:
        before[number](number, frame)


# what torch.load raises for a file that is cut off, overwritten or not of this kind
_UNREADABLE = (
    *(OSError, RuntimeError, ValueError, TypeError, KeyError, EOFError),
    pickle.UnpicklingError,
)


def _as_here(saved: dict[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """An optimizer's state that is computed as `optimizer` is: fused on a GPU, not on a CPU."""
    groups = [
        {**group, "fused": own.get("fused")}
        for group, own in zip(saved["param_groups"], optimizer.param_groups, strict=True)
    ]
    return {**saved, "param_groups": groups}


def _read(path: Path) -> dict[str, Any]:
    saved = torch.load(path, map_location="cpu", weights_only=True)
    if "identity" not in saved:  # version 0.1
        saved["about"], saved["optimizer"] = saved["about"], saved["optimiser"]
    for key in ("rows", "model", "optimizer", "scaler"):
        saved[key]
    return saved
