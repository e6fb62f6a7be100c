"""Reading and writing the project's own files: atomic, described, with clear errors."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Mapping
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
