"""Whether a value is a torch tensor, asked without importing torch.

Metrics, audit and their exercises take numpy arrays and torch tensors alike. With arrays alone
they work where torch is not installed, such as in a browser (Pyodide).
"""

from __future__ import annotations

import sys
from typing import Any


def is_tensor(value: Any) -> bool:
    """Whether `value` is a `torch.Tensor`. Nobody can hold one before torch has been imported."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def is_bool(array: Any) -> bool:
    """Whether a numpy array or a torch tensor holds bools."""
    if not is_tensor(array):
        return array.dtype == bool
    import torch

    return array.dtype == torch.bool


def zero_where_not(valid: Any, array: Any) -> Any:
    """`array` with 0 where `valid` is False; both numpy arrays, or both torch tensors."""
    if not is_tensor(array):
        import numpy as np

        return np.where(valid, array, 0)
    import torch

    return torch.where(valid, array, 0)


def to_numpy(array: Any) -> Any:
    """A tensor as a numpy array, detached and on the CPU; everything else as it is."""
    return array.detach().cpu().numpy() if is_tensor(array) else array
