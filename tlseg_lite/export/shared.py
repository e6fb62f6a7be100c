"""Weights that several ONNX files have in common, moved into one file beside them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

SHARED = "shared.data"
LEAST = 4096
"""Bytes from which on a tensor is moved; smaller ones are not worth an entry."""


def share_weights(files: Iterable[str | Path]) -> int:
    """Move the tensors that occur in more than one of some ONNX files into ``shared.data``.

    An adapted model holds SAM's encoder, which is frozen: beside the SAM itself its weights would
    lie there twice. The files are rewritten, with references to ``shared.data`` (ONNX's external
    data), which lies beside them; a runtime gives the same answers as before.

    Args:
        files: ONNX files in one folder, their weights inside.

    Returns:
        bytes of ``shared.data``; 0 where nothing is shared, and then no file is written.

    Raises:
        ValueError: the files lie in different folders.
        ImportError: onnx is not installed.
    """
    import onnx

    paths = [Path(file) for file in files]
    folders = {path.parent for path in paths}
    if len(folders) > 1:
        raise ValueError(
            f"the files lie in {len(folders)} folders; expected one, since all of them refer to "
            f"the same {SHARED}"
        )
    models = {path: onnx.load(path) for path in paths}
    found = {path: _large(model) for path, model in models.items()}
    times = Counter(key for tensors in found.values() for key in set(tensors))
    shared, places = bytearray(), {}
    for path, tensors in found.items():
        for key, tensor in tensors.items():
            if times[key] < 2:
                continue
            if key not in places:
                places[key] = len(shared), len(tensor.raw_data)
                shared += tensor.raw_data
            _refer(tensor, *places[key])
        if any(key in places for key in tensors):
            onnx.save(models[path], path)
    if shared:
        (folders.pop() / SHARED).write_bytes(shared)
    return len(shared)


def _large(model) -> dict[str, object]:
    """Large tensors by a digest of their type and bytes."""
    return {
        f"{tensor.data_type} {hashlib.sha256(tensor.raw_data).hexdigest()}": tensor
        for tensor in model.graph.initializer
        if len(tensor.raw_data) >= LEAST
    }


def _refer(tensor, offset: int, length: int) -> None:
    """A tensor without its bytes, which lie in `SHARED`."""
    from onnx import TensorProto

    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    del tensor.external_data[:]
    for key, value in (("location", SHARED), ("offset", offset), ("length", length)):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, str(value)
