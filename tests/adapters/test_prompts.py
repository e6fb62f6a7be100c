"""An adapted model that keeps its prompts: the same model without one, SAM's answers with one."""

import pytest
import torch
from adapter_helpers import nowhere_zero_sam

import tlseg_lite as tl
from tlseg_lite.core.files import read_description
from tlseg_lite.sam.prompts import Prompts, as_prompts, no_prompts

DESIGN = tl.DESIGNS["TransLandSeg"]


@pytest.fixture(scope="module")
def sam():
    return nowhere_zero_sam(64)


@pytest.fixture(scope="module")
def images():
    return torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(2))


def some_prompts():
    former = torch.randn(1, 16, 16, generator=torch.Generator().manual_seed(3))
    return [
        {"points": [(10, 20), (40, 50), (3, 60)], "labels": [1, 0, 1], "mask": former},
        {"box": (5, 6, 50, 40)},
        None,
        {"points": [(30, 30)], "box": (5, 6, 50, 40)},
    ]


CONFIGS = {**tl.DESIGNS, "LoRA": tl.LoRAConfig(2), "decoder-only": None}


@torch.no_grad()
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_without_a_prompt_nothing_changes(sam, images, config):
    plain = tl.TransLandSeg(sam, config, seed=3).eval()
    keeps = tl.TransLandSeg(sam, config, seed=3, prompts=True).eval()
    assert torch.equal(plain(images), keeps(images))
    assert list(plain.trained_state()) == list(keeps.trained_state())
    assert "prompts" not in plain.description()
    assert torch.equal(plain(images), keeps(images, prompts=no_prompts(4)))


@torch.no_grad()
@pytest.mark.parametrize("prompt", some_prompts()[:2])
def test_before_training_it_answers_as_sam(sam, images, prompt):
    model = tl.TransLandSeg(sam, None, prompts=True).eval()
    points = box = former = None
    if "points" in prompt:
        points = torch.tensor([prompt["points"]], dtype=torch.float32), torch.tensor([[1, 0, 1]])
        former = prompt["mask"][None].clamp(-20, 20)
    else:
        box = torch.tensor([prompt["box"]], dtype=torch.float32)
    sparse, dense = sam.prompt_encoder(points=points, boxes=box, masks=former)
    expected, _ = sam.mask_decoder(
        image_embeddings=model.encode(images[:1]),
        image_pe=sam.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=False,
    )
    torch.testing.assert_close(model.decode(model.encode(images[:1]), [prompt]), expected)


@torch.no_grad()
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_an_answer_does_not_depend_on_its_neighbours(sam, images, config):
    model = tl.TransLandSeg(sam, config, prompts=True).eval()
    together = model(images, prompts=some_prompts())
    assert together.shape == (4, 1, 64, 64)
    for i, prompt in enumerate(some_prompts()):
        alone = model(images[i : i + 1], prompts=[prompt])
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-5, rtol=1e-4)
    assert torch.allclose(together[2:3], model(images[2:3]), atol=1e-5)  # no prompt there
    assert not torch.allclose(together[:2], model(images[:2]), atol=1e-3)


@torch.no_grad()
def test_padding_may_be_anywhere_and_have_any_coordinates(sam, images):
    model = tl.TransLandSeg(sam, DESIGN, prompts=True).eval()
    embedding = model.encode(images[:1])
    tight = Prompts(torch.tensor([[[10.0, 20], [40, 50]]]), torch.tensor([[1, 0]]))
    loose = Prompts(
        torch.tensor([[[9.0, 9], [10, 20], [1, 1], [40, 50]]]), torch.tensor([[-1, 1, -1, 0]])
    )
    assert torch.equal(model.decode(embedding, tight), model.decode(embedding, loose))


@torch.no_grad()
def test_one_embedding_serves_many_prompts(sam, images, monkeypatch):
    model = tl.TransLandSeg(sam, DESIGN, prompts=True).eval()
    embedding = model.encode(images[:1])
    monkeypatch.setattr(model, "encode", None)
    many = model.decode(embedding, some_prompts())
    assert many.shape == (4, 1, 16, 16)
    assert torch.allclose(many[1:2], model.decode(embedding, some_prompts()[1:2]), atol=1e-5)


@torch.no_grad()
def test_saved_files_say_which_they_are_and_old_ones_load(sam, images, tmp_path):
    keeps = tl.TransLandSeg(sam, DESIGN, seed=3, prompts=True).eval()
    for p in keeps.parameters():
        if p.requires_grad:
            p.add_(0.01)
    keeps.save(tmp_path / "keeps.safetensors")
    assert read_description(tmp_path / "keeps.safetensors")["prompts"] is True
    again = tl.load_model(tmp_path / "keeps.safetensors", sam)
    prompts = some_prompts()
    assert torch.equal(again(images, prompts=prompts), keeps(images, prompts=prompts))
    old = tl.TransLandSeg(sam, DESIGN)
    old.save(tmp_path / "old.safetensors")
    assert "prompts" not in read_description(tmp_path / "old.safetensors")
    assert tl.load_model(tmp_path / "old.safetensors", sam).prompts is False


def test_only_the_decoder_and_the_adapters_train(sam, images):
    model = tl.TransLandSeg(sam, DESIGN, prompts=True).train()
    assert not any(p.requires_grad for p in model.prompt_encoder.parameters())
    model(images, prompts=some_prompts()).square().mean().backward()
    assert model.mask_decoder.mask_tokens.weight.grad.abs().sum() > 0
    assert next(model.adapters.parameters()).grad is not None


@torch.no_grad()
@pytest.mark.parametrize("variant", ["vit_b", "vit_l", "vit_h"])
def test_every_variant(variant):
    with torch.device("meta"):
        sam = tl.sam.build_sam(variant, image_size=64)
        model = tl.TransLandSeg(sam, DESIGN, prompts=True)
    assert sum(p.numel() for p in model.prompt_encoder.parameters()) == 6220


@torch.no_grad()
@pytest.mark.parametrize("variant", sorted(tl.sam.VARIANTS))
def test_prompts_of_several_lengths_for_every_variant(variant, images):
    """Full width, two blocks: SAM's larger encoders differ in nothing else but their number."""
    with torch.device("meta"):
        sam = tl.sam.build_sam(variant, image_size=64)
    sam.image_encoder.blocks = sam.image_encoder.blocks[:2]
    sam.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(4)
    for value in (*sam.parameters(), *sam.buffers()):
        spread = 0.5 if value.ndim == 1 else value[0].numel() ** -0.5
        value.copy_(spread * torch.randn(value.shape, generator=generator))
    sam.pixel_std.fill_(60)
    model = tl.TransLandSeg(sam, DESIGN, prompts=True).eval()
    together = model(images, prompts=some_prompts())
    assert together.shape == (4, 1, 64, 64)
    plain = model(images)
    for i, prompt in enumerate(some_prompts()):
        alone = model(images[i : i + 1], prompts=[prompt])
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-4, rtol=1e-3)
        answer = torch.allclose(together[i], plain[i], atol=1e-4)
        assert answer == (prompt is None), prompt


class TestWhatIsRefused:
    def test_prompts_for_a_model_without(self, sam, images):
        with pytest.raises(ValueError, match="prompts=True"):
            tl.TransLandSeg(sam, DESIGN)(images, prompts=some_prompts())

    def test_another_number_than_images(self, sam, images):
        with pytest.raises(ValueError, match="2 prompts for 4 images"):
            tl.TransLandSeg(sam, DESIGN, prompts=True)(images, prompts=[None, None])

    @pytest.mark.parametrize(
        ("prompt", "says"),
        [
            ({"point": [(1, 1)]}, "'point'"),
            ({"points": [(1, 65)]}, r"within 0\.\.64"),
            ({"points": [(1, float("nan"))]}, "within"),
            ({"points": [(1, 1, 1)]}, r"\(1, 3\)"),
            ({"points": [(1, 1)], "labels": [2]}, "labels"),
            ({"labels": [1]}, "without points"),
            ({"box": (9, 9, 3, 3)}, "left < right"),
            ({"box": (9, 9, 3)}, "left, top"),
            ({"mask": torch.zeros(64, 64)}, r"\(1, 16, 16\)"),
        ],
    )
    def test_a_prompt(self, prompt, says):
        with pytest.raises(ValueError, match=says):
            as_prompts([None, prompt], 64)

    def test_no_prompts_at_all(self):
        with pytest.raises(TypeError, match="mapping"):
            as_prompts(3, 64)
        with pytest.raises(TypeError, match=r"prompts\[0\]"):
            as_prompts([(1, 1)], 64)
