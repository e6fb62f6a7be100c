"""SAM's attention with relative positions, in several forms that give the same result.

The score of query i and key j is ``scale * q_i k_j + q_i Rh[row i, row j] + q_i Rw[col i, col j]``.
`segment_anything` writes all N x N scores of every head and adds the positions to them. The other
forms avoid some or all of that; which one is fast depends on the device.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F

from tlseg_lite.adapters.tiled_attention import tiled_attention

if TYPE_CHECKING:
    from segment_anything.modeling.image_encoder import Attention

FORMS = ("auto", "eager", "tiled", "concat", "bias", "flex")
"""``"eager"``: `segment_anything`'s own, all scores in memory. ``"tiled"``: a tile of scores at a
time. ``"concat"``: the positions as further entries of queries and keys, then a fused kernel.
``"bias"``: the positions as a mask of N x N for the fused kernel. ``"flex"``: FlexAttention, on
CUDA. ``"auto"``: see `choose_form`; nothing chooses ``"bias"`` and ``"flex"``, which are kept for
the GPU and not yet measured."""

SMALL = 2**20
"""Scores of an image and a block, up to which ``"auto"`` keeps `segment_anything`'s own form."""

SMALL_WINDOW = 64
"""Tokens of a window, up to which it does so too, however many windows there are."""


def choose_form(form: str, tokens: int, count: int, device: torch.device | str) -> str:
    """The form that ``"auto"`` stands for; any other name is returned as it is.

    Small blocks are ``"eager"``: as fast there, and equal to `segment_anything` to the last bit
    (all of sam_mini at 256 px). Larger ones are ``"tiled"``, the fastest that was measured on CPUs;
    on CUDA they are ``"concat"``, because it needs nothing but PyTorch's fused kernel: no form has
    been measured there yet.

    Args:
        form: one of `FORMS`.
        tokens: in a window.
        count: windows of an image times heads.
        device: where the tokens are.

    Raises:
        ValueError: an unknown form, or ``"flex"`` without CUDA.
    """
    if form not in FORMS:
        raise ValueError(f"attention is {form!r}; expected one of {', '.join(map(repr, FORMS))}")
    kind = torch.device(device).type
    if form == "flex" and kind != "cuda":
        raise ValueError(
            f'attention="flex" runs on CUDA, and the tokens are on {kind!r}; take "auto", which '
            'is "tiled" there'
        )
    if form != "auto":
        return form
    if tokens <= SMALL_WINDOW or count * tokens**2 <= SMALL:
        return "eager"
    return "concat" if kind == "cuda" else "tiled"


def form_for(attention: Attention, x: torch.Tensor, window: int, form: str = "auto") -> str:
    """`choose_form` for an attention layer and its tokens (B, H, W, C); `window` 0: global."""
    height, width = x.shape[1:3]
    windows, tokens = 1, height * width
    if window:
        windows, tokens = -(-height // window) * -(-width // window), window**2
    form = choose_form(form, tokens, windows * attention.num_heads, x.device)
    return form if attention.use_rel_pos else "eager"


class Positions(NamedTuple):
    """Position vectors of a window, one for each pair of rows and each pair of columns."""

    rows: torch.Tensor  # h, h, d: row of the query, row of the key
    columns: torch.Tensor  # w, w, d


def positions_for(attention: Attention, x: torch.Tensor, window: int) -> Positions:
    """The relative positions that `attend` needs for tokens (B, H, W, C)."""
    return relative_positions(attention, (window, window) if window else tuple(x.shape[1:3]))


def relative_positions(attention: Attention, size: tuple[int, int]) -> Positions:
    """The tables of one attention layer for windows of `size` (rows, columns).

    As `get_rel_pos` of `segment_anything`, which copies its indices from the CPU at each call.
    """
    from segment_anything.modeling.image_encoder import get_rel_pos

    weights = attention.rel_pos_h, attention.rel_pos_w
    return Positions(
        *(
            weight[_offsets(n, weight.device)]
            if len(weight) == 2 * n - 1
            else get_rel_pos(n, n, weight)  # resampled
            for n, weight in zip(size, weights, strict=True)
        )
    )


@lru_cache(maxsize=16)
def _offsets(n: int, device: torch.device) -> torch.Tensor:
    """For n queries and n keys the distance of each pair, counted from 0: (n, n)."""
    with torch.inference_mode(False):  # else of no use for training later
        at = torch.arange(n, device=device)
        return at[:, None] - at + n - 1


def attend(
    attention: Attention,
    x: torch.Tensor,
    window: int,
    form: str,
    positions: Positions | None = None,
) -> torch.Tensor:
    """Self-attention in windows, with its projections: (B, H, W, C) -> the same.

    Args:
        attention: `segment_anything`'s layer.
        x: normalised tokens.
        window: side of the windows in tokens; 0: one window, the whole grid.
        form: one of `FORMS` but ``"auto"``, see `form_for`.
        positions: from `positions_for`; not needed by ``"eager"``.
    """
    from segment_anything.modeling.image_encoder import window_partition, window_unpartition

    grid = tuple(x.shape[1:3])
    heads = attention.num_heads
    if form == "tiled":
        qkv = attention.qkv(x).unflatten(-1, (3, heads, -1))
        outside = attention.qkv(x.new_zeros(1, x.shape[-1])).view(3, heads, -1)
        rows, columns = (p.to(qkv.dtype) for p in positions)
        out = tiled_attention(qkv, outside.to(qkv.dtype), rows, columns, attention.scale)
        return attention.proj(out.flatten(-2))
    if window:
        x, padded = window_partition(x, window)
    if form == "eager":
        x = attention(x)
        return window_unpartition(x, window, padded, grid) if window else x
    side = tuple(x.shape[1:3])
    qkv = attention.qkv(x).reshape(len(x), side[0] * side[1], 3, heads, -1)
    q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each B', heads, N, d
    rows, columns = (p.to(q.dtype) for p in positions)
    by_place = q.unflatten(2, side)
    by_row = torch.einsum("bnijc,ikc->bnijk", by_place, rows).flatten(2, 3)  # B', heads, N, h
    by_column = torch.einsum("bnijc,jkc->bnijk", by_place, columns).flatten(2, 3)
    out = _FORMS[form](q, k, v, by_row, by_column, attention.scale)
    out = out.transpose(1, 2).reshape(*x.shape[:3], -1)
    if window:
        out = window_unpartition(out, window, padded, grid)  # the padding needs no projection
    return attention.proj(out)


def concat_attention(q, k, v, by_row, by_column, scale: float) -> torch.Tensor:
    """q' = [scale q, q Rh, q Rw], k' = [k, one-hot row, one-hot column]: q' k' is the whole score.

    q, k, v are (B, heads, N, d); by_row (B, heads, N, h) and by_column (B, heads, N, w) are what
    the positions add for each row and column of the key. Returns (B, heads, N, d).

    The width is filled up to a multiple of 8, and v to the same width, because the flash kernels
    take nothing else. Where there is none (GPUs before Ampere), v stays as it is.
    """
    high, wide = by_row.shape[-1], by_column.shape[-1]
    width, d = q.shape[-1] + high + wide, q.shape[-1]
    row = torch.eye(high, dtype=k.dtype, device=k.device).repeat_interleave(wide, 0)
    column = torch.eye(wide, dtype=k.dtype, device=k.device).repeat(high, 1)
    spare = -width % 8
    place = F.pad(torch.cat((row, column), -1), (0, spare)).expand(*k.shape[:3], -1)
    queries = F.pad(torch.cat((q * scale, by_row, by_column), -1), (0, spare))
    if _flash(q):
        v = F.pad(v, (0, width + spare - d))
    out = F.scaled_dot_product_attention(queries, torch.cat((k, place), -1), v, scale=1.0)
    return out[..., :d]


def _flash(q: torch.Tensor) -> bool:
    return q.device.type != "cuda" or torch.cuda.get_device_capability(q.device) >= (8, 0)


def bias_attention(q, k, v, by_row, by_column, scale: float) -> torch.Tensor:
    """The positions as a mask of N x N for each head; arguments as `concat_attention`.

    Kept for the GPU, not yet measured: no device chooses it.
    """
    mask = (by_row[..., :, None] + by_column[..., None, :]).flatten(-2)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)


def flex_attention(q, k, v, by_row, by_column, scale: float) -> torch.Tensor:
    """The positions added inside a compiled FlexAttention kernel; arguments as `concat_attention`.

    Kept for the GPU, not yet measured: no device chooses it.

    Raises:
        ImportError: PyTorch is older than 2.6, the first with gradients for the positions.
    """
    wide = by_column.shape[-1]

    def with_positions(score, b, head, query, key):
        row = by_row[b, head, query, key // wide]
        return score + row + by_column[b, head, query, key % wide]

    return _flex_kernel()(q, k, v, score_mod=with_positions, scale=scale)


@lru_cache(maxsize=1)
def _flex_kernel():
    if (release := tuple(map(int, torch.__version__.split(".")[:2]))) < (2, 6):
        raise ImportError(
            f"FlexAttention with gradients for positions needs torch 2.6, and this is "
            f'{".".join(map(str, release))}; take attention="auto"'
        )
    from torch.nn.attention.flex_attention import flex_attention as kernel

    return torch.compile(kernel)


_FORMS = {"concat": concat_attention, "bias": bias_attention, "flex": flex_attention}
