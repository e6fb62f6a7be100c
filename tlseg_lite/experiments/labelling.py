"""Labels by correction: a model proposes, a person clicks; and what drawing them would have cost.

Clicks and the corners of an outline are counted alike: both are one aim and one press of a button.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from tlseg_lite.data.base import Wrapped
from tlseg_lite.experiments.interactive import Session, answers, check_clicks, session_of
from tlseg_lite.metrics.confusion import confusion

GOOD_ENOUGH = 0.9
"""IoU from which on the simulated user leaves a mask as it is."""

OUTLINE_TOLERANCE = 2.0
"""Pixels that a drawn outline may be off."""


class LabelledByClicks(Wrapped):
    """A dataset with the masks that a model and the simulated user's clicks gave.

    Args:
        start: a model with ``prompts=True``, or a function from an image to a session.
        dataset: images with their true masks, which the user sees and the result has not.
        clicks: at most so many on an image; 0: the model's proposals as they are.
        enough: IoU from which on no more clicks are made.

    Attributes:
        spent: clicks on each image.
        iou: IoU of each new mask with the true one.
    """

    def __init__(
        self,
        start: Callable[[Tensor], Session] | torch.nn.Module,
        dataset: Dataset,
        clicks: int = 3,
        *,
        enough: float = GOOD_ENOUGH,
    ):
        super().__init__(dataset)
        check_clicks(clicks)
        if not 0 < enough <= 1:
            raise ValueError(f"enough is {enough!r}; expected an IoU above 0, at most 1")
        start, self.spent, self.iou, self._masks = session_of(start), [], [], []
        for i in range(len(dataset)):
            sample = dataset[i]
            truth = sample["mask"] > 0
            used = -1
            for logits in answers(start(sample["image"]), sample, clicks):
                used, mask = used + 1, logits > 0
                iou = confusion(mask, truth).scores().landslide_iou
                if iou >= enough:
                    break
            self.spent.append(used)
            self.iou.append(iou)
            self._masks.append(mask.float())
        self.source = f"{self.source}, labelled with {sum(self.spent)} clicks"

    def __getitem__(self, index: int) -> dict[str, Any]:
        return super().__getitem__(index) | {"mask": self._masks[range(len(self))[index]]}

    def mask_file(self, index: int) -> None:
        """None: the masks are in no file."""


def outline_points(mask: Tensor | np.ndarray, tolerance: float = OUTLINE_TOLERANCE) -> int:
    """Corners that a person sets to draw a mask's outlines by hand.

    Args:
        mask: (H, W) or (1, H, W), above 0 is landslide.
        tolerance: pixels that the outline may be off.

    Raises:
        ImportError: without the extra packages for maps.
    """
    from rasterio.features import shapes
    from shapely.geometry import shape

    values = np.asarray(mask).reshape(np.asarray(mask).shape[-2:]) > 0
    number = 0
    for geometry, value in shapes(values.astype(np.uint8), mask=values):
        if value:
            outline = shape(geometry).simplify(tolerance)
            rings = [outline.exterior, *outline.interiors]
            number += sum(len(ring.coords) - 1 for ring in rings)
    return number
