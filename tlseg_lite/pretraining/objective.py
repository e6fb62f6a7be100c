"""What `sam_mini` learns: first to separate regions, then to answer prompts.

Both objectives use `segment_anything`'s own modules, through `tlseg_lite.sam.decoding`: one pass of
the encoder serves many prompts of many images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from tlseg_lite.sam.decoding import Decoded, decode, embed_prompts, no_mask

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

__all__ = [  # the decoder's pass is part of what chapters show of this module
    "IGNORED",
    "Decoded",
    "aim",
    "decode",
    "dense_loss",
    "embed_prompts",
    "mask_losses",
    "no_mask",
    "prompt_loss",
    "soft_iou",
]

IGNORED = 255
"""Label of padding: no region, no loss in the dense phase."""


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


def dense_loss(
    features: Tensor, labels: Tensor, temperature: float = 0.1, regions: int | None = None
) -> tuple[Tensor, Tensor]:
    """Each pixel is classified against the mean features of its own image's regions.

    Args:
        features: (B, C, h, w).
        labels: (B, S, S) uint8, S a multiple of h; `IGNORED` is left out, as are regions of
            fewer than 8 cells.
        temperature: of the cosine similarity.
        regions: labels are below this; None: as many as there are, which a GPU waits for.

    Returns:
        the loss, pixels weighted by 1 / sqrt(size of their region); the share classified right.
    """
    b, c, h, _ = features.shape
    step = labels.shape[-1] // h
    cells = labels[:, step // 2 :: step, step // 2 :: step].reshape(b, -1).long()  # B, h*w
    k = regions or int(torch.where(cells == IGNORED, 0, cells).max()) + 1
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
    skip: bool = True,
) -> Tensor:
    """The loss of one round of prompts; `targets` as in `Prompts`, `balanced` as in `mask_losses`.

    The single mask learns the mask that is meant. Of the three others only the best answers for
    each reading of the prompt (their mean counts `every` times, so that none dies: the larger,
    the more alike the three become). The IoU head learns each mask's IoU with the reading that it
    fits best, and which of the three is best (a softmax at temperature 0.1 against that of the
    true IoUs); `quality` is its weight. With `skip` prompts of one reading cost nothing more, and
    a GPU waits to know which these are; without it all are computed, with the same result.
    """
    meant, other = targets[:, 0], targets[:, 1]
    losses = mask_losses(decoded.masks, meant, balanced)
    single, three = losses[:, 0], losses[:, 1:]
    loss = single + three.amin(1) + every * three.mean(1)
    with torch.no_grad():
        true = soft_iou(decoded.masks, meant)
    two = (meant - other).abs().amax((1, 2)) > 0.5
    if not skip:
        second = mask_losses(decoded.masks[:, 1:], other, balanced).amin(1)
        loss = loss + 0.5 * torch.where(two, second, 0.0)
        with torch.no_grad():
            alternative = torch.maximum(true, soft_iou(decoded.masks, other))
            true = torch.where(two[:, None], alternative, true)
    elif two.any():
        second = mask_losses(decoded.masks[two, 1:], other[two], balanced)
        loss = loss.index_add(0, two.nonzero()[:, 0], 0.5 * second.amin(1))
        with torch.no_grad():
            alternative = soft_iou(decoded.masks[two], other[two])
            true[two] = torch.maximum(true[two], alternative)
    choice = F.cross_entropy(10 * decoded.iou[:, 1:], F.softmax(10 * true[:, 1:], dim=1))
    return loss.mean() + quality * (F.mse_loss(decoded.iou, true) + 0.03 * choice)
