"""Products of float32 matrices by oneDNN, on processors where PyTorch's default is slow.

On x86 PyTorch gives float32 products to Intel's MKL, which leaves AVX-512 unused on processors of
AMD. oneDNN, which PyTorch carries as well, uses it and is about twice as fast there. The sums are
those of float32, taken in another order.
"""

from __future__ import annotations

import platform
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import nn


def linear(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """``layer(x)``, by oneDNN where that is faster: a plain frozen linear layer in float32.

    Anything else (a layer that trains, LoRA, another precision or device, a layer with hooks) is
    called as it is.
    """
    plain = type(layer) is nn.Linear and not (layer._forward_hooks or layer._forward_pre_hooks)
    if not plain or any(p.requires_grad for p in layer.parameters()) or not serves(x):
        return layer(x)
    return _Frozen.apply(x, layer.weight, layer.bias)


def serves(x: torch.Tensor) -> bool:
    """Whether `product` takes matrices of this kind on this machine."""
    kind = x.dtype == torch.float32 and x.device.type == "cpu"
    return kind and not _autocast() and preferred()


@lru_cache(maxsize=1)
def preferred() -> bool:
    """An AMD processor with AVX-512, and a PyTorch that has the operation and computes it right.

    A fixed rule and no timing, so that a training that is resumed goes on with the same sums.
    """
    if not torch.backends.mkldnn.is_available() or "AMD" not in _maker():
        return False
    if torch.backends.cpu.get_cpu_capability() != "AVX512":
        return False
    a, b = (torch.linspace(-1, 1, 12 * n).view(n, 12) for n in (4, 6))
    try:
        return torch.allclose(product(a, b), a @ b.t(), rtol=1e-4, atol=1e-5)
    except (AttributeError, RuntimeError):  # not in this release, or with other arguments
        return False


def product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None):
    """``x @ weight.T + bias``: (..., K) and (N, K) -> (..., N); no gradient of its own."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


class _Frozen(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x, weight, bias) -> torch.Tensor:
        ctx.save_for_backward(weight)
        return product(x, weight, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_out: torch.Tensor):
        (weight,) = ctx.saved_tensors
        return product(of_out.contiguous(), weight.t()), None, None


def _maker() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        return next((x for x in info.read_text().splitlines() if x.startswith("vendor_id")), "")
    return platform.processor()


def _autocast() -> bool:
    try:
        return torch.is_autocast_enabled("cpu")
    except TypeError:  # before torch 2.4
        return torch.is_autocast_cpu_enabled()
