"""CCNet: every position attends to its own row and column, twice, and so sees the whole image.

Written from Huang et al., "CCNet: Criss-Cross Attention for Semantic Segmentation" (ICCV 2019).
Full attention on an H x W map compares (H W)^2 pairs. Criss-cross attention compares each
position with the H + W - 1 positions of its cross. Position a reaches any position b in two
steps, over one of the two corners where their crosses meet.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

ENCODERS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
"""torchvision's ResNets, by name."""


class CrissCrossAttention(nn.Module):
    """Attention of each position over its row and column, (B, C, H, W) -> (B, C, H, W).

    With queries q, keys k and values v from 1 x 1 convolutions, and N(u) the H + W - 1 positions
    in the row or column of u: ``out_u = gamma * sum_{p in N(u)} softmax_p(q_u . k_p) v_p + x_u``.
    The scale `gamma` starts at zero, so that the layer starts as the identity.

    Args:
        channels: C; queries and keys have C // 8 channels.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.query = nn.Conv2d(channels, channels // 8, 1)
        self.key = nn.Conv2d(channels, channels // 8, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.query(x), self.key(x), self.value(x)
        height, width = x.shape[-2:]
        along_column = torch.einsum("bchw,bcgw->bhwg", q, k)  # g: a row of the same column
        along_row = torch.einsum("bchw,bchv->bhwv", q, k)  # v: a column of the same row
        # The position itself lies in both; it counts once, in its row.
        itself = torch.eye(height, dtype=torch.bool, device=x.device)[:, None, :]  # h, 1, g
        along_column = along_column.masked_fill(itself, float("-inf"))
        weights = torch.cat([along_column, along_row], dim=-1).softmax(dim=-1)  # one softmax
        column, row = weights.split([height, width], dim=-1)
        gathered = torch.einsum("bhwg,bcgw->bchw", column, v)
        gathered = gathered + torch.einsum("bhwv,bchv->bchw", row, v)
        return self.gamma * gathered + x


class RecurrentCrissCross(nn.Module):
    """CCNet's head, (B, channels, h, w) -> (B, channels // 4, h, w).

    3 x 3 convolution, `recurrence` passes through one shared `CrissCrossAttention`, a second
    3 x 3 convolution; the result, beside the input, goes through a last 3 x 3 convolution.
    """

    def __init__(self, channels: int, recurrence: int = 2):
        super().__init__()
        if recurrence < 1:
            raise ValueError(f"recurrence is {recurrence}; expected 1 or more (the paper uses 2)")
        inner = channels // 4
        self.recurrence = recurrence
        self.reduce = _conv(channels, inner)
        self.attention = CrissCrossAttention(inner)
        self.refine = _conv(inner, inner)
        self.fuse = nn.Sequential(_conv(channels + inner, inner), nn.Dropout2d(0.1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        context = self.reduce(x)
        for _ in range(self.recurrence):
            context = self.attention(context)
        return self.fuse(torch.cat([x, self.refine(context)], dim=1))


class DilatedResNet(nn.Module):
    """torchvision's ResNet at output stride 8, (B, 3, S, S) -> (B, C, S/8, S/8).

    The last two stages keep their resolution: stride 1, and dilation 2 and 4 instead. C is 512
    for ``resnet18`` and ``resnet34``, else 2048. Tensors have torchvision's names.
    """

    def __init__(self, name: str):
        super().__init__()
        import torchvision

        net = getattr(torchvision.models, name)(weights=None)
        self.channels = net.fc.in_features
        self.conv1, self.bn1, self.relu, self.maxpool = net.conv1, net.bn1, net.relu, net.maxpool
        self.layer1, self.layer2 = net.layer1, net.layer2
        self.layer3, self.layer4 = _dilate(net.layer3, 2), _dilate(net.layer4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))  # B, 64, S/4, S/4
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


class CCNet(nn.Module):
    """CCNet on a dilated ResNet, normalised images (B, 3, S, S) -> logits (B, 1, S, S).

    It differs from the original in two things that its parameters show: torchvision's one 7 x 7
    convolution at the start (the original has three 3 x 3 convolutions), and no auxiliary head
    on the third stage (used there for a second loss during training only).

    Args:
        encoder: one of `ENCODERS`; the paper uses ``"resnet101"``.
        recurrence: passes through the attention; 2 reaches every position.

    Raises:
        ValueError: an unknown encoder.
    """

    def __init__(self, encoder: str = "resnet101", recurrence: int = 2):
        super().__init__()
        if encoder not in ENCODERS:
            raise ValueError(f"unknown encoder {encoder!r}; CCNet has {', '.join(ENCODERS)}")
        self.encoder = DilatedResNet(encoder)
        self.decoder = RecurrentCrissCross(self.encoder.channels, recurrence)
        self.segmentation_head = nn.Conv2d(self.encoder.channels // 4, 1, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = self.segmentation_head(self.decoder(self.encoder(images)))
        return F.interpolate(logits, images.shape[-2:], mode="bilinear", align_corners=False)


def _conv(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


def _dilate(stage: nn.Module, rate: int) -> nn.Module:
    """The stage with stride 1 and its 3 x 3 convolutions spread by `rate`."""
    for module in stage.modules():
        if isinstance(module, nn.Conv2d):
            module.stride = (1, 1)
            if module.kernel_size == (3, 3):
                module.dilation = module.padding = (rate, rate)
    return stage
