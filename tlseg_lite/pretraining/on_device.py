"""Dead leaves for a GPU: drawn where they are used, many at once, without waiting for the device.

What the images of a group have in common (radii, order and family of the leaves) is drawn on the
CPU, everything that differs from image to image on the device. The images are of the same kind as
those of `DeadLeaves`, and not the same images: random numbers come from other generators.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from tlseg_lite.pretraining.dead_leaves import DeadLeaves, Pictures
from tlseg_lite.pretraining.textures import TILE

LABELS = 160
"""Width of `Pictures.whole`: more labels than any group of images has."""


class DeviceLeaves(DeadLeaves):
    """`DeadLeaves` in which nothing is read back from the device.

    Args:
        size, textures, seed, device: as in `DeadLeaves`.
    """

    def __init__(
        self, size: int = 256, *, textures: int = 160, seed: int = 0, device: str = "cuda"
    ) -> None:
        super().__init__(size, textures=textures, seed=seed, device=device)
        self.common = torch.Generator().manual_seed(seed + 1)  # on the CPU

    def _chance(self) -> float:
        return float(torch.rand(1, generator=self.common))

    def _choice(self, high: int) -> int:
        return int(torch.randint(high, (1,), generator=self.common))

    def _spread(self, n: int, low: float, high: float) -> list[float]:
        u = torch.rand(n, generator=self.common)
        return torch.exp(math.log(low) + (math.log(high) - math.log(low)) * u).tolist()

    def _jitter(self, n: int) -> list[float]:
        return (0.45 * torch.randn(n, generator=self.common)).tolist()

    def _numbers(self, values: list[int]) -> Tensor:
        return sent(torch.tensor(values), self.device)

    def _put(
        self, canvas: Tensor, corners: Tensor, shape: Tensor, k: int, inside: int | None
    ) -> None:
        n, side, w = *canvas.shape[:2], shape.shape[-1]
        step = torch.arange(w, device=self.device)
        rows = corners[:, 0, None, None] + step[:, None]
        at = (rows * side + corners[:, 1, None, None] + step).view(n, -1)
        flat, shape = canvas.view(n, -1), shape.view(n, -1)
        before = flat.gather(1, at)
        if inside is not None:
            shape = shape & (before == inside)
        flat.scatter_(1, at, before.masked_fill(shape, k))

    def _warp(self, n: int, w: int) -> Tensor:
        step = max(1, TILE // w)
        span = (w - 1) * step + 1
        which = self._integer(len(self.smooth), n, 2)[..., None, None]
        starts = self._integer(max(1, TILE - span), n, 2)
        steps = torch.arange(w, device=self.device) * step
        rows = (starts[:, :1] + steps)[:, None, :, None]  # n, 1, w, 1
        columns = (starts[:, 1:] + steps)[:, None, None, :]
        return self.smooth[which, rows, columns]


def sent(values: Tensor, device: torch.device) -> Tensor:
    """A CPU tensor on `device`, without waiting until it has arrived."""
    if device.type != "cuda":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)


def mixed(
    leaves: DeviceLeaves, batch: int, *, groups: int, size: int, difficulty: float, details: float
) -> Iterator[Pictures]:
    """Batches of `batch` images, drawn in `groups` groups of `size` at once and shuffled.

    The images of a group share what `DeviceLeaves` says; a batch holds images of all groups.

    Args:
        batch: divides ``groups * size``.
        difficulty: the hardest; each group has its own, from 0.3 of it on.
        details: as in `DeadLeaves.sample`.
    """
    device = leaves.device
    beyond = torch.arange(LABELS, device=device)
    made = []
    for _ in range(groups):
        hard = difficulty * (0.3 + 0.7 * leaves._chance())
        images, labels, whole = leaves.sample(size, difficulty=hard, details=details)
        rest = beyond[whole.shape[1] :].expand(size, -1)
        made.append((images, labels, torch.cat([whole, rest], 1)))
    images, labels, whole = (torch.cat(parts) for parts in zip(*made, strict=True))
    order = torch.randperm(groups * size, generator=leaves.common)
    for part in order.split(batch):
        which = sent(part, device)
        yield Pictures(images[which], labels[which], whole[which])
