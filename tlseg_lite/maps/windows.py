"""The fixed grid of windows on a scene, and how their overlapping answers become one.

Windows lie at every `stride` pixels from the upper left corner; the last one of a row or column is
moved inwards, so that it ends with the scene. The grid depends on the scene's size alone, never on
what is read first, how many are predicted at once, or by whom.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Windows:
    """Square windows that cover a grid of `height` x `width` pixels.

    Attributes:
        side: of a window, in pixels; larger than the scene where that is small.
        stride: from one window to the next, in pixels, at most `side`.
    """

    height: int
    width: int
    side: int
    stride: int

    @classmethod
    def of(cls, height: int, width: int, side: int, overlap: float) -> Windows:
        """The windows whose neighbours share the part `overlap` (0 to below 1) of their side."""
        if not 0 <= overlap < 1:
            raise ValueError(
                f"overlap is {overlap}; expected the share of a window that its neighbour covers "
                "again, from 0 to below 1, such as 0.5"
            )
        return cls(height, width, side, max(1, round(side * (1 - overlap))))

    @property
    def rows(self) -> list[int]:
        """The first pixel of each row of windows."""
        return _starts(self.height, self.side, self.stride)

    @property
    def columns(self) -> list[int]:
        """The first pixel of each column of windows."""
        return _starts(self.width, self.side, self.stride)

    def finished(self, index: int) -> tuple[int, int]:
        """The pixel rows (first, behind the last) that are final after window row `index`."""
        rows = self.rows
        last = index == len(rows) - 1
        return rows[index], self.height if last else rows[index + 1]

    def weights(self) -> np.ndarray:
        """How much each pixel of a window counts: float32 (side, side), in (0, 1].

        The raised cosine of a Tukey window along both sides: it falls towards the edges, where a
        model sees least around a pixel, within the part that the next window covers again (at most
        half of the side). The weights of neighbours add up to one.
        """
        fall = min(self.side - self.stride, self.side // 2)
        edge = np.minimum(np.arange(self.side), np.arange(self.side)[::-1]) + 0.5
        line = np.sin(0.5 * np.pi * np.minimum(edge / max(fall, 0.5), 1)) ** 2
        return np.outer(line, line).astype(np.float32)


def _starts(length: int, side: int, stride: int) -> list[int]:
    last = max(length - side, 0)
    return [*range(0, last, stride), last]


class Blend:
    """Weighted means of overlapping windows, for a band of the scene as high as a window.

    What `take` has handed out is forgotten, so memory follows the width of the scene and not its
    area. Windows must be added row by row, from above.

    Args:
        windows: the grid.
        layers: how many values each pixel has.
        top: the first pixel row that counts.
    """

    def __init__(self, windows: Windows, layers: int, top: int = 0):
        height = min(windows.side, windows.height)
        self.windows, self.top = windows, top
        self._sum = np.zeros((layers, height, windows.width), np.float32)
        self._weight = np.zeros((height, windows.width), np.float32)
        self._weights = windows.weights()

    def add(self, row: int, column: int, values: np.ndarray, valid: np.ndarray) -> None:
        """Values (layers, side, side) of the window whose first pixel is at (row, column).

        Only pixels that are `valid`, bool (side, side), count.
        """
        down, across = row - self.top, slice(column, column + self.windows.side)
        height, width = self._weight[down:, across].shape
        weights = self._weights[:height, :width]
        if not valid.all():
            weights = weights * valid[:height, :width]
        self._sum[:, down:, across] += weights * values[:, :height, :width]
        self._weight[down:, across] += weights

    def take(self, until: int) -> tuple[np.ndarray, np.ndarray]:
        """The means (layers, n, width) of the rows above `until`, and where there are any."""
        count = until - self.top
        there = self._weight[:count] > 0
        means = np.zeros_like(self._sum[:, :count])
        np.divide(self._sum[:, :count], self._weight[:count], out=means, where=there)
        for array in (self._sum, self._weight):
            kept = array.shape[-2] - count
            for row in range(kept):  # downwards, so that nothing is copied twice or lost
                array[..., row, :] = array[..., row + count, :]
            array[..., kept:, :] = 0
        self.top = until
        return means, there
