"""SAM's image encoder, run block by block, with a place for adapters.

The weights stay in `segment_anything`'s own modules; only the order of calls is written here, so
that an adapter can act before a block or on a block's attention output. Without adapters the
result is bit-identical to ``sam.image_encoder(image)``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import torch

if TYPE_CHECKING:
    from segment_anything.modeling.image_encoder import Block, ImageEncoderViT


class Adapters(Protocol):
    """What `encode` asks of adapters. Tokens are (B, H, W, C), channels last, as in SAM."""

    def start(self, tokens: torch.Tensor, image: torch.Tensor) -> Any:
        """Called once with the patch embedding (before positions) and the image (B, 3, S, S)."""

    def before_block(self, index: int, x: torch.Tensor, state: Any) -> torch.Tensor:
        """The input of block `index` (0-based), changed or not."""

    def after_attention(self, index: int, x: torch.Tensor, state: Any) -> torch.Tensor:
        """The attention's output in block `index`, before the block's shortcut is added."""


def encode(
    encoder: ImageEncoderViT, image: torch.Tensor, adapters: Adapters | None = None
) -> torch.Tensor:
    """Image embedding of normalised images.

    Args:
        encoder: ``sam.image_encoder``.
        image: (B, 3, S, S), normalised with SAM's mean and deviation; S is the encoder's size.
        adapters: acts inside the loop; None is plain SAM (Eq. 1 to 3 of the TransLandSeg paper).

    Returns:
        (B, C, S/16, S/16), C = 256 (128 for sam_mini).
    """
    tokens = encoder.patch_embed(image)  # B, H, W, C
    state = adapters.start(tokens, image) if adapters is not None else None
    x = tokens + encoder.pos_embed
    for index, block in enumerate(encoder.blocks):
        if adapters is not None:
            x = adapters.before_block(index, x, state)
        attended = attention_output(block, x)
        if adapters is not None:
            attended = adapters.after_attention(index, attended, state)
        x = x + attended
        x = x + block.mlp(block.norm2(x))
    return encoder.neck(x.permute(0, 3, 1, 2))


def attention_output(block: Block, x: torch.Tensor) -> torch.Tensor:
    """Normalised, windowed (or global) self-attention of one block: (B, H, W, C) -> the same."""
    from segment_anything.modeling.image_encoder import window_partition, window_unpartition

    height, width = x.shape[1:3]
    x = block.norm1(x)
    if block.window_size == 0:
        return block.attn(x)
    windows, padded = window_partition(x, block.window_size)
    return window_unpartition(block.attn(windows), block.window_size, padded, (height, width))
