"""TransUNet: a ResNet finds local features, a ViT relates them, a U-Net decoder brings them back.

Written from Chen et al., "TransUNet: Transformers Make Strong Encoders for Medical Image
Segmentation" (2021), with the hybrid encoder of Dosovitskiy et al., "An Image is Worth 16x16
Words" (2021): a ResNet with group normalisation and standardised weights, cut at stride 16.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass(frozen=True)
class HybridShape:
    """Sizes of one TransUNet.

    Attributes:
        width: channels of the ResNet's first convolution; its stages have 4, 8 and 16 times that.
        blocks: blocks in each of the three stages.
        hidden, depth, heads, mlp: of the ViT.
        bridge: channels between the ViT and the decoder.
        decoder: channels of the four decoder steps.
    """

    width: int
    blocks: tuple[int, int, int]
    hidden: int
    depth: int
    heads: int
    mlp: int
    bridge: int
    decoder: tuple[int, int, int, int]


SHAPES = {
    "mini": HybridShape(32, (1, 2, 2), 192, 4, 6, 768, 128, (64, 32, 16, 16)),
    "r50_vit_b16": HybridShape(64, (3, 4, 9), 768, 12, 12, 3072, 512, (256, 128, 64, 16)),
}
"""``r50_vit_b16`` is the paper's; ``mini`` is ours, for a laptop."""


class StandardisedConv2d(nn.Conv2d):
    """A convolution whose kernels, one per output channel, have mean 0 and variance 1."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        variance, mean = torch.var_mean(self.weight, dim=(1, 2, 3), keepdim=True, correction=0)
        weight = (self.weight - mean) / torch.sqrt(variance + 1e-5)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding)


def _conv_norm(
    inputs: int, outputs: int, kernel: int, groups: int, stride: int = 1
) -> nn.Sequential:
    conv = StandardisedConv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(conv, nn.GroupNorm(groups, outputs, eps=1e-6))


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3, 1 x 1 convolutions and a shortcut, (B, inputs, h, w) -> (B, outputs, ..)."""

    def __init__(self, inputs: int, outputs: int, groups: int, stride: int = 1):
        super().__init__()
        middle = outputs // 4
        self.reduce = _conv_norm(inputs, middle, 1, groups)
        self.spatial = _conv_norm(middle, middle, 3, groups, stride)
        self.expand = _conv_norm(middle, outputs, 1, groups)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else _conv_norm(inputs, outputs, 1, groups, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.spatial(F.relu(self.reduce(x))))
        return F.relu(self.shortcut(x) + self.expand(y))


class SelfAttention(nn.Module):
    """Multi-head self-attention, (B, N, C) -> (B, N, C): softmax(q k^T / sqrt(C / heads)) v."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, tokens, width = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each B, heads, N, C / heads
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.out(mixed.transpose(1, 2).reshape(batch, tokens, width))


class TransformerBlock(nn.Module):
    """A ViT block, normalised first: x + attention(norm x), then x + mlp(norm x); (B, N, C)."""

    def __init__(self, width: int, heads: int, mlp: int, dropout: float = 0.1):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attention = SelfAttention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.Sequential(
            nn.Linear(width, mlp),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(mlp, width),
            nn.Dropout(dropout),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class HybridEncoder(nn.Module):
    """ResNet, then ViT on its map at stride 16.

    Images (B, 3, S, S) -> the ViT's map (B, hidden, S/16, S/16) and three skips, coarse to fine:
    (B, 8 width, S/8, S/8), (B, 4 width, S/4, S/4), (B, width, S/2, S/2).
    """

    def __init__(self, shape: HybridShape, image_size: int):
        super().__init__()
        width, groups = shape.width, shape.width // 2
        self.stem = nn.Sequential(_conv_norm(3, width, 7, groups, stride=2), nn.ReLU())
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.stages = nn.ModuleList()
        inputs = width
        for stage, blocks in enumerate(shape.blocks):
            outputs = width * 4 * 2**stage
            first = Bottleneck(inputs, outputs, groups, stride=1 if stage == 0 else 2)
            rest = [Bottleneck(outputs, outputs, groups) for _ in range(blocks - 1)]
            self.stages.append(nn.Sequential(first, *rest))
            inputs = outputs
        self.embed = nn.Conv2d(inputs, shape.hidden, 1)  # a patch is one position of the map
        self.positions = nn.Parameter(torch.empty(1, (image_size // 16) ** 2, shape.hidden))
        nn.init.trunc_normal_(self.positions, std=0.02)
        self.dropout = nn.Dropout(0.1)
        self.blocks = nn.Sequential(
            *(TransformerBlock(shape.hidden, shape.heads, shape.mlp) for _ in range(shape.depth))
        )
        self.norm = nn.LayerNorm(shape.hidden, eps=1e-6)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        half = self.stem(images)
        quarter = self.stages[0](self.pool(half))
        eighth = self.stages[1](quarter)
        features = self.embed(self.stages[2](eighth))  # B, hidden, S/16, S/16
        tokens = features.flatten(2).transpose(1, 2)  # B, N, hidden
        tokens = self.norm(self.blocks(self.dropout(tokens + self.positions)))
        return tokens.transpose(1, 2).reshape(features.shape), [eighth, quarter, half]


class CascadedUpsampler(nn.Module):
    """Four steps of: double the size, put the skip beside, two 3 x 3 convolutions.

    (B, hidden, S/16, S/16) and three skips -> (B, decoder[-1], S, S); the last step has no skip.
    """

    def __init__(self, shape: HybridShape):
        super().__init__()
        self.bridge = _conv_relu(shape.hidden, shape.bridge)
        skips = (8 * shape.width, 4 * shape.width, shape.width, 0)
        inputs = (shape.bridge, *shape.decoder[:-1])
        self.steps = nn.ModuleList(
            nn.Sequential(_conv_relu(i + s, o), _conv_relu(o, o))
            for i, s, o in zip(inputs, skips, shape.decoder, strict=True)
        )

    def forward(self, x: torch.Tensor, skips: list[torch.Tensor]) -> torch.Tensor:
        x = self.bridge(x)
        for step, skip in zip(self.steps, [*skips, None], strict=True):
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
            x = step(x if skip is None else torch.cat([x, skip], dim=1))
        return x


class TransUNet(nn.Module):
    """TransUNet, normalised images (B, 3, S, S) -> logits (B, 1, S, S).

    Args:
        encoder: a key of `SHAPES`; ``"r50_vit_b16"`` is the paper's.
        image_size: S, a multiple of 16; the learned positions belong to it.

    Raises:
        ValueError: an unknown encoder.
    """

    def __init__(self, encoder: str = "r50_vit_b16", image_size: int = 224):
        super().__init__()
        if encoder not in SHAPES:
            raise ValueError(f"unknown encoder {encoder!r}; TransUNet has {', '.join(SHAPES)}")
        shape = SHAPES[encoder]
        self.encoder = HybridEncoder(shape, image_size)
        self.decoder = CascadedUpsampler(shape)
        self.segmentation_head = nn.Conv2d(shape.decoder[-1], 1, 3, padding=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features, skips = self.encoder(images)
        return self.segmentation_head(self.decoder(features, skips))


def _conv_relu(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )
