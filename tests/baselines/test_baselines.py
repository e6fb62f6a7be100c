"""The baselines in TransLandSeg's form: forward, seeds, files, errors, parameter counts."""

import sys
from urllib.error import URLError

import pytest
import torch
from torch import nn

import tlseg_lite as tl
from tlseg_lite.baselines import registry as networks
from tlseg_lite.baselines import wrapper as baselines
from tlseg_lite.baselines.wrapper import (
    LAPTOP_ENCODERS,
    Baseline,
    SingleValueBatchNorm,
    build_baseline,
    nearest_encoders,
    parameter_table,
)
from tlseg_lite.core.downloads import DownloadError, OfflineError
from tlseg_lite.core.errors import CheckpointError
from tlseg_lite.core.files import write_tensors

NAMES = tuple(LAPTOP_ENCODERS)


@pytest.fixture(scope="module")
def built():
    """Each baseline once, at 32 px, in eval mode; not to be changed."""
    return {name: build_baseline(name, image_size=32).eval() for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_images_become_logits_each_for_itself(built, name):
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    model = built[name]
    with torch.no_grad():
        logits = model(images)
        alone = torch.cat([model(image[None]) for image in images])
    assert logits.shape == (3, 1, 32, 32)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, alone, rtol=1e-3, atol=1e-4)
    assert logits.std() > 0
    counts = tl.count_parameters(model)
    assert counts.total == counts.trainable > 1e6
    assert counts.adapters == 0


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_trains_even_on_a_single_image(name):
    model = build_baseline(name, image_size=32).train()
    model(torch.rand(1, 3, 32, 32)).mean().backward()
    unused = [key for key, p in model.named_parameters() if p.grad is None]
    assert unused == []
    assert all(p.requires_grad and torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.parametrize("name", ["pspnet", "ccnet", "transunet"])
def test_any_multiple_of_32_will_do(name):
    model = build_baseline(name, image_size=96).eval()
    with torch.no_grad():
        assert model(torch.rand(1, 3, 96, 96)).shape == (1, 1, 96, 96)


def test_normalisation_is_imagenets_and_inside():
    model = build_baseline("transunet", image_size=32)
    grey = torch.tensor([0.485, 0.456, 0.406])[:, None, None].expand(1, 3, 32, 32)
    assert model.normalise(grey).abs().max() < 1e-6
    one = torch.ones(1, 3, 2, 2)
    expected = torch.tensor([(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225])
    torch.testing.assert_close(model.normalise(one)[0, :, 0, 0], expected)
    model.net = nn.Identity()
    assert torch.equal(model(grey), model.normalise(grey))


@pytest.mark.parametrize("name", ["segformer", "ccnet", "transunet"])
def test_seed_decides_the_weights_and_leaves_the_global_state_alone(built, name):
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    again, other = (build_baseline(name, image_size=32, seed=seed) for seed in (0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    same = [
        torch.equal(a, b) for a, b in zip(built[name].parameters(), again.parameters(), strict=True)
    ]
    assert all(same)
    differing = [
        torch.equal(a, b) for a, b in zip(again.parameters(), other.parameters(), strict=True)
    ]
    assert not all(differing)


@pytest.mark.parametrize("name", ["unet", "transunet"])
def test_file_holds_all_that_training_changed(tmp_path, name):
    model = build_baseline(name, image_size=32, seed=3).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(torch.rand(2, 3, 32, 32)).square().mean().backward()
    optimizer.step()
    model.save(tmp_path / "model.safetensors")
    loaded = Baseline.load(tmp_path / "model.safetensors")
    assert not loaded.training
    assert loaded.description() == model.description()
    ours, theirs = model.trained_state(), loaded.trained_state()
    assert ours.keys() == theirs.keys()
    assert any(key.endswith("running_mean") for key in ours)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_files_that_do_not_fit_are_refused(tmp_path, built):
    path = tmp_path / "model.safetensors"
    with pytest.raises(FileNotFoundError, match="no saved model"):
        Baseline.load(path)
    state = built["transunet"].trained_state()
    write_tensors(path, state, {"model": "TransLandSeg"})
    with pytest.raises(CheckpointError, match="expected a saved Baseline"):
        Baseline.load(path)
    lost = dict(list(state.items())[1:])
    write_tensors(path, lost, built["transunet"].description())
    with pytest.raises(CheckpointError, match="1 tensors are missing"):
        Baseline.load(path)
    larger = built["transunet"].description() | {"image_size": 64}
    write_tensors(path, state, larger)
    with pytest.raises(CheckpointError, match=r"another shape \(net\.encoder\.positions"):
        Baseline.load(path)


def test_encoder_can_come_from_another_baseline(tmp_path, built):
    path = tmp_path / "unet.safetensors"
    unet = build_baseline("unet", image_size=32, seed=9)
    unet.save(path)
    for name in ("deeplabv3plus", "ccnet"):  # torchvision's names in both
        model = build_baseline(name, image_size=64, encoder_weights=path)
        ours, theirs = model.net.encoder.state_dict(), unet.net.encoder.state_dict()
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
        assert model.description()["encoder_weights"] == "unet.safetensors"
        assert not torch.equal(ours["conv1.weight"], built[name].net.encoder.conv1.weight)
    with pytest.raises(CheckpointError, match="has the encoder 'resnet18', this model 'mit_b0'"):
        build_baseline("segformer", encoder_weights=path)
    with pytest.raises(FileNotFoundError, match="'imagenet' or the path"):
        build_baseline("unet", encoder_weights="ImageNet")


def test_a_single_value_is_normalised_with_the_running_statistics():
    norm = SingleValueBatchNorm(2)
    norm.running_mean[:] = torch.tensor([1.0, 2.0])
    norm.running_var[:] = 4.0 - norm.eps
    out = norm(torch.tensor([5.0, 5.0]).view(1, 2, 1, 1))
    torch.testing.assert_close(out.flatten(), torch.tensor([2.0, 1.5]))
    assert norm.running_mean.tolist() == [1.0, 2.0]
    assert norm.num_batches_tracked == 0
    plain, x = nn.BatchNorm2d(2), torch.randn(2, 2, 1, 1)
    torch.testing.assert_close(SingleValueBatchNorm(2)(x), plain(x))


@pytest.mark.parametrize("size", [0, -32, 48, 256.0, True])
def test_impossible_image_sizes_are_refused(size):
    with pytest.raises(ValueError, match="multiple of 32"):
        build_baseline("unet", image_size=size)


def test_other_shapes_are_refused(built):
    with pytest.raises(
        ValueError, match=r"\(1, 3, 64, 64\), expected \(B, 3, 32, 32\).*fit_square"
    ):
        built["unet"](torch.rand(1, 3, 64, 64))


def test_unknown_names_list_the_choices():
    with pytest.raises(
        ValueError, match="unet, pspnet, deeplabv3plus, segformer, ccnet, transunet"
    ):
        build_baseline("fcn")
    with pytest.raises(ValueError, match=r"unknown encoder 'resnet19' for unet.*resnet18"):
        build_baseline("unet", encoder="resnet19")
    with pytest.raises(ValueError, match=r"unknown encoder 'mit_b0' for ccnet.*resnet18"):
        build_baseline("ccnet", encoder="mit_b0")
    with pytest.raises(ValueError, match="mini, r50_vit_b16"):
        build_baseline("transunet", encoder="resnet50")
    with pytest.raises(ValueError, match="pspnet cannot use the encoder 'densenet121'"):
        build_baseline("pspnet", encoder="densenet121")
    with pytest.raises(ValueError, match="not offered for transunet"):
        build_baseline("transunet", encoder_weights="imagenet")


def test_missing_library_names_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    with pytest.raises(ImportError, match=r'pip install "tlseg-lite\[baselines\]"'):
        build_baseline("unet")
    assert build_baseline("transunet", image_size=32).name == "transunet"  # needs it not


@pytest.mark.parametrize("name", ["unet", "ccnet"])
def test_imagenet_weights_need_the_network(monkeypatch, name):
    import segmentation_models_pytorch as smp
    import torchvision

    monkeypatch.setenv("TLSEG_OFFLINE", "1")
    with pytest.raises(OfflineError, match="TLSEG_OFFLINE forbids"):
        build_baseline(name, encoder_weights="imagenet")

    def down(*args, **settings):
        raise URLError("no route")

    monkeypatch.delenv("TLSEG_OFFLINE")
    monkeypatch.setattr(smp, "Unet", down)
    monkeypatch.setattr(torchvision.models, "get_model_weights", down)
    with pytest.raises(DownloadError, match=r"could not be fetched.*encoder_weights=None"):
        build_baseline(name, encoder_weights="imagenet")


def test_torchvisions_weights_reach_ccnet(monkeypatch):
    import torchvision

    state = torchvision.models.resnet18(weights=None).state_dict()

    class Weights:
        @staticmethod
        def get_state_dict(progress, check_hash):
            return state

    Weights.DEFAULT = Weights
    monkeypatch.delenv("TLSEG_OFFLINE")
    monkeypatch.setattr(torchvision.models, "get_model_weights", lambda name: Weights)
    encoder = build_baseline("ccnet", encoder_weights="imagenet").net.encoder
    assert all(torch.equal(value, state[key]) for key, value in encoder.state_dict().items())


def test_two_of_the_published_counts_are_met_and_the_others_are_explained():
    table = parameter_table().set_index("model")
    assert list(table.index) == list(NAMES)
    for name in ("pspnet", "deeplabv3plus"):
        assert round(table.parameters_m[name], 2) == table.published_m[name]
    assert table.difference_m["unet"] == pytest.approx(-1.57, abs=0.01)
    assert table.difference_m["ccnet"] == pytest.approx(-(4.72 + 0.12), abs=0.01)
    assert table.published_m[["segformer", "transunet"]].isna().all()
    assert (table.note != "").all()
    small = parameter_table(LAPTOP_ENCODERS)
    assert (small.parameters_m < 20).all()
    assert (small.note == "").all()


def test_counts_on_the_meta_device_are_those_of_real_models(built):
    for row in parameter_table({"unet": "resnet18", "segformer": "mit_b0"}).itertuples():
        assert row.parameters_m * 1e6 == tl.count_parameters(built[row.model]).total


def test_nearest_encoder_comes_first_and_unusable_ones_are_left_out():
    found = nearest_encoders("pspnet", ["resnet101", "vgg11", "resnet50", "resnet18"])
    assert list(found.encoder) == ["resnet50", "resnet101", "resnet18"]
    assert nearest_encoders("ccnet").encoder[0] == baselines.PAPER_ENCODERS["ccnet"]
    assert networks.encoder_for("unet", "paper") == "se_resnet152"
    with pytest.raises(ValueError, match="no published parameter count for 'segformer'"):
        nearest_encoders("segformer")
