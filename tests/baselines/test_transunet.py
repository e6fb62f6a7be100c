"""TransUNet's layers against plain formulas, its shapes, and what reaches what."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tlseg_lite.baselines.transunet import (
    SHAPES,
    Bottleneck,
    CascadedUpsampler,
    HybridEncoder,
    SelfAttention,
    StandardisedConv2d,
    TransformerBlock,
    TransUNet,
)


def plain_attention(layer: SelfAttention, x: torch.Tensor) -> torch.Tensor:
    """One head after the other, softmax(q k^T / sqrt(d)) v, then the output projection."""
    width = x.shape[-1]
    d = width // layer.heads
    q, k, v = (
        x @ layer.qkv.weight[i : i + width].T + layer.qkv.bias[i : i + width]
        for i in (0, width, 2 * width)
    )
    heads = []
    for h in range(layer.heads):
        part = slice(h * d, (h + 1) * d)
        scores = q[..., part] @ k[..., part].transpose(1, 2) / math.sqrt(d)
        heads.append(scores.softmax(-1) @ v[..., part])
    return torch.cat(heads, dim=-1) @ layer.out.weight.T + layer.out.bias


def test_attention_is_the_plain_formula():
    torch.manual_seed(0)
    layer = SelfAttention(12, heads=3).double()
    x = torch.randn(2, 7, 12, dtype=torch.float64)
    torch.testing.assert_close(layer(x), plain_attention(layer, x), rtol=1e-10, atol=1e-12)


def test_block_is_the_plain_formula():
    torch.manual_seed(1)
    block = TransformerBlock(12, heads=3, mlp=20).double().eval()
    for p in block.parameters():
        nn.init.normal_(p)
    x = torch.randn(2, 7, 12, dtype=torch.float64)

    def norm(x, layer):
        centred = x - x.mean(-1, keepdim=True)
        return (
            centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt() * layer.weight
            + layer.bias
        )

    y = x + plain_attention(block.attention, norm(x, block.norm1))
    first, second = block.mlp[0], block.mlp[3]
    hidden = norm(y, block.norm2) @ first.weight.T + first.bias
    hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))  # GELU
    torch.testing.assert_close(block(x), y + hidden @ second.weight.T + second.bias)


def test_standardised_convolution_ignores_scale_and_offset_of_its_kernels():
    torch.manual_seed(2)
    conv = StandardisedConv2d(3, 4, 3, stride=2, padding=1, bias=False).double()
    x = torch.randn(1, 3, 8, 8, dtype=torch.float64)
    kernels = conv.weight.detach().flatten(1)
    unit = (kernels - kernels.mean(1, keepdim=True)) / kernels.std(1, correction=0, keepdim=True)
    expected = F.conv2d(x, unit.view_as(conv.weight), stride=2, padding=1)
    torch.testing.assert_close(conv(x), expected, rtol=1e-3, atol=1e-3)  # up to its epsilon
    before = conv(x)
    with torch.no_grad():
        conv.weight.add_(5.0)
    torch.testing.assert_close(conv(x), before)


def test_bottleneck_adds_its_branch_to_its_shortcut():
    torch.manual_seed(3)
    block = Bottleneck(16, 16, groups=4)
    assert isinstance(block.shortcut, nn.Identity)
    x = torch.randn(1, 16, 5, 5)
    nn.init.zeros_(block.expand[1].weight)  # the branch gives its bias, 0
    assert torch.equal(block(x), x.relu())
    assert Bottleneck(16, 32, groups=4, stride=2)(x).shape == (1, 32, 3, 3)


@pytest.mark.parametrize("name", SHAPES)
def test_skips_have_an_eighth_a_quarter_and_half_of_the_size(name):
    shape = SHAPES[name]
    with torch.device("meta"):
        features, skips = HybridEncoder(shape, 64)(torch.empty(2, 3, 64, 64))
        out = CascadedUpsampler(shape)(features, skips)
    w = shape.width
    assert features.shape == (2, shape.hidden, 4, 4)
    assert [tuple(s.shape) for s in skips] == [(2, 8 * w, 8, 8), (2, 4 * w, 16, 16), (2, w, 32, 32)]
    assert out.shape == (2, shape.decoder[-1], 64, 64)


def test_skips_of_the_paper_have_the_published_channels():
    with torch.device("meta"):
        _, skips = HybridEncoder(SHAPES["r50_vit_b16"], 224)(torch.empty(1, 3, 224, 224))
    assert [(s.shape[1], s.shape[2]) for s in skips] == [(512, 28), (256, 56), (64, 112)]


def test_tokens_are_the_map_row_by_row():
    encoder = HybridEncoder(SHAPES["mini"], 64).eval()
    encoder.blocks, encoder.norm = nn.Identity(), nn.Identity()
    nn.init.zeros_(encoder.embed.weight)
    nn.init.zeros_(encoder.embed.bias)
    features, _ = encoder(torch.rand(1, 3, 64, 64))
    for row, column in ((0, 0), (0, 3), (2, 1), (3, 3)):
        assert torch.equal(features[0, :, row, column], encoder.positions[0, row * 4 + column])


def test_each_output_pixel_sees_the_whole_image():
    torch.manual_seed(4)
    net = TransUNet("mini", 64).eval()
    images = torch.rand(1, 3, 64, 64, requires_grad=True)
    net(images)[0, 0, 5, 9].backward()
    assert (images.grad.abs().sum(1) > 0).float().mean() > 0.99


def test_papers_size():
    with torch.device("meta"):
        net = TransUNet("r50_vit_b16", 224)
    assert round(sum(p.numel() for p in net.parameters()) / 1e6) == 105  # as is known of it
    with pytest.raises(ValueError, match="mini, r50_vit_b16"):
        TransUNet("r50")
