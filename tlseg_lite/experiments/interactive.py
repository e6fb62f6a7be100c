"""How good is a mask after k clicks? A simulated user corrects each image of a dataset.

The user clicks in the middle of the largest error, what is missing or what is too much, and looks
again: up to 20 times, as interactive segmentation is measured. Every click is answered by a
session: `tlseg_lite.adapters.Correction`, or `PromptedSam` for SAM itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from tlseg_lite.adapters.correction import Correction
from tlseg_lite.core.progress import bar
from tlseg_lite.metrics.confusion import ConfusionMatrix, Scores, confusion
from tlseg_lite.sam import prompting
from tlseg_lite.sam.corrections import corrective_clicks, hold_clicks
from tlseg_lite.sam.prompts import LARGEST_LOGIT

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

MOST_CLICKS = 20
"""A user gives up after so many clicks on an image."""

SHOWN = (0, 1, 2, 3, 5, 10)
"""Numbers of clicks that are reported."""

TARGETS = (0.80, 0.85)
"""IoUs whose clicks are counted: NoC@80 and NoC@85."""


class Session(Protocol):
    """One image under correction."""

    logits: Tensor
    """The present answer, (1, H, W) at the image's size; > 0 is landslide."""

    def click(self, x: float, y: float, on: bool = True) -> Tensor: ...


class PromptedSam:
    """SAM itself on one image, in the form of a `Correction`: nothing before the first click.

    As SAM is meant to be used: of the three masks of the first click the one with the highest
    predicted IoU; from the second click on one mask, with the former answer given back.

    Args:
        sam: from `tlseg_lite.load_sam`.
        image: float (3, H, W) in [0, 1].
        hold: as in `Correction`, from the second click on around the click only.
    """

    def __init__(self, sam: Sam, image: Tensor, *, hold: bool = False):
        self._predictor = prompting.Embedded(sam, image).predictor
        self._hold = hold
        self._points: list[tuple[float, float]] = []
        self._kinds: list[int] = []
        self._former: np.ndarray | None = None
        self.logits = torch.full((1, *image.shape[-2:]), -LARGEST_LOGIT)

    def click(self, x: float, y: float, on: bool = True) -> Tensor:
        """The answer after one more click, logits (1, H, W)."""
        self._points.append((x, y))
        self._kinds.append(int(on))
        predictor = self._predictor
        masks, expected, low = predictor.predict(
            point_coords=np.array(self._points, np.float32),
            point_labels=np.array(self._kinds),
            mask_input=self._former,
            multimask_output=len(self._points) == 1,
            return_logits=True,
        )
        which = int(expected.argmax())
        masks, low = masks[which : which + 1], low[which : which + 1]
        if self._hold:
            places = predictor.transform.apply_coords(
                np.array(self._points, np.float32), predictor.original_size
            )
            former = None if self._former is None else torch.from_numpy(self._former[0])
            given = (torch.from_numpy(places), torch.tensor(self._kinds))
            side = predictor.model.image_encoder.img_size
            held = hold_clicks(torch.from_numpy(low[0]), former, *given, side)[None, None]
            sizes = predictor.input_size, predictor.original_size
            low = held[0].numpy()
            masks = predictor.model.postprocess_masks(held, *sizes)[0].numpy()
        self._former = low.clip(-LARGEST_LOGIT, LARGEST_LOGIT)
        self.logits = torch.from_numpy(masks)
        return self.logits


@dataclass(frozen=True)
class ClickCurve:
    """What k clicks on each image led to.

    Attributes:
        counts: int64 (N, K + 1, 4): tp, fp, fn, tn of each of N images after 0 to K clicks; an
            image without an error left gets no more clicks, and its last counts are repeated.
        ids: of the images.
    """

    counts: np.ndarray
    ids: tuple[str, ...] = ()

    @property
    def clicks(self) -> int:
        """K, the most clicks on an image."""
        return self.counts.shape[1] - 1

    def scores(self, clicks: int) -> Scores:
        """Scores over the pixels of all images after so many clicks on each."""
        return ConfusionMatrix(*self.counts[:, self._known(clicks)].sum(0).tolist()).scores()

    def image_iou(self, clicks: int | None = None) -> np.ndarray:
        """IoU of the landslides of each image that has some, (n, K + 1) or (n,) after k clicks."""
        tp, fp, fn, _ = np.moveaxis(self.counts[self._with_landslide()], -1, 0)
        iou = tp / (tp + fp + fn)
        return iou if clicks is None else iou[:, self._known(clicks)]

    def needed(self, iou: float) -> np.ndarray:
        """Clicks until an image's IoU is at least `iou`, int (n,); K where it never is (NoC)."""
        reached = self.image_iou() >= iou
        return np.where(reached.any(1), reached.argmax(1), self.clicks)

    def noc(self, iou: float) -> float:
        """The mean of `needed`: the number of clicks, NoC."""
        return float(self.needed(iou).mean())

    def failures(self, iou: float) -> int:
        """Images whose IoU is below `iou` after every number of clicks."""
        return int((~(self.image_iou() >= iou).any(1)).sum())

    def row(self, prefix: str = "") -> dict[str, str | int]:
        """The reported numbers as columns of a CSV file, scores as fractions."""
        row: dict[str, str | int] = {}
        for k in (k for k in SHOWN if k <= self.clicks):
            scores = self.scores(k)
            row[f"{prefix}miou_{k}"] = f"{scores.miou:.6f}"
            row[f"{prefix}landslide_iou_{k}"] = f"{scores.landslide_iou:.6f}"
            row[f"{prefix}image_iou_{k}"] = f"{self.image_iou(k).mean():.6f}"
        for target in TARGETS:
            name = round(100 * target)
            row[f"{prefix}noc_{name}"] = f"{self.noc(target):.4f}"
            row[f"{prefix}failures_{name}"] = self.failures(target)
        return row

    def _known(self, clicks: int) -> int:
        if not 0 <= clicks <= self.clicks:
            raise ValueError(f"clicks is {clicks}; expected 0 to {self.clicks}, as were made")
        return clicks

    def _with_landslide(self) -> np.ndarray:
        found = self.counts[:, 0, 0] + self.counts[:, 0, 2] > 0
        if not found.any():
            raise ValueError("no image has a landslide: there is no IoU to reach")
        return found


def click_through(
    start: Callable[[Tensor], Session] | torch.nn.Module,
    dataset: Dataset,
    clicks: int = MOST_CLICKS,
    *,
    progress: bool = False,
) -> ClickCurve:
    """Let the simulated user correct each image of a dataset.

    Args:
        start: a model with ``prompts=True``, or a function from an image (3, H, W) to a session.
        dataset: images and masks at native size, at which clicks are made and pixels counted.
        clicks: at most so many on an image.
        progress: show a bar.

    Raises:
        ValueError: an empty dataset, `clicks` is negative, or a model without prompts.
    """
    if not len(dataset):
        raise ValueError("the dataset is empty: there is nothing to click on")
    check_clicks(clicks)
    start = session_of(start)
    counts, ids = [], []
    for i in bar(range(len(dataset)), desc="images", show=progress):
        sample = dataset[i]
        counts.append(_corrected(start(sample["image"]), sample, clicks))
        ids.append(sample["id"])
    return ClickCurve(np.array(counts, dtype=np.int64), tuple(ids))


def check_clicks(clicks: int) -> None:
    """Raises ValueError for a number of clicks that is none."""
    if isinstance(clicks, bool) or not isinstance(clicks, int) or clicks < 0:
        raise ValueError(f"clicks is {clicks!r}; expected a whole number of 0 or more")


def session_of(start: Callable[[Tensor], Session] | torch.nn.Module) -> Callable[..., Session]:
    """The function from an image to a session, for a model too."""
    return partial(Correction, start) if isinstance(start, torch.nn.Module) else start


def _corrected(session: Session, sample: dict, clicks: int) -> list[tuple[float, ...]]:
    """Counts of one image after 0 to `clicks` clicks."""
    truth, valid = sample["mask"] > 0, sample.get("valid")
    valid = None if valid is None else valid > 0
    found = [
        confusion(logits > 0, truth, valid).counts() for logits in answers(session, sample, clicks)
    ]
    return found + [found[-1]] * (clicks + 1 - len(found))


def answers(session: Session, sample: dict, clicks: int) -> Iterator[Tensor]:
    """Logits (1, H, W) after 0, 1, ... clicks in the middle of the largest error.

    Ends after `clicks` clicks, or sooner where no error is left.
    """
    truth, valid = (sample["mask"] > 0)[None].float(), sample.get("valid")
    given = None if valid is None else valid[None].float()
    yield session.logits
    for _ in range(clicks):
        points, kinds = corrective_clicks(session.logits[None], truth, given)
        if int(kinds[0, 0]) < 0:
            return
        yield session.click(*points[0, 0].tolist(), on=bool(kinds[0, 0] == 1))


def boxed_mask(sam: Sam, sample: dict) -> Tensor:
    """SAM's masks for a box around each landslide, together, bool (H, W).

    Of the three masks of a box the one with the highest predicted IoU counts.
    """
    from scipy.ndimage import find_objects, label

    truth = sample["mask"][0].numpy() > 0
    found = torch.zeros(truth.shape, dtype=torch.bool)
    embedded = prompting.Embedded(sam, sample["image"])
    for rows, columns in find_objects(label(truth, np.ones((3, 3)))[0]):
        box = (columns.start, rows.start, columns.stop, rows.stop)
        answer = prompting.segment(sam, embedded, box=box)
        found |= answer.masks[int(answer.scores.argmax())]
    return found
