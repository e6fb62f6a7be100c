"""When memory runs out: how to tell, and the error that says what helps."""

from __future__ import annotations

import torch

_SIGNS = (
    "_alloc_failed",  # cuBLAS, cuDNN, cuFFT, cuSOLVER
    "cuda error: out of memory",
    "cuda driver error: out of memory",
    "not enough memory",
    "could not create a primitive",  # oneDNN, on the CPU
)


class NotEnoughMemory(RuntimeError):
    """Not even one image at a time fits; the text names the remedies."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory ran out, on a GPU or on the CPU, and nothing else."""
    from accelerate.utils.memory import should_reduce_batch_size

    if isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)):
        return True
    if not isinstance(error, RuntimeError) or isinstance(error, NotEnoughMemory):
        return False
    text = str(error).lower()
    return should_reduce_batch_size(error) or any(sign in text for sign in _SIGNS)
