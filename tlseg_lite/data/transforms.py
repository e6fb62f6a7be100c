"""From an image of any size to the model's square and back; random changes for training.

A sample enters at native size, ``{"image": float32 3xHxW in [0, 1], "mask": float32 1xHxW of
0/1, "id": str}``. `fit_square` brings its longest side to the model's size and pads the rest,
so that nothing is squashed; `fit_image` does so with an image alone. `unfit` takes the model's
logits back to the native size, where the pixels are counted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi, sin

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from tlseg_lite.core.checks import binary_mask, check_image, check_size
from tlseg_lite.data.base import Wrapped

PAD_COLOUR = (123.675 / 255, 116.28 / 255, 103.53 / 255)
"""RGB of the padding: SAM's mean colour, which is zero after SAM's normalisation."""

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in a grey image, ITU-R BT.601."""


def fitted_size(native_size: tuple[int, int], size: int) -> tuple[int, int]:
    """(height, width) that `native_size` has inside a square of side `size`: longest side = size.

    Every side stays at least one pixel, however narrow the image is (SAM's own rule would leave
    none); halves are rounded up, as SAM does.

    Raises:
        ValueError: if a side or `size` is not a positive whole number.
    """
    height, width = check_size(*native_size, "native size")
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ValueError(f"size is {size!r}; expected a positive whole number of pixels")
    scale = size / max(height, width)
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


def fit_image(image: Tensor, size: int) -> Tensor:
    """`image` as the model takes it: longest side resampled to `size`, then padded to a square.

    Bilinear, with antialiasing. Padding is on the right and at the bottom, in `PAD_COLOUR`.

    Args:
        image: float (3, H, W) in [0, 1].
        size: side S of the square in pixels.

    Returns:
        float32 (3, S, S) in [0, 1], on the CPU.

    Raises:
        ValueError: for an impossible size; `image` itself is not checked (`core.checks`).
    """
    native = tuple(image.shape[-2:])
    height, width = fitted_size(native, size)
    small = image.float()
    if native != (height, width):
        small = _resampled(small, (height, width))
    square = torch.tensor(PAD_COLOUR).view(3, 1, 1).repeat(1, size, size)
    square[:, :height, :width] = small
    return square


def fit_square(sample: dict, size: int) -> dict:
    """A sample as the model takes it: image, mask and what of them is no padding, in a square.

    The image is that of `fit_image`; a pixel of the new mask is landslide where at least half of
    its area is.

    Args:
        sample: ``image`` float 3xHxW in [0, 1], ``mask`` 1xHxW of 0/1, ``id``; where some pixels
            do not count, ``valid`` 1xHxW of 0/1.
        size: side of the square in pixels.

    Returns:
        ``image`` float32 3xSxS in [0, 1] (padding: `PAD_COLOUR`), ``mask`` float32 1xSxS of 0/1,
        ``valid`` float32 1xSxS (1 inside the image where it counts, 0 in the padding), ``id``,
        and ``native_size`` int64 [H, W], that before `shrink` if the sample was shrunk. Other
        keys are dropped.

    Raises:
        ValueError: for a sample that is not of that form, or an impossible `size`.
    """
    _check(sample)
    return _fitted(sample, size)


def _fitted(sample: dict, size: int) -> dict:
    image = sample["image"]
    native = tuple(image.shape[-2:])
    height, width = fitted_size(native, size)
    target, valid = torch.zeros(2, 1, size, size)
    target[:, :height, :width], inside = _resampled_mask(sample, (height, width))
    valid[:, :height, :width] = 1 if inside is None else inside
    return {
        "image": fit_image(image, size),
        "mask": target,
        "valid": valid,
        "id": sample["id"],
        "native_size": sample.get("native_size", torch.tensor(native)),
    }


def shrink(sample: dict, size: int) -> dict:
    """A sample whose longest side is more than `size`, at its size in the square; others as given.

    As in `fit_square`, without the padding; the image is rounded to 8 bits. Training images are
    shrunk before they are changed at random, so that the changes cost no more than needed and a
    shrunk image can be kept (`tlseg_lite.data.cache`).

    Returns:
        ``image``, ``mask``, ``valid`` if it was there, ``id`` and ``native_size`` int64 [H, W].

    Raises:
        ValueError: for a sample that is not of that form, or an impossible `size`.
    """
    _check(sample)
    image = sample["image"]
    native = tuple(image.shape[-2:])
    inside = fitted_size(native, size)
    if max(native) <= size:
        return sample
    small = (_resampled(image.float(), inside) * 255).round() / 255
    mask, valid = _resampled_mask(sample, inside)
    return {
        "image": small,
        "mask": mask,
        **({} if valid is None else {"valid": valid}),
        "id": sample["id"],
        "native_size": torch.tensor(native),
    }


def _resampled_mask(sample: dict, size: tuple[int, int]) -> tuple[Tensor, Tensor | None]:
    """Mask and ``valid`` (None: all is) of another size, float32 of 0/1.

    A pixel counts where at least half of its area does, and is landslide where at least half of
    the area that counts is.
    """
    mask, valid = sample["mask"], sample.get("valid")
    if valid is None:
        return (area_average(mask, size) >= 0.5 - 1e-6).float(), None
    area = area_average(valid, size)
    share = area_average(mask * valid, size) / area.clamp(min=1e-6)
    counts = area >= 0.5 - 1e-6
    return ((share >= 0.5 - 1e-6) & counts).float(), counts.float()


def _resampled(image: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(image[None], size, mode="bilinear", align_corners=False, antialias=True)[
        0
    ].clamp_(0, 1)


def unfit(logits: Tensor, native_size) -> Tensor:
    """Logits of the model's square back at the native size: padding dropped, then bilinear.

    Args:
        logits: (..., S, S), any number of leading axes, all for images of one native size.
        native_size: (H, W) in pixels, also as a tensor of two.

    Returns:
        float32 (..., H, W) on the device of `logits`.

    Raises:
        ValueError: if `logits` is not square or `native_size` is not one pair.
    """
    if logits.ndim < 2 or logits.shape[-1] != logits.shape[-2] or not logits.is_floating_point():
        raise ValueError(
            f"logits are {logits.dtype} of shape {tuple(logits.shape)}; expected floating-point "
            "(..., S, S) as the model returns them"
        )
    values = native_size.tolist() if isinstance(native_size, Tensor) else list(native_size)
    if len(values) != 2 or not all(isinstance(side, int) for side in values):
        raise ValueError(
            f"native_size is {native_size}; expected one (height, width) in whole pixels. "
            "Take the images of a batch one by one: their native sizes differ"
        )
    native = (values[0], values[1])
    height, width = fitted_size(native, logits.shape[-1])
    inside = logits[..., :height, :width].float()
    flat = inside.reshape(-1, 1, height, width)
    if flat.shape[0] == 0:
        return logits.new_zeros((*logits.shape[:-2], *native), dtype=torch.float32)
    if native != (height, width):
        flat = F.interpolate(flat, native, mode="bilinear", align_corners=False, antialias=True)
    return flat.reshape(*logits.shape[:-2], *native)


def area_average(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """Mean of `mask` (..., H, W) over the area of each pixel of the new grid: (..., h, w).

    The areas are exact, also where a new pixel covers parts of old ones (box filter), so a
    threshold at one half favours neither class.
    """
    rows = _overlaps(mask.shape[-2], size[0])  # h, H
    columns = _overlaps(mask.shape[-1], size[1])  # w, W
    return rows @ mask.float() @ columns.T


def _overlaps(old: int, new: int) -> Tensor:
    """(new, old) shares: how much of new pixel i lies in old pixel j; each row sums to 1."""
    edges = torch.arange(new + 1, dtype=torch.float64) * old / new
    cells = torch.arange(old, dtype=torch.float64)
    upper = torch.minimum(edges[1:, None], cells + 1)
    lower = torch.maximum(edges[:-1, None], cells)
    return ((upper - lower).clamp(min=0) * new / old).float()


def _check(sample: dict) -> None:
    missing = [key for key in ("image", "mask", "id") if key not in sample]
    if missing:
        raise ValueError(f"the sample has no {', '.join(missing)}; it has {', '.join(sample)}")
    image = check_image(sample["image"], sample["id"])
    for key in ("mask", "valid"):
        field = sample.get(key)
        if key in sample and (
            not isinstance(field, Tensor) or field.shape != (1, *image.shape[1:])
        ):
            raise ValueError(
                f"{sample['id']}: {key} is {_form(field)}; expected "
                f"1x{image.shape[1]}x{image.shape[2]}, the image's height and width"
            )
        if key in sample and bool((binary_mask(field, f"{sample['id']}: {key}")[0] != field).any()):
            raise ValueError(f"{sample['id']}: {key} has 255 for 1; expected 0 and 1")


def _form(value) -> str:
    if isinstance(value, Tensor):
        return f"{value.dtype} {'x'.join(map(str, value.shape))}"
    return type(value).__name__


@dataclass(frozen=True)
class Augment:
    """Random flips, turns, zooms and colour changes of a training sample at native size.

    The sample keeps its size, or has its sides exchanged (and ``native_size`` too); what lies
    beyond its border is its mirror image.

    Attributes:
        flip: mirror left-right and top-bottom, each half of the time.
        rotate: turn by 0, 90, 180 or 270 degrees, equally often.
        brightness, contrast, saturation: factor drawn from [1 - value, 1 + value]; 0 to 1.
        hue: turn of the hue in full circles, drawn from [-value, value]; 0 to 0.5.
        angle: turn by up to this many degrees more, to either side; 0 (off) to 45.
        zoom: enlarge by a factor drawn (evenly in its logarithm) from [1 / zoom, zoom], around a
            random place; 1 (off) to 4.
    """

    flip: bool = True
    rotate: bool = True
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    hue: float = 0.02
    angle: float = 45.0
    zoom: float = 1.5

    def __post_init__(self):
        limits = {"brightness": 1, "contrast": 1, "saturation": 1, "hue": 0.5, "angle": 45}
        for name, top in limits.items():
            value = getattr(self, name)
            if not 0 <= value <= top:
                raise ValueError(f"{name} is {value}; expected 0 (off) to {top}")
        if not 1 <= self.zoom <= 4:
            raise ValueError(f"zoom is {self.zoom}; expected 1 (off) to 4")

    def __call__(self, sample: dict, generator: torch.Generator) -> dict:
        """A changed copy; colour changes the image alone, which stays in [0, 1].

        All random numbers are drawn whatever the settings, so switching one change off leaves
        the others as they were.
        """
        draws = torch.rand(11, generator=generator).tolist()
        signed = [2 * draw - 1 for draw in draws]
        changed = dict(sample)
        for key in ("image", "mask", "valid", "dem"):
            if key in sample:
                field = self._turned(sample[key], *draws[:3])
                smooth = key not in ("mask", "valid")
                changed[key] = self._zoomed(field, *signed[7:], smooth=smooth)
        changed["image"] = self._coloured(changed["image"], *signed[3:7])
        if "native_size" in sample and self.rotate and int(4 * draws[2]) % 2:  # a quarter turn
            changed["native_size"] = sample["native_size"].flip(0)
        return changed

    def _turned(self, field: Tensor, across: float, down: float, turn: float) -> Tensor:
        if self.flip:
            axes = [axis for axis, draw in ((2, across), (1, down)) if draw < 0.5]
            field = field.flip(axes)
        if self.rotate:
            field = field.rot90(int(4 * turn), (1, 2))
        return field.contiguous()

    def _zoomed(
        self, field: Tensor, zoom: float, angle: float, right: float, down: float, smooth: bool
    ) -> Tensor:
        """The field seen through a turned, larger or smaller window; all numbers in -1..1."""
        if self.zoom == 1 and self.angle == 0:
            return field
        height, width = field.shape[-2:]
        scale, turn = self.zoom**-zoom, pi * self.angle * angle / 180
        across, along = scale * cos(turn), scale * sin(turn)
        free = abs(1 - scale)  # so far the window may move, in half sides
        window = [
            [across, -along * height / width, free * right],
            [along * width / height, across, free * down],
        ]
        grid = F.affine_grid(torch.tensor([window]), (1, 1, height, width), align_corners=False)
        seen = F.grid_sample(
            field[None].float(), grid, "bilinear" if smooth else "nearest", "reflection", False
        )
        return seen[0].to(field.dtype)

    def _coloured(self, image: Tensor, bright: float, contrast: float, satur: float, hue: float):
        if self.brightness:
            image = (image * (1 + self.brightness * bright)).clamp(0, 1)
        if self.contrast:
            mean = luma(image).mean()
            image = (mean + (image - mean) * (1 + self.contrast * contrast)).clamp(0, 1)
        if self.saturation:
            grey = luma(image)
            image = (grey + (image - grey) * (1 + self.saturation * satur)).clamp(0, 1)
        if self.hue:
            image = _turn_hue(image, 2 * pi * self.hue * hue).clamp(0, 1)
        return image


def luma(images: Tensor) -> Tensor:
    """Grey images (..., 1, H, W) of RGB ones (..., 3, H, W), with the weights `LUMA`."""
    return (images * images.new_tensor(LUMA).view(3, 1, 1)).sum(-3, keepdim=True)


def _turn_hue(image: Tensor, angle: float) -> Tensor:
    """RGB with the hue turned by `angle` (radians) in the YIQ plane; the luma stays."""
    to_yiq = torch.tensor(
        [LUMA, (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112)],
        dtype=torch.float64,
    )
    cosine, sine = cos(angle), sin(angle)
    turn = torch.eye(3, dtype=torch.float64)
    turn[1, 1] = turn[2, 2] = cosine
    turn[1, 2], turn[2, 1] = -sine, sine
    matrix = (torch.linalg.inv(to_yiq) @ turn @ to_yiq).to(image.dtype)
    return torch.einsum("dc,chw->dhw", matrix, image)


class Prepared(Wrapped):
    """A dataset of native-size samples as the model's squares; the same for training and test.

    Args:
        dataset: any sequence of samples; ``ids`` and ``source`` are taken over if it has them.
        size: side of the square in pixels, the model's ``image_size``.
        augment: an `Augment` for training; None for validation and test.
        seed: of the augmentation. The generator of an item depends on (seed, epoch, id) alone,
            so workers, order and resuming do not change what is drawn.

    An image that is larger than the square is shrunk to it before it is changed at random.
    Items are those of `fit_square`.
    """

    def __init__(
        self,
        dataset: Dataset,
        size: int,
        augment: Callable[[dict, torch.Generator], dict] | None = None,
        seed: int = 0,
    ):
        fitted_size((1, 1), size)
        if augment is not None and not callable(augment):
            raise TypeError(f"augment is {augment!r}; expected an Augment or None")
        super().__init__(dataset)
        self.size, self.augment, self.seed = size, augment, seed
        # in shared memory: loader workers that stay alive see the new epoch as well
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    @property
    def epoch(self) -> int:
        """The epoch whose augmentation is drawn; see `set_epoch`."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Draw other changes from now on; call it before each epoch."""
        self._epoch.fill_(epoch)

    def __getitem__(self, index: int) -> dict:
        sample = self.dataset[index]
        if self.augment is None:
            return fit_square(sample, self.size)
        sample = shrink(sample, self.size)
        key = f"{self.seed}/{self.epoch}/{sample['id']}".encode()
        seed = int.from_bytes(hashlib.sha256(key).digest()[:8], "big") >> 1
        return _fitted(self.augment(sample, torch.Generator().manual_seed(seed)), self.size)
