"""LoRA on the encoder's attention, as an alternative to ATL."""

import sys

import pytest
import torch
from adapter_helpers import busy_sam, random_images

import tlseg_lite as tl
from tlseg_lite.adapters.lora import LoRAConfig
from tlseg_lite.adapters.translandseg import budget

pytest.importorskip("peft", reason="the extra 'lora' is not installed")


@pytest.fixture(scope="module")
def mini():
    return busy_sam("sam_mini", 64)


def test_starts_as_plain_sam_and_leaves_the_backbone_alone(mini):
    plain = tl.TransLandSeg(mini, None).eval()
    images = random_images(1, 64)
    before = plain(images)
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    model = tl.TransLandSeg(mini, LoRAConfig(4), seed=5).eval()
    assert torch.equal(torch.rand(2), expected)
    assert torch.equal(model(images), before)
    ours, theirs = model.image_encoder.blocks[2].attn.qkv, mini.image_encoder.blocks[2].attn.qkv
    assert ours.base_layer.weight is theirs.weight  # shared, not copied
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.05)
    assert (model(images) - before).abs().max() > 1e-3
    assert torch.equal(plain(images), before)


@torch.no_grad()
def test_the_addition_is_the_low_rank_product(mini):
    model = tl.TransLandSeg(mini, LoRAConfig(3, alpha=6), seed=1)
    layer = model.image_encoder.blocks[0].attn.qkv
    down, up = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    up.copy_(torch.randn(up.shape, generator=torch.Generator().manual_seed(0)))
    x = torch.randn(2, 4, 4, 192, generator=torch.Generator().manual_seed(1))
    expected = mini.image_encoder.blocks[0].attn.qkv(x) + 2.0 * (x @ down.T @ up.T)
    torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=1e-5)


def test_only_lora_and_decoder_train(mini):
    model = tl.TransLandSeg(mini, LoRAConfig(2)).train()
    model(random_images(1, 64)).square().mean().backward()
    reached = {n for n, p in model.named_parameters() if p.grad is not None}
    assert {n for n in reached if "lora_B" in n} == {
        f"image_encoder.blocks.{i}.attn.qkv.lora_B.default.weight" for i in range(8)
    }
    encoder = {n for n in reached if n.startswith("image_encoder")}
    assert all("lora_" in n for n in encoder)


@pytest.mark.parametrize(("variant", "width", "depth"), [("sam_mini", 192, 8), ("vit_l", 1024, 24)])
def test_counts(variant, width, depth):
    """rank (width + 3 width) a block; the encoder's own count is unchanged."""
    counts, plain = budget(variant, LoRAConfig(4)), budget(variant, None)
    assert counts.adapters == depth * 4 * (width + 3 * width)
    assert counts.trainable == plain.trainable + counts.adapters
    assert counts.encoder == plain.encoder


def test_saved_and_loaded(mini, tmp_path):
    model = tl.TransLandSeg(mini, LoRAConfig(2, alpha=3.0), seed=1).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.01)
    model.save(tmp_path / "lora.safetensors")
    again = tl.TransLandSeg.load(tmp_path / "lora.safetensors", mini)
    assert again.config == LoRAConfig(2, alpha=3.0)
    images = random_images(1, 64)
    assert torch.equal(again(images), model(images))


def test_seed_decides_the_start(mini):
    def first(seed):
        model = tl.TransLandSeg(mini, LoRAConfig(2), seed=seed)
        return model.image_encoder.blocks[0].attn.qkv.lora_A["default"].weight

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))


def test_errors(mini, monkeypatch):
    with pytest.raises(ValueError, match="rank is 0"):
        LoRAConfig(0)
    with pytest.raises(ValueError, match="alpha"):
        LoRAConfig(2, alpha=0)
    with pytest.raises(ValueError, match="tune_encoder"):
        tl.TransLandSeg(mini, LoRAConfig(2), tune_encoder=True)
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ImportError, match=r"tlseg-lite\[lora\]"):
        tl.TransLandSeg(mini, LoRAConfig(2))
