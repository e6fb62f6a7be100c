"""``tlseg-lite map``: a scene through a saved model, into polygons."""

from __future__ import annotations

import argparse
from pathlib import Path

from tlseg_lite.cli.options import add_views, add_weights, on_device, saved_model


def add_parser(commands) -> None:
    """The command's arguments."""
    p = commands.add_parser("map", help="a landslide map of a scene of any size")
    p.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="MODEL SCENE, or SCENE with --model"
    )
    p.add_argument(
        "--model",
        action="append",
        type=Path,
        help="a run's folder or a best.safetensors; several times: their mean",
    )
    add_weights(p)
    p.add_argument("--out", type=Path, required=True, help="folder; goes on if there is a map")
    p.add_argument("--threshold", type=float, help="probability; default: the model's own")
    add_views(p)
    p.add_argument("--quiet", action="store_true", help="no progress bar")
    p.add_argument("--overlap", type=float, default=0.5, help="of windows (default %(default)s)")
    p.add_argument("--workers", type=int, help="processes on this machine (a Dask cluster)")
    p.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster that is running")
    p.add_argument("--bands", type=int, nargs=3, metavar=("R", "G", "B"), help="from 1")
    p.add_argument(
        "--scale", type=float, nargs="+", metavar="VALUE", help="white, or black and white"
    )
    p.add_argument("--resolution", type=float, help="metres of a pixel of the model's input")
    p.add_argument("--pixel-size", type=float, help="metres, for a scene without a system")
    p.add_argument("--nodata", type=float, help="a value that means nothing, beside the file's")
    p.add_argument("--min-area", type=float, default=0.0, help="of a polygon, square metres")
    p.add_argument("--simplify", type=float, help="how far an outline may move, metres")
    p.add_argument("--uncertainty", action="store_true", help="also uncertainty.tif")
    p.add_argument("--dem", type=Path, help="heights: polygons get slope and elevation")
    p.add_argument("--inventory", type=Path, help="polygons to compare the map with")
    p.add_argument("--batch-size", type=int, default=8, help="windows at once")
    p.add_argument("--restart", action="store_true", help="replace a map in --out")
    p.set_defaults(action=run, goes_on=True)


def _models(options: argparse.Namespace, parser: argparse.ArgumentParser) -> tuple[list, list]:
    """The models and the other files: ``--model M SCENE`` or ``M SCENE``."""
    files, models = list(options.files), list(options.model or [])
    if not models and len(files) > 1:
        models, files = files[:1], files[1:]
    if not models:
        parser.error("no model: give a best.safetensors or a run's folder, and then the scene")
    if len(files) != 1:
        parser.error(f"one scene at a time, not {len(files)}; give each an --out of its own")
    loaded = [saved_model(path, options.weights) for path in models]
    if options.workers is None and options.scheduler is None:  # a worker has one CPU thread
        loaded = [on_device(model) for model in loaded]
    return loaded, files


def run(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Map one scene, and compare the map with an inventory if one is given."""
    from tlseg_lite import maps

    models, files = _models(options, parser)
    if options.scale is not None and len(options.scale) > 2:
        parser.error("--scale takes one value (white) or two (black, white)")
    scale = options.scale and (options.scale[0] if len(options.scale) == 1 else options.scale)
    found = maps.predict_scene(
        models,
        files[0],
        options.out,
        options.overlap,
        options.workers,
        options.scheduler,
        bands=options.bands,
        scale=scale,
        resolution=options.resolution,
        pixel_size=options.pixel_size,
        nodata=options.nodata,
        threshold=options.threshold,
        min_area=options.min_area,
        simplify=options.simplify,
        views=options.views,
        uncertainty=options.uncertainty,
        dem=options.dem,
        batch_size=options.batch_size,
        restart=options.restart,
        progress=not options.quiet,
    )
    names = ", ".join(sorted(path.name for path in found.folder.iterdir()))
    print(f"found      {found.polygons} landslides at probabilities above {found.threshold:.2f}")
    print(f"written    {found.folder}: {names}")
    if options.inventory is not None:
        comparison = maps.compare(found, options.inventory)
        for note in comparison.notes:
            print(note)
        print(comparison.table().to_string())
