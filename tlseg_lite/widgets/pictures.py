"""A slider that leads through a row of pictures, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

import numpy as np

from tlseg_lite.widgets.page import Widget, picture_uri


def picture_slider(
    pictures: Mapping[str, np.ndarray | bytes],
    alts: Mapping[str, str],
    *,
    start: int = 0,
    name: str = "step",
) -> Widget:
    """One picture at a time, chosen with a slider.

    Args:
        pictures: title -> a PNG or JPEG file's bytes, or uint8 H x W x 3; all of one size.
        alts: title -> what that picture shows, in words.
        start: index of the first one.
        name: what the slider counts.

    Raises:
        ValueError: no picture, a picture without words, or a start that is not there.
    """
    if not pictures or not 0 <= start < len(pictures):
        raise ValueError(f"start is {start} with {len(pictures)} pictures; expected one of them")
    missing = [title for title in pictures if len(alts.get(title, "")) < 15]
    if missing:
        raise ValueError(f"alts has no words for {missing}; give a sentence for each title")
    data = {
        "titles": list(pictures),
        "alts": [alts[title] for title in pictures],
        "pictures": [picture_uri(picture) for picture in pictures.values()],
    }
    title = data["titles"][start]
    body = (
        f'<label data-live>{escape(name)} <output></output><input type="range" min="0" '
        f'max="{len(pictures) - 1}" step="1" value="{start}"></label>'
        f'<img src="{data["pictures"][start]}" alt="{escape(data["alts"][start])}" '
        'style="max-width:26rem;width:100%">'
        f'<p class="state" aria-live="polite"><strong>{escape(title)}.</strong> '
        f"{escape(alts[title])}</p>"
    )
    return Widget("pictures", f"Slider over {len(pictures)} pictures", body, data)
