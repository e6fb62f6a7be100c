"""SAM without training: points, boxes, automatic masks, and their overlap with a known mask.

Everything here works alike for every variant and for images of any size. The images and masks
are those of the datasets: float tensors in [0, 1], of 3 x H x W and 1 x H x W.
"""

from __future__ import annotations

import contextlib
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tlseg_lite.core.checks import check_image
from tlseg_lite.core.memory import NotEnoughMemory, is_out_of_memory
from tlseg_lite.core.moved import renamed
from tlseg_lite.data.transforms import fitted_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from segment_anything import SamPredictor
    from segment_anything.modeling import Sam

AUTOMATIC = {
    "sam_mini": {
        "pred_iou_thresh": 0.2,
        "stability_score_thresh": 0.5,
        "stability_score_offset": 0.5,
        "points_per_batch": 256,
    }
}
"""Settings of the automatic masks where a variant needs others than `segment_anything`'s: the
miniature is less sure of itself, so SAM's thresholds would leave almost nothing."""

POINTS_PER_BATCH = 64
"""Points that `segment_anything` answers at once if nobody says otherwise."""

PIXELS_PER_BATCH = 2**25
"""Points x pixels of the image that `automatic` answers at once by default: 512 points on 256 x
256, 32 on 1024 x 1024, 13 on 1600 x 1600. Three masks of float32 for each point are 0.4 GB, and
the peak was twice that (measured with `sam_mini` on 1600 x 1600)."""


MOST_POINTS = 1000
"""Points of one prompt; all of them mean one object, and SAM was trained with at most nine."""


class Segmentation(NamedTuple):
    """What SAM answers to one prompt.

    masks: bool (M, H, W) at the image's size; M is 3, or 1 without `multimask`.
    scores: float32 (M,), the IoU that the model expects of each mask; compare, don't trust.
    logits: float32 (M, h, w), the masks before thresholding, at SAM's low resolution.
    """

    masks: Tensor
    scores: Tensor
    logits: Tensor


class Overlap(NamedTuple):
    """IoU in 0..1 of SAM's masks with a known one.

    best: the oracle (best of 3): the highest, found with the known mask. own: of the mask with the
    highest predicted IoU. which: the index of the best one. every: (M,), of all.
    """

    best: float
    own: float
    which: int
    every: Tensor


class ClickMap(NamedTuple):
    """The IoU as a function of where one clicks.

    best, own: float32 (rows, columns), as in `Overlap`.
    y, x: the clicks' pixels (rows,), (columns,).
    inside: bool (rows, columns), whether the click lies on the mask.
    """

    best: Tensor
    own: Tensor
    y: Tensor
    x: Tensor
    inside: Tensor


class Embedded:
    """An image that the encoder has seen once, ready for any number of prompts.

    Args:
        sam: from `load_sam`.
        image: 3 x H x W float in [0, 1], or H x W x 3 uint8; tensor or array.

    Raises:
        ValueError, TypeError: the image has another form, or values out of range.
        NotEnoughMemory: the encoder does not fit; the text says what helps.
    """

    def __init__(self, sam: Sam, image: Tensor | np.ndarray) -> None:
        from segment_anything import SamPredictor

        pixels = as_pixels(image)
        self.size: tuple[int, int] = pixels.shape[:2]
        self.predictor: SamPredictor = _narrow_too(SamPredictor(_together(sam)))
        helps = 'try a smaller SAM, such as "vit_b", or load_sam(..., image_size=512)'
        with torch.no_grad(), _memory_named(self.size, helps):
            self.predictor.set_image(pixels)


def _together(sam: Sam) -> Sam:
    """`sam`, all of it where its encoder is: training on a GPU takes the shared encoder along."""
    there = sam.image_encoder.pos_embed.device
    return sam if sam.pixel_mean.device == there else sam.to(there)


def _narrow_too(predictor: SamPredictor) -> SamPredictor:
    """The predictor, taking any size: at 2 x 1500 pixels SAM's own rule would leave no row."""
    predictor.transform.get_preprocess_shape = lambda height, width, side: fitted_size(
        (int(height), int(width)), side
    )
    return predictor


def as_pixels(image: Tensor | np.ndarray) -> np.ndarray:
    """The image as H x W x 3 uint8, the form of `segment_anything`.

    Args:
        image: 3 x H x W float in [0, 1], or H x W x 3 uint8; tensor or array.
    """
    if not isinstance(image, (Tensor, np.ndarray)):
        raise TypeError(
            f"image is a {type(image).__name__}; expected a torch tensor or a numpy array"
        )
    if isinstance(image, Tensor):
        image = (image.float() if image.dtype == torch.bfloat16 else image).detach().cpu().numpy()
    size = " x ".join(map(str, image.shape))
    if image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
        if 0 in image.shape:
            raise ValueError(f"image is {size}; expected positive sides")
        return np.ascontiguousarray(image)
    if image.dtype.kind != "f" or image.ndim != 3 or image.shape[0] != 3 == image.shape[2]:
        raise ValueError(
            f"image is {size} of {image.dtype}; expected 3 x H x W floats in [0, 1] or "
            "H x W x 3 of uint8"
        )
    check_image(torch.tensor(np.ascontiguousarray(image)), "image")
    pixels = np.round(image.clip(0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
    return np.ascontiguousarray(pixels)


@contextlib.contextmanager
def _memory_named(size: tuple[int, int], remedies: str) -> Iterator[None]:
    """Where memory runs out inside, `NotEnoughMemory` with the image's size and what helps."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        height, width = size
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise NotEnoughMemory(
            f"out of memory on an image of {height} x {width} pixels (height x width); {remedies} "
            f"({reason})"
        ) from error


def segment(
    sam: Sam,
    image: Tensor | np.ndarray | Embedded,
    points: Any = None,
    box: Any = None,
    *,
    labels: Any = None,
    multimask: bool = True,
) -> Segmentation:
    """SAM's masks for one prompt.

    Args:
        sam: from `load_sam`.
        image: 3 x H x W float in [0, 1] or H x W x 3 uint8; or an `Embedded` image, which saves
            the encoder's work from the second prompt on.
        points: (N, 2) as x, y in pixels of the image, or one (2,).
        box: (4,) as left, top, right, bottom in pixels.
        labels: (N,), 1 for a point on the object, 0 for one beside it; None: all 1.
        multimask: three masks (a prompt may mean a part or the whole) instead of one.

    Raises:
        ValueError: no prompt, a point or box outside the image or not finite, labels that do not
            fit, an image of another form or range.
        NotEnoughMemory: the masks do not fit; the text says what helps.
    """
    embedded = image if isinstance(image, Embedded) else Embedded(sam, image)
    coords, kinds = _points(points, labels, embedded.size)
    corners = _box(box, embedded.size)
    if coords is None and corners is None:
        raise ValueError("no prompt: give points=[(x, y), ...], a box=(x0, y0, x1, y1), or both")
    helps = "try a smaller image, or a part of it"
    with torch.no_grad(), _memory_named(embedded.size, helps):
        masks, scores, logits = embedded.predictor.predict(
            point_coords=coords, point_labels=kinds, box=corners, multimask_output=multimask
        )
    return Segmentation(*(torch.from_numpy(np.asarray(v)) for v in (masks, scores, logits)))


def automatic(sam: Sam, image: Tensor | np.ndarray, **settings: Any) -> list[dict[str, Any]]:
    """All masks that SAM finds from a grid of points, largest first.

    Args:
        sam: from `load_sam`.
        image: 3 x H x W float in [0, 1] or H x W x 3 uint8.
        settings: of `segment_anything.SamAutomaticMaskGenerator`; `AUTOMATIC` has what is
            different for a variant. Unless it is given, `points_per_batch` follows the image's
            area (`PIXELS_PER_BATCH`).

    Returns:
        its records: ``"segmentation"`` (bool H x W array), ``"area"``, ``"bbox"`` (x, y, w, h),
        ``"predicted_iou"``, ``"stability_score"``, ``"point_coords"``, ``"crop_box"``.

    Raises:
        ValueError: an image or a setting that cannot be used.
        ModuleNotFoundError: `min_mask_region_area` needs OpenCV, ``output_mode="coco_rle"``
            pycocotools; the text says what to install.
        NotEnoughMemory: the text says what helps.
    """
    from segment_anything import SamAutomaticMaskGenerator

    pixels = as_pixels(image)
    height, width = pixels.shape[:2]
    chosen = AUTOMATIC.get(getattr(sam, "variant", ""), {}) | settings
    if "points_per_batch" not in settings:
        usual = chosen.get("points_per_batch", POINTS_PER_BATCH)
        chosen["points_per_batch"] = max(1, min(usual, PIXELS_PER_BATCH // (height * width)))
    points = chosen["points_per_batch"]
    if isinstance(points, bool) or not isinstance(points, int) or points < 1:
        raise ValueError(f"points_per_batch is {points!r}; expected a positive whole number")
    _check_optional_packages(chosen)
    try:
        generator = SamAutomaticMaskGenerator(_together(sam), **chosen)
    except AssertionError as error:
        raise ValueError(f"automatic cannot use these settings: {error}") from error
    _narrow_too(generator.predictor)
    helps = (
        f"try points_per_batch={points // 2} (now {points}), a smaller image or parts of it"
        if points > 1
        else "try a smaller image or parts of it"
    ) + ', and output_mode="uncompressed_rle" where the masks are many'
    with _memory_named((height, width), helps):
        records = generator.generate(pixels)
    return sorted(records, key=lambda r: -r["area"])


def _check_optional_packages(settings: dict[str, Any]) -> None:
    """ModuleNotFoundError that names what to install for `settings`, if it is not there."""
    area, mode = settings.get("min_mask_region_area", 0), settings.get("output_mode")
    for wanted, setting, module, package in (
        (area > 0, "min_mask_region_area", "cv2", "opencv-python-headless"),
        (mode == "coco_rle", 'output_mode="coco_rle"', "pycocotools", "pycocotools"),
    ):
        if wanted and find_spec(module) is None:
            raise ModuleNotFoundError(
                f"{setting} needs the package {package}, which is not installed: "
                f"pip install {package}",
                name=module,
            )


def iou(masks: Tensor | np.ndarray, target: Tensor | np.ndarray) -> Tensor:
    """Intersection over union, in 0..1, of masks (..., H, W) with one target (H, W) or (1, H, W).

    An empty mask and an empty target agree: IoU 1.
    """
    m = torch.as_tensor(masks) > 0
    t = _mask(target)
    if m.shape[-2:] != t.shape:
        raise ValueError(
            f"masks are {tuple(m.shape[-2:])}, the target is {tuple(t.shape)}; expected alike"
        )
    both = (m & t).sum((-2, -1)).float()
    either = (m | t).sum((-2, -1)).float()
    return torch.where(either > 0, both / either.clamp_min(1), 1.0)


def overlap(answer: Segmentation, target: Tensor | np.ndarray) -> Overlap:
    """The IoU of an answer of SAM with a known mask (H, W) or (1, H, W)."""
    every = iou(answer.masks, target)
    which = int(every.argmax())
    return Overlap(float(every[which]), float(every[int(answer.scores.argmax())]), which, every)


def best_automatic(
    records: list[dict[str, Any]], target: Tensor | np.ndarray
) -> tuple[float, dict[str, Any] | None]:
    """The automatic mask that fits best: its IoU and its record; 0.0 and None if there is none."""
    if not records:
        return 0.0, None
    every = [float(iou(_mask_of(r["segmentation"]), target)) for r in records]
    best = int(np.argmax(every))
    return every[best], records[best]


def _mask_of(segmentation: np.ndarray | dict[str, Any]) -> np.ndarray:
    """The bool mask of a record, whatever its ``output_mode``."""
    if not isinstance(segmentation, dict):
        return segmentation
    if isinstance(segmentation["counts"], list):
        from segment_anything.utils.amg import rle_to_mask

        return rle_to_mask(segmentation)
    from pycocotools.mask import decode

    return decode(segmentation).astype(bool)


def click_map(
    sam: Sam,
    image: Tensor | np.ndarray | Embedded,
    target: Tensor | np.ndarray,
    *,
    clicks: int = 16,
    batch: int = 64,
) -> ClickMap:
    """Click everywhere on a grid, one click at a time, and score each answer.

    Args:
        sam, image: as in `segment`.
        target: the known mask, (H, W) or (1, H, W).
        clicks: along the longer side of the image; the other side has them equally dense.
        batch: clicks answered at once; fewer on a large image (`PIXELS_PER_BATCH`).

    Raises:
        ValueError: `target` has another size, `clicks` or `batch` is not positive.
        NotEnoughMemory: the masks of one click do not fit.
    """
    embedded = image if isinstance(image, Embedded) else Embedded(sam, image)
    mask = _mask(target)
    if tuple(mask.shape) != tuple(embedded.size):
        raise ValueError(
            f"the image is {embedded.size}, its mask {tuple(mask.shape)}; expected alike"
        )
    best, own = [], []
    for _, masks, scores in every_click(sam, embedded, clicks=clicks, batch=batch):
        every = iou(masks, mask)
        best.append(every.amax(1))
        own.append(every.gather(1, scores.argmax(1, keepdim=True))[:, 0])
    y, x = click_grid(embedded.size, clicks)
    shape = (len(y), len(x))
    inside = mask[y][:, x]
    return ClickMap(torch.cat(best).view(shape), torch.cat(own).view(shape), y, x, inside)


def click_grid(size: tuple[int, int], clicks: int) -> tuple[Tensor, Tensor]:
    """The pixels (rows,), (columns,) of a grid of clicks on an image of `size` (H, W).

    Args:
        size: height and width in pixels.
        clicks: along the longer side; the other side has them equally dense.
    """
    if clicks < 1:
        raise ValueError(f"clicks is {clicks}; expected a positive number")
    step = max(size) / clicks
    y, x = (
        ((torch.arange(max(1, round(n / step))) + 0.5) * step).clamp(max=n - 1).long() for n in size
    )
    return y, x


def every_click(
    sam: Sam, image: Tensor | np.ndarray | Embedded, *, clicks: int = 16, batch: int = 64
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """SAM's answers to each click of `click_grid` by itself, row by row, in batches.

    Args:
        sam, image: as in `segment`.
        clicks: along the longer side of the image.
        batch: clicks answered at once; fewer on a large image (`PIXELS_PER_BATCH`).

    Yields:
        the clicks (N, 2) as x, y in pixels; their masks bool (N, 3, H, W); the scores (N, 3).
    """
    if batch < 1:
        raise ValueError(f"batch is {batch}; expected a positive number")
    embedded = image if isinstance(image, Embedded) else Embedded(sam, image)
    y, x = click_grid(embedded.size, clicks)
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).view(-1, 2)  # x, y; row by row
    predictor = embedded.predictor
    coords = predictor.transform.apply_coords_torch(grid.float(), embedded.size)
    height, width = embedded.size
    batch = max(1, min(batch, PIXELS_PER_BATCH // (height * width)))
    helps = "try a smaller batch, a smaller image, or a part of it"
    for points, part in zip(grid.split(batch), coords.split(batch), strict=True):
        with torch.no_grad(), _memory_named(embedded.size, helps):
            masks, scores, _ = predictor.predict_torch(
                part[:, None].to(predictor.device),
                torch.ones(len(part), 1, dtype=torch.int, device=predictor.device),
            )
        yield points, masks.cpu(), scores.cpu()


def inner_point(target: Tensor | np.ndarray) -> tuple[int, int]:
    """x, y of the pixel that lies deepest inside a mask: where a careful person would click.

    Raises:
        ValueError: the mask is empty.
    """
    from scipy.ndimage import distance_transform_edt

    mask = _mask(target).numpy()
    if not mask.any():
        raise ValueError("the mask is empty: there is no point inside")
    depth = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(x), int(y)


def _mask(target: Tensor | np.ndarray) -> Tensor:
    t = torch.as_tensor(target).detach().cpu()
    if t.ndim == 3 and t.shape[0] == 1:
        t = t[0]
    if t.ndim != 2:
        raise ValueError(f"the target has shape {tuple(t.shape)}; expected (H, W) or (1, H, W)")
    return t > 0


def _points(points: Any, labels: Any, size: tuple[int, int]) -> tuple[Any, Any]:
    if points is None:
        if labels is not None:
            raise ValueError("labels without points; give points=[(x, y), ...] too")
        return None, None
    coords = _numbers(points, "points", "(N, 2) with N of 1 or more: x, y of each")
    if coords.shape == (2,):
        coords = coords[None]
    if coords.ndim != 2 or coords.shape[1] != 2 or len(coords) == 0:
        raise ValueError(f"points have shape {coords.shape}; expected (N, 2) with N of 1 or more")
    if len(coords) > MOST_POINTS:
        raise ValueError(
            f"{len(coords)} points are one prompt for one object; expected at most {MOST_POINTS}. "
            "For many single clicks call segment for each, with one Embedded image"
        )
    height, width = size
    outside = ~((coords >= 0) & (coords <= [width - 1, height - 1])).all(1)
    if outside.any():
        x, y = coords[outside][0]
        raise ValueError(
            f"the point ({x:g}, {y:g}) lies outside the image; expected x in 0..{width - 1} and "
            f"y in 0..{height - 1}. The order is x (column), y (row)"
        )
    kinds = (
        np.ones(len(coords), dtype=np.int64) if labels is None else np.asarray(labels).reshape(-1)
    )
    if kinds.shape != (len(coords),) or not np.isin(kinds, (0, 1)).all():
        raise ValueError(
            f"labels are {labels!r}; expected one 1 (object) or 0 (beside it) for each point"
        )
    return coords, kinds.astype(np.int64)


def _box(box: Any, size: tuple[int, int]) -> np.ndarray | None:
    if box is None:
        return None
    corners = _numbers(box, "box", "(4,): left, top, right, bottom")
    if corners.shape != (4,):
        raise ValueError(f"box has shape {corners.shape}; expected (4,): left, top, right, bottom")
    height, width = size
    left, top, right, bottom = corners
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise ValueError(
            f"box {tuple(float(v) for v in corners)} does not fit; expected 0 <= left < right <= "
            f"{width} and 0 <= top < bottom <= {height}, in pixels. The order is left (x), top "
            "(y), right, bottom, and not width and height"
        )
    return corners


def _numbers(value: Any, what: str, expected: str) -> np.ndarray:
    """`value` as finite float32."""
    if isinstance(value, Tensor):
        value = value.detach().float().cpu()
    try:
        numbers = np.asarray(value, dtype=np.float32)
    except (TypeError, ValueError):
        raise ValueError(f"{what}: {value!r} are no numbers in rows; expected {expected}") from None
    if not np.isfinite(numbers).all():
        raise ValueError(f"{what}: {value!r} are not finite (NaN or infinite); expected {expected}")
    return numbers


__getattr__ = renamed(__name__, {"fit": "overlap", "Fit": "Overlap"})  # fit trained nothing
