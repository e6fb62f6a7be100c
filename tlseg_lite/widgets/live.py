"""The model itself in a page: a folder of static files, and the HTML that loads them on request.

ONNX Runtime's build for browsers runs what `tlseg_lite.export.onnx` writes. Nothing is asked of a
server but these files, and nothing is sent to one.
"""

from __future__ import annotations

import gzip
import json
import tempfile
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlseg_lite.export.onnx_files import onnx
from tlseg_lite.export.runtime import FILES, web_runtime
from tlseg_lite.export.shared import SHARED, share_weights
from tlseg_lite.plots import PREDICTED_OUTLINE
from tlseg_lite.sam.prompting import AUTOMATIC, as_pixels
from tlseg_lite.widgets.page import border

if TYPE_CHECKING:
    from torch import Tensor, nn

SCENES = 4
"""Synthetic scenes that come with a page, of seed `SEED`."""

SEED = 2028
GRID = 8
"""Clicks along each side in the automatic mode; SAM's own has 32, too many for a browser."""

STILL = "A synthetic hillside seen from above; one mask of the model is drawn over it in light blue"
"""What ``still.png`` shows."""

_SCRIPTS = ("live.js", "live_masks.js", "live_worker.js", "live.css")
_USUAL = {"pred_iou_thresh": 0.88, "stability_score_thresh": 0.95, "stability_score_offset": 1.0}


def live_files(
    folder: str | Path,
    *,
    sam: nn.Module | None = None,
    model: nn.Module | None = None,
    threshold: float = 0.5,
    fetch: bool | None = None,
) -> dict[str, Any]:
    """Write all that a page needs to run a model in the reader's browser.

    Args:
        folder: made if it is not there; its files are replaced.
        sam: a SAM of `load_sam`, for clicks, boxes and automatic masks; or None.
        model: a `TransLandSeg` or a baseline, for its map; or None.
        threshold: probability from which on the map says landslide, where the slider begins.
        fetch: as in `tlseg_lite.export.web_runtime`.

    Returns:
        what ``page.json`` holds; ``"megabytes"`` is what a browser without WebGPU loads,
        ``"megabytes_webgpu"`` what one with it does.

    Raises:
        ValueError: neither a SAM nor a model, or two that take images of different sizes.
        OfflineError, DownloadError, ChecksumError: ONNX Runtime's files are not to be had.
        RuntimeError, ImportError: as in `tlseg_lite.export.onnx`.
    """
    if sam is None and model is None:
        raise ValueError("neither sam nor model is given; a page needs one of them, or both")
    folder = Path(folder)
    sizes = web_runtime(folder, fetch=fetch)
    given = [what for what in (sam, model) if what is not None]
    abouts, packed = _models(folder, given, threshold)
    sizes |= packed
    sides = {about["image_size"] for about in abouts}
    if len(sides) > 1:
        raise ValueError(f"sam and model take images of {sorted(sides)} pixels; expected one size")
    variant, examples = getattr(sam, "variant", ""), _examples()
    about = {
        "image_size": sides.pop(),
        "models": [name.removesuffix(".onnx") for a in abouts for name in a["files"]],
        "shared": SHARED if f"{SHARED}.gz" in packed else "",
        "runtime": {build: list(names) for build, names in FILES.items()},
        "threshold": threshold,
        "automatic": _automatic(variant),
        "scenes": _scenes(folder, examples),
        "what": [a["model"] for a in abouts],
        "provenance": abouts[0]["provenance"],
    }
    for name in _SCRIPTS:
        text = files("tlseg_lite.widgets").joinpath("static", name).read_text("utf-8")
        (folder / name).write_text(text, encoding="utf-8")
        sizes[name] = len(text)
    _still(folder / "still.png", examples[0], sam, model, threshold)
    for build, key in (("wasm", "megabytes"), ("webgpu", "megabytes_webgpu")):
        others = {n for b, names in FILES.items() if b != build for n in names}
        loaded = [size for name, size in sizes.items() if name.removesuffix(".gz") not in others]
        about[key] = round(sum(loaded) / 1e6, 1)
    (folder / "page.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
    return about


def live_html(base: str, about: dict[str, Any], *, beside: str = "") -> str:
    """The control as HTML: a picture, a button that loads the model, and what to do without.

    Args:
        base: address of `live_files`' folder as seen from the page, with a slash at its end.
        about: what `live_files` gave.
        beside: CSS selector of a picture that the page shows already, such as that of
            `click_to_segment`: the model begins with it, and no picture of its own is shown.
    """
    both = "model" in about["models"] and "decoder" in about["models"]
    what = "the models" if both else "the model"
    most = f"{about['megabytes']:.0f} MB"
    if about["megabytes_webgpu"] != about["megabytes"]:
        most += f", with WebGPU {about['megabytes_webgpu']:.0f} MB"
    begin = f"document.querySelector({json.dumps(beside)})?.src" if beside else '""'
    still = (
        f'<img class="picture before" src="{escape(base)}still.png" alt="{escape(STILL)}">\n'
        '<p class="before">The picture shows one answer. '
    )
    return (
        '<div class="tlseg-live" role="group" aria-label="A model in this page">\n'
        f'<link rel="stylesheet" href="{escape(base)}live.css">\n'
        f"""{'<p class="before">' if beside else still}A button loads {what} into this page; """
        "your own images then stay in your browser.</p>\n"
        f'<p class="before"><button type="button" class="load" hidden>Load {what} '
        f"({most})</button></p>\n"
        '<p class="loading before" aria-live="polite"></p>\n'
        "<noscript><p>Without JavaScript the picture is all that there is.</p></noscript>\n"
        "<script>(() => {\n"
        'const root = document.currentScript.closest(".tlseg-live");\n'
        'const button = root.querySelector(".load"), say = root.querySelector(".loading");\n'
        f"const base = new URL({json.dumps(base)}, document.baseURI);\n"
        'if (location.protocol === "file:") {\n'
        '  say.textContent = "This page was opened as a file, and browsers load no model from one. '
        'Run python -m http.server in its folder and open the address that it prints.";\n'
        "  return;\n}\n"
        "button.hidden = false;\n"
        'button.addEventListener("click", () => import(new URL("live.js", base))\n'
        f"  .then(live => live.start(root, base, {begin}))\n"
        "  .catch(error => { say.textContent = `The page's script did not load: ${error.message}`; "
        "}));\n})();</script>\n</div>\n"
    )


def live_page(
    folder: str | Path,
    *,
    sam: nn.Module | None = None,
    model: nn.Module | None = None,
    threshold: float = 0.5,
    title: str = "Landslides in your browser",
) -> dict[str, Any]:
    """`live_files` and an ``index.html``: one folder of static files for any server.

    Args:
        folder, sam, model, threshold: as in `live_files`.
        title: the page's heading.

    Returns:
        what `live_files` gives.
    """
    about = live_files(folder, sam=sam, model=model, threshold=threshold)
    page = (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{escape(title)}</title>'
        '\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'
        "<style>:root { color-scheme: light dark } body { font-family: sans-serif; margin: 1rem "
        "auto; max-width: 62rem; padding: 0 0.7rem }</style>\n"
        f"<main><h1>{escape(title)}</h1>\n{live_html('./', about)}</main>\n</html>\n"
    )
    (Path(folder) / "index.html").write_text(page, encoding="utf-8")
    return about


def _models(
    folder: Path, given: list[Any], threshold: float
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """What the models' ``model.json`` hold, and each packed file's bytes; weights stand once."""
    with tempfile.TemporaryDirectory(dir=folder) as beside:
        written = [onnx(what, beside, threshold=threshold) for what in given]
        share_weights(Path(beside) / name for one in written for name in one.files)
        sizes = {}
        for file in sorted(Path(beside).iterdir()):
            if file.suffix in (".onnx", ".data"):
                data = gzip.compress(file.read_bytes(), 9, mtime=0)
                (folder / f"{file.name}.gz").write_bytes(data)
                sizes[f"{file.name}.gz"] = len(data)
    return [one.about for one in written], sizes


def _automatic(variant: str) -> dict[str, float]:
    chosen = _USUAL | AUTOMATIC.get(variant, {})
    return {
        "grid": GRID,
        "iou": chosen["pred_iou_thresh"],
        "stable": chosen["stability_score_thresh"],
        "offset": chosen["stability_score_offset"],
    }


def _examples() -> list[dict[str, Any]]:
    from tlseg_lite.scenes.synthetic import SyntheticLandslides

    scenes = SyntheticLandslides(SCENES, seed=SEED)
    return [scenes[i] for i in range(SCENES)]


def _scenes(folder: Path, examples: list[dict[str, Any]]) -> list[dict[str, str]]:
    from PIL import Image

    listed = []
    for i, sample in enumerate(examples):
        name = f"scene-{i + 1}.png"
        Image.fromarray(as_pixels(sample["image"])).save(folder / name, optimize=True)
        listed.append({"file": name, "title": f"synthetic scene {i + 1}"})
    return listed


def live_picture(
    file: str | Path,
    *,
    sam: nn.Module | None = None,
    model: nn.Module | None = None,
    threshold: float = 0.5,
) -> str:
    """Write the picture that stands in for the model, as PNG; what it shows, in words.

    Args:
        file: its folder must be there.
        sam, model, threshold: as in `live_files`, which writes it as ``still.png``.
    """
    _still(Path(file), _examples()[0], sam, model, threshold)
    return STILL


def _still(file: Path, sample: dict[str, Any], sam: Any, model: Any, threshold: float) -> None:
    """The first scene with an answer."""
    from PIL import Image

    pixels = as_pixels(sample["image"]).astype(np.float32)
    mask = _answer(sample, sam, model, threshold)
    colour = np.array([int(PREDICTED_OUTLINE[i : i + 2], 16) for i in (1, 3, 5)])
    for part, opacity in ((mask, 0.4), (border(mask), 1.0)):
        pixels[part] = (1 - opacity) * pixels[part] + opacity * colour
    Image.fromarray(np.uint8(pixels.round())).save(file, optimize=True)


def _answer(sample: dict[str, Tensor], sam: Any, model: Any, threshold: float) -> np.ndarray:
    """The model's map, or SAM's mask for a click inside the landslide, (H, W) bool."""
    import torch

    from tlseg_lite.data.transforms import fit_image, unfit
    from tlseg_lite.sam.prompting import inner_point, segment

    if model is None:
        answer = segment(sam, sample["image"], [inner_point(sample["mask"])])
        return answer.masks[int(answer.scores.argmax())].numpy()
    with torch.no_grad():
        logits = model.eval()(fit_image(sample["image"], model.image_size)[None])[0]
    size = tuple(sample["image"].shape[-2:])
    return (unfit(logits, size).sigmoid() > threshold).squeeze().numpy()
