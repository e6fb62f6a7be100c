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

from tlseg_lite.adapters.fastest import can_measure, fastest, shape_of
from tlseg_lite.adapters.tiled_attention import tiled_attention

if TYPE_CHECKING:
    from segment_anything.modeling.image_encoder import Attention

FORMS = ("auto", "eager", "tiled", "concat", "bias", "flex")
"""The forms of attention.

``"eager"``: `segment_anything`'s own, all scores in memory. ``"tiled"``: a tile of scores at a
time. ``"concat"``: the positions as further entries of queries and keys, then a fused kernel.
``"bias"``: the positions as a mask of N x N for the fused kernel. ``"flex"``: FlexAttention, on
CUDA. ``"auto"``: see `form_for`."""

SMALL = 2**20
"""Scores of an image and a block, up to which ``"auto"`` keeps `segment_anything`'s own form."""

SMALL_WINDOW = 64
"""Tokens of a window, up to which it does so too, however many windows there are."""


CANDIDATES = {"cpu": ("tiled", "eager"), "cuda": ("concat", "bias", "tiled", "eager")}
"""What ``"auto"`` measures on each kind of device; the first is taken where it cannot measure.
With ``compile=True`` ``"flex"`` is tried on CUDA, too: it has to be compiled."""


def is_small(tokens: int, count: int) -> bool:
    """Whether ``"auto"`` keeps `segment_anything`'s form: as fast, and equal to the last bit.

    So for all of sam_mini at 256 px.

    Args:
        tokens: in a window.
        count: windows of an image times heads.
    """
    return tokens <= SMALL_WINDOW or count * tokens**2 <= SMALL


def form_for(
    attention: Attention, x: torch.Tensor, window: int, form: str = "auto", compiled: bool = False
) -> str:
    """The form that ``"auto"`` stands for; any other name is returned as it is.

    Small layers are ``"eager"``. For the others the candidates are measured on this device, once a
    shape (`tlseg_lite.adapters.fastest`); tensors without values take the first candidate.

    Args:
        attention: `segment_anything`'s layer.
        x: tokens (B, H, W, C).
        window: side of the windows in tokens; 0: one window, the whole grid.
        form: one of `FORMS`.
        compiled: the layer is compiled around the attention, so that it may be, too.

    Raises:
        ValueError: an unknown form, or ``"flex"`` without CUDA.
    """
    check_form(form)
    kind = x.device.type
    if form == "flex" and kind != "cuda":
        raise ValueError(
            f'attention="flex" runs on CUDA, and the tokens are on {kind!r}; take "auto"'
        )
    if not attention.use_rel_pos:
        return "eager"
    if form != "auto":
        return form
    height, width = x.shape[1:3]
    windows, tokens = 1, height * width
    if window:
        windows, tokens = -(-height // window) * -(-width // window), window**2
    if is_small(tokens, windows * attention.num_heads):
        return "eager"
    forms = CANDIDATES.get(kind, CANDIDATES["cpu"])
    if not can_measure(x):
        return forms[0]
    if compiled and kind == "cuda":
        forms += ("flex",)
    return fastest(shape_of(attention, x, window), x.device, forms, attend)


def check_form(form: str) -> None:
    """Raises ValueError for a name that is not one of `FORMS`."""
    if form not in FORMS:
        raise ValueError(f"attention is {form!r}; expected one of {', '.join(map(repr, FORMS))}")


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
        positions: from `positions_for`; None: made here, where the form needs them.
    """
    from segment_anything.modeling.image_encoder import window_partition, window_unpartition

    if positions is None and form != "eager":
        positions = positions_for(attention, x, window)
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

    The width is filled up to a multiple of 8, and v as `value_width` says.
    """
    high, wide = by_row.shape[-1], by_column.shape[-1]
    width, d = q.shape[-1] + high + wide, q.shape[-1]
    row = torch.eye(high, dtype=k.dtype, device=k.device).repeat_interleave(wide, 0)
    column = torch.eye(wide, dtype=k.dtype, device=k.device).repeat(high, 1)
    spare = -width % 8
    place = F.pad(torch.cat((row, column), -1), (0, spare)).expand(*k.shape[:3], -1)
    queries = F.pad(torch.cat((q * scale, by_row, by_column), -1), (0, spare))
    v = F.pad(v, (0, value_width(width + spare, d, q.device) - d))
    out = F.scaled_dot_product_attention(queries, torch.cat((k, place), -1), v, scale=1.0)
    return out[..., :d]


def value_width(width: int, d: int, device: torch.device) -> int:
    """How wide values of d entries have to be beside queries and keys of `width`.

    FlashAttention takes equal widths only, so that zeros are multiplied. cuDNN on Hopper and
    Blackwell (from 9.15.1 on PyTorch's first choice there) takes up to 128 as they are, and 128
    beside 192, forwards and backwards. GPUs before Ampere have neither; the memory-efficient kernel
    that is left takes any width.
    """
    if device.type != "cuda":
        return width
    major, minor = torch.cuda.get_device_capability(device)
    if major < 8:
        return d
    cudnn = torch.backends.cudnn.is_available() and torch.backends.cudnn.version() > 91500
    if major in (9, 10) and not minor and cudnn:
        if torch.are_deterministic_algorithms_enabled():  # cuDNN's backward pass is not
            return width
        if width <= 128:
            return d
        if width == 192:
            return 128
    return width


def bias_attention(q, k, v, by_row, by_column, scale: float) -> torch.Tensor:
    """The positions as a mask of N x N for each head; arguments as `concat_attention`."""
    mask = (by_row[..., :, None] + by_column[..., None, :]).flatten(-2)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)


def flex_attention(q, k, v, by_row, by_column, scale: float) -> torch.Tensor:
    """The positions added inside a compiled FlexAttention kernel; arguments as `concat_attention`.

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
