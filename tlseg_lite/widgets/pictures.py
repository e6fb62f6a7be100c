"""A slider that leads through a row of pictures, and one that draws one picture over another."""

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
    play: bool = False,
    pause: float = 0.7,
) -> Widget:
    """One picture at a time, chosen with a slider.

    Args:
        pictures: title -> a PNG or JPEG file's bytes, or uint8 H x W x 3; all of one size.
        alts: title -> what that picture shows, in words.
        start: index of the first one.
        name: what the slider counts.
        play: a button that runs through the pictures from where the slider stands; nothing moves
            before it is pressed.
        pause: seconds a picture when it plays.

    Raises:
        ValueError: no picture, a picture without words, a start that is not there, or no pause.
    """
    if not pause > 0:
        raise ValueError(f"pause is {pause}; expected seconds above 0")
    if not pictures or not 0 <= start < len(pictures):
        raise ValueError(f"start is {start} with {len(pictures)} pictures; expected one of them")
    missing = [title for title in pictures if len(alts.get(title, "")) < 15]
    if missing:
        raise ValueError(f"alts has no words for {missing}; give a sentence for each title")
    data = {
        "titles": list(pictures),
        "alts": [alts[title] for title in pictures],
        "pictures": [picture_uri(picture) for picture in pictures.values()],
        "pause": round(1000 * pause),
    }
    button = '<p data-live><button type="button">Play</button></p>' if play else ""
    title = data["titles"][start]
    body = (
        f'<label data-live>{escape(name)} <output></output><input type="range" min="0" '
        f'max="{len(pictures) - 1}" step="1" value="{start}"></label>'
        f'<img src="{data["pictures"][start]}" alt="{escape(data["alts"][start])}" '
        f'style="max-width:26rem;width:100%">{button}'
        f'<p class="state" aria-live="polite"><strong>{escape(title)}.</strong> '
        f"{escape(alts[title])}</p>"
    )
    return Widget("pictures", f"Slider over {len(pictures)} pictures", body, data)


def before_after(
    before: np.ndarray | bytes,
    after: np.ndarray | bytes,
    alts: Mapping[str, str],
) -> Widget:
    """Two pictures of one place over each other, with an edge between them to move.

    Args:
        before, after: a PNG or JPEG file's bytes, or uint8 H x W x 3; both of one size.
        alts: title -> what that picture shows, in words: first of `before`, then of `after`.

    Raises:
        ValueError: not two titles with words, or pictures of two sizes.
    """
    if len(alts) != 2 or any(len(words) < 15 for words in alts.values()):
        raise ValueError(f"alts is {dict(alts)!r}; expected two titles, each with a sentence")
    sizes = [
        np.shape(picture)[:2] for picture in (before, after) if isinstance(picture, np.ndarray)
    ]
    if len(set(sizes)) > 1:
        raise ValueError(f"the pictures have {sizes} pixels; expected two of one size")
    titles, words = list(alts), [escape(text) for text in alts.values()]
    fill = "display:block;height:100%;left:0;margin:0;max-width:none;position:absolute;top:0"
    body = (
        '<div style="max-width:26rem;overflow:hidden;position:relative">'
        f'<img src="{picture_uri(before)}" alt="{words[0]}" style="display:block;width:100%">'
        f'<img class="after" src="{picture_uri(after)}" alt="{words[1]}" '
        f'style="clip-path:inset(0 0 0 50%);{fill};width:100%">'
        '<span class="edge" style="background:#e69f00;height:100%;left:50%;position:absolute;'
        'top:0;width:2px"></span></div>'
        f"<label data-live>{escape(titles[0])} | {escape(titles[1])} <output></output>"
        '<input type="range" min="0" max="100" step="1" value="50"></label>'
        f'<p class="state" aria-live="polite">Left of the edge: {escape(titles[0])}. {words[0]} '
        f"Right of it: {escape(titles[1])}. {words[1]}</p>"
    )
    return Widget(
        "before", f"{titles[0]} and {titles[1]}, one over the other", body, {"titles": titles}
    )
