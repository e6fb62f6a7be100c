"""Memory: how much a computation takes; when it runs out, how to tell and what to say."""

from __future__ import annotations

import weakref

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tlseg_lite.core.memory import NotEnoughMemory as NotEnoughMemory
from tlseg_lite.core.memory import is_out_of_memory as is_out_of_memory


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
    text = (
        f"out of memory on {_named(device)} with {tried} images at a time: going on with {now}, "
        f"adding up the gradients; the batch stays {batch}"
    )
    if inexact:
        return f"{text}, but batch normalisation now sees {now} at a time: the result changes"
    return f"{text} and the result the same, up to rounding"


def _named(device: torch.device) -> str:
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return f"{properties.name} ({properties.total_memory / 2**30:.0f} GiB)"
    return f"the {device.type.upper()}"


class PeakMemory(TorchDispatchMode):
    """The most bytes of tensors that were alive at once inside ``with PeakMemory() as peak:``.

    Counts each storage that an operation makes, from its making until nothing holds it any more;
    what was there before is not counted, nor what a kernel needs inside. On any device.

    Attributes:
        alive: bytes alive now.
        most: the peak, in bytes.
    """

    def __init__(self):
        super().__init__()
        self.alive = self.most = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        given = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if _holds(t)}
        for tensor in tree_leaves(made):
            if not _holds(tensor):
                continue
            storage = tensor.untyped_storage()
            if storage._cdata not in given | self._known and storage.nbytes():
                self._known.add(storage._cdata)
                self.alive += storage.nbytes()
                self.most = max(self.most, self.alive)
                weakref.finalize(storage, self._gone, storage._cdata, storage.nbytes())
        return made

    def _gone(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.alive -= size


def _holds(value: object) -> bool:
    return isinstance(value, torch.Tensor) and value.layout == torch.strided
