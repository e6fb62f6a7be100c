"""Colours and extents brought in line."""

import pytest
import torch
from experiment_helpers import Spots

from tlseg_lite.data import LandslideDataset
from tlseg_lite.experiments.transfer import Colours, MatchedColours, Windows


class Pictures(LandslideDataset):
    """Noise of given means and spread, one mean for each image."""

    def __init__(self, means, spread=0.05, side=64):
        self.means, self.spread, self.side = means, spread, side
        self.ids, self.source = [f"p{i}" for i in range(len(means))], "noise"

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        noise = torch.randn(3, self.side, self.side, generator=generator)
        image = (self.means[index] + self.spread * noise).clamp(0, 1)
        mask = torch.zeros(1, self.side, self.side)
        mask[:, 20:40, 40:50] = 1  # 20 x 10 px, in two windows of 32
        return {"image": image, "mask": mask, "id": self.ids[index]}


def test_colours_are_the_mean_and_the_spread_of_all_images():
    colours = Colours.of(Pictures([0.3, 0.5], side=128))
    assert colours.mean.tolist() == pytest.approx([0.4] * 3, abs=2e-3)
    assert colours.std.tolist() == pytest.approx([(0.05**2 + 0.1**2) ** 0.5] * 3, abs=2e-3)


def test_images_count_alike_whatever_their_size():
    class Sizes(Pictures):
        def __getitem__(self, index):
            self.side = (16, 256)[index]
            return super().__getitem__(index)

    assert Colours.of(Sizes([0.2, 0.6])).mean.tolist() == pytest.approx([0.4] * 3, abs=0.01)
    with pytest.raises(ValueError, match="empty"):
        Colours.of(Pictures([]))


def test_matched_colours_have_the_wanted_mean_and_spread_and_keep_the_differences():
    dark, bright = Pictures([0.2, 0.3]), Pictures([0.6, 0.7], spread=0.08)
    own, wanted = Colours.of(dark), Colours.of(bright)
    matched = MatchedColours(dark, own, wanted)
    now = Colours.of(matched)
    assert torch.allclose(now.mean, wanted.mean, atol=0.01)
    assert torch.allclose(now.std, wanted.std, atol=0.01)
    assert matched[1]["image"].mean() > matched[0]["image"].mean() + 0.05
    assert torch.equal(matched[0]["mask"], dark[0]["mask"])
    assert matched.ids == dark.ids
    assert all(item["image"].min() >= 0 and item["image"].max() <= 1 for item in matched)


def test_windows_cover_each_image_once():
    images = Pictures([0.4, 0.5])
    windows = Windows(images, 32)
    assert len(windows) == len(windows.ids) == len(set(windows.ids)) == 8
    assert windows.ids[:2] == ["p0@0,0", "p0@0,32"]
    whole = torch.zeros(3, 64, 64)
    for item in list(windows)[:4]:
        top, left = map(int, item["id"].split("@")[1].split(","))
        whole[:, top : top + 32, left : left + 32] = item["image"]
    assert torch.equal(whole, images[0]["image"])
    landslide = sum(item["mask"].sum() for item in windows)
    assert landslide == sum(item["mask"].sum() for item in images) == 400


def test_the_fullest_window_is_the_one_with_the_most_landslide():
    windows = Windows(Pictures([0.4, 0.5]), 32, fullest=True)
    assert windows.ids == ["p0@0,32", "p1@0,32"]  # 12 rows of 20 are in the upper one
    assert windows[0]["mask"].sum() == 120


def test_windows_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="32 x 32 pixels, no multiples of 20"):
        Windows(Spots(2, 0), 20)
    with pytest.raises(ValueError, match="side is 0"):
        Windows(Spots(2, 0), 0)
