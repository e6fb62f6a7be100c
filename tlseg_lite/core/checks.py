"""What the package takes: one rule for each kind of value, the same at every entrance."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tlseg_lite.core.errors import DataError
from tlseg_lite.core.tensors import is_bool, is_tensor, zero_where_not

if TYPE_CHECKING:
    import torch

_ROUNDING = 1e-4
"""How far outside of [0, 1] a resampled or normalised image may be."""


def check_image(image: Any, name: str) -> torch.Tensor:
    """`image` if it is one: float 3xHxW, RGB, finite, in [0, 1]; `name` opens the message.

    Raises:
        ValueError: it is of another type or shape, empty, not finite, or outside of [0, 1].
    """
    if not is_tensor(image):
        found = type(image).__name__
    else:
        found = f"{image.dtype} {'x'.join(map(str, image.shape))}".removeprefix("torch.")
    if not is_tensor(image) or not image.is_floating_point() or image.ndim != 3:
        raise ValueError(
            f"{name} is {found}; expected (3, height, width), a float tensor 3xHxW in [0, 1]"
        )
    if image.shape[0] != 3:
        raise ValueError(
            f"{name} has {image.shape[0]} channels; SAM takes 3 (RGB). "
            'For Landslide4Sense pass bands="rgb"'
        )
    if 0 in image.shape:
        raise ValueError(f"{name} is {found}; expected positive sides")
    low, high = _bounds(image)
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(
            f"{name} has values that are not finite (NaN or infinite); replace them, or leave "
            "the image out"
        )
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        remedy = "divide by 255" if low >= 0 and high <= 255 else "scale it to that range"
        raise ValueError(f"{name} has values from {low:g} to {high:g}; expected [0, 1]: {remedy}")
    return image


def _bounds(image: torch.Tensor) -> list[float]:
    """The lowest and the highest value, in one transfer from the device."""
    import torch

    return torch.stack(image.aminmax()).tolist()


def check_size(height: Any, width: Any, what: str) -> tuple[int, int]:
    """(height, width) as ints if an image may have this size: any, from 1 x 1 pixel on.

    Narrow images are taken as well: in the model's square each side keeps at least one pixel
    (`tlseg_lite.data.transforms.fitted_size`).

    Raises:
        DataError: a side is not a positive whole number; `what` opens the message.
    """
    for side in (height, width):
        if isinstance(side, bool) or not isinstance(side, (int, np.integer)) or side < 1:
            raise DataError(
                f"{what} is {height} x {width} (height x width); expected positive sides, whole "
                "numbers of pixels"
            )
    return int(height), int(width)


MASK_VALUES = ((0, 1), (0, 255))
"""The values of a mask: all of them from one of these pairs; the second one is landslide."""


def binary_mask(values: Any, what: str, ignore: float | None = None, *, remedy: str = ""):
    """What is landslide in `values`, and which of them count.

    A mask is bool, or holds only 0 and 1, or only 0 and 255 (all of one of these too). Anything
    else could mean two things, and is refused.

    Args:
        values: numpy array or torch tensor of any shape.
        what: opens the message.
        ignore: this value marks pixels that are neither landslide nor background.
        remedy: what to do where 255 beside 0 and 1 looks like such a value.

    Returns:
        (landslide, valid): bool, the shape, kind and device of `values`; ``valid`` is False where
        a value is `ignore`, and None without `ignore`. Not valid pixels are not landslide.

    Raises:
        DataError: other values; they are listed.
        TypeError: no numbers, or `ignore` is none.
    """
    if ignore is not None and (isinstance(ignore, bool) or not isinstance(ignore, (int, float))):
        raise TypeError(f"ignore is {ignore!r}; expected a number, such as 255, or None")
    tensor = is_tensor(values)
    real = not values.is_complex() if tensor else values.dtype.kind in "biuf"
    if not real:
        raise TypeError(f"{what} has dtype {values.dtype}, expected bool or numbers 0 and 1")
    if is_bool(values):
        return values, None if ignore is None else values == values
    valid, rest = None, values
    if ignore is not None:
        valid = values != ignore
        rest = zero_where_not(valid, values)
    mask = rest != 0
    for background, landslide in MASK_VALUES:
        if bool(((rest == background) | (rest == landslide)).all()):
            return mask, valid
    found = values.detach().float().cpu().numpy() if tensor else values
    raise DataError(_not_a_mask(found, what, ignore, remedy))


def _not_a_mask(values: np.ndarray, what: str, ignore: float | None, remedy: str) -> str:
    finite = values[np.isfinite(values)]
    distinct = np.unique(finite).tolist()
    rare = [v for v in distinct if v != ignore]
    shown = values_in_words(distinct)
    if finite.size < values.size:
        shown = (
            f"NaN or infinite ({values.size - finite.size} pixels){', ' * bool(distinct)}{shown}"
        )
    text = f"{what} has values {shown}; expected only 0 and 1 (or 0 and 255)"
    text += "" if ignore is None else f", and {ignore:g} for pixels to ignore"
    if finite.size < values.size:
        cure = "set those pixels to 0, or mark them with a number to ignore"
    elif any(value != int(value) for value in rare):
        cure = "binarise it first, e.g. (mask > 0.5)"
    elif {1, 255} <= set(rare) <= {0, 1, 255}:
        cure = f"where 255 marks pixels to ignore, {remedy or 'leave them out'}"
    elif len(rare) > 12 or any(250 <= value < 255 for value in rare):
        cure = (
            "lossy compression (JPEG) or resampling leaves such values: take the original mask, or "
            "binarise it first, e.g. (mask > 127)"
        )
    else:
        cure = "choose the class that is landslide and binarise it first, e.g. (mask == 1)"
        cure += f"; where {rare[-1]:g} marks pixels to ignore, {remedy}" * bool(remedy)
    return f"{text}: {cure}"


def values_in_words(values: list[float], limit: int = 8) -> str:
    """The first few of sorted `values`, how many more there are, and the last."""
    words = [f"{value:g}" for value in values]
    if len(words) <= limit:
        return ", ".join(words)
    return f"{', '.join(words[: limit - 1])} ... {words[-1]} ({len(words)} different ones)"
