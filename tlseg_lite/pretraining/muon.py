"""Muon: steps of equal size in every direction, for the matrices of the transformers.

AdamW scales each number of a weight matrix by itself. Muon (Jordan 2024) takes the matrix as a
whole: it replaces the momentum by the nearest matrix with orthonormal rows or columns, so that
rare directions learn as fast as common ones. In a run of a few thousand steps that counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from segment_anything.modeling import Sam


def orthogonalise(matrix: Tensor, steps: int = 5) -> Tensor:
    """Roughly U V^T of a matrix U S V^T, by a quintic Newton-Schulz iteration in bfloat16.

    Of a stack of matrices (..., rows, columns), of each. The singular values of the result lie
    between about 0.7 and 1.2.
    """
    x = matrix.bfloat16()
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    x = x / ((x.norm() if x.ndim == 2 else x.norm(dim=(-2, -1), keepdim=True)) + 1e-7)
    for _ in range(steps):
        a = x @ x.mT
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * (a @ a)) @ x
    return (x.mT if tall else x).to(matrix.dtype)


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised; for parameters with two dimensions.

    Args:
        params: matrices. A matrix that stacks several (q, k and v) is treated in as many parts as
            its rows are a multiple of its columns, where they are.
        lr: the step's root mean square is 0.2 lr for a square matrix, as AdamW's is about.
        momentum: of the gradient, after Nesterov.
        weight_decay: decoupled.
    """

    def __init__(
        self, params: Any, lr: float, *, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            used = [p for p in group["params"] if p.grad is not None]
            if used and used[0].device.type == "cuda":
                self._together(used, group)
                continue
            for p in used:
                velocity = self.state[p].setdefault("velocity", torch.zeros_like(p))
                velocity.lerp_(p.grad, 1 - group["momentum"])
                direction = p.grad.lerp(velocity, group["momentum"])
                rows, columns = p.shape
                parts = rows // columns if rows == 3 * columns else 1
                update = torch.cat([orthogonalise(part) for part in direction.chunk(parts)])
                size = 0.2 * max(rows // parts, columns) ** 0.5
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update, alpha=-group["lr"] * size)

    def _together(self, used: list[Tensor], group: dict[str, Any]) -> None:
        """The same for all matrices of a shape at once: a GPU waits for launches otherwise."""
        shapes: dict[torch.Size, list[Tensor]] = {}
        for p in used:
            shapes.setdefault(p.shape, []).append(p)
        for (rows, columns), same in shapes.items():
            gradients = [p.grad for p in same]
            velocities = [self.state[p].setdefault("velocity", torch.zeros_like(p)) for p in same]
            torch._foreach_lerp_(velocities, gradients, 1 - group["momentum"])
            direction = torch.stack(gradients).lerp(torch.stack(velocities), group["momentum"])
            parts = rows // columns if rows == 3 * columns else 1
            update = orthogonalise(direction.unflatten(1, (parts, rows // parts))).flatten(1, 2)
            size = 0.2 * max(rows // parts, columns) ** 0.5
            torch._foreach_mul_(same, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_add_(same, list(update.unbind()), alpha=-group["lr"] * size)


def optimizers(sam: Sam, plan: Any) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the transformers, AdamW for all else; rates from the plan.

    Each parameter group keeps its peak rate as ``group["peak"]``.
    """
    inner = [*sam.image_encoder.blocks.parameters(), *sam.mask_decoder.transformer.parameters()]
    tables = {id(p) for n, p in sam.named_parameters() if ".rel_pos_" in n}
    matrices = [p for p in inner if p.ndim == 2 and id(p) not in tables]
    taken = {id(p) for p in matrices}
    rest = [p for p in sam.parameters() if id(p) not in taken]
    groups = [
        {
            "params": [p for p in rest if p.ndim > 1 and id(p) not in tables],
            "weight_decay": plan.decay,
        },
        {"params": [p for p in rest if p.ndim <= 1 or id(p) in tables], "weight_decay": 0.0},
    ]
    fused = True if sam.pixel_mean.device.type == "cuda" else None
    adam = torch.optim.AdamW(groups, lr=plan.rate, betas=(0.9, 0.98), fused=fused)
    muon = Muon(matrices, plan.matrix_rate, weight_decay=plan.decay)
    for optimizer, rate in ((adam, plan.rate), (muon, plan.matrix_rate)):
        for group in optimizer.param_groups:
            group["peak"] = rate
    return [adam, muon]
