"""Criss-cross attention against its definition, and what one and two passes can see."""

import pytest
import torch
from torch import nn

from tlseg_lite.baselines.ccnet import (
    CCNet,
    CrissCrossAttention,
    DilatedResNet,
    RecurrentCrissCross,
)


def attention(channels: int, gamma: float) -> CrissCrossAttention:
    torch.manual_seed(0)
    layer = CrissCrossAttention(channels).double()
    nn.init.constant_(layer.gamma, gamma)
    return layer


def by_loops(layer: CrissCrossAttention, x: torch.Tensor) -> torch.Tensor:
    """The definition, position by position: a softmax over the cross of each one."""
    q, k, v = layer.query(x), layer.key(x), layer.value(x)
    out = torch.empty_like(x)
    _, _, height, width = x.shape
    for b in range(len(x)):
        for i in range(height):
            for j in range(width):
                cross = {(i, n) for n in range(width)} | {(m, j) for m in range(height)}
                places = sorted(cross)
                assert len(places) == height + width - 1
                scores = torch.stack([q[b, :, i, j] @ k[b, :, m, n] for m, n in places])
                weights = scores.softmax(0)
                seen = torch.stack([v[b, :, m, n] for m, n in places])
                out[b, :, i, j] = layer.gamma * (weights @ seen) + x[b, :, i, j]
    return out


@pytest.mark.parametrize("size", [(3, 5), (4, 4), (1, 5), (4, 1), (1, 1)])
def test_attention_is_a_softmax_over_each_cross(size):
    layer = attention(16, gamma=0.7)
    x = torch.randn(2, 16, *size, dtype=torch.float64)
    torch.testing.assert_close(layer(x), by_loops(layer, x), rtol=1e-10, atol=1e-10)


def test_attention_starts_as_the_identity():
    x = torch.randn(2, 16, 3, 4)
    assert torch.equal(CrissCrossAttention(16)(x), x)


def reached(layer: CrissCrossAttention, passes: int, height: int, width: int, at) -> torch.Tensor:
    """Which input positions the output at `at` depends on, by its gradient."""
    x = torch.randn(1, 16, height, width, dtype=torch.float64, requires_grad=True)
    y = x
    for _ in range(passes):
        y = layer(y)
    y[0, :, at[0], at[1]].sum().backward()
    return x.grad[0].abs().sum(0) > 0


def test_one_pass_reaches_the_cross_and_two_reach_everything():
    layer = attention(16, gamma=1.0)
    cross = torch.zeros(5, 6, dtype=torch.bool)
    cross[1, :] = cross[:, 4] = True
    assert torch.equal(reached(layer, 1, 5, 6, at=(1, 4)), cross)
    assert reached(layer, 2, 5, 6, at=(1, 4)).all()


def test_head_uses_one_attention_as_often_as_asked():
    torch.manual_seed(0)
    once, twice = RecurrentCrissCross(64, 1).eval(), RecurrentCrissCross(64, 2).eval()
    twice.load_state_dict(once.state_dict())  # strict: both have the same tensors
    x = torch.randn(1, 64, 4, 4)
    assert torch.equal(once(x), twice(x))  # gamma is 0: any number of passes is the identity
    for head in (once, twice):
        nn.init.ones_(head.attention.gamma)
    context = once.attention(once.attention(once.reduce(x)))
    expected = once.fuse(torch.cat([x, once.refine(context)], dim=1))
    torch.testing.assert_close(twice(x), expected)
    assert not torch.allclose(twice(x), once(x))


def test_encoder_keeps_an_eighth_of_the_size_and_the_names_of_torchvision():
    import torchvision

    encoder = DilatedResNet("resnet18")
    assert encoder(torch.randn(2, 3, 64, 64)).shape == (2, 512, 8, 8)
    names = torchvision.models.resnet18(weights=None).state_dict().keys()
    assert encoder.state_dict().keys() == {name for name in names if not name.startswith("fc.")}
    spread = [
        m.dilation[0] for m in encoder.layer4.modules() if getattr(m, "kernel_size", 0) == (3, 3)
    ]
    assert spread == [4, 4, 4, 4]


def test_auxiliary_head_and_deep_stem_close_the_published_count():
    with torch.device("meta"):
        net = CCNet("resnet101")
        auxiliary = nn.Sequential(
            nn.Conv2d(1024, 512, 3), nn.BatchNorm2d(512), nn.Conv2d(512, 1, 1)
        )
        deep = nn.Sequential(  # 3 -> 64 -> 64 -> 128, and a first stage that starts from 128
            *(nn.Conv2d(i, o, 3, bias=False) for i, o in ((3, 64), (64, 64), (64, 128))),
            *(nn.BatchNorm2d(o) for o in (64, 64, 128)),
            nn.Conv2d(128, 64, 1, bias=False),
            nn.Conv2d(128, 256, 1, bias=False),
        )
        first = net.encoder.layer1[0]
        plain = [net.encoder.conv1, net.encoder.bn1, first.conv1, first.downsample[0]]

    def count(*modules):
        return sum(p.numel() for module in modules for p in module.parameters())

    assert count(auxiliary) == pytest.approx(4.72e6, abs=0.005e6)
    assert count(deep) - count(*plain) == pytest.approx(0.12e6, abs=0.005e6)
    total = count(net, auxiliary, deep) - count(*plain)
    assert round(total / 1e6, 2) == 71.27  # Table III


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match="resnet18, resnet34"):
        CCNet("vgg16")
    with pytest.raises(ValueError, match="recurrence is 0"):
        RecurrentCrissCross(64, 0)
