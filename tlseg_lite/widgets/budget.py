"""What an adapter costs: its parameters by bottleneck width, middle layers and source."""

from __future__ import annotations

from functools import cache
from html import escape

from tlseg_lite.adapters.atl import ATLConfig
from tlseg_lite.adapters.translandseg import budget
from tlseg_lite.sam.variants import PATCH, VARIANTS, variant
from tlseg_lite.widgets.page import Widget

MIDDLES = ("m", "mm", "c", "cc", "ccc", "mmccc")
"""The middles of Table IV and of the released code."""

SOURCES = {"block": "an adapter for each block (Eq. 9)", "shared": "one generator (as released)"}

PRINTED = (("TransLandSeg", 4.18, 312.45), ("LandslideNet", 4.20, 312.48))
"""The papers' budgets on ViT-L: trainable and all parameters, in millions."""


def adapter_parameters(width: int, depth: int, d: int, middle: str, source: str) -> int:
    """The adapters' parameters in closed form; `budget` counts the same on the built model.

    Args:
        width, depth: of the encoder.
        d: bottleneck width.
        middle: a sequence of "m" and "c".
        source: "block" or "shared".
    """
    m, c = d * d + d, 9 * d * d + d + 2 * d  # a linear layer; a 3 x 3 convolution and a LayerNorm
    middles = sum({"m": m, "c": c}[kind] for kind in middle)
    down, up = width * d + d, d * width + width
    if source == "block":
        return depth * (down + middles + up)
    return down + (3 * PATCH * PATCH * d + d) + depth * middles + up


@cache
def _fixed(name: str) -> tuple[int, int]:
    """(the decoder's trainable parameters, the frozen ones) of a SAM variant."""
    counts = budget(name, ATLConfig("m"))
    return counts.trainable - counts.adapters, counts.total - counts.trainable


def budget_explorer(
    sam: str = "vit_l", d: int = 32, middle: str = "m", source: str = "block"
) -> Widget:
    """Sliders for an adapter's design, with the parameters that it costs on a SAM.

    Args:
        sam: a key of `VARIANTS`.
        d: bottleneck width, 1 to 128.
        middle: one of `MIDDLES`.
        source: a key of `SOURCES`.

    Raises:
        ValueError: an unknown variant, middle or source, or a width out of range.
    """
    variant(sam)
    for name, value, allowed in (("middle", middle, MIDDLES), ("source", source, SOURCES)):
        if value not in allowed:
            raise ValueError(f"{name} is {value!r}; choose one of {', '.join(allowed)}")
    if not 1 <= d <= 128:
        raise ValueError(f"d is {d!r}; expected 1 to 128")
    models = {}
    for key, v in VARIANTS.items():
        decoder, frozen = _fixed(key)
        models[key] = {"width": v.width, "depth": v.depth, "decoder": decoder, "frozen": frozen}
    data = {"models": models, "patch": PATCH, "printed": PRINTED}
    rows = "".join(
        f'<tr><th scope="row">{title}</th><td class="number" data-row="{key}">{value}</td></tr>'
        for key, (title, value) in _rows(models[sam], d, middle, source).items()
    )
    middles = {middle: " ".join(middle) for middle in MIDDLES}
    shape = models[sam]
    number = adapter_parameters(shape["width"], shape["depth"], d, middle, source)
    body = (
        '<div class="columns"><div>'
        f"{_select('sam', 'SAM', {key: key for key in VARIANTS}, sam)}"
        '<label data-live>bottleneck width d <output></output><input type="range" class="d" '
        f'min="1" max="128" step="1" value="{d}"></label>'
        f"{_select('middle', 'middle layers', middles, middle)}"
        f"{_select('source', 'source', SOURCES, source)}"
        "<p data-live>m: a linear layer; c: a 3 x 3 convolution with a LayerNorm</p>"
        f'<p class="state" aria-live="polite">{escape(describe(sam, shape, number))}</p></div>'
        f"<table><caption>parameters</caption><tbody>{rows}</tbody></table></div>"
    )
    return Widget("budget", "Budget of an adapter", body, data)


def describe(sam: str, shape: dict[str, int], adapters: int) -> str:
    """One state in words; the script writes the same."""
    trainable = adapters + shape["decoder"]
    total = trainable + shape["frozen"]
    printed = [
        name for name, *numbers in PRINTED
        if sam == "vit_l" and numbers == [round(trainable / 1e6, 2), round(total / 1e6, 2)]
    ]  # fmt: skip
    answer = f"the budget that the {printed[0]} paper prints" if printed else "no printed budget"
    return (
        f"{trainable / 1e6:.2f} M train, {total / 1e6:.2f} M in all: {answer}. "
        f"Of what trains, {100 * adapters / trainable:.1f} % are adapters."
    )


def _rows(shape: dict[str, int], d: int, middle: str, source: str) -> dict[str, tuple[str, str]]:
    adapters = adapter_parameters(shape["width"], shape["depth"], d, middle, source)
    trainable = adapters + shape["decoder"]
    total = trainable + shape["frozen"]
    return {
        "adapters": ("adapters", f"{adapters:,}"),
        "decoder": ("mask decoder and no-mask", f"{shape['decoder']:,}"),
        "trainable": ("trainable", f"{trainable:,}"),
        "total": ("in all", f"{total:,}"),
        "share": ("trainable share", f"{100 * trainable / total:.2f} %"),
    }


def _select(name: str, title: str, options: dict[str, str], chosen: str) -> str:
    entries = "".join(
        f'<option value="{key}"{" selected" if key == chosen else ""}>{text}</option>'
        for key, text in options.items()
    )
    return f'<label data-live>{title} <select class="{name}">{entries}</select></label>'
