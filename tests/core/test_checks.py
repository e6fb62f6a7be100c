"""What an image is: one rule for every entrance."""

import pytest
import torch

from tlseg_lite.core.checks import check_image


def test_images_pass_unchanged():
    for image in (torch.rand(3, 5, 7), torch.rand(3, 1, 1).half(), torch.ones(3, 2, 2).double()):
        assert check_image(image, "a") is image
    assert check_image(torch.full((3, 2, 2), 1 + 1e-6), "a").max() > 1  # rounding


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (torch.full((3, 4, 4), 200.0), r"from 200 to 200; expected \[0, 1\]: divide by 255"),
        (torch.full((3, 4, 4), 3000.0), r"\[0, 1\]: scale"),
        (torch.full((3, 4, 4), -0.1), r"from -0\.1 to -0\.1; expected \[0, 1\]: scale"),
        (torch.tensor([0.0, float("nan"), 1.0]).view(3, 1, 1), "not finite"),
        (torch.tensor([0.0, float("-inf"), 1.0]).view(3, 1, 1), "not finite"),
        (torch.zeros(3, 4, 4, dtype=torch.uint8), "uint8 3x4x4; expected .*float"),
        (torch.rand(1, 3, 4, 4), r"1x3x4x4; expected \(3, height, width\)"),
        (torch.rand(4, 4, 4), "4 channels"),
        (torch.rand(3, 0, 4), "positive sides"),
        (None, "NoneType"),
    ],
)
def test_others_are_refused_by_name(image, words):
    with pytest.raises(ValueError, match=f"tile 7 .*{words}"):
        check_image(image, "tile 7")
