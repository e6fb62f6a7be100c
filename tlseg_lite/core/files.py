"""Reading and writing the project's own files: atomic, described, with clear errors."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from tlseg_lite.core.errors import CheckpointError

_KEY = "tlseg_lite"  # the safetensors metadata entry that holds a model's description


def write_atomically(path: str | Path, write: Callable[[Path], object]) -> None:
    """Call ``write(temporary path)`` beside `path`, then put the result in place in one step.

    A crash, a full disk or a kill leaves the former file untouched; OSError names the file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        write(temporary)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(
            error.errno, f"cannot write {path}: {error.strerror or error}; the former file is kept"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def hold(folder: str | Path, what: str = "a training") -> Iterator[None]:
    """Keep a folder for this process, so that no second one writes into it; made if needed.

    The hold ends with the process, however it ends. (Not on Windows, which has no such lock, nor on
    file systems that cannot lock.)

    Raises:
        RuntimeError: another process holds it; names that process.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    note = folder / ".running"  # only says who holds the folder; the lock is the system's own
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            who = note.read_text(encoding="utf-8") if note.is_file() else "another process"
            raise RuntimeError(
                f"{folder} is in use by {what} ({who}); wait until it ends, stop it, or choose "
                "another folder"
            ) from None
        except OSError:  # the file system cannot lock
            yield
            return
        write_atomically(
            note, lambda t: t.write_text(f"process {os.getpid()} on {socket.gethostname()}")
        )
        try:
            yield
        finally:
            note.unlink(missing_ok=True)
    finally:
        os.close(handle)


def write_tensors(
    path: str | Path, tensors: dict[str, torch.Tensor], description: dict[str, Any]
) -> None:
    """Save tensors by name with a JSON description in one safetensors file, atomically."""
    from safetensors.torch import save

    plain = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    data = save(plain, metadata={_KEY: json.dumps(description)})
    write_atomically(path, lambda temporary: temporary.write_bytes(data))


def read_tensors(
    path: str | Path, *, expected: str | None = None
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors and description written by `write_tensors`, of the model class `expected` (any).

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: damaged, or not a file of this kind.
    """
    return _read(path, expected, lambda file: {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118


def read_description(path: str | Path, *, expected: str | None = None) -> dict[str, Any]:
    """Only the description of `read_tensors`, which costs next to nothing; errors as there."""
    return _read(path, expected, lambda file: {})[1]


def _read(
    path: str | Path, expected: str | None, tensors_of: Callable[[Any], dict[str, torch.Tensor]]
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no saved model at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get(_KEY, "{}"))
            tensors = tensors_of(file)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} is not a safetensors file or is damaged ({error}); "
            f"expected a saved {expected or 'model'}"
        ) from error
    kind = about.get("model")
    if kind is None or expected not in (None, kind):
        raise CheckpointError(
            f"{path} holds {kind or 'weights without a description'}, "
            f"expected a saved {expected or 'model'}"
        )
    return tensors, about


def misfits(own: Mapping[str, torch.Tensor], given: Mapping[str, torch.Tensor]) -> list[str]:
    """Names that only one of the two has or, if there are none, whose shapes differ; sorted."""
    return sorted(own.keys() ^ given.keys()) or sorted(
        name for name in own if own[name].shape != given[name].shape
    )
