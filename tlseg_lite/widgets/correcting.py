"""What a person does to a mask with clicks, and where it is written; `correct` shows it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tlseg_lite.adapters.correction import Click, Correction
from tlseg_lite.core.errors import MissingDataError
from tlseg_lite.data.images import read_image, write_mask
from tlseg_lite.maps.scene_window import SceneWindow, read_window


class Corrector:
    """An image with the model's mask, corrected click by click; see `correct`.

    Attributes:
        image: (3, H, W) in [0, 1].
        mask: the present mask, bool (H, W).
        clicks: the clicks so far.
        saved: whether the present mask has been written.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        image: Any,
        *,
        window: Sequence[int] | None = None,
        found: Any = None,
        out: str | Path | None = None,
    ):
        self.out = None if out is None else Path(out)
        if self.out is not None and self.out.suffix.lower() != ".png":
            raise ValueError(f"out is {self.out}; expected a file with the ending .png")
        self.place: SceneWindow | None = None
        if window is not None:
            self.place = read_window(model, image, window, found)
            self.image, first = self.place.image, self.place.logits
        elif found is not None:
            raise ValueError("a map is corrected window by window: give window=(row, column)")
        else:
            self.image, first = _image(image), None
        self._correction = Correction(model, self.image, first=first)
        self._began = self._correction.mask.numpy()
        self.mask, self.saved = self._began, False

    @property
    def clicks(self) -> list[Click]:
        return self._correction.clicks

    @property
    def changed(self) -> np.ndarray:
        """The pixels that the clicks changed, bool (H, W)."""
        return self.mask != self._began

    def click(self, x: float, y: float, on: bool = True) -> np.ndarray:
        """The mask after a click at column x, row y: `on` is landslide, else it is none."""
        self._correction.click(x, y, on)
        return self._look()

    def undo(self) -> np.ndarray:
        """The mask without the last click."""
        self._correction.undo()
        return self._look()

    def reset(self) -> np.ndarray:
        """The mask as it was before the first click."""
        self._correction.reset()
        return self._look()

    def save(self, out: str | Path | None = None) -> str:
        """Write the mask: into the map, and as a PNG of 0 and 255 if there is a name for it.

        Of the map only pixels that the clicks changed are decided.

        Args:
            out: a PNG file; None: the one that was given before.

        Returns:
            what was written, in words.

        Raises:
            ValueError: there is neither a map nor a name.
        """
        path = self.out if out is None else Path(out)
        mapped = self.place is not None and self.place.folder is not None
        if path is None and not mapped:
            raise ValueError('nowhere to write to: give out="mask.png", or the map')
        said = []
        if mapped:
            number = self.place.write(self.mask, self.changed)
            said.append(f"{self.place.folder}: {number} corrected landslides in the map")
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_mask(path, self.mask)
            said.append(f"mask in {path}")
        self.saved = True
        return "; ".join(said)

    def state(self) -> str:
        """The present state in words."""
        share, number = 100 * self.mask.mean(), len(self.clicks)
        text = f"{share:.1f} % of the image is landslide"
        if not number:
            return f"No click yet: {text}."
        last = self.clicks[-1]
        what = "landslide" if last.on else "no landslide"
        noun = "click" if number == 1 else "clicks"
        return f"{number} {noun}, the last at x {last.x:.0f}, y {last.y:.0f} ({what}): {text}."

    def _look(self) -> np.ndarray:
        self.mask, self.saved = self._correction.mask.numpy(), False
        return self.mask


def _image(image: Any) -> torch.Tensor:
    if not isinstance(image, (str, Path)):
        return image
    if not Path(image).is_file():
        raise MissingDataError(f"no image {image}")
    return read_image(image)
