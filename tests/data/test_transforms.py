"""The way of a picture: into the square, changed for training, and back."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from tlseg_lite.data import Augment, LandslideDataset, Prepared, fit_square, unfit
from tlseg_lite.data.transforms import PAD_COLOUR, area_average, fitted_size

side = st.one_of(st.integers(1, 9), st.integers(10, 90))


def sample(height: int, width: int, seed: int = 0) -> dict:
    draw = torch.Generator().manual_seed(seed)
    image = torch.rand(3, height, width, generator=draw)
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    mask = (rows - height / 2) ** 2 + (columns - width / 2) ** 2 < (min(height, width) / 3) ** 2
    return {"image": image, "mask": mask.float()[None], "id": f"s{seed}"}


class Pictures(LandslideDataset):
    """Pictures of several sizes, as a dataset has them."""

    source = "pictures for a test"

    def __init__(self, n=4):
        self.ids = [f"s{i}" for i in range(n)]

    def __getitem__(self, index):
        return sample(20 + 3 * index, 31, index)


@settings(max_examples=60, deadline=None)
@given(height=side, width=side, size=st.sampled_from([16, 32, 64]))
def test_any_picture_fits_and_comes_back_to_its_size(height, width, size):
    fitted = fit_square(sample(height, width), size)
    assert fitted["image"].shape == (3, size, size)
    assert fitted["mask"].shape == fitted["valid"].shape == (1, size, size)
    assert fitted["image"].min() >= 0
    assert fitted["image"].max() <= 1
    assert set(fitted["mask"].unique().tolist()) <= {0.0, 1.0}
    h, w = fitted_size((height, width), size)
    assert max(h, w) == size
    assert fitted["valid"].sum() == h * w
    assert fitted["valid"][0, :h, :w].all()  # padding lies right and below
    assert not (fitted["mask"] * (1 - fitted["valid"])).any()
    assert fitted["native_size"].tolist() == [height, width]
    assert unfit(fitted["mask"], fitted["native_size"]).shape == (1, height, width)


@pytest.mark.parametrize(("height", "width"), [(1, 400), (400, 1), (1, 1), (2, 999)])
def test_extreme_shapes(height, width):
    fitted = fit_square(sample(height, width), 32)
    assert min(fitted_size((height, width), 32)) >= 1
    assert torch.isfinite(fitted["image"]).all()
    assert unfit(torch.zeros(2, 1, 32, 32), (height, width)).shape == (2, 1, height, width)


@pytest.mark.parametrize(
    ("height", "width", "size"), [(61, 61, 256), (349, 292, 256), (90, 256, 128)]
)
def test_a_mask_survives_the_way_there_and_back(height, width, size):
    native = sample(height, width)
    fitted = fit_square(native, size)
    back = unfit(2 * fitted["mask"] - 1, fitted["native_size"]) > 0
    truth = native["mask"] > 0
    assert (back & truth).sum() / (back | truth).sum() > 0.95


def test_the_models_own_size_changes_nothing():
    native = sample(32, 32)
    fitted = fit_square(native, 32)
    torch.testing.assert_close(fitted["image"], native["image"], rtol=0, atol=0)
    torch.testing.assert_close(fitted["mask"], native["mask"], rtol=0, atol=0)
    logits = torch.randn(1, 32, 32)
    torch.testing.assert_close(unfit(logits, (32, 32)), logits, rtol=0, atol=0)


def test_padding_has_sams_mean_colour_and_a_constant_stays_constant():
    flat = {"image": torch.full((3, 10, 20), 0.25), "mask": torch.ones(1, 10, 20), "id": "flat"}
    fitted = fit_square(flat, 32)
    torch.testing.assert_close(fitted["image"][:, -1, 0], torch.tensor(PAD_COLOUR))
    torch.testing.assert_close(fitted["image"][:, :16], torch.full((3, 16, 32), 0.25))
    assert fitted["mask"].sum() == 16 * 32


@settings(max_examples=40, deadline=None)
@given(old=st.tuples(side, side), new=st.tuples(side, side), seed=st.integers(0, 99))
def test_area_average_keeps_the_mean(old, new, seed):
    mask = (torch.rand(1, *old, generator=torch.Generator().manual_seed(seed)) > 0.6).float()
    average = area_average(mask, new)
    assert average.shape == (1, *new)
    assert average.mean().item() == pytest.approx(mask.mean().item(), abs=1e-5)


def test_area_average_of_whole_ratios_is_average_pooling():
    mask = (torch.rand(1, 12, 20, generator=torch.Generator().manual_seed(1)) > 0.5).float()
    pooled = torch.nn.functional.avg_pool2d(mask, (3, 5))
    torch.testing.assert_close(area_average(mask, (4, 4)), pooled)
    repeated = mask.repeat_interleave(3, 1).repeat_interleave(2, 2)
    torch.testing.assert_close(area_average(mask, (36, 40)), repeated)


def test_what_does_not_fit_is_refused_by_name():
    good = sample(8, 8)
    for key, value, words in (
        ("image", torch.zeros(14, 8, 8), r'14 channels.*bands="rgb"'),
        ("image", torch.zeros(3, 8, 8, dtype=torch.uint8), "float tensor 3xHxW"),
        ("image", None, "NoneType"),
        ("mask", torch.zeros(1, 8, 9), "expected 1x8x8"),
    ):
        with pytest.raises(ValueError, match=f"(?s)s0.*{words}"):
            fit_square({**good, key: value}, 16)
    with pytest.raises(ValueError, match="no mask"):
        fit_square({"image": good["image"], "id": "s0"}, 16)
    for size in (0, 2.5, True):
        with pytest.raises(ValueError, match="positive whole"):
            fit_square(good, size)
    with pytest.raises(ValueError, match="positive sides"):
        fit_square({"image": torch.zeros(3, 0, 4), "mask": torch.zeros(1, 0, 4), "id": "x"}, 16)
    with pytest.raises(ValueError, match=r"\(\.\.\., S, S\)"):
        unfit(torch.zeros(1, 8, 9), (4, 4))
    with pytest.raises(ValueError, match="one by one"):
        unfit(torch.zeros(2, 1, 8, 8), torch.tensor([[4, 4], [5, 5]]))


def test_no_logits_come_back_as_none_of_the_native_size():
    assert unfit(torch.zeros(0, 1, 8, 8), (4, 6)).shape == (0, 1, 4, 6)


def test_image_and_mask_turn_together():
    native = sample(6, 9)
    native["image"] = native["mask"].repeat(3, 1, 1)  # the picture is its own mask
    shapes = set()
    for seed in range(20):
        plain = Augment(brightness=0, contrast=0, saturation=0, hue=0, angle=0, zoom=1)
        changed = plain(native, torch.Generator().manual_seed(seed))
        torch.testing.assert_close(changed["image"][:1], changed["mask"], rtol=0, atol=0)
        assert changed["mask"].sum() == native["mask"].sum()
        shapes.add(tuple(changed["mask"].shape))
    assert shapes == {(1, 6, 9), (1, 9, 6)}


def test_all_eight_orientations_occur():
    native = sample(5, 5)
    seen = set()
    for seed in range(200):
        plain = Augment(brightness=0, contrast=0, saturation=0, hue=0, angle=0, zoom=1)
        changed = plain(native, torch.Generator().manual_seed(seed))
        seen.add(changed["image"].numpy().tobytes())
    assert len(seen) == 8


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_colour_changes_the_image_alone_and_stays_in_range(seed):
    native = sample(7, 8, seed)
    strong = Augment(False, False, 1, 1, 1, 0.5, angle=0, zoom=1)
    changed = strong(native, torch.Generator().manual_seed(seed))
    assert changed["image"].min() >= 0
    assert changed["image"].max() <= 1
    assert changed["mask"] is not native["mask"] or torch.equal(changed["mask"], native["mask"])
    torch.testing.assert_close(changed["mask"], native["mask"], rtol=0, atol=0)


def test_hue_and_saturation_leave_grey_alone_and_nothing_off_is_changed():
    grey = {"image": torch.rand(1, 5, 5).repeat(3, 1, 1), "mask": torch.zeros(1, 5, 5), "id": "g"}
    only = Augment(False, False, 0, 0, 1, 0.5, angle=0, zoom=1)
    changed = only(grey, torch.Generator().manual_seed(3))
    torch.testing.assert_close(changed["image"], grey["image"], rtol=0, atol=1e-3)
    off = Augment(False, False, 0, 0, 0, 0, angle=0, zoom=1)
    native = sample(5, 6)
    assert torch.equal(off(native, torch.Generator())["image"], native["image"])


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match=r"hue is 0\.7"):
        Augment(hue=0.7)
    with pytest.raises(ValueError, match="brightness is -1"):
        Augment(brightness=-1)
    with pytest.raises(ValueError, match="angle is 60"):
        Augment(angle=60)
    with pytest.raises(ValueError, match=r"zoom is 0\.5"):
        Augment(zoom=0.5)


def disc(height, width, radius):
    """A picture with a white disc in its middle."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    inside = (y - (height - 1) / 2) ** 2 + (x - (width - 1) / 2) ** 2 < radius**2
    mask = inside[None].float()
    return {"image": mask.repeat(3, 1, 1), "mask": mask, "id": "disc"}


def test_a_turn_leaves_a_disc_as_it_is_also_in_a_picture_that_is_not_square():
    turns = Augment(False, False, 0, 0, 0, 0, angle=45, zoom=1)
    for shape in ((64, 64), (48, 96), (96, 48)):
        native = disc(*shape, 18)
        for seed in range(5):
            changed = turns(native, torch.Generator().manual_seed(seed))
            assert (changed["mask"] != native["mask"]).float().mean() < 0.01
            assert set(changed["mask"].unique().tolist()) == {0.0, 1.0}


def test_a_turn_is_by_the_angle_that_was_drawn():
    turns = Augment(False, False, 0, 0, 0, 0, angle=45, zoom=1)
    native = disc(97, 129, 4)
    native["mask"] = native["mask"].roll(20, 2)  # 20 pixels to the right of the middle
    native["image"] = native["mask"].repeat(3, 1, 1)
    angles = []
    for seed in range(30):
        changed = turns(native, torch.Generator().manual_seed(seed))
        at = changed["mask"][0].nonzero().float().mean(0) - torch.tensor([48.0, 64.0])
        assert at.norm() == pytest.approx(20, abs=0.7)  # neither nearer nor squashed
        angles.append(torch.atan2(at[0], at[1]).rad2deg().item())
    assert -46 < min(angles) < -25
    assert 25 < max(angles) < 46


def test_a_zoom_changes_areas_by_its_square_and_both_alike():
    zooms = Augment(False, False, 0, 0, 0, 0, angle=0, zoom=1.5)
    native = disc(160, 160, 20)
    factors = []
    for seed in range(40):
        changed = zooms(native, torch.Generator().manual_seed(seed))
        drawn = torch.rand(11, generator=torch.Generator().manual_seed(seed))[7].item()
        factor = 1.5 ** (2 * drawn - 1)
        factors.append(factor)
        assert ((changed["image"][:1] > 0.5).float() != changed["mask"]).float().mean() < 0.01
        if 0.9 < factor < 1.1:  # the whole disc stays in the picture
            grown = changed["mask"].sum() / native["mask"].sum()
            assert grown.item() == pytest.approx(factor**2, rel=0.03)
    assert min(factors) < 0.75
    assert max(factors) > 1.35


def test_prepared_draws_by_seed_epoch_and_id_alone():
    train = Prepared(Pictures(), 32, Augment(), seed=5)
    assert train.ids == Pictures().ids
    assert train.source == Pictures.source
    first = [train[i]["image"] for i in range(4)]
    again = [train[i]["image"] for i in reversed(range(4))][::-1]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    train.set_epoch(1)
    assert not torch.equal(train[0]["image"], first[0])
    train.set_epoch(0)
    assert torch.equal(train[0]["image"], first[0])
    other = Prepared(Pictures(), 32, Augment(), seed=6)
    assert not torch.equal(other[0]["image"], first[0])
    plain = Prepared(Pictures(), 32)
    assert torch.equal(plain[2]["image"], fit_square(Pictures()[2], 32)["image"])


def test_living_workers_see_the_new_epoch():
    train = Prepared(Pictures(), 32, Augment(), seed=5)
    loader = DataLoader(train, batch_size=4, num_workers=1, persistent_workers=True)
    for epoch in (0, 3):
        train.set_epoch(epoch)
        batch = next(iter(loader))
        expected = torch.stack([train[i]["image"] for i in range(4)])
        torch.testing.assert_close(batch["image"], expected, rtol=0, atol=0)
        assert batch["native_size"].shape == (4, 2)
    del loader


def test_prepared_refuses_what_cannot_work_at_once():
    with pytest.raises(TypeError, match="Augment or None"):
        Prepared(Pictures(), 32, augment="flip")
    with pytest.raises(ValueError, match="size is 0"):
        Prepared(Pictures(), 0)
