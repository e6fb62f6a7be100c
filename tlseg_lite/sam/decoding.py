"""SAM's prompts and mask decoder for several images with several prompts each, in plain tensors.

`segment_anything` takes one image at a time. Here one pass of the encoder serves many prompts of
many images, and nothing depends on values inside a tensor: the same code trains (appendix A1),
answers corrective clicks and is exported. All modules are SAM's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam


class Decoded(NamedTuple):
    """What the decoder gives for N prompts on a grid of g x g tokens.

    masks: logits (N, 4, 4g, 4g), the single mask first. iou: (N, 4), the expected IoU of each.
    features: (N, C / 8, 4g, 4g), from which the masks are read.
    """

    masks: Tensor
    iou: Tensor
    features: Tensor


def decode(sam: Sam, embeddings: Tensor, sparse: Tensor, dense: Tensor) -> Decoded:
    """SAM's mask decoder on B images with P prompts each.

    Args:
        sam: gives the decoder and the positional encoding.
        embeddings: (B, C, g, g), the encoder's output.
        sparse: (B * P, n, C) embedded points and boxes; the prompts of an image are neighbours.
        dense: (B * P, C, g, g) embedded mask prompts, or (1, C, 1, 1).
    """
    return decode_with(
        sam.mask_decoder, sam.prompt_encoder.get_dense_pe(), embeddings, sparse, dense
    )


def decode_with(
    head: MaskDecoder, position: Tensor, embeddings: Tensor, sparse: Tensor, dense: Tensor
) -> Decoded:
    """`decode` with the decoder and the positional encoding (1, C, g, g) given by themselves."""
    out, features = _attend(head, position, embeddings, sparse, dense)
    heads = [mlp(out[:, 1 + i]) for i, mlp in enumerate(head.output_hypernetworks_mlps)]
    masks = (torch.stack(heads, 1) @ features.flatten(2)).unflatten(2, features.shape[2:])
    return Decoded(masks.float(), head.iou_prediction_head(out[:, 0]).float(), features)


def single_mask(
    head: MaskDecoder, position: Tensor, embeddings: Tensor, sparse: Tensor, dense: Tensor
) -> Tensor:
    """The single mask of `decode_with` alone, logits (N, 1, 4g, 4g); nothing else is computed."""
    out, features = _attend(head, position, embeddings, sparse, dense)
    first = head.output_hypernetworks_mlps[0](out[:, 1])[:, None]
    return (first @ features.flatten(2)).unflatten(2, features.shape[2:])


def _attend(
    head: MaskDecoder, position: Tensor, embeddings: Tensor, sparse: Tensor, dense: Tensor
) -> tuple[Tensor, Tensor]:
    """The decoder's tokens (N, 5 + n, C) and upscaled features (N, C / 8, 4g, 4g)."""
    n, images = sparse.shape[0], embeddings.shape[0]
    tokens = torch.cat([head.iou_token.weight, head.mask_tokens.weight])
    tokens = torch.cat([tokens.expand(n, -1, -1), sparse], dim=1)  # N, 5 + n, C
    kind = torch.bfloat16 if torch.is_autocast_enabled(embeddings.device.type) else torch.float32
    source = embeddings.to(kind)
    if images == 1:
        source = source.expand(n, -1, -1, -1)
    elif images != n:
        source = source.repeat_interleave(n // images, 0)
    source = (source + dense.to(kind)).contiguous()
    out, source = head.transformer(source, position.to(kind).expand(n, -1, -1, -1), tokens.to(kind))
    c, g = embeddings.shape[1], embeddings.shape[2]
    return out, head.output_upscaling(source.transpose(1, 2).reshape(n, c, g, g))


def embed_prompts(sam: Sam, points: Tensor, kinds: Tensor) -> Tensor:
    """SAM's sparse prompt embedding for a mixed batch of points and boxes.

    Args:
        points: (N, n, 2) as x, y in pixels of the model's input.
        kinds: (N, n): 0 background, 1 object, 2 and 3 a box's corners, -1 none.

    Returns:
        (N, n, C).
    """
    return embed_with(sam.prompt_encoder, points, kinds)


def embed_with(encoder: PromptEncoder, points: Tensor, kinds: Tensor) -> Tensor:
    """`embed_prompts` with the prompt encoder given by itself."""
    out = encoder.pe_layer.forward_with_coords(points + 0.5, encoder.input_image_size)
    table = torch.cat(
        [encoder.not_a_point_embed.weight, *[e.weight for e in encoder.point_embeddings]]
    )
    return out * (kinds >= 0)[..., None] + table[kinds + 1]


def no_mask(sam: Sam) -> Tensor:
    """The dense embedding that says: no mask prompt. (1, C, 1, 1)."""
    return sam.prompt_encoder.no_mask_embed.weight[:, :, None, None]


def embed_masks(
    encoder: PromptEncoder, masks: Tensor, given: Tensor, none: Tensor | None = None
) -> Tensor:
    """SAM's dense prompt embedding, where some prompts bring a former mask and some do not.

    Args:
        encoder: SAM's prompt encoder.
        masks: (N, 1, 4g, 4g) logits of a former answer; any values where none is given.
        given: (N,) bool or 0/1, whether the prompt brings one.
        none: (1, C, 1, 1), what stands for no mask; None: the prompt encoder's own.

    Returns:
        (N, C, g, g).
    """
    if none is None:
        none = encoder.no_mask_embed.weight[:, :, None, None]
    return torch.where((given > 0)[:, None, None, None], encoder.mask_downscaling(masks), none)
