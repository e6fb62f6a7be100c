"""SAM's image encoder, run block by block, with a place for adapters.

The weights stay in `segment_anything`'s own modules; only the order of calls is written here, so
that an adapter can act before a block or on a block's attention output. The attention is in one of
the forms of `tlseg_lite.adapters.attention`: small images keep `segment_anything`'s own, to the
last bit; at 1024 px a form that never holds all scores is faster and needs a fraction of the
memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch.utils.checkpoint import checkpoint

from tlseg_lite.adapters.attention import attend, check_form, form_for, positions_for

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


@dataclass(frozen=True)
class EncoderOptions:
    """How the encoder is computed. The result is the same; saved models do not depend on it.

    Attributes:
        attention: one of `tlseg_lite.adapters.attention.FORMS`; ``"auto"`` takes the fastest
            on this device, measured once a shape.
        compile: fuse what surrounds the attention with ``torch.compile``, once for windowed and
            once for global blocks; pays on a GPU, after a minute or two of compiling.
        checkpoint: keep only each block's input for the gradient and run the block again in the
            backward pass: up to half as much work again, a small part of the memory.

    Raises:
        ValueError: an unknown form of attention.
        TypeError: `compile` or `checkpoint` is not a bool.
    """

    attention: str = "auto"
    compile: bool = False
    checkpoint: bool = False

    def __post_init__(self):
        check_form(self.attention)
        for name in ("compile", "checkpoint"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} is {getattr(self, name)!r}; expected True or False")


DEFAULT = EncoderOptions()


def encode(
    encoder: ImageEncoderViT,
    image: torch.Tensor,
    adapters: Adapters | None = None,
    options: EncoderOptions = DEFAULT,
) -> torch.Tensor:
    """Image embedding of normalised images.

    What comes before the first thing that trains keeps nothing for a gradient: frozen weights and
    an image without gradient make no graph.

    Args:
        encoder: ``sam.image_encoder``.
        image: (B, 3, S, S), normalised with SAM's mean and deviation; S is the encoder's size.
        adapters: acts inside the loop; None is plain SAM (Eq. 1 to 3 of the TransLandSeg paper).
        options: how it is computed.

    Returns:
        (B, C, S/16, S/16), C = 256 (128 for sam_mini).
    """
    tokens = encoder.patch_embed(image)  # B, H, W, C
    state = adapters.start(tokens, image) if adapters is not None else None
    x = tokens + encoder.pos_embed
    for index, block in enumerate(encoder.blocks):
        if options.checkpoint and torch.is_grad_enabled():
            x = checkpoint(
                _run_block, block, index, x, adapters, state, options, use_reentrant=False
            )
        else:
            x = _run_block(block, index, x, adapters, state, options)
    return encoder.neck(x.permute(0, 3, 1, 2))


def _run_block(
    block: Block,
    index: int,
    x: torch.Tensor,
    adapters: Adapters | None,
    state: Any,
    options: EncoderOptions,
) -> torch.Tensor:
    """One block with its adapters: (B, H, W, C) -> the same."""
    if adapters is not None:
        x = adapters.before_block(index, x, state)
    attended = attention_output(block, x, options)
    if adapters is not None:
        attended = adapters.after_attention(index, attended, state)
    compiled = options.compile and _form(block, x, options) != "tiled"
    run = _compiled(_feed_forward) if compiled else _feed_forward
    return run(block, x, attended)


def attention_output(
    block: Block, x: torch.Tensor, options: EncoderOptions = DEFAULT
) -> torch.Tensor:
    """Normalised, windowed (or global) self-attention of one block: (B, H, W, C) -> the same."""
    form = _form(block, x, options)
    positions = None if form == "eager" else positions_for(block.attn, x, block.window_size)
    run = _compiled(_attend) if options.compile and form != "tiled" else _attend
    return run(block, x, form, positions)


def _form(block: Block, x: torch.Tensor, options: EncoderOptions) -> str:
    return form_for(block.attn, x, block.window_size, options.attention, options.compile)


def _attend(block, x, form, positions) -> torch.Tensor:
    return attend(block.attn, block.norm1(x), block.window_size, form, positions)


def _feed_forward(block, x, attended) -> torch.Tensor:
    x = x + attended
    return x + block.mlp(block.norm2(x))


@lru_cache(maxsize=2)
def _compiled(function):
    """`function` compiled; the weights are inputs, so that all blocks of a kind share the code."""
    if (release := tuple(map(int, torch.__version__.split(".")[:2]))) < (2, 5):
        raise ImportError(
            f"compile=True needs torch 2.5, the first that compiles equal blocks once, and this "
            f"is {'.'.join(map(str, release))}; leave it out"
        )
    return torch.compile(function)
