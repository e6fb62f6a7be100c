"""``tlseg-lite export``: a saved model, or SAM itself, as ONNX files."""

from __future__ import annotations

import argparse
from pathlib import Path

from tlseg_lite.cli.options import add_weights, saved_model, weights_of


def add_parser(commands) -> None:
    """The command's arguments."""
    p = commands.add_parser("export", help="a saved model, or a SAM, as ONNX files")
    p.add_argument(
        "model",
        metavar="MODEL",
        help="a best.safetensors, the folder of a run, or a SAM: sam_mini, vit_b, vit_l, vit_h",
    )
    p.add_argument("--out", type=Path, required=True, help="folder for the files")
    add_weights(p)
    p.add_argument("--float32", action="store_true", help="all weights as float32, not float16")
    p.add_argument(
        "--threshold",
        type=float,
        default=0.5,
        help="probability from which on a pixel is landslide; noted in model.json (default 0.5)",
    )
    p.add_argument(
        "--page",
        action="store_true",
        help="a page that runs the model in a browser instead: --out is then one folder of static "
        "files, for python -m http.server (npm fetches ONNX Runtime once)",
    )
    p.set_defaults(action=export)


def export(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Write the files and print what they hold."""
    import tlseg_lite as tl
    from tlseg_lite.export import onnx

    if options.model in tl.sam.VARIANTS:
        model = tl.load_sam(options.model, weights_of(options.weights))
    else:
        model = saved_model(Path(options.model), options.weights)
    if options.page:
        _page(model, options)
        return
    written = onnx(model, options.out, half=not options.float32, threshold=options.threshold)
    print(f"written    {written}")


def _page(model, options: argparse.Namespace) -> None:
    """The folder of static files; an adapted `sam_mini` brings the clicks of its SAM along."""
    import tlseg_lite as tl

    prompts = adapted = None
    if options.model in tl.sam.VARIANTS:
        prompts = model
    else:
        adapted = model
        if getattr(model, "variant", "") == "sam_mini" and model.image_size == 256:
            prompts = tl.load_sam("sam_mini")
    about = tl.widgets.live_page(
        options.out, sam=prompts, model=adapted, threshold=options.threshold
    )
    print(f"written    {options.out}: a page that loads {about['megabytes']} MB")
    print(f"try        python -m http.server --directory {options.out}")
