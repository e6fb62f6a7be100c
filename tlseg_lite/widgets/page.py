"""What all controls share: the frame around them, and how arrays are packed into a page."""

from __future__ import annotations

import base64
import hashlib
import io
import itertools
import json
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np

_COUNTER = itertools.count(1)


class Widget:
    """A control for a page or a notebook: one piece of HTML without anything from outside.

    Args:
        kind: the name of its script in the folder ``static``.
        label: what the control is, for those who cannot see it.
        body: its HTML, in the state that shows without JavaScript. Elements with the attribute
            ``data-live`` are for the script only and hidden without it.
        data: what the script needs, as JSON.
    """

    def __init__(self, kind: str, label: str, body: str, data: dict[str, Any]) -> None:
        self.kind, self.label, self.body, self.data = kind, label, body, data

    def _repr_html_(self) -> str:
        return self.html()

    def __repr__(self) -> str:
        return f"{self.label} (a control; it shows in notebooks and in the built book)"

    def html(self) -> str:
        """The control as HTML, with an id of its own at each call."""
        packed = json.dumps(self.data, separators=(",", ":")).replace("</", "<\\/")
        digest = hashlib.sha256(packed.encode()).hexdigest()[:8]
        name = f"tlseg-{next(_COUNTER)}-{digest}"
        script = f"{_static('common.js')}\n{_static(self.kind + '.js')}"
        return (
            f'<div class="tlseg-widget tlseg-{self.kind}" id="{name}" role="group" '
            f'aria-label="{escape(self.label)}">\n<style>{_static("widget.css")}</style>\n'
            f"{self.body.replace('{NAME}', name)}\n"
            "<noscript><p>Without JavaScript this control shows one state only.</p></noscript>\n"
            f'<script>(() => {{\n"use strict";\nconst data = {packed};\n{script}\n'
            f'whenThere("{name}", root => {{ show(root, data); ready(root); }});\n'
            "})();</script>\n</div>"
        )


@cache
def _static(name: str) -> str:
    return files("tlseg_lite.widgets").joinpath("static", name).read_text("utf-8").strip()


def pack(values: np.ndarray) -> str:
    """Bytes as base64 text; the script's ``unpack`` is the inverse."""
    return base64.b64encode(np.ascontiguousarray(values, dtype=np.uint8).tobytes()).decode("ascii")


def run_lengths(mask: np.ndarray) -> bytes:
    """A mask as the lengths of its runs, row by row, the first of background.

    Each length is a variable-length integer: seven bits a byte, the lowest first, the eighth bit
    set where more follow.
    """
    flat = np.asarray(mask, dtype=bool).ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    ends = np.concatenate([[0] if flat.size and flat[0] else [], edges, [flat.size]]).astype(int)
    out = bytearray()
    for length in np.diff(ends, prepend=0).tolist():
        while length > 127:
            out.append(128 | length & 127)
            length >>= 7
        out.append(length)
    return bytes(out)


def pack_masks(masks: Any) -> dict[str, Any]:
    """Masks as one text of run lengths and where in it each begins, in bytes."""
    runs = [run_lengths(mask) for mask in masks]
    starts = np.cumsum([0, *map(len, runs)]).tolist()
    return {"runs": base64.b64encode(b"".join(runs)).decode("ascii"), "starts": starts}


def picture_uri(pixels: np.ndarray | bytes) -> str:
    """A picture as an address that holds it.

    Args:
        pixels: a PNG or JPEG file's bytes, or uint8: H x W x 3 is stored as JPEG (small, and not
            read back for numbers), H x W x 4 with transparency as PNG.
    """
    if isinstance(pixels, bytes):
        kind = "png" if pixels.startswith(b"\x89PNG") else "jpeg"
        if kind == "jpeg" and not pixels.startswith(b"\xff\xd8"):
            raise ValueError(
                f"these {len(pixels)} bytes are no PNG or JPEG file; give a file's bytes, or an "
                "uint8 array"
            )
        return f"data:image/{kind};base64,{base64.b64encode(pixels).decode('ascii')}"
    from PIL import Image

    pixels = np.asarray(pixels)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (3, 4):
        raise ValueError(
            f"a picture of shape {pixels.shape} and type {pixels.dtype}; expected uint8 of "
            "H x W x 3 or H x W x 4"
        )
    file = io.BytesIO()
    image = Image.fromarray(pixels)
    if pixels.shape[2] == 3:
        image.save(file, "JPEG", quality=88)
    else:
        image.save(file, "PNG", optimize=True)
    return picture_uri(file.getvalue())


def tinted(layers: list[tuple[np.ndarray, str, float]]) -> str:
    """Masks laid over each other in their colours, as a transparent picture's address.

    Args:
        layers: masks (H, W), each with a colour "#rrggbb" and an opacity in 0..1; later ones on
            top. It is what the scripts draw on their canvas, for readers without JavaScript.
    """
    height, width = np.asarray(layers[0][0]).shape
    pixels = np.zeros((height, width, 4), dtype=np.uint8)
    for mask, colour, opacity in layers:
        rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        pixels[np.asarray(mask, dtype=bool)] = [*rgb, round(255 * opacity)]
    return picture_uri(pixels)


def border(mask: np.ndarray) -> np.ndarray:
    """Pixels of a mask (H, W) with a neighbour outside it, above, below, left or right."""
    m = np.asarray(mask, dtype=bool)
    padded = np.pad(m, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return m & ~inner


def stage(picture: str, alt: str, overlay: str, size: tuple[int, int], canvas: str) -> str:
    """A picture, one overlay for readers without JavaScript, and a canvas for all others.

    Args:
        picture, overlay: addresses from `picture_uri` and `tinted`.
        alt: what the picture shows.
        size: height and width of the canvas in pixels.
        canvas: more attributes of the canvas.
    """
    height, width = size
    return (
        f'<div class="stage" style="aspect-ratio:{width}/{height}">'
        f'<img src="{picture}" alt="{escape(alt)}" width="{width}" height="{height}">'
        f'<img class="still" src="{overlay}" alt="The same picture with one state of the control '
        f'drawn over it." width="{width}" height="{height}">'
        f'<canvas width="{width}" height="{height}" data-live {canvas}></canvas></div>'
    )
