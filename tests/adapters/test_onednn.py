"""Linear layers by oneDNN: the same numbers and gradients, and only where it is meant."""

import pytest
import torch

from tlseg_lite.adapters import onednn
from tlseg_lite.adapters.onednn import linear


@pytest.fixture
def preferred(monkeypatch):
    """oneDNN whatever the processor, if this PyTorch has it."""
    try:
        onednn.product(torch.ones(2, 3), torch.ones(4, 3))
    except (AttributeError, RuntimeError):
        pytest.skip("this PyTorch has no oneDNN for linear layers")
    monkeypatch.setattr(onednn, "preferred", lambda: True)


@pytest.fixture
def products(monkeypatch):
    """The number of products that oneDNN was asked for."""
    asked = []
    true = onednn.product
    monkeypatch.setattr(onednn, "product", lambda *given: (asked.append(1), true(*given))[1])
    return asked


def layer(bias: bool = True) -> torch.nn.Linear:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return torch.nn.Linear(48, 80, bias).requires_grad_(False)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(48,), (1, 48), (5, 48), (2, 7, 9, 48)])
def test_equals_the_layer(bias, shape, preferred, products):
    given = layer(bias)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    results = []
    for call in (lambda x: linear(given, x), given):
        x = x.detach().clone().requires_grad_()
        out = call(x)
        weight = torch.linspace(-1, 1, out.numel()).view_as(out)
        results.append((out.detach(), torch.autograd.grad((out * weight).sum(), x)[0]))
    for ours, theirs in zip(*results, strict=True):
        assert ours.shape == theirs.shape
        assert (ours - theirs).abs().max() < 1e-5 * theirs.abs().max()
    assert len(products) == 2  # forward and backward


def test_other_layers_are_called_as_they_are(preferred, products):
    """What trains gets its gradients, hooks run, autocast and other precisions stay."""
    x = torch.randn(3, 48)
    trains = layer()
    trains.bias.requires_grad_(True)
    linear(trains, x).sum().backward()
    assert torch.equal(trains.bias.grad, torch.full((80,), 3.0))

    hooked, seen = layer(), []
    hooked.register_forward_hook(lambda *_: seen.append(1))
    linear(hooked, x)
    assert seen == [1]

    class Own(torch.nn.Linear):
        def forward(self, x):
            return torch.zeros(1)

    assert torch.equal(linear(Own(48, 80).requires_grad_(False), x), torch.zeros(1))
    assert linear(layer().double(), x.double()).dtype == torch.float64
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(layer(), x).dtype == torch.bfloat16
    assert products == []


def test_it_is_for_processors_of_amd(monkeypatch):
    rule = onednn.preferred.__wrapped__
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(onednn, "_maker", lambda: "vendor_id : GenuineIntel")
    assert not rule()
    monkeypatch.setattr(onednn, "_maker", lambda: "vendor_id : AuthenticAMD")
    monkeypatch.setattr(onednn, "product", lambda a, b: a @ b.t())
    assert rule()
    monkeypatch.setattr(onednn, "product", lambda a, b: a @ b.t() + 1)
    assert not rule()  # computes something else

    def missing(a, b):
        raise AttributeError("no such operation")

    monkeypatch.setattr(onednn, "product", missing)
    assert not rule()
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert not rule()
