"""What float32 means on a GPU: the whole of it, or TF32's ten bits where they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def float32_products(device: torch.device, *, exact: bool) -> Iterator[None]:
    """Inside, matrix products and convolutions of float32 on CUDA keep all bits, or TF32's.

    PyTorch's own default is neither: products keep all 23 bits of the mantissa, convolutions ten.
    Elsewhere than on CUDA nothing changes; afterwards the settings are as they were.

    Args:
        device: where the computation runs.
        exact: True: as on a CPU. False: TF32, on GPUs that have it (from Ampere on); it rounds
            to ten bits, three more than bfloat16 keeps, and multiplies several times as fast.
    """
    if device.type != "cuda":
        yield
        return
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = not exact
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before
