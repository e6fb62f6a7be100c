"""What the papers' released code does that this package must not: a test for each point.

The points are listed in the chapter about the design; each comment names the released behaviour.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields

import pytest
import torch
from adapter_helpers import busy_sam, random_images
from PIL import Image

import tlseg_lite as tl
from tlseg_lite.data import LandslideDataset
from tlseg_lite.data.images import ImagePairs
from tlseg_lite.data.transforms import Augment, Prepared, area_average, fit_square, unfit

FAST = tl.Recipe(epochs=2, batch_size=2, learning_rate=1e-3)


class Squares(LandslideDataset):
    """Bright rectangles on dark ground, of any native size."""

    def __init__(self, n: int, name: str, size: tuple[int, int] = (40, 64)):
        self.ids, self.size = [f"{name}-{i}" for i in range(n)], size
        self.source = f"{n} rectangles"

    def __getitem__(self, i: int) -> dict:
        generator = torch.Generator().manual_seed(sum(map(ord, self.ids[i])))
        mask = torch.zeros(1, *self.size)
        top, left = torch.randint(0, 20, (2,), generator=generator).tolist()
        mask[:, top : top + 15, left : left + 25] = 1
        image = 0.2 + 0.6 * mask + 0.1 * torch.rand(3, *self.size, generator=generator)
        return {"image": image, "mask": mask, "id": self.ids[i]}


@pytest.fixture(scope="module")
def mini():
    return busy_sam("sam_mini", 64)


# Released: strict=False hides that two of SAM's tensors never arrive and stay random.


def test_positional_encoding_and_no_mask_embedding_are_sams(tmp_path):
    other = tl.load_sam("sam_mini", None, image_size=64, seed=9)
    torch.save(other.state_dict(), tmp_path / "other.pth")
    sam = tl.load_sam("sam_mini", tmp_path / "other.pth", image_size=64, seed=1)
    model = tl.TransLandSeg(sam, tl.DESIGNS["TransLandSeg-released"])
    theirs = other.prompt_encoder
    assert torch.equal(model.no_mask_embed.weight, theirs.no_mask_embed.weight)
    ours = model.position_encoding.positional_encoding_gaussian_matrix
    assert torch.equal(ours, theirs.pe_layer.positional_encoding_gaussian_matrix)
    assert torch.equal(model.position_encoding((4, 4))[None], theirs.get_dense_pe())


@pytest.mark.parametrize(
    "key",
    ["prompt_encoder.no_mask_embed.weight", "image_encoder.blocks.3.attn.rel_pos_h"],
)
def test_loading_is_strict(tmp_path, key):
    """A missing or a renamed tensor is an error that names it, never a random stand-in."""
    state = tl.load_sam("sam_mini", None, image_size=64).state_dict()
    state[key.removeprefix("prompt_encoder.") + ".renamed"] = state.pop(key)
    torch.save(state, tmp_path / "renamed.pth")
    with pytest.raises(tl.CheckpointError, match=key.replace(".", r"\.")):
        tl.load_sam("sam_mini", tmp_path / "renamed.pth", image_size=64)


# Released: adapters inside the block are frozen at random values, by a filter on names.


@pytest.mark.parametrize("name", ["TransLandSeg-6", "TransLandSeg-8"])
def test_adapters_inside_the_block_train(mini, name):
    model = tl.TransLandSeg(mini, tl.DESIGNS[name])
    before = {key: value.clone() for key, value in model.adapters.named_parameters()}
    assert all(p.requires_grad for p in model.adapters.parameters())
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 1e-2)
    for _ in range(2):  # the first step moves the up-projections away from zero
        optimizer.zero_grad()
        model(random_images(1, 64)).square().mean().backward()
        optimizer.step()
    still = [k for k, p in model.adapters.named_parameters() if torch.equal(p, before[k])]
    assert still == []


def test_freezing_goes_by_module(mini):
    """What trains is exactly the adapters, the decoder and the no-mask embedding."""
    for config in tl.DESIGNS.values():
        model = tl.TransLandSeg(mini, config)
        trains = {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad}
        frozen = {name.split(".")[0] for name, p in model.named_parameters() if not p.requires_grad}
        assert trains == {"adapters", "mask_decoder", "no_mask_embed"}
        assert frozen == {"image_encoder"}


# Released: one split in two; the second part stops the training and is reported on. No file lists.


def test_three_parts_that_share_nothing():
    parts = tl.data.split(Squares(20, "x"), (0.7, 0.15, 0.15), seed=0)
    ids = [set(part.ids) for part in parts]
    assert [len(part) for part in ids] == [14, 3, 3]
    assert set.union(*ids) == set(Squares(20, "x").ids)
    assert sum(map(len, ids)) == 20
    again = tl.data.split(Squares(20, "x"), (0.7, 0.15, 0.15), seed=0)
    assert [part.ids for part in again] == [part.ids for part in parts]


def test_the_reported_images_choose_nothing(mini, tmp_path):
    """`fit` sees training and validation only; its choice is the best validation epoch."""
    model = tl.TransLandSeg(mini, tl.DESIGNS["TransLandSeg"])
    val = Squares(2, "val")
    run = tl.fit(model, Squares(4, "train"), val, FAST, tmp_path / "run", progress=False)
    assert run.best_epoch == run.history.miou.idxmax()
    kept = tl.TransLandSeg.load(run.best, mini)
    assert tl.evaluate(kept, val).miou == pytest.approx(run.best_miou)
    with pytest.warns(UserWarning, match="training and in the validation set"):
        tl.fit(model, val, val, FAST, tmp_path / "leak", progress=False)


# Released: colours change on validation images too, while the flips have no effect.


def test_validation_images_are_not_changed(mini, tmp_path):
    """The scores in the learning curve are those of the unchanged validation images."""
    model = tl.TransLandSeg(mini, tl.DESIGNS["TransLandSeg"])
    val = Squares(3, "val")
    recipe = tl.Recipe(epochs=1, batch_size=2, augment=True)
    run = tl.fit(model, Squares(2, "train"), val, recipe, tmp_path / "run", progress=False)
    assert run.history.landslide_iou[0] == pytest.approx(tl.evaluate(model, val).landslide_iou)
    plain = Prepared(val, 64)
    plain.set_epoch(5)
    assert torch.equal(plain[1]["image"], fit_square(val[1], 64)["image"])


def test_flips_act_and_act_on_image_and_mask_alike():
    only_flips = Augment(True, False, 0, 0, 0, 0, angle=0, zoom=1)
    mask = torch.zeros(1, 4, 6)
    mask[0, 0, 0] = 1
    sample = {"image": mask.repeat(3, 1, 1), "mask": mask, "id": "corner"}
    corners = set()
    for seed in range(40):
        out = only_flips(sample, torch.Generator().manual_seed(seed))
        assert torch.equal(out["image"][:1], out["mask"])
        corners.add(tuple(out["mask"][0].nonzero()[0].tolist()))
    assert corners == {(0, 0), (0, 5), (3, 0), (3, 5)}


# Released: pictures squashed to a square, masks interpolated and cut off, scores at 1024 x 1024.


def test_pictures_keep_their_aspect_ratio():
    sample = fit_square(Squares(1, "x", (30, 60))[0], 64)
    inside = sample["valid"][0].nonzero()
    assert inside.amax(0).tolist() == [31, 63]  # 30 x 60 becomes 32 x 64, the rest is padding
    assert sample["mask"][:, 32:].sum() == 0


def test_masks_are_not_eroded():
    """A pixel is landslide from half of its area on: truncation would only ever remove area."""
    ramp = torch.zeros(1, 8, 8)
    ramp[:, :, :5] = 1  # 2.5 columns of 4 at half the size
    share = area_average(ramp, (4, 4))
    assert share[0, 0].tolist() == pytest.approx([1, 1, 0.5, 0])
    image = ramp.repeat(3, 1, 1)
    small = fit_square({"image": image, "mask": ramp, "id": "ramp"}, 4)["mask"]
    assert small[0, 0].tolist() == [1, 1, 1, 0]
    areas = []
    for seed in range(200):
        noise = torch.rand(1, 1, 4, 4, generator=torch.Generator().manual_seed(seed))
        mask = (torch.nn.functional.interpolate(noise, (40, 40), mode="bicubic")[0] > 0.5).float()
        fitted = fit_square({"image": mask.repeat(3, 1, 1), "mask": mask, "id": "x"}, 16)
        areas.append((fitted["mask"].mean() - mask.mean()).item())
    areas = torch.tensor(areas)
    assert abs(areas.mean()) < 3 * areas.std() / len(areas) ** 0.5 + 1e-3  # unbiased


def test_pixels_are_counted_at_native_size(mini):
    model = tl.TransLandSeg(mini, tl.DESIGNS["TransLandSeg"]).eval()
    data = Squares(2, "x", (30, 90))
    counted = tl.evaluate(model, data).confusion
    assert sum(counted.counts()) == 2 * 30 * 90
    by_hand = torch.zeros(2, 2, dtype=torch.long)
    for i in range(2):
        fitted = fit_square(data[i], 64)
        with torch.no_grad():
            logits = unfit(model(fitted["image"][None])[0], (30, 90))
        for p in (0, 1):
            for t in (0, 1):
                by_hand[p, t] += int((((logits > 0) == p) & (data[i]["mask"] == t)).sum())
    assert counted.counts() == (*by_hand[1].flip(0).tolist(), *by_hand[0].flip(0).tolist())


# Released: images and labels are paired by their order in the folder.


def test_pairs_go_by_name(tmp_path):
    """Equally many images and masks, one name different: an error, not a shifted pairing."""
    for folder, mode in (("image", "RGB"), ("label", "L")):
        (tmp_path / folder).mkdir()
        for i, stem in enumerate(("a", "b", "c")):
            Image.new(mode, (4 + i, 5)).save(tmp_path / folder / f"{stem}.png")
    pairs = ImagePairs(tmp_path / "image", tmp_path / "label")
    assert [item["mask"].shape[-1] for item in pairs] == [4, 5, 6]
    (tmp_path / "label" / "b.png").rename(tmp_path / "label" / "d.png")
    with pytest.raises(tl.data.DataError, match="b"):
        ImagePairs(tmp_path / "image", tmp_path / "label")


# Released: ablations as commented-out code, settings that nothing reads, the run as module code,
# the whole 1.2 GB state saved at each improvement.


def test_table_iv_is_nine_values():
    """The designs by name, as Table IV lists them; every one is a value, not an edit."""
    table = {
        "TransLandSeg": ("m", True, "outside"),
        "TransLandSeg-1": ("ccc", True, "outside"),
        "TransLandSeg-2": ("cc", True, "outside"),
        "TransLandSeg-3": ("cc", False, "outside"),
        "TransLandSeg-4": ("mm", True, "outside"),
        "TransLandSeg-5": ("mmccc", True, "outside"),
        "TransLandSeg-6": ("mmccc", True, "inside"),
        "TransLandSeg-7": ("m", False, "outside"),
        "TransLandSeg-8": ("m", True, "inside"),
    }
    designs = {name: config for name, config in tl.DESIGNS.items() if config.source == "block"}
    assert {
        name: ("".join(c.middle), c.residual, c.placement) for name, c in designs.items()
    } == table


def test_every_recipe_field_is_read(mini, tmp_path):
    """A setting that nothing reads could be wrong for years."""
    read = set()

    class Watched(tl.Recipe):
        def __getattribute__(self, name):
            read.add(name)
            return super().__getattribute__(name)

        def as_dict(self):  # reads everything; not a use
            seen = set(read)
            values = super().as_dict()
            read.intersection_update(seen)
            return values

    recipe = Watched(epochs=1, batch_size=2)
    read.clear()
    model = tl.TransLandSeg(mini, tl.DESIGNS["TransLandSeg"])
    tl.fit(model, Squares(2, "a"), Squares(1, "b"), recipe, tmp_path / "run", progress=False)
    by_who_builds = {"sam", "why"}  # the variant is read where the model is made
    assert {field.name for field in fields(tl.Recipe)} - read - by_who_builds == set()


def test_importing_runs_nothing():
    code = (
        "import sys, random, torch; torch.manual_seed(7); before = torch.get_rng_state(); "
        "import tlseg_lite, tlseg_lite.adapters.atl, tlseg_lite.adapters.translandseg; "
        "import tlseg_lite.training; "
        "assert torch.equal(before, torch.get_rng_state()); "
        "assert 'segment_anything' not in sys.modules, 'built at import'; "
        "assert 'matplotlib' not in sys.modules and 'pandas' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_only_what_trained_is_saved(mini, tmp_path):
    model = tl.TransLandSeg(mini, tl.DESIGNS["TransLandSeg"])
    model.save(tmp_path / "model.safetensors")
    size = (tmp_path / "model.safetensors").stat().st_size
    trainable = tl.count_parameters(model).trainable
    assert 4 * trainable <= size < 4 * trainable + 50_000  # float32, and a header
    assert not any("image_encoder" in name for name in model.trained_state())
