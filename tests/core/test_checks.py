"""What an image is: one rule for every entrance."""

import numpy as np
import pytest
import torch

from tlseg_lite.core.checks import binary_mask, check_image, check_size
from tlseg_lite.core.errors import DataError


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


MASK = np.array([[0, 1], [1, 0]])


@pytest.mark.parametrize("make", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
def test_masks_that_are_plain(make):
    for values in (MASK == 1, MASK, MASK * 255, MASK.astype(np.float32), MASK * 255.0, MASK * 0,
                   MASK * 0 + 1, MASK * 0 + 255, MASK.astype(np.uint8)):  # fmt: skip
        landslide, valid = binary_mask(make(values), "a")
        assert valid is None
        assert landslide.dtype in (bool, torch.bool)
        assert (np.asarray(landslide) == (values > 0)).all()
    landslide, valid = binary_mask(make(np.array([0, 1, 255, 255])), "a", 255)
    assert landslide.tolist() == [False, True, False, False]
    assert valid.tolist() == [True, True, False, False]
    landslide, valid = binary_mask(make(np.array([0.0, 255.0, -1.0])), "a", -1)
    assert (landslide.tolist(), valid.tolist()) == ([False, True, False], [True, True, False])
    assert binary_mask(make(MASK == 1), "a", 255)[1].all()


@pytest.mark.parametrize("make", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([0, 1, 255], "0, 1, 255; expected only 0 and 1 .*where 255 marks pixels to ignore"),
        ([1, 255], "1, 255; "),
        ([0, 2], r"0, 2; .*\(mask == 1\)"),
        ([7, 7], "values 7;"),
        ([0, 0.5], r"0, 0\.5; .*\(mask > 0\.5\)"),
        ([-1, 0], "-1, 0;"),
        ([0, float("nan")], r"NaN or infinite \(1 pixels\), 0; .*set those pixels to 0"),
        ([0, 3, 251, 255], "JPEG"),
        (list(range(0, 100, 3)), r"0, 3, .* \.\.\. 99 \(34 different ones\)"),
    ],
)
def test_masks_that_could_mean_two_things(make, values, words):
    with pytest.raises(DataError, match=f"tile 7 has values {words}|{words}") as caught:
        binary_mask(make(np.array(values)), "tile 7")
    assert str(caught.value).startswith("tile 7 has values")


def test_what_holds_no_numbers_is_no_mask():
    for values in (np.array(["a"]), np.array([1j]), torch.zeros(2, dtype=torch.complex64)):
        with pytest.raises(TypeError, match="tile 7 has dtype"):
            binary_mask(values, "tile 7")
    with pytest.raises(TypeError, match="ignore is '255'; expected a number"):
        binary_mask(MASK, "tile 7", "255")
    with pytest.raises(DataError, match=r"0, 1, 3; expected .*, and 255 for pixels to ignore"):
        binary_mask(np.array([0, 1, 3]), "tile 7", 255)


def test_sizes():
    for size in ((1, 1), (2, 1500), (np.int64(7), 40_000)):
        assert check_size(*size, "tile 7") == size
    for size in ((0, 4), (4, -1), (2.0, 4), (True, 4), (None, 4)):
        with pytest.raises(DataError, match=r"tile 7 is .* expected positive sides"):
            check_size(*size, "tile 7")
