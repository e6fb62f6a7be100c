"""When memory runs out: telling it from other errors, freeing what is held, what to say."""

from __future__ import annotations

import gc

import torch

_SIGNS = (
    "cublas_status_alloc_failed",
    "cuda error: out of memory",
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


def free_memory() -> None:
    """Give back what PyTorch's allocator holds without need, after the tensors are gone."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def too_small(
    device: torch.device, image_size: int, precision: str, reason: str
) -> NotEnoughMemory:
    """The error for a machine on which one image at a time does not fit, with remedies."""
    remedies = ["checkpointing=True in the recipe", "a smaller SAM, such as sam='vit_b'"]
    if precision == "no" and device.type == "cuda":
        remedies.insert(0, "precision='bf16' or 'fp16' in the recipe")
    remedies += ["load_sam(..., image_size=512)", "closing other programs on this machine"]
    return NotEnoughMemory(
        f"out of memory with one image of {image_size} px at a time on {_named(device)}; "
        f"try {', '.join(remedies)}, or a larger machine ({reason})"
    )


def smaller(device: torch.device, tried: int, now: int, batch: int, inexact: bool) -> str:
    """The sentence that says that fewer images go through the model at once from now on."""
    told = (
        f"out of memory on {_named(device)} with {tried} images at a time: going on with {now}, "
        f"adding up the gradients; the batch stays {batch}"
    )
    if inexact:
        return f"{told}, but batch normalisation now sees {now} at a time: the result changes"
    return f"{told} and the result the same, up to rounding"


def _named(device: torch.device) -> str:
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return f"{properties.name} ({properties.total_memory / 2**30:.0f} GiB)"
    return f"the {device.type.upper()}"
