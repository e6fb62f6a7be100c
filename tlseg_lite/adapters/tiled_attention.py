"""Attention with SAM's relative positions, a tile of scores at a time: exact, with little memory.

SAM writes the N x N scores of every head, adds the positions to them and keeps the result for the
gradient. Here a tile of them exists at a time, small enough for the processor's cache, and the
gradient makes each tile again. Windows are cut out of the grid one by one: the grid is not padded,
and no query is asked for a place that is only padding.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch

CPU_TILE = 2**20
"""Scores in a tile for each thread of a CPU: 4 MB in float32. A quarter of that takes as much time
on one thread; on several, every small operation ends with waiting for the slowest of them."""

GPU_TILE = 2**26
"""Scores in a tile on any other device, where few large steps are better."""


def tiled_attention(
    qkv: torch.Tensor,
    padding: torch.Tensor,
    rows: torch.Tensor,
    columns: torch.Tensor,
    scale: float,
) -> torch.Tensor:
    """Windowed attention, softmax(scale q k' + q Rh + q Rw) v, differentiable in all tensors.

    Args:
        qkv: (B, H, W, 3, heads, d), queries, keys and values of the grid of tokens.
        padding: (3, heads, d), those of a place outside the grid; its key and value take part in
            a window that reaches beyond the grid.
        rows: (h, h, d), Rh: position vectors by row of the query and row of the key; h is the
            window's height, H for attention over the whole grid.
        columns: (w, w, d), Rw: the same for columns.
        scale: of the products of queries and keys; the positions are not scaled, as in SAM.

    Returns:
        (B, H, W, heads, d), of the type of `qkv`; sums of gradients are taken in float32 at least.
    """
    return _Tiled.apply(qkv, padding, rows, columns, scale)


class _Tiled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qkv, padding, rows, columns, scale: float) -> torch.Tensor:
        ctx.save_for_backward(qkv, padding, rows, columns)
        ctx.scale = scale
        out = qkv.new_empty(*qkv.shape[:3], *qkv.shape[4:])
        with torch.autocast(qkv.device.type, enabled=False):
            for part in _parts(qkv, padding, rows, columns):
                flat = torch.empty_like(part.q).flatten(1, 2)
                positions = _positions(part.q, rows, columns)
                for tile in part.tiles():
                    share = _softmax(part, positions, tile, scale)
                    torch.bmm(share, part.v, out=flat[:, tile])
                out[part.place] = flat.view(part.q.shape).permute(1, 2, 0, 3)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_out: torch.Tensor):
        qkv, padding, rows, columns = ctx.saved_tensors
        of_qkv = torch.empty_like(qkv)
        sums = [
            torch.zeros_like(t, dtype=_sum_type(t)) if needed else None
            for t, needed in zip((padding, rows, columns), ctx.needs_input_grad[1:4], strict=True)
        ]
        with torch.autocast(qkv.device.type, enabled=False):
            for part in _parts(qkv, padding, rows, columns):
                here = of_out[part.place].permute(2, 0, 1, 3).flatten(1, 2).to(qkv.dtype)
                _part_gradient(part, here, rows, columns, ctx.scale, of_qkv, *sums)
        given = (padding, rows, columns)
        of_given = (s if s is None else s.to(t.dtype) for s, t in zip(sums, given, strict=True))
        return of_qkv, *of_given, None


class _Part(NamedTuple):
    """Some heads of one window: its place in the grid, queries inside the grid, keys, values."""

    place: tuple[int, slice, slice, slice]  # image, rows, columns, heads
    q: torch.Tensor  # g, rows, columns, d
    k: torch.Tensor  # g, N, d
    v: torch.Tensor  # g, N, d

    def tiles(self) -> Iterator[slice]:
        queries, keys = self.q.shape[1] * self.q.shape[2], self.k.shape[1]
        step = max(1, _tile(self.q) // (keys * len(self.q)))
        for start in range(0, queries, step):
            yield slice(start, min(start + step, queries))


def _tile(x: torch.Tensor) -> int:
    return GPU_TILE if x.device.type != "cpu" else CPU_TILE * torch.get_num_threads()


def _parts(qkv, padding, rows, columns) -> Iterator[_Part]:
    """The grid in windows from the top left; those at its end are filled up with `padding`."""
    batch, height, width, _, heads, d = qkv.shape
    high, wide = rows.shape[0], columns.shape[0]
    together = max(1, min(heads, _tile(qkv) // (high * wide) ** 2))  # heads at a time
    for image in range(batch):
        for top in range(0, height, high):
            for left in range(0, width, wide):
                place = slice(top, min(top + high, height)), slice(left, min(left + wide, width))
                inside = window = qkv[image][place]  # rows, columns, 3, heads, d
                if inside.shape[:2] != (high, wide):
                    window = padding.expand(high, wide, *padding.shape).clone()
                    window[: inside.shape[0], : inside.shape[1]] = inside
                for first in range(0, heads, together):
                    some = slice(first, min(first + together, heads))
                    q = inside[:, :, 0, some].permute(2, 0, 1, 3)
                    kv = window[:, :, 1:, some].permute(2, 3, 0, 1, 4)  # 2, g, rows, columns, d
                    k, v = (t.reshape(len(q), high * wide, d).contiguous() for t in kv)
                    yield _Part((image, *place, some), q.contiguous(), k, v)


def _positions(q, rows, columns) -> tuple[torch.Tensor, torch.Tensor]:
    """What they add to the scores, by row and by column of the key: (g, n, h) and (g, n, w)."""
    by_row = torch.einsum("gijc,ikc->gijk", q, rows[: q.shape[1]])
    by_column = torch.einsum("gijc,jkc->gijk", q, columns[: q.shape[2]])
    return by_row.flatten(1, 2), by_column.flatten(1, 2)


def _softmax(part: _Part, positions, tile: slice, scale: float) -> torch.Tensor:
    """Attention of the queries in `tile` to all keys: (g, tile, N)."""
    by_row, by_column = (p[:, tile] for p in positions)
    scores = (by_row[..., :, None] + by_column[..., None, :]).flatten(2)
    scores.baddbmm_(part.q.flatten(1, 2)[:, tile], part.k.transpose(1, 2), alpha=scale)
    return scores.softmax(-1)


def _part_gradient(
    part, of_out, rows, columns, scale, of_qkv, of_padding, of_rows, of_columns
) -> None:
    """Write one part's gradients into `of_qkv` and add them to the sums that are asked for.

    Forward, S = scale q k' + q Rh + q Rw, P = softmax(S) by row, out = P v. With d for the
    gradient of the loss, the chain rule gives

        dv = P' dout,    dP = dout v',    dS = P * (dP - rowsum(P * dP)),
        dk = scale dS' q,    dq = scale dS k + dS summed over columns . Rh + ... over rows . Rw,

    and no more than a tile of P and dS has to exist at a time (FlashAttention's backward pass).

    Args:
        of_out: (g, n, d), dout of the part's n queries in g heads.
        of_qkv: (B, H, W, 3, heads, d), written at the part's place.
        of_padding, of_rows, of_columns: sums over all parts, or None where no gradient is asked.
    """
    image, *place, heads = part.place
    q, k, v = part.q.flatten(1, 2), part.k, part.v
    positions = _positions(part.q, rows, columns)
    of_q, of_by_row, of_by_column = (torch.empty_like(t) for t in (q, *positions))
    of_k, of_v = (torch.zeros_like(t, dtype=_sum_type(t)) for t in (k, v))
    for tile in part.tiles():
        share = _softmax(part, positions, tile, scale)  # P: g, tile, N
        _add_product(of_v, share, of_out[:, tile])
        slope = torch.bmm(of_out[:, tile], v.transpose(1, 2)).to(of_v.dtype).mul_(share)  # P * dP
        slope.addcmul_(share, slope.sum(-1, keepdim=True), value=-1)  # dS
        by_place = slope.unflatten(-1, (len(rows), len(columns)))  # keys by row and column
        of_by_row[:, tile] = by_place.sum(-1)
        of_by_column[:, tile] = by_place.sum(-2)
        slope = slope.to(q.dtype)
        torch.bmm(slope, k, out=of_q[:, tile])
        _add_product(of_k, slope, q[:, tile])
    # the positions were added to the scores as q Rh and q Rw: a share for q, one for the tables
    high, wide = part.q.shape[1:3]  # queries inside the grid; keys fill the whole window
    of_by_row, of_by_column = (t.unflatten(1, (high, wide)) for t in (of_by_row, of_by_column))
    of_q = of_q.view(part.q.shape).mul_(scale)
    of_q += torch.einsum("gijk,ikc->gijc", of_by_row, rows[:high])
    of_q += torch.einsum("gijk,jkc->gijc", of_by_column, columns[:wide])
    if of_rows is not None:
        of_rows[:high] += torch.einsum("gijk,gijc->ikc", of_by_row, part.q)
    if of_columns is not None:
        of_columns[:wide] += torch.einsum("gijk,gijc->jkc", of_by_column, part.q)
    here = of_qkv[image][tuple(place)]  # rows, columns, 3, heads, d
    here[:, :, 0, heads] = of_q.permute(1, 2, 0, 3)
    for index, whole in ((1, of_k.mul_(scale)), (2, of_v)):
        whole = whole.unflatten(1, (len(rows), len(columns)))
        here[:, :, index, heads] = whole[:, :high, :wide].permute(1, 2, 0, 3)
        if of_padding is not None:  # keys below and to the right of the grid were all the same
            outside = whole[:, high:].sum((1, 2)) + whole[:, :high, wide:].sum((1, 2))
            of_padding[index, heads] += outside


def _sum_type(x: torch.Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def _add_product(total: torch.Tensor, share: torch.Tensor, x: torch.Tensor) -> None:
    """``total += share' x``: (g, N, d) from (g, tile, N) and (g, tile, d)."""
    if x.dtype == total.dtype:
        total.baddbmm_(share.transpose(1, 2), x)
    else:
        total += torch.bmm(share.transpose(1, 2), x)
