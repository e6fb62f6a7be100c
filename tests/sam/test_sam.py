"""SAM variants: shapes, strict loading, and clear errors for files that cannot be used."""

import pickle
import warnings

import pytest
import torch

import tlseg_lite as tl
from tlseg_lite.core.errors import CheckpointError
from tlseg_lite.sam.variants import VARIANTS, build_sam, load_strictly, read_checkpoint


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("name", "encoder", "decoder"),
    [  # the published models' sizes
        ("vit_b", 89_670_912, 4_058_340),
        ("vit_l", 308_278_272, 4_058_340),
        ("vit_h", 637_026_048, 4_058_340),
    ],
)
def test_published_variants_have_their_published_sizes(name, encoder, decoder):
    with torch.device("meta"):
        sam = build_sam(name)
    assert count(sam.image_encoder) == encoder
    assert count(sam.mask_decoder) == decoder
    assert sam.image_encoder.img_size == 1024


@pytest.mark.parametrize("name", ["vit_b", "vit_l", "vit_h"])
def test_keys_and_shapes_are_those_of_segment_anything(name):
    from segment_anything import sam_model_registry

    with torch.device("meta"):
        ours, theirs = build_sam(name), sam_model_registry[name]()
    assert {k: v.shape for k, v in ours.state_dict().items()} == {
        k: v.shape for k, v in theirs.state_dict().items()
    }


def test_sam_mini_is_small_and_square_at_256():
    sam = tl.load_sam("sam_mini", None)
    assert sam.image_encoder.img_size == 256
    assert 4_000_000 < count(sam) < 6_000_000
    with torch.no_grad():
        assert sam.image_encoder(torch.rand(2, 3, 256, 256)).shape == (2, 128, 16, 16)
    assert not any(p.requires_grad for p in sam.parameters())
    assert not sam.training


def test_random_weights_follow_the_seed_and_leave_the_global_state_alone():
    torch.manual_seed(7)
    before = torch.get_rng_state()
    one, same, other = (tl.load_sam("sam_mini", None, seed=s) for s in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    weight = "image_encoder.neck.0.weight"
    assert torch.equal(one.state_dict()[weight], same.state_dict()[weight])
    assert not torch.equal(one.state_dict()[weight], other.state_dict()[weight])
    assert one.origin["fingerprint"] == same.origin["fingerprint"] != other.origin["fingerprint"]


def test_missing_packaged_weights_are_said(monkeypatch, tmp_path):
    monkeypatch.setattr("tlseg_lite.sam.variants.MINI_WEIGHTS", tmp_path / "none.safetensors")
    with pytest.warns(UserWarning, match="random"):
        tl.load_sam("sam_mini")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tl.load_sam("sam_mini", None)  # asked for: nothing to say


@pytest.mark.parametrize("name", ["vit_x", "", None, 3, ["vit_b"]])
def test_unknown_variant(name):
    with pytest.raises(ValueError, match="sam_mini, vit_b, vit_l, vit_h"):
        tl.load_sam(name)


@pytest.mark.parametrize("size", [0, -16, 100, 255.0, "256"])
def test_impossible_image_size(size):
    with pytest.raises(ValueError, match="multiple of 16"):
        build_sam("sam_mini", image_size=size)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A state dict as segment_anything writes it, with nothing left at zero."""
    folder = tmp_path_factory.mktemp("weights")
    sam = tl.load_sam("sam_mini", None, seed=3)
    with torch.no_grad():
        sam.image_encoder.pos_embed.normal_()
        for block in sam.image_encoder.blocks:
            block.attn.rel_pos_h.normal_()
            block.attn.rel_pos_w.normal_()
    torch.save(sam.state_dict(), folder / "mini.pth")
    return folder / "mini.pth", sam


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_loads_exactly(trained, tmp_path, suffix):
    from safetensors.torch import save_file

    path, sam = trained
    if suffix == ".safetensors":
        path = tmp_path / "mini.safetensors"
        save_file(sam.state_dict(), path)
    loaded = tl.load_sam("sam_mini", path)
    for key, value in sam.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key
    assert loaded.origin["weights"] == str(path)


def test_a_checkpoint_written_by_segment_anything_loads(tmp_path):
    from segment_anything import sam_model_registry

    theirs = sam_model_registry["vit_b"]()
    torch.save(theirs.state_dict(), tmp_path / "sam_vit_b.pth")
    ours = tl.load_sam("vit_b", tmp_path / "sam_vit_b.pth")
    for key, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[key], value), key


def test_another_image_size_resamples_positions_only(trained):
    path, sam = trained
    small = tl.load_sam("sam_mini", path, image_size=128)
    changed = {
        key
        for key, value in small.state_dict().items()
        if value.shape != sam.state_dict()[key].shape
    }
    assert changed
    assert all("pos_embed" in key or "rel_pos" in key for key in changed)
    with torch.no_grad():
        assert small.image_encoder(torch.rand(1, 3, 128, 128)).shape == (1, 128, 8, 8)
    # segment_anything resamples relative positions itself when the grid differs: the same result
    from segment_anything.modeling.image_encoder import get_rel_pos

    big = sam.image_encoder.blocks[1].attn.rel_pos_h  # a global block
    ours = small.image_encoder.blocks[1].attn.rel_pos_h
    torch.testing.assert_close(get_rel_pos(8, 8, ours), get_rel_pos(8, 8, big))


def test_wrong_variant_is_named(trained):
    path, _ = trained
    with torch.device("meta"):
        other = build_sam("vit_b")
    with pytest.raises(CheckpointError, match=r"holds sam_mini .* vit_b was asked for"):
        load_strictly(other, read_checkpoint(path), path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda s: s.pop("image_encoder.neck.0.weight"), "missing 1"),
        (lambda s: s.update(extra=torch.zeros(1)), "unexpected 1 .extra"),
        (
            lambda s: s.update({"mask_decoder.iou_token.weight": torch.zeros(2, 128)}),
            "wrong shape 1",
        ),
        (lambda s: s["image_encoder.neck.0.weight"].fill_(float("nan")), "NaN"),
    ],
    ids=["missing", "unexpected", "shape", "nan"],
)
def test_misfits_name_their_keys(trained, tmp_path, change, told):
    state = {k: v.clone() for k, v in read_checkpoint(trained[0]).items()}
    change(state)
    torch.save(state, tmp_path / "odd.pth")
    with pytest.raises(CheckpointError, match=told):
        tl.load_sam("sam_mini", tmp_path / "odd.pth")


WRAPPED = {
    "wrapper": lambda s: {"model": s, "epoch": 3, "optimizer": {"state": {0: {"step": s}}}},
    "deep wrapper": lambda s: {"checkpoint": {"state_dict": s}},
    "data parallel": lambda s: {f"module.{k}": v for k, v in s.items()},
    "compiled": lambda s: {f"_orig_mod.module.{k}": v for k, v in s.items()},
    "compiled encoder": lambda s: {
        k.replace("encoder.", "encoder._orig_mod.", 1): v for k, v in s.items()
    },
    "all of it": lambda s: {"state_dict": {f"module.{k}": v for k, v in s.items()}},
}


@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED)
def test_foreign_checkpoints_are_taken_where_it_is_clear(trained, tmp_path, wrap):
    _, sam = trained
    torch.save(wrap(sam.state_dict()), tmp_path / "foreign.pth")
    loaded = tl.load_sam("sam_mini", tmp_path / "foreign.pth").state_dict()
    for key, value in sam.state_dict().items():
        assert torch.equal(loaded[key], value), key


@pytest.mark.parametrize(
    ("wrap", "words"),
    [
        (
            lambda s: {"model": s, "ema": s},
            r"several state dicts: \['model'\], \['ema'\].*torch.load\('foreign.pth', "
            r"weights_only=True\)\['ema'\], 'plain.pth'\)",
        ),
        (lambda s: {"model": {"net": s}, "ema": {"net": s}}, r"\['model'\]\['net'\]"),
        (lambda s: {**s, **{f"module.{k}": v for k, v in s.items()}}, "more than once"),
        (
            lambda s: {f"model.sam.{k}": v for k, v in s.items()},
            r"begin with 'model.sam.'; remove it: \{k.removeprefix\('model.sam.'\): v for",
        ),
        (lambda s: {"state_dict": {}, "epoch": 1}, "not a plain state dict"),
        (lambda s: {1: torch.zeros(1)}, "not a plain state dict"),
    ],
)
def test_foreign_checkpoints_that_are_not_clear_name_the_mend(trained, tmp_path, wrap, words):
    torch.save(wrap(trained[1].state_dict()), tmp_path / "foreign.pth")
    with pytest.raises(CheckpointError, match=words):
        tl.load_sam("sam_mini", tmp_path / "foreign.pth")


class _Code:
    def __reduce__(self):
        return (print, ("this must never be printed",))


@pytest.mark.parametrize("kind", ["pickle", "torch"])
def test_code_in_a_file_is_never_run(tmp_path, capsys, kind):
    path = tmp_path / "evil.pth"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(_Code()))
    else:
        torch.save({"a": _Code()}, path)
    with pytest.raises(CheckpointError, match="could run code"):
        tl.load_sam("sam_mini", path)
    assert "never" not in capsys.readouterr().out


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_truncated_files(trained, tmp_path, share, suffix):
    from safetensors.torch import save

    data = trained[0].read_bytes() if suffix == ".pth" else save(trained[1].state_dict())
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(CheckpointError, match="fetch it again"):
        tl.load_sam("sam_mini", path)


@pytest.mark.parametrize(
    "content", [b"<html>404</html>", b"\x89PNG\r\n", [1, 2], {}, {"a": 1}], ids=str
)
def test_not_a_checkpoint(tmp_path, content):
    path = tmp_path / "odd.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(CheckpointError):
        tl.load_sam("sam_mini", path)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing-here"):
        tl.load_sam("sam_mini", tmp_path / "nothing-here.pth")


def test_every_variant_names_blocks_that_exist():
    for v in VARIANTS.values():
        assert v.width % v.heads == 0
        assert all(0 <= b < v.depth for b in v.global_blocks)
