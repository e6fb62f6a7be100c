"""Plain SAM, as it comes: points, boxes, automatic masks, and how well they fit a known mask.

Everything here works alike for every variant and for images of any size. The pictures and masks
are those of the datasets: float tensors in [0, 1], of 3 x H x W and 1 x H x W.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

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


class Segmentation(NamedTuple):
    """What SAM answers to one prompt.

    masks: bool (M, H, W) at the image's size; M is 3, or 1 without `multimask`.
    scores: float32 (M,), the IoU that the model expects of each mask; compare, don't trust.
    logits: float32 (M, h, w), the masks before thresholding, at SAM's low resolution.
    """

    masks: Tensor
    scores: Tensor
    logits: Tensor


class Fit(NamedTuple):
    """IoU in 0..1 of SAM's masks with a known one.

    best: of the best mask. own: of the mask that the model itself rates highest. which: the
    index of the best one. every: (M,), of all.
    """

    best: float
    own: float
    which: int
    every: Tensor


class ClickMap(NamedTuple):
    """The IoU as a function of where one clicks.

    best, own: float32 (rows, columns), as in `Fit`. y, x: the clicks' pixels (rows,), (columns,).
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
    """

    def __init__(self, sam: Sam, image: Tensor | np.ndarray) -> None:
        from segment_anything import SamPredictor

        pixels = as_pixels(image)
        self.size: tuple[int, int] = pixels.shape[:2]
        self.predictor: SamPredictor = SamPredictor(sam)
        with torch.no_grad():
            self.predictor.set_image(pixels)


def as_pixels(image: Tensor | np.ndarray) -> np.ndarray:
    """The image as H x W x 3 uint8, the form of `segment_anything`.

    Args:
        image: 3 x H x W float in [0, 1], or H x W x 3 uint8; tensor or array.
    """
    if not isinstance(image, (Tensor, np.ndarray)):
        raise TypeError(
            f"image is a {type(image).__name__}; expected a torch tensor or a numpy array"
        )
    values = image.detach().cpu().numpy() if isinstance(image, Tensor) else image
    if values.dtype == np.uint8 and values.ndim == 3 and values.shape[2] == 3:
        pixels = values
    elif np.issubdtype(values.dtype, np.floating) and values.ndim == 3 and values.shape[0] == 3:
        if not np.isfinite(values).all():
            raise ValueError("image holds NaN or infinite values; clean it first")
        if values.size and (values.min() < -1e-3 or values.max() > 1 + 1e-3):
            raise ValueError(
                f"image has values from {values.min():.3g} to {values.max():.3g}; "
                "expected floats in [0, 1] (divide 8-bit values by 255)"
            )
        pixels = np.round(values.clip(0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
    else:
        raise ValueError(
            f"image has shape {tuple(values.shape)} and type {values.dtype}; expected "
            "3 x H x W floats in [0, 1] or H x W x 3 of uint8"
        )
    if 0 in pixels.shape:
        raise ValueError(f"image has shape {tuple(values.shape)}; it has no pixels")
    return np.ascontiguousarray(pixels)


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
        ValueError: no prompt, a point or box outside the image, labels that do not fit.
    """
    embedded = image if isinstance(image, Embedded) else Embedded(sam, image)
    coords, kinds = _points(points, labels, embedded.size)
    corners = _box(box, embedded.size)
    if coords is None and corners is None:
        raise ValueError("no prompt: give points=[(x, y), ...], a box=(x0, y0, x1, y1), or both")
    with torch.no_grad():
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
            different for a variant.

    Returns:
        its records: ``"segmentation"`` (bool H x W array), ``"area"``, ``"bbox"`` (x, y, w, h),
        ``"predicted_iou"``, ``"stability_score"``, ``"point_coords"``, ``"crop_box"``.
    """
    from segment_anything import SamAutomaticMaskGenerator

    chosen = AUTOMATIC.get(getattr(sam, "variant", ""), {}) | settings
    generator = SamAutomaticMaskGenerator(sam, **chosen)
    return sorted(generator.generate(as_pixels(image)), key=lambda r: -r["area"])


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


def fit(answer: Segmentation, target: Tensor | np.ndarray) -> Fit:
    """How well an answer of SAM fits a known mask (H, W) or (1, H, W)."""
    every = iou(answer.masks, target)
    which = int(every.argmax())
    return Fit(float(every[which]), float(every[int(answer.scores.argmax())]), which, every)


def best_automatic(
    records: list[dict[str, Any]], target: Tensor | np.ndarray
) -> tuple[float, dict[str, Any] | None]:
    """The automatic mask that fits best: its IoU and its record; 0.0 and None if there is none."""
    if not records:
        return 0.0, None
    every = [float(iou(r["segmentation"], target)) for r in records]
    best = int(np.argmax(every))
    return every[best], records[best]


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
        batch: clicks answered at once.
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
        batch: clicks answered at once.

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
    for points, part in zip(grid.split(batch), coords.split(batch), strict=True):
        with torch.no_grad():
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
    coords = np.asarray(points, dtype=np.float32)
    if coords.shape == (2,):
        coords = coords[None]
    if coords.ndim != 2 or coords.shape[1] != 2 or len(coords) == 0:
        raise ValueError(f"points have shape {coords.shape}; expected (N, 2) with N of 1 or more")
    height, width = size
    outside = ~((coords >= 0) & (coords <= [width - 1, height - 1])).all(1)  # NaN counts as outside
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
    corners = np.asarray(box, dtype=np.float32)
    if corners.shape != (4,):
        raise ValueError(f"box has shape {corners.shape}; expected (4,): left, top, right, bottom")
    height, width = size
    left, top, right, bottom = corners
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise ValueError(
            f"box {tuple(float(v) for v in corners)} does not fit; expected 0 <= left < right <= "
            f"{width} and 0 <= top < bottom <= {height}, in pixels"
        )
    return corners
