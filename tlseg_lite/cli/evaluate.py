"""``tlseg-lite evaluate``: scores of a saved model, on its run's own test images by default."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from tlseg_lite.cli.options import (
    add_data,
    add_views,
    add_weights,
    dataset_from,
    divide,
    on_device,
    saved_model,
    whole,
)

PARTS = {"train": "train", "validation": "val", "test": "test"}
"""Parts on the command line -> in a run's identity."""


def add_parser(commands) -> None:
    """The command's arguments."""
    p = commands.add_parser("evaluate", help="scores of a saved model")
    p.add_argument("model", type=Path, metavar="MODEL", help="a run's folder or a best.safetensors")
    add_data(p)
    add_weights(p)
    p.add_argument(
        "--part",
        choices=("all", *PARTS),
        help="of the images: the run's own, or with --seed of that split (default test; with "
        "--official-part all of that part)",
    )
    p.add_argument(
        "--seed",
        type=whole(0),
        help="divide the images as train does with this seed (default: the run's own parts)",
    )
    add_views(p)
    p.add_argument("--json", action="store_true", help="print JSON")
    p.set_defaults(action=evaluate)


def evaluate(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Scores of a saved model on a part of the data; a warning where it has seen an image."""
    import tlseg_lite as tl
    from tlseg_lite.training.identity import seen

    model = on_device(saved_model(options.model, options.weights))
    run = model.run or {}
    seed = options.seed
    if seed is None:
        seed = run.get("recipe", {}).get("seed", 0)
    dataset = dataset_from(options, parser, model.image_size, seed)
    if options.part is None:
        options.part = "all" if options.official_part else "test"
    if options.part != "all":
        images = run.get("images") or {}
        own = images.get(PARTS[options.part])
        if options.seed is None and own is None and images.get("train"):
            parser.error(
                f"{options.model} kept no {options.part} images (train --no-test); give other "
                "images and --part all, or --seed N for a part of a split"
            )
        if options.seed is None and own is not None and own["ids"]:
            dataset = own_part(dataset, own, options.part)
        else:
            parts = divide(dataset, options, seed)
            dataset = parts[list(PARTS).index(options.part)]
    known = seen(run, dataset.ids)
    _warn(run, known, len(dataset))
    scores = tl.evaluate(model, dataset, views=options.views)
    if options.json:
        counts = {"trained_on": len(known["train"]), "chosen_on": len(known["val"])}
        about = {"data": dataset.source, "views": options.views, **counts}
        report = about | {"scores": scores.as_dict()}
        print(json.dumps(report, indent=1))
    else:
        views = f", {options.views} views of each" if options.views > 1 else ""
        print(f"{dataset.source}, {len(dataset)} images{views}:\n{scores}")


def own_part(dataset, own: dict[str, Any], part: str):
    """A run's own images of a part in `dataset`, by their names; a note where they have changed.

    Raises:
        ValueError: some of them are not in `dataset`.
    """
    from tlseg_lite.core.errors import listing
    from tlseg_lite.data import Subset
    from tlseg_lite.training.identity import images_of

    index = {name: i for i, name in enumerate(dataset.ids)}
    if gone := [name for name in own["ids"] if name not in index]:
        raise ValueError(
            f"{len(gone)} of the run's {len(own['ids'])} {part} images are not among the "
            f"{dataset.source}: {listing(gone)}. Give the data of the run (with its --root or "
            "--n), --seed N for a part of another split, or --part all"
        )
    chosen = Subset(dataset, [index[name] for name in own["ids"]])
    if images_of(chosen)["digest"] != own["digest"]:
        _note(f"the {part} images have the names of the run's own, and other content")
    return chosen


def _warn(run: dict[str, Any], known: dict[str, list[str]], number: int) -> None:
    """What the model has seen of the images that are scored, on standard error."""
    from tlseg_lite.core.errors import listing
    from tlseg_lite.training.identity import images_known

    words = {"train": "was trained on", "val": "has its epoch chosen on"}
    for part, ids in known.items():
        if ids:
            _note(
                f"the model {words[part]} {len(ids)} of these {number} images, by their names "
                f"({listing(ids, 3)}): the scores will be too good",
            )
    if not images_known(run):
        _note(
            "the model does not say which images it was trained on (version 0.1.0 did not note "
            "them): the scores are too good if these are among them; --seed gives the run's split"
        )


def _note(text: str) -> None:
    print(f"tlseg-lite: warning: {text}", file=sys.stderr)
