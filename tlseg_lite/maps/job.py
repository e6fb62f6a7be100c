"""What is predicted, and how some windows are: the part that also runs in other processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from tlseg_lite.data.rasters import Raster
from tlseg_lite.data.scaling import Scaling
from tlseg_lite.data.transforms import PAD_COLOUR, fit_image
from tlseg_lite.maps.windows import Windows
from tlseg_lite.training.evaluation import VIEWS, answered, turned, turned_back

GROUP = 4
"""Windows that go through a model at once on a CPU, whatever the size of a batch.

Which windows these are follows from the grid, so that no sum is rounded differently. More at once
take as long."""


@dataclass(frozen=True)
class Job:
    """A scene, its windows, and what is wanted of them; small, and the same on every machine.

    Attributes:
        raster: the scene on the grid of the map.
        scaling: how its values become [0, 1].
        windows: the grid of windows.
        views: 1, or 8 for the mean logits of all turned and mirrored views.
        spread: also the variance of the probabilities over views and models.
    """

    raster: Raster
    scaling: Scaling
    windows: Windows
    views: int = 1
    spread: bool = False

    @property
    def layers(self) -> int:
        """Values that a pixel of a window has, the logit and with `spread` the variance."""
        return 2 if self.spread else 1


class Task(NamedTuple):
    """Neighbouring windows of one row, predicted in one batch."""

    row: int  # first pixel
    columns: tuple[int, ...]  # first pixels


class Answer(NamedTuple):
    """What a window says.

    Attributes:
        column: its first pixel.
        values: float32 (layers, side, side); None where nothing in it is valid.
        valid: bool (side, side).
    """

    column: int
    values: np.ndarray | None
    valid: np.ndarray


def tasks(windows: Windows, row: int, batch_size: int) -> list[Task]:
    """The tasks of window row `row`, from left to right: whole groups, `batch_size` at least."""
    columns, size = windows.columns, -(-batch_size // GROUP) * GROUP
    return [
        Task(windows.rows[row], tuple(columns[i : i + size])) for i in range(0, len(columns), size)
    ]


def predict_windows(models: Sequence[torch.nn.Module], job: Job, task: Task) -> list[Answer]:
    """The windows of a task. Pixels that are not valid are shown to the models as padding.

    Raises:
        DataError: the scene is damaged there.
        FloatingPointError: the logits are not finite.
    """
    windows, valids = read_windows(job, task)
    answers: list[Answer] = []
    on_cpu = all(next(model.parameters()).device.type == "cpu" for model in models)
    step = GROUP if on_cpu else len(windows)
    for first in range(0, len(windows), step):
        group = range(first, min(first + step, len(windows)))
        seen = [index for index in group if valids[index].any()]
        values: dict[int, np.ndarray] = {}
        if seen:
            images = torch.from_numpy(np.stack([windows[index] for index in seen]))
            names = [f"the window at column {task.columns[i]}, row {task.row}" for i in seen]
            values = dict(zip(seen, _combined(models, job, images, names), strict=True))
        answers += [Answer(task.columns[i], values.get(i), valids[i]) for i in group]
    return answers


def read_windows(job: Job, task: Task) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Each window as an image float32 (C, side, side) in [0, 1], and what of it is valid."""
    grid, first = job.windows, task.columns[0]
    height = min(grid.side, grid.height - task.row)
    width = min(task.columns[-1] + grid.side, grid.width) - first
    values, valid = job.raster.read(task.row, first, height, width)
    image = job.scaling(values)
    image[:, ~valid] = np.array(PAD_COLOUR, np.float32)[:, None]
    windows, valids = [], []
    for column in task.columns:
        part = slice(column - first, column - first + grid.side)
        windows.append(_padded(image[:, :, part], grid.side))
        inside = np.zeros((grid.side, grid.side), bool)
        inside[:height, : valid[:, part].shape[1]] = valid[:, part]
        valids.append(inside)
    return windows, valids


def _padded(image: np.ndarray, side: int) -> np.ndarray:
    """An image at the upper left of a square in the colour of the padding; itself if it is one."""
    if image.shape[1:] == (side, side):
        return image
    square = np.empty((3, side, side), np.float32)
    square[:] = np.array(PAD_COLOUR, np.float32)[:, None, None]
    square[:, : image.shape[1], : image.shape[2]] = image
    return square


def _combined(
    models: Sequence[torch.nn.Module], job: Job, images: torch.Tensor, names: list[str]
) -> Iterator[np.ndarray]:
    """(layers, side, side) of each image: mean logits over models and views, their spread."""
    every = [
        member for model in models for member in _views(model, images, names, VIEWS[: job.views])
    ]  # members of (B, side, side)
    mean = sum(every) / len(every) if len(every) > 1 else every[0]
    if not job.spread:
        yield from mean[:, None]
        return
    chances = [1 / (1 + np.exp(-member.astype(np.float64))) for member in every]
    variance = np.var(chances, axis=0).astype(np.float32)
    yield from np.stack([mean, variance], 1)


def _views(
    model: torch.nn.Module, images: torch.Tensor, names: list[str], views: list[tuple[int, bool]]
) -> Iterator[np.ndarray]:
    """Logits (B, side, side) of each view of images (B, 3, side, side), turned back."""
    samples = [{"id": name, "native_size": tuple(images.shape[-2:])} for name in names]
    for view in views:
        squares = turned(images, *view)
        if squares.shape[-1] != model.image_size:
            squares = torch.stack([fit_image(image, model.image_size) for image in squares])
        logits = [found[0] for _, found in answered(model, [(samples, squares[None])])]
        together = torch.from_numpy(np.stack([found.cpu().numpy() for found in logits]))
        yield turned_back(together, *view).numpy()
