"""ONNX files answer as PyTorch does: every kind of model, other numbers of prompts, bad input."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from adapter_helpers import busy_sam, random_images, short_sam

import tlseg_lite as tl
from tlseg_lite.adapters.atl import high_pass
from tlseg_lite.cli import main
from tlseg_lite.export import onnx_files
from tlseg_lite.export.onnx_files import TOLERANCE, _low_pass
from tlseg_lite.sam.decoding import decode, embed_masks, embed_prompts

SIDE = 64


def two_blocks():
    """sam_mini with a windowed and a global block, random: all kinds of layers, a sixth of them."""
    sam = busy_sam("sam_mini", SIDE)
    sam.image_encoder.blocks = sam.image_encoder.blocks[1:3]
    return sam


def shaken(model):
    """Trained weights moved off their zero start, so that adapters count."""
    generator = torch.Generator().manual_seed(3)
    for name, p in model.trained_state().items():
        if p.is_floating_point() and "running_var" not in name:
            p += 0.02 * torch.randn(p.shape, generator=generator)
    return model.eval()


def run(path, **inputs):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {name: np.asarray(x) for name, x in inputs.items()})


def alike(found, wanted):
    """Logits within the tolerance, masks on all but 0.1 % of the pixels."""
    wanted = wanted.detach().numpy()
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= TOLERANCE * np.abs(wanted).max()
    assert ((found > 0) != (wanted > 0)).mean() <= 0.001


@pytest.mark.no_cover  # which doubles the time that PyTorch's exporter takes
@pytest.mark.parametrize("design", [*tl.DESIGNS, "decoder-only", "LoRA"])
def test_every_design_on_images_it_has_not_seen(design, tmp_path):
    config = {"decoder-only": None, "LoRA": tl.LoRAConfig(2)}.get(design, tl.DESIGNS.get(design))
    model = shaken(tl.TransLandSeg(two_blocks(), config))
    written = tl.export.onnx(model, tmp_path)
    images = random_images(3, SIDE, seed=5)
    with torch.no_grad():
        wanted = model(images)
    alike(run(tmp_path / "model.onnx", image=images)[0], wanted)
    about = json.loads((tmp_path / "model.json").read_text())
    assert about == written.about
    assert about["image_size"] == SIDE
    assert about["classes"] == ["background", "landslide"]
    assert about["model"]["config"] == json.loads(json.dumps(model.description()["config"]))


@pytest.mark.no_cover
@pytest.mark.parametrize("name", tl.baselines.LAPTOP_ENCODERS)
def test_every_baseline(name, tmp_path):
    model = shaken(tl.build_baseline(name, image_size=SIDE))
    tl.export.onnx(model, tmp_path)
    images = random_images(1, SIDE, seed=5)
    with torch.no_grad():
        wanted = model(images)
    alike(run(tmp_path / "model.onnx", image=images)[0], wanted)


@pytest.fixture(scope="module")
def mini(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mini")
    return tl.load_sam("sam_mini"), tl.export.onnx(tl.load_sam("sam_mini"), folder)


def test_sam_mini_with_its_own_weights(mini):
    """Encoder and decoder in a row: one point, many points, a box, a former mask."""
    sam, written = mini
    image = tl.data.SyntheticLandslides(1, size=256, seed=1)[0]["image"][None]
    [embedding] = run(written.folder / "encoder.onnx", image=image)
    with torch.no_grad():
        wanted = sam.image_encoder((image * 255 - sam.pixel_mean) / sam.pixel_std)
    assert np.abs(embedding - wanted.numpy()).max() <= TOLERANCE * wanted.abs().max()
    generator = torch.Generator().manual_seed(1)
    for prompts, points in ((1, 1), (1, 7), (5, 2)):
        xy = torch.rand(prompts, points, 2, generator=generator) * 256
        kinds = torch.randint(-1, 4, (prompts, points), generator=generator)
        former = torch.randn(prompts, 1, 64, 64, generator=generator)
        given = (torch.arange(prompts) % 2).float()
        masks, iou = run(
            written.folder / "decoder.onnx",
            embedding=embedding, points=xy, kinds=kinds, mask=former, has_mask=given,
        )  # fmt: skip
        with torch.no_grad():
            dense = embed_masks(sam.prompt_encoder, former, given)
            answer = decode(sam, wanted, embed_prompts(sam, xy, kinds), dense)
        alike(masks, answer.masks)
        assert np.abs(iou - answer.iou.numpy()).max() < 1e-3


def test_the_decoder_answers_as_segment_anything_does(mini):
    """A click through `segment_anything`'s own predictor: the same three masks."""
    sam, written = mini
    image = tl.data.SyntheticLandslides(1, size=256, seed=2)[0]["image"]
    answer = tl.zero_shot.segment(sam, image, points=[(100, 120)])
    pixels = np.round(image.numpy() * 255) / np.float32(255)  # as `segment_anything` reads it
    [embedding] = run(written.folder / "encoder.onnx", image=pixels[None].astype(np.float32))
    masks, iou = run(
        written.folder / "decoder.onnx",
        embedding=embedding,
        points=np.float32([[[100, 120], [0, 0]]]),
        kinds=np.int64([[1, -1]]),
        mask=np.zeros((1, 1, 64, 64), np.float32),
        has_mask=np.zeros(1, np.float32),
    )
    alike(masks[0, 1:], answer.logits)
    np.testing.assert_allclose(iou[0, 1:], answer.scores, atol=1e-3)


def test_half_the_bytes_and_no_trace_of_the_machine(mini):
    _, written = mini
    assert written.files == ("encoder.onnx", "decoder.onnx")
    assert written.megabytes < 0.65 * 4 * 4.9  # 4.9 million weights; the decoder's stay float32
    for name in written.files:
        path = written.folder / name
        content = path.read_bytes()
        assert b"site-packages" not in content
        assert b".py" not in content
        model = onnx.load(path)
        onnx.checker.check_model(model, full_check=True)
        assert [o.version for o in model.opset_import if not o.domain] == [onnx_files.OPSET]
    text = (written.folder / "model.json").read_text()
    assert str(tl.sam.MINI_WEIGHTS.parent) not in text


@pytest.mark.no_cover
def test_a_whole_sam(tmp_path):
    """Random weights at 64 px: all blocks of the real ViT-B; `onnx` itself compares."""
    written = tl.export.onnx(tl.load_sam("vit_b", None, image_size=SIDE), tmp_path)
    assert written.difference <= TOLERANCE


@pytest.mark.no_cover
@pytest.mark.parametrize(
    ("variant", "keep"), [("vit_b", (1, 2)), ("vit_l", (4, 5)), ("vit_h", (6, 7))]
)
def test_a_sam_of_full_width(variant, keep, tmp_path, monkeypatch):
    """Random weights, a windowed and a global block; `onnx` itself compares. As if the file were
    too large for protobuf: its weights lie beside it."""
    monkeypatch.setattr(onnx_files, "LARGEST", 1_000_000)
    sam = tl.load_sam("vit_b", None, image_size=SIDE)  # the decoder is the same in all
    sam.image_encoder, sam.variant = short_sam(variant, SIDE, keep).image_encoder, variant
    written = tl.export.onnx(sam, tmp_path)
    assert written.difference <= TOLERANCE
    assert (tmp_path / "encoder.onnx").stat().st_size < 1_000_000
    assert (tmp_path / "encoder.onnx.data").stat().st_size > 10_000_000


@pytest.mark.parametrize(("height", "width", "half"), [(32, 32, 8), (32, 48, 9), (16, 16, 20)])
def test_high_pass_without_complex_numbers(height, width, half):
    """The product of matrices is the filter that the Fourier transform gives."""
    share = (2 * half) ** 2 / (height * width)
    image = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    rows, columns = (_low_pass(n, half, image.device) for n in (height, width))
    low = (rows @ image.to(torch.complex128) @ columns.T).real
    torch.testing.assert_close(
        (image - low).abs().float(), high_pass(image, share), atol=1e-5, rtol=0
    )
    with onnx_files._real_high_pass():
        found = onnx_files.atl.high_pass(image, share)
    torch.testing.assert_close(found, high_pass(image, share), atol=1e-5, rtol=0)


def test_bad_input_is_refused_and_nothing_is_lost(mini, tmp_path):
    with pytest.raises(TypeError, match="a SAM of load_sam"):
        tl.export.onnx(torch.nn.Linear(2, 2), tmp_path)
    model = tl.TransLandSeg(two_blocks(), None)
    for threshold in (0, 1, 1.5, -1):
        with pytest.raises(ValueError, match="threshold"):
            tl.export.onnx(model, tmp_path, threshold=threshold)
    before = dict(model.no_mask_embed.named_parameters())["weight"].clone()
    model.no_mask_embed.weight.data.fill_(float("nan"))
    with pytest.raises(ValueError, match=r"no_mask_embed\.weight is not finite"):
        tl.export.onnx(model, tmp_path)
    model.no_mask_embed.weight.data.copy_(before).mul_(0).add_(1e6)
    with pytest.raises(ValueError, match="half=False"):
        tl.export.onnx(model, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_answers_that_differ_are_not_kept(tmp_path, monkeypatch):
    (tmp_path / "model.onnx").write_bytes(b"of an earlier export")
    monkeypatch.setattr(onnx_files._Part, "difference", lambda *_: 0.5)
    with pytest.raises(RuntimeError, match=r"differ from PyTorch's by 5.0e-01"):
        tl.export.onnx(tl.TransLandSeg(two_blocks(), None), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]
    assert (tmp_path / "model.onnx").read_bytes() == b"of an earlier export"


def test_missing_packages_are_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(ImportError, match=r"needs onnxscript.*tlseg-lite\[export\]"):
        tl.export.onnx(tl.TransLandSeg(two_blocks(), None), tmp_path)


def test_command_takes_a_file_or_a_variant(tmp_path, capsys):
    model = tl.TransLandSeg(tl.load_sam("sam_mini", image_size=SIDE), None)
    model.save(tmp_path / "best.safetensors")
    assert (
        main(["export", str(tmp_path), "--out", str(tmp_path / "out"), "--threshold", "0.4"]) == 0
    )
    assert "model.onnx" in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "model.json").read_text())["threshold"] == 0.4
    assert main(["export", str(tmp_path / "none"), "--out", str(tmp_path / "out")]) == 1
