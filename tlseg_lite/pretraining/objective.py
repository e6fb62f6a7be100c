"""What `sam_mini` learns: first to separate regions, then to answer prompts.

Both objectives use `segment_anything`'s own modules; `decode` is its mask decoder's forward for
several images with several prompts each, so that one pass of the encoder serves many prompts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

IGNORED = 255
"""Label of padding: no region, no loss in the dense phase."""


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
    head = sam.mask_decoder
    n, per = len(sparse), len(sparse) // len(embeddings)
    tokens = torch.cat([head.iou_token.weight, head.mask_tokens.weight])
    tokens = torch.cat([tokens.expand(n, -1, -1), sparse], dim=1)  # N, 5 + n, C
    kind = torch.bfloat16 if torch.is_autocast_enabled(embeddings.device.type) else torch.float32
    source = (embeddings.to(kind).repeat_interleave(per, 0) + dense.to(kind)).contiguous()
    position = sam.prompt_encoder.get_dense_pe().to(kind).expand(n, -1, -1, -1)
    out, source = head.transformer(source, position, tokens.to(kind))
    c, g = embeddings.shape[1], embeddings.shape[2]
    features = head.output_upscaling(source.transpose(1, 2).reshape(n, c, g, g))
    heads = [mlp(out[:, 1 + i]) for i, mlp in enumerate(head.output_hypernetworks_mlps)]
    masks = (torch.stack(heads, 1) @ features.flatten(2)).unflatten(2, features.shape[2:])
    return Decoded(masks.float(), head.iou_prediction_head(out[:, 0]).float(), features)


def embed_prompts(sam: Sam, points: Tensor, kinds: Tensor) -> Tensor:
    """SAM's sparse prompt embedding for a mixed batch of points and boxes.

    Args:
        points: (N, n, 2) as x, y in pixels of the model's input.
        kinds: (N, n): 0 background, 1 object, 2 and 3 a box's corners, -1 none.

    Returns:
        (N, n, C).
    """
    encoder = sam.prompt_encoder
    out = encoder.pe_layer.forward_with_coords(points + 0.5, encoder.input_image_size)
    table = torch.cat(
        [encoder.not_a_point_embed.weight, *[e.weight for e in encoder.point_embeddings]]
    )
    return out * (kinds >= 0)[..., None] + table[kinds + 1]


def no_mask(sam: Sam) -> Tensor:
    """The dense embedding for "no mask prompt", (1, C, 1, 1)."""
    return sam.prompt_encoder.no_mask_embed.weight[:, :, None, None]


@torch.no_grad()
def aim(sam: Sam, sharpness: float = 4.0) -> None:
    """Let an untrained decoder's prompts attend to their own place in the image.

    Where tokens attend to the image, queries and keys get the same projection, `sharpness`
    times the usual size: then the positional encodings of a click and of its surroundings agree
    from the beginning, and the decoder need not find that out.
    """
    transformer = sam.mask_decoder.transformer
    attentions = [layer.cross_attn_token_to_image for layer in transformer.layers]
    for attention in [*attentions, transformer.final_attn_token_to_image]:
        torch.nn.init.normal_(attention.q_proj.weight, std=sharpness * (3 * 128) ** -0.5)
        attention.k_proj.weight.copy_(attention.q_proj.weight)
        attention.q_proj.bias.zero_()
        attention.k_proj.bias.zero_()


# --- dense phase --------------------------------------------------------------------------


def dense_loss(features: Tensor, labels: Tensor, temperature: float = 0.1) -> tuple[Tensor, Tensor]:
    """Each pixel is classified against the mean features of its own image's regions.

    Args:
        features: (B, C, h, w).
        labels: (B, S, S) uint8, S a multiple of h; `IGNORED` is left out, as are regions of
            fewer than 8 cells.
        temperature: of the cosine similarity.

    Returns:
        the loss, pixels weighted by 1 / sqrt(size of their region); the share classified right.
    """
    b, c, h, _ = features.shape
    step = labels.shape[-1] // h
    cells = labels[:, step // 2 :: step, step // 2 :: step].reshape(b, -1).long()  # B, h*w
    k = int(torch.where(cells == IGNORED, 0, cells).max()) + 1
    valid = cells != IGNORED
    onehot = F.one_hot(torch.where(valid, cells, k), k + 1)[..., :k].float()  # B, h*w, K
    count = onehot.sum(1)  # B, K
    big = count >= 8
    f = F.normalize(features.float().reshape(b, c, -1), dim=1)  # B, C, h*w
    prototypes = F.normalize(f @ (onehot / count.clamp_min(1)[:, None]), dim=1)  # B, C, K
    logits = (prototypes.transpose(1, 2) @ f) / temperature  # B, K, h*w
    logits = logits.masked_fill(~big[..., None], -1e4)
    safe = torch.where(valid, cells, 0)
    weight = count.clamp_min(1).rsqrt().gather(1, safe) * (valid & big.gather(1, safe))
    loss = F.cross_entropy(logits, safe, reduction="none")
    right = (logits.argmax(1) == safe).float()
    total = weight.sum().clamp_min(1e-6)
    counted = (weight > 0).float()
    return (loss * weight).sum() / total, (right * counted).sum() / counted.sum().clamp_min(1)


# --- prompt phase -------------------------------------------------------------------------


def mask_losses(masks: Tensor, target: Tensor, balanced: float = 0.0) -> Tensor:
    """20 focal + dice of each candidate mask, against soft targets.

    Args:
        masks: logits (N, M, h, w). target: (N, h, w) in 0..1.
        balanced: 0 to 1, how much of the focal part is replaced by a cross-entropy in which the
            object and its surroundings weigh the same. An untrained model needs that: with the
            focal loss the empty mask is a trap, because dice has no gradient there.

    Returns:
        (N, M). The focal factor is |p - t|^2, which for 0/1 targets is the usual (1 - p_t)^2.
    """
    t = target[:, None].expand_as(masks)
    p = masks.sigmoid()
    bce = F.binary_cross_entropy_with_logits(masks, t, reduction="none")
    loss = 1 - (2 * (p * t).sum((-2, -1)) + 1) / ((p * p).sum((-2, -1)) + (t * t).sum((-2, -1)) + 1)
    if balanced < 1:
        loss = loss + (1 - balanced) * 20 * ((p - t) ** 2 * bce).mean((-2, -1))
    if balanced > 0:
        weight = t / t.sum((-2, -1), keepdim=True).clamp_min(1e-6)
        weight = weight + (1 - t) / (1 - t).sum((-2, -1), keepdim=True).clamp_min(1e-6)
        loss = loss + balanced * 0.5 * (weight * bce).sum((-2, -1))
    return loss


def soft_iou(masks: Tensor, target: Tensor) -> Tensor:
    """IoU (N, M) of thresholded logits (N, M, h, w) with targets (N, h, w) in 0..1."""
    p, t = (masks > 0).float(), target[:, None]
    inter = (p * t).sum((-2, -1))
    return inter / (p.sum((-2, -1)) + t.sum((-2, -1)) - inter).clamp_min(1e-6)


def prompt_loss(
    decoded: Decoded,
    targets: Tensor,
    balanced: float = 0.0,
    quality: float = 1.0,
    every: float = 0.05,
) -> Tensor:
    """The loss of one round of prompts; `targets` as in `Prompts`, `balanced` as in `mask_losses`.

    The single mask learns the mask that is meant. Of the three others only the best answers for
    each reading of the prompt (their mean counts `every` times, so that none dies: the larger,
    the more alike the three become). The IoU head learns each mask's IoU with the reading that it
    fits best, and which of the three is best (a softmax at temperature 0.1 against that of the
    true IoUs); `quality` is its weight.
    """
    meant, other = targets[:, 0], targets[:, 1]
    losses = mask_losses(decoded.masks, meant, balanced)
    single, three = losses[:, 0], losses[:, 1:]
    loss = single + three.amin(1) + every * three.mean(1)
    with torch.no_grad():
        true = soft_iou(decoded.masks, meant)
    two = (meant - other).abs().amax((1, 2)) > 0.5
    if two.any():
        second = mask_losses(decoded.masks[two, 1:], other[two], balanced)
        loss = loss.index_add(0, two.nonzero()[:, 0], 0.5 * second.amin(1))
        with torch.no_grad():
            alternative = soft_iou(decoded.masks[two], other[two])
            true[two] = torch.maximum(true[two], alternative)
    choice = F.cross_entropy(10 * decoded.iou[:, 1:], F.softmax(10 * true[:, 1:], dim=1))
    return loss.mean() + quality * (F.mse_loss(decoded.iou, true) + 0.03 * choice)
