"""TransLandSeg: plain SAM before training, frozen where it should be, saved and loaded."""

import pytest
import torch
from adapter_helpers import nowhere_zero_sam

import tlseg_lite as tl
from tlseg_lite.adapters.translandseg import budget, load_model, parameter_layout
from tlseg_lite.core.errors import CheckpointError

RESIDUAL = [name for name, config in tl.DESIGNS.items() if config.residual]


@pytest.fixture(scope="module")
def sam():
    return nowhere_zero_sam()


@pytest.fixture(scope="module")
def images():
    return torch.rand(3, 3, 256, 256, generator=torch.Generator().manual_seed(2))


def plain_sam(sam, image):
    """segment_anything's own way from an image (1, 3, S, S) in [0, 1] to the mask's logits."""
    sparse, dense = sam.prompt_encoder(points=None, boxes=None, masks=None)
    logits, _ = sam.mask_decoder(
        image_embeddings=sam.image_encoder(sam.preprocess(image * 255)),
        image_pe=sam.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=False,
    )
    return sam.postprocess_masks(logits, image.shape[-2:], image.shape[-2:])


@torch.no_grad()
@pytest.mark.parametrize("name", RESIDUAL)
def test_before_training_it_is_plain_sam(sam, images, name):
    model = tl.TransLandSeg(sam, tl.DESIGNS[name]).eval()
    assert torch.equal(model(images[:1]), plain_sam(sam, images[:1]))


@torch.no_grad()
def test_a_batch_is_its_images_one_by_one(sam, images):
    model = tl.TransLandSeg(sam, tl.ATLConfig(residual=False)).eval()
    together = model(images)
    assert together.shape == (3, 1, 256, 256)
    for i in range(3):
        torch.testing.assert_close(together[i : i + 1], model(images[i : i + 1]))


def test_what_trains_and_what_is_frozen(sam, images):
    model = tl.TransLandSeg(sam, tl.DESIGNS["TransLandSeg"]).train()
    assert not model.image_encoder.training
    assert model.mask_decoder.training
    model(images[:1]).sum().backward()
    assert all(p.grad is None for p in model.image_encoder.parameters())
    assert all(p.grad is not None for p in model.adapters.parameters())
    assert model.no_mask_embed.weight.grad is not None
    assert model.mask_decoder.output_upscaling[0].weight.grad is not None


def test_models_do_not_change_the_sam_they_are_built_on(sam, images):
    before = {k: v.clone() for k, v in sam.state_dict().items()}
    model = tl.TransLandSeg(sam, tl.DESIGNS["TransLandSeg"], tune_encoder=True)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model(images[:1]).mean().backward()
    optimizer.step()
    assert all(torch.equal(before[k], v) for k, v in sam.state_dict().items())
    assert not any(p.requires_grad for p in sam.parameters())


def test_same_seed_same_adapters(sam):
    one, same, other = (
        tl.TransLandSeg(sam, tl.ATLConfig(), seed=s).trained_state() for s in (0, 0, 1)
    )
    assert all(torch.equal(one[k], same[k]) for k in one)
    assert any(not torch.equal(one[k], other[k]) for k in one)


@pytest.mark.parametrize(
    "shape", [(3, 256, 256), (1, 3, 256, 128), (1, 1, 256, 256), (1, 3, 64, 64)]
)
def test_wrong_image_shapes(sam, shape):
    with pytest.raises(ValueError, match="fit_square"):
        tl.TransLandSeg(sam, None)(torch.rand(shape))


def test_wrong_arguments(sam):
    with pytest.raises(TypeError, match="load_sam"):
        tl.TransLandSeg(torch.nn.Linear(1, 1), None)
    with pytest.raises(TypeError, match="DESIGNS"):
        tl.TransLandSeg(sam, "TransLandSeg")
    with pytest.raises(ValueError, match="block 8"):
        tl.TransLandSeg(sam, tl.ATLConfig(blocks=(8,)))


def test_counts(sam):
    model = tl.TransLandSeg(sam, tl.DESIGNS["TransLandSeg"])
    counts = tl.count_parameters(model)
    d, width, depth = 6, 192, 8
    assert counts.adapters == depth * (width * d + d + d * d + d + d * width + width)
    assert counts.decoder == sum(p.numel() for p in sam.mask_decoder.parameters())
    assert counts.trainable == counts.adapters + counts.decoder + 128
    assert counts.total == counts.trainable + counts.encoder
    assert tl.count_parameters(torch.nn.Linear(3, 2)).total == 8
    assert "16.47%" in str(counts)


def test_budget_needs_no_tensors_and_its_layout_adds_up():
    for config in (None, tl.DESIGNS["LandslideNet"], tl.DESIGNS["TransLandSeg-5"]):
        counts = budget("vit_l", config)
        layout = parameter_layout("vit_l", config)
        assert sum(number for _, number, _ in layout) == counts.total
        assert sum(number for _, number, trains in layout if trains) == counts.trainable


@torch.no_grad()
@pytest.mark.parametrize("config", [tl.DESIGNS["TransLandSeg-5"], tl.DESIGNS["LandslideNet"], None])
def test_save_and_load(sam, images, tmp_path, config):
    mini = tl.load_sam("sam_mini", None, seed=5)
    model = tl.TransLandSeg(mini, config).eval()
    for p in model.trained_state().values():
        p.add_(0.01)
    model.save(tmp_path / "deep" / "model.safetensors")
    again = tl.TransLandSeg.load(tmp_path / "deep" / "model.safetensors")  # finds its backbone
    assert torch.equal(model(images[:1]), again(images[:1]))
    assert again.config == config
    assert torch.equal(
        load_model(tmp_path / "deep" / "model.safetensors", mini)(images[:1]), again(images[:1])
    )
    size = (tmp_path / "deep" / "model.safetensors").stat().st_size
    assert size < 4 * tl.count_parameters(model).trainable * 1.1 + 20_000  # the trained part only


def test_loading_checks_the_backbone(sam, tmp_path):
    path = tmp_path / "model.safetensors"
    tl.TransLandSeg(tl.load_sam("sam_mini", None, seed=5), tl.ATLConfig()).save(path)
    with pytest.raises(CheckpointError, match="other weights"):
        tl.TransLandSeg.load(path, tl.load_sam("sam_mini", None, seed=6))
    with pytest.raises(CheckpointError, match="at 256 px"):
        tl.TransLandSeg.load(path, tl.load_sam("sam_mini", None, image_size=128))


def test_unusable_model_files(sam, tmp_path):
    from safetensors.torch import save_file

    with pytest.raises(FileNotFoundError, match="no saved model"):
        tl.TransLandSeg.load(tmp_path / "none.safetensors")
    (tmp_path / "text").write_text("not a model")
    with pytest.raises(CheckpointError, match="damaged"):
        tl.TransLandSeg.load(tmp_path / "text")
    save_file({"a": torch.zeros(1)}, tmp_path / "plain.safetensors")
    with pytest.raises(CheckpointError, match="without a description"):
        load_model(tmp_path / "plain.safetensors")
    model = tl.TransLandSeg(sam, tl.ATLConfig())
    with pytest.raises(CheckpointError, match="missing, unexpected or of another shape"):
        model.load_trained_state(tl.TransLandSeg(sam, tl.ATLConfig("c")).trained_state(), "x")
    with pytest.raises(CheckpointError, match="missing, unexpected or of another shape"):
        model.load_trained_state(
            tl.TransLandSeg(sam, tl.ATLConfig(bottleneck=3)).trained_state(), "x"
        )


def test_a_full_disk_keeps_the_former_file(sam, tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    model = tl.TransLandSeg(sam, tl.ATLConfig())
    model.save(path)
    before = path.read_bytes()

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tlseg_lite.core.files.os.replace", full)
    with pytest.raises(OSError, match="the former file is kept"):
        model.save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@torch.no_grad()
def test_other_image_sizes_and_variants():
    for name, size in (("sam_mini", 128), ("sam_mini", 320), ("vit_b", 96)):
        sam = tl.load_sam(name, None, image_size=size)
        for config in (
            tl.ATLConfig("mc"),
            tl.ATLConfig("c", placement="inside"),
            tl.DESIGNS["LandslideNet"],
        ):
            model = tl.TransLandSeg(sam, config).eval()
            assert model(torch.rand(2, 3, size, size)).shape == (2, 1, size, size)
