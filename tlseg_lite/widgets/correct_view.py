"""`tl.correct`: a mask, corrected by clicks in a notebook that runs."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlseg_lite.plots import LANDSLIDE, PREDICTED_OUTLINE
from tlseg_lite.sam.prompting import as_pixels
from tlseg_lite.widgets.correcting import Corrector
from tlseg_lite.widgets.page import border, picture_uri, tinted

if TYPE_CHECKING:
    import ipywidgets
    import torch

_COUNTER = itertools.count(1)

HELP = (
    "Click on a landslide that is missing; right-click (or Shift and click) where the mask is "
    "wrong. With the keyboard: arrow keys move the mark (with Shift by ten), Enter is landslide, "
    "Delete is none, U takes the last click back."
)


def correct(
    model: torch.nn.Module,
    image: Any,
    *,
    window: Sequence[int] | None = None,
    found: Any = None,
    out: str | Path | None = None,
) -> View:
    """Correct a model's mask with clicks, in a notebook.

    A left click says "landslide here", a right click "none here"; each is answered by a pass of
    the decoder. Buttons and keys take a click back, start again and save. What comes out is the
    `mask`; it is written on request, as a PNG or into the map.

    Args:
        model: a `TransLandSeg` with ``prompts=True``, trained with clicks.
        image: float (3, H, W) in [0, 1], or an image file; with `window`, the file of a scene.
        window: row and column of the first pixel, and height and width if they are not those of
            the model's windows, on the grid of the map.
        found: the scene's `Map` (or its folder): corrections begin with it and are saved into it.
        out: a PNG file for the mask, 0 and 255.

    Returns:
        a `View`, which shows itself; ``.corrector.mask`` is the mask, bool (H, W).

    Raises:
        ValueError: a model that takes no prompts, an image of another form, a window outside of
            the scene, a map without a window.
        DataError: a file that cannot be read, no map, or a map of another scene.
        ImportError: without ipywidgets.
    """
    return View(Corrector(model, image, window=window, found=found, out=out))


class View:
    """The tool: an image that takes clicks, buttons, and the state in words.

    The picture writes what was done into a text field that nobody sees, from where it comes to
    the kernel: no further extension of the notebook is needed.

    Attributes:
        corrector: what is shown.
        box: the ipywidgets container.
    """

    def __init__(self, corrector: Corrector):
        self.corrector = corrector
        self.box = self._built()

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.box)

    def _built(self) -> ipywidgets.Box:
        try:
            import ipywidgets
        except ImportError as error:
            raise ImportError(
                "tl.correct needs ipywidgets: pip install ipywidgets; without it, "
                "tl.widgets.Corrector does the same from code"
            ) from error
        self._name = f"tlseg-correct-{next(_COUNTER)}"
        self._picture, self._said = ipywidgets.HTML(), ipywidgets.HTML()
        self._field = ipywidgets.Text(layout=ipywidgets.Layout(display="none"))
        self._field.add_class(self._name)
        self._field.observe(self._told, "value")
        buttons = []
        for label, action in (
            ("Take back", self.corrector.undo),
            ("Start again", self.corrector.reset),
            ("Save", self.corrector.save),
        ):
            button = ipywidgets.Button(description=label)
            button.on_click(lambda _, action=action: self._do(action))
            buttons.append(button)
        self._draw(focus=False)
        row = ipywidgets.HBox(buttons)
        return ipywidgets.VBox([self._picture, row, self._said, self._field])

    def _told(self, change: dict[str, Any]) -> None:
        """What the picture wrote: ``number action x y``."""
        words = change["new"].split()
        if len(words) != 4:
            return
        action, x, y = words[1], float(words[2]), float(words[3])
        if action == "undo":
            self._do(self.corrector.undo, (x, y))
        elif action in ("on", "off"):
            self._do(lambda: self.corrector.click(x, y, action == "on"), (x, y))

    def _do(self, action: Any, mark: tuple[float, float] | None = None) -> None:
        """Do it, draw, and say what came of it; an error is said, too."""
        try:
            result = action()
            said = result if isinstance(result, str) else ""
        except Exception as error:  # the person sees it below the picture, not in a log
            said = str(error)
        self._draw(focus=mark is not None, mark=mark, said=said)

    def _draw(
        self, *, focus: bool, mark: tuple[float, float] | None = None, said: str = ""
    ) -> None:
        self._picture.value = picture(self.corrector, self._name, focus=focus, mark=mark)
        more = f" {escape(said)}." if said else ""
        self._said.value = f'<p role="status">{escape(self.corrector.state())}{more}</p>'


def picture(
    corrector: Corrector,
    name: str,
    *,
    focus: bool = False,
    mark: tuple[float, float] | None = None,
) -> str:
    """The image with mask and clicks, as HTML that takes clicks and keys.

    Args:
        corrector: what is shown.
        name: class of the text field that is told.
        focus: take the keyboard's focus, as after a key.
        mark: where the keyboard's mark is, x and y; None: in the middle.
    """
    mask, under = corrector.mask, picture_uri(as_pixels(corrector.image))
    height, width = mask.shape
    over = tinted([(mask, PREDICTED_OUTLINE, 0.35), (border(mask), PREDICTED_OUTLINE, 1.0)])
    x, y = mark or (width // 2, height // 2)
    script = files("tlseg_lite.widgets").joinpath("static", "correct.js").read_text("utf-8")
    style = "position:absolute;left:0;top:0;width:100%;height:100%;margin:0;max-width:none"
    return (
        f'<p id="{name}-help">{HELP}</p>'
        f'<div class="tlseg-aim" tabindex="0" role="application" aria-label="Image to click on" '
        f'aria-describedby="{name}-help" data-field="{name}" data-width="{width}" '
        f'data-height="{height}" data-x="{x:g}" data-y="{y:g}" data-focus="{int(focus)}" '
        f'style="position:relative;width:min(100%,{max(width, 512)}px);'
        f'aspect-ratio:{width}/{height};cursor:crosshair;touch-action:manipulation">'
        f'<img src="{under}" alt="The image" draggable="false" style="{style}">'
        f'<img src="{over}" alt="The mask" draggable="false" style="{style}">'
        f"{_marks(corrector, style)}"
        f'<img src="{_NOTHING}" alt="" hidden onload="{escape(script)}"></div>'
    )


_NOTHING = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="
"""One transparent pixel: when it is there, the script beside it starts."""


def _marks(corrector: Corrector, style: str) -> str:
    """Clicks by shape and colour: a plus for landslide, a minus for none; and the keyboard's."""
    height, width = corrector.mask.shape
    size = max(height, width) / 40
    parts = []
    for x, y, on in corrector.clicks:
        colour = LANDSLIDE if on else "#ffffff"
        upright = f"M0 {-size:g}V{size:g}" if on else ""
        for line, stroke in ((size, "#000000"), (size / 2, colour)):
            parts.append(
                f'<path transform="translate({x + 0.5:g} {y + 0.5:g})" '
                f'd="M{-size:g} 0H{size:g}{upright}" stroke="{stroke}" '
                f'stroke-width="{line / 2:g}" fill="none"/>'
            )
    mark = f'<circle class="mark" r="{size:g}" fill="none" stroke="#ffffff" stroke-width="1"/>'
    return (
        f'<svg viewBox="0 0 {width} {height}" style="{style}" aria-hidden="true">'
        f"{''.join(parts)}{mark}</svg>"
    )
