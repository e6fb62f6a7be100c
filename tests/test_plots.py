"""Figures: drawn without a warning, in the right number of panels, colours in range."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from tlseg_lite import plots


class Bright(torch.nn.Module):
    image_size = 64

    def __init__(self):
        super().__init__()
        self.bias = torch.nn.Parameter(torch.zeros(1))

    def forward(self, images):
        return images.mean(1, keepdim=True) - 0.5 + self.bias


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(0)
    items = []
    for i, (h, w) in enumerate([(40, 60), (64, 64), (90, 30)]):
        mask = torch.zeros(1, h, w)
        mask[:, 10:20, 5 : 25 - 25 * (i == 2)] = 1  # the last one has no landslide
        image = (0.3 * torch.rand(3, h, w, generator=generator) + 0.6 * mask).clamp(0, 1)
        items.append({"image": image, "mask": mask, "id": f"picture {i}"})
    return items


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_gallery_has_a_panel_for_each_picture(data):
    figure = plots.gallery(data, n=8, columns=2)
    assert [ax.get_title() for ax in figure.axes] == ["picture 0", "picture 1", "picture 2", ""]
    figure.canvas.draw()


def test_mosaic_draws_each_mask_once_and_the_small_ones_last(data):
    large, small = np.zeros((40, 60), bool), np.zeros((40, 60), bool)
    large[5:35, 5:55], small[10:15, 10:15] = True, True
    records = [{"segmentation": m, "area": int(m.sum())} for m in (small, large)]
    _, ax = plt.subplots()
    plots.mosaic(ax, data[0]["image"], records)
    layers = [image.get_array() for image in ax.get_images()]
    assert [int((layer[..., 3] > 0).sum()) for layer in layers[1:]] == [1500, 25]
    assert not np.allclose(layers[1][20, 20, :3], layers[2][12, 12, :3])


def test_dark_images_are_stretched_for_display_and_others_are_not():
    bright = torch.rand(3, 20, 20, generator=torch.Generator().manual_seed(0))
    assert plots.stretched(bright) is bright
    dark = 0.05 + 0.1 * bright
    shown = plots.stretched(dark)
    assert shown.min() == 0
    assert shown.max() == 1
    middle = (shown > 0) & (shown < 1)
    slope, offset = np.polyfit(dark[middle], shown[middle], 1)  # one line for all channels
    np.testing.assert_allclose(shown[middle], slope * dark[middle] + offset, atol=1e-4)
    flat = torch.full((3, 5, 5), 0.2)
    assert plots.stretched(flat) is flat, "nothing to stretch"


def test_legend_names_what_is_drawn(data):
    figure = plots.gallery(data, n=1)
    plots.legend(figure, prediction="SAM mask", other="another")
    texts = [text.get_text() for text in figure.legends[-1].get_texts()]
    assert texts == ["mapped landslide", "SAM mask", "another (white)"]


def test_predictions_show_picture_probability_and_outlines(data):
    figure = plots.predictions(Bright(), data, n=3)
    assert len(figure.axes) == 3 * 3 + 1  # and the colour bar
    probability = figure.axes[3].get_images()[0].get_array()
    assert probability.shape == (40, 60)
    assert 0 <= probability.min() <= probability.max() <= 1
    figure.canvas.draw()


def test_learning_curve_marks_the_best_epoch():
    history = pd.DataFrame(
        {
            "epoch": [0, 1, 2],
            "loss": [3, 2, 1.0],
            "miou": [0.5, 0.8, 0.7],
            "landslide_iou": [0, 0.6, 0.5],
        }
    )
    figure = plots.learning_curve(history)
    assert figure.axes[1].get_legend().get_title().get_text() == "best epoch: 1"
    np.testing.assert_allclose(figure.axes[1].get_lines()[0].get_ydata(), [50, 80, 70])


def test_components_keep_structure_and_range():
    features = torch.zeros(8, 6, 6)
    features[0, :3] = 1  # two regions that differ in one direction
    features += 0.001 * torch.randn(8, 6, 6, generator=torch.Generator().manual_seed(0))
    colours = plots.components(features)
    assert colours.shape == (6, 6, 3)
    assert colours.min() >= 0
    assert colours.max() <= 1
    top, bottom = colours[:3, :, 0], colours[3:, :, 0]
    assert abs(top.mean() - bottom.mean()) > 0.9
    np.testing.assert_allclose(plots.components(features, features), colours)
