"""A GPU of shapes only: tensors without values that say they are on CUDA, on any machine.

PyTorch refuses, as on a real device, what mixes CPU and CUDA, and `Waits` notes what would make
the processor wait for the device: reading a value, counting non-zeros, copying unpinned memory.
"""

from __future__ import annotations

import traceback
from contextlib import contextmanager
from types import SimpleNamespace

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

CUDA = torch.device("cuda", 0)

_READS = (
    "aten._local_scalar_dense",
    "aten.nonzero.default",
    "aten.masked_select",
    "aten.repeat_interleave.Tensor",
    "aten._unique",
    "aten.unique",
    "aten.equal",
    "aten.bincount",
    "aten.is_nonzero",
)


class Waits(TorchDispatchMode):
    """Notes operations after which the processor would wait for the device, with their line.

    Attributes:
        found: "operation at file:line" of each.
        names: of all operations, in order.
        device: the kind of device that a wait is for; "cpu" counts reads of CPU tensors instead.
    """

    def __init__(self, device: str = "cuda"):
        super().__init__()
        self.found: list[str] = []
        self.names: list[str] = []
        self.device = device

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        name = str(function)
        self.names.append(name)
        here = any(x.device.type == self.device for x in given)
        waits = here and name.startswith(_READS)
        if here and name.startswith("aten.index") and len(args) > 1:
            waits |= any(_is_mask(i) for i in tree_leaves(args[1]))
        if waits:
            self._note(name)
        made = function(*args, **kwargs)
        if self.device != "cpu" and not waits:
            out = {x.device.type for x in tree_leaves(made) if isinstance(x, torch.Tensor)}
            sent = {x.device.type for x in given if x.ndim}  # numbers travel with the launch
            if sent and out and sent != out and not _free(args, kwargs):
                self._note(f"{name} from {sorted(sent)} to {sorted(out)}")
        return made

    def _note(self, name: str) -> None:
        lines = [x for x in traceback.extract_stack() if "site-packages/torch/" not in x.filename]
        at = lines[-3] if len(lines) > 2 else lines[-1]
        self.found.append(f"{name} at {at.filename.rpartition('/')[2]}:{at.lineno}")


def _is_mask(value) -> bool:
    return isinstance(value, torch.Tensor) and value.dtype in (torch.bool, torch.uint8)


def _free(args, kwargs) -> bool:
    return bool(kwargs.get("non_blocking")) or (len(args) > 2 and args[2] is True)


@contextmanager
def fake_cuda(monkeypatch):
    """FakeTensorMode, in which `torch.autocast("cuda")` works and `seeded` draws nothing."""
    with FakeTensorMode(allow_non_fake_inputs=True):  # first: it looks whether there is a GPU
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (9, 0))
        monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 92100)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_, **__: True)
        yield


def moved(module: torch.nn.Module) -> torch.nn.Module:
    """The module with everything that `Module.to` moves on the fake device."""
    for part in module.modules():
        for name, value in part._parameters.items():
            if value is not None:
                part._parameters[name] = torch.nn.Parameter(_there(value), value.requires_grad)
        for name, value in part._buffers.items():
            if value is not None:
                part._buffers[name] = _there(value)
    return module


def _there(value: torch.Tensor) -> torch.Tensor:
    return torch.empty(value.shape, dtype=value.dtype, device=CUDA)


def accelerator(precision: str = "bf16", device: torch.device = CUDA) -> SimpleNamespace:
    """What `TrainingStep` asks of Accelerate, for one process on the fake device.

    It has no backward pass: PyTorch's engine asks the driver for the device.
    """
    kinds = {"bf16": torch.bfloat16, "fp16": torch.float16, "no": torch.float32}
    return SimpleNamespace(
        device=device,
        num_processes=1,
        is_main_process=True,
        autocast=lambda: torch.autocast("cuda", kinds[precision], enabled=precision != "no"),
        backward=lambda loss: None,
        clip_grad_norm_=torch.nn.utils.clip_grad_norm_,
    )


class Draws(torch.Generator):
    """A generator that says it is on the fake device, where nothing is drawn."""

    device = CUDA
