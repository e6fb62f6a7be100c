"""What the commands share: options, and the images, recipe and models that these stand for."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

SOURCES = (
    *("bijie-samples", "landslide4sense-samples", "synthetic", "bijie", "landslide4sense"),
    *("sen12landslides", "folder", "scene"),
)
FRACTIONS = (0.7, 0.15, 0.15)
"""Shares of training, validation and test images."""
WITHOUT_TEST = (0.85, 0.15)
"""Of training and validation images with ``--no-test``."""


def whole(least: int) -> Callable[[str], int]:
    """The type of an option: a whole number from `least` on."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if value < least:
            raise argparse.ArgumentTypeError(f"{value} is less than {least}")
        return value

    return parse


def positive(text: str) -> float:
    """The type of an option: a positive number."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def share(text: str) -> float:
    """The type of an option: a number from 0 to below 1."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to below 1")
    return value


ROUNDS = 2
"""Rounds of corrective clicks a step with ``--prompts``, unless ``--clicks`` says otherwise."""


def add_views(parser: argparse.ArgumentParser) -> None:
    """``--views``: test-time augmentation."""
    parser.add_argument(
        "--views",
        type=int,
        choices=(1, 8),
        default=1,
        help="8: the mean over turned and mirrored copies, eight times the work",
    )


def add_data(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """``--data``, ``--root`` and ``--n``."""
    parser.add_argument(
        "--data", required=required, choices=SOURCES, help="where the images are from"
    )
    parser.add_argument(
        "--root", type=Path, help="folder of the full bijie, landslide4sense or sen12landslides"
    )
    parser.add_argument(
        "--n", type=whole(3), default=60, help="number of synthetic scenes (default %(default)s)"
    )
    parser.add_argument(
        "--blocks",
        type=whole(1),
        default=1,
        help="divide by blocks of so many neighbouring images, in the order of their numbers "
        "(Bijie: 5, neighbours can show one place; default: one by one)",
    )
    parser.add_argument(
        "--official-part",
        choices=("train", "validation", "test"),
        help="landslide4sense: the publisher's part (default train)",
    )
    parser.add_argument(
        "--test-regions",
        nargs="+",
        metavar="REGION",
        help="sen12landslides: test on these regions, train and validate on the others",
    )
    own = parser.add_argument_group("own data")
    own.add_argument("--images", type=Path, help="folder: images, paired with --masks by name")
    own.add_argument("--masks", type=Path, help="folder: masks")
    own.add_argument("--scene", type=Path, help="scene: a GeoTIFF that chips are cut from")
    own.add_argument("--polygons", type=Path, help="scene: its landslides, a vector file")
    own.add_argument("--bands", type=whole(1), nargs=3, default=(1, 2, 3), metavar=("R", "G", "B"))
    own.add_argument("--white", type=positive, help="value that becomes 1 (else: 255, percentiles)")
    own.add_argument("--chip", type=whole(8), default=256, help="side, pixels (default 256)")
    own.add_argument("--stride", type=whole(1), help="from chip to chip (default: its side)")
    own.add_argument("--negatives", type=float, help="chips without a landslide for each with one")
    own.add_argument("--ground-resolution", type=positive, help="metres of a pixel of the chips")
    own.add_argument("--pixel-size", type=positive, help="metres, for a scene without a system")
    own.add_argument("--nodata", type=float, help="a value that means nothing, beside the file's")


def add_weights(parser: argparse.ArgumentParser) -> None:
    """``--weights``."""
    parser.add_argument("--weights", help="the SAM's weights file, or 'random'")


def dataset_from(
    options: argparse.Namespace, parser: argparse.ArgumentParser, size: int, seed: int
):
    """The images of `add_data`; synthetic ones `size` pixels wide, drawn with `seed`."""
    import tlseg_lite as tl

    full = {
        "bijie": tl.data.Bijie,
        "landslide4sense": tl.data.Landslide4Sense,
        "sen12landslides": tl.data.Sen12Landslides,
    }
    if options.test_regions and options.data != "sen12landslides":
        parser.error(f"--test-regions goes with --data sen12landslides, not {options.data}")
    if options.official_part and options.data != "landslide4sense":
        parser.error(f"--official-part goes with --data landslide4sense, not {options.data}")
    if options.data in full:
        if options.root is None:
            parser.error(f"--data {options.data} needs --root, the folder of the dataset")
        part = {"part": options.official_part} if options.official_part else {}
        return full[options.data](options.root, **part)
    if options.data in ("folder", "scene"):
        return _own_data(options, parser, seed)
    if options.root is not None:
        parser.error(f"--root goes with --data {', '.join(full)}, not {options.data}")
    if options.data == "synthetic":
        return tl.data.SyntheticLandslides(options.n, size=size, seed=seed)
    return tl.data.samples(options.data.removesuffix("-samples"))


def _own_data(options: argparse.Namespace, parser: argparse.ArgumentParser, seed: int):
    """The images of ``--data folder`` (--images, --masks) or ``scene`` (--scene, --polygons)."""
    import tlseg_lite as tl

    names = ("images", "masks") if options.data == "folder" else ("scene", "polygons")
    given = [getattr(options, name) for name in names]
    if None in given:
        parser.error(f"--data {options.data} needs --{names[0]} and --{names[1]}")
    common = {"bands": tuple(options.bands), "scale": options.white}
    if options.data == "folder":
        return tl.data.Folder(*given, **common)
    negatives = True if options.negatives is None else options.negatives
    return tl.data.Chips(
        *(*given, options.chip, options.stride, negatives),
        resolution=options.ground_resolution,
        pixel_size=options.pixel_size,
        nodata=options.nodata,
        seed=seed,
        **common,
    )


def divide(dataset, options: argparse.Namespace, seed: int):
    """Training, validation and test images: one by one, by ``--blocks`` or ``--test-regions``.

    The test is None with ``--no-test``.
    """
    import tlseg_lite as tl

    shares, test = FRACTIONS, ()
    if getattr(options, "no_test", False):
        shares, test = WITHOUT_TEST, (None,)

    if options.blocks > 1 and (options.test_regions or hasattr(dataset, "divide")):
        how = "by --test-regions" if options.test_regions else "itself, by blocks of ground"
        raise ValueError(
            f"--blocks {options.blocks}: {dataset.source} is divided {how}; leave --blocks out"
        )
    if options.test_regions:
        return _by_region(dataset, options.test_regions, seed)
    if options.blocks == 1:
        return *tl.data.split(dataset, shares, seed=seed), *test
    return *tl.data.split_by_blocks(dataset, shares, block=options.blocks, seed=seed), *test


def _by_region(dataset, regions: list[str], seed: int):
    """Test images of `regions`, and of the others training and validation images."""
    import tlseg_lite as tl
    from tlseg_lite.data.sen12landslides import known_regions

    regions = known_regions(regions, dataset.regions)
    tested = [i for i, region in enumerate(dataset.regions) if region in regions]
    others = [i for i, region in enumerate(dataset.regions) if region not in regions]
    train, val, _ = FRACTIONS
    shares = (train / (train + val), val / (train + val))
    parts = tl.data.split(tl.data.Subset(dataset, others), shares, seed=seed)
    return (*parts, tl.data.Subset(dataset, tested))


def recipe_from(options: argparse.Namespace, images: int | None = None):
    """The recipe of ``--recipe`` for so many images, with the options that change it."""
    from tlseg_lite.training.recipe import AUGMENTATIONS, named_recipe

    changes = {
        name: getattr(options, name)
        for name in (
            *("sam", "epochs", "batch_size", "learning_rate", "precision", "workers"),
            *("keep", "ema", "micro_batch", "cache", "checkpointing", "compile", "seed"),
        )
        if getattr(options, name, None) is not None
    }
    if getattr(options, "augment", None) is not None:
        changes["augment"] = AUGMENTATIONS[options.augment]
    if getattr(options, "prompts", False):
        changes["clicks"] = options.clicks or ROUNDS
    return replace(named_recipe(options.recipe, images), **changes)


def model_from(options: argparse.Namespace, parser: argparse.ArgumentParser, recipe):
    """The untrained model of ``--model`` and ``--weights``."""
    import tlseg_lite as tl

    size = tl.sam.variant(recipe.sam).image_size
    baselines = tl.baselines.LAPTOP_ENCODERS
    if options.model in baselines:
        if recipe.clicks:
            parser.error(f"argument --prompts: {options.model} takes none; choose a design of SAM")
        encoder = "paper" if options.recipe == "paper" else None
        return tl.build_baseline(options.model, encoder=encoder, image_size=size, seed=recipe.seed)
    if options.model not in tl.DESIGNS:
        parser.error(
            f"argument --model: unknown model {options.model!r} "
            f"(choose from {', '.join([*tl.DESIGNS, *baselines])})"
        )
    sam = tl.load_sam(recipe.sam, weights_of(options.weights))
    prompts = bool(recipe.clicks)
    return tl.TransLandSeg(sam, tl.DESIGNS[options.model], seed=recipe.seed, prompts=prompts)


def on_device(model):
    """The model on the GPU, if there is one and ``ACCELERATE_USE_CPU`` does not forbid it."""
    import torch
    from accelerate.utils import parse_flag_from_env

    if torch.cuda.is_available() and not parse_flag_from_env("ACCELERATE_USE_CPU"):
        return model.to("cuda")
    return model


def saved_model(path: Path, weights: str | None = None):
    """The model that is saved in a file or in a run's folder.

    Args:
        path: a file of `Trainable.save`, or a folder with ``best.safetensors``.
        weights: of its SAM, where they are not where they were; their fingerprint must be the same.

    Raises:
        FileNotFoundError: there is no such file; ``weights`` are not there.
        ValueError: weights for a model without a SAM.
        CheckpointError: no saved model, or on other weights.
    """
    import tlseg_lite as tl
    from tlseg_lite.core.files import read_description

    if path.is_dir():
        folder, path = path, path / "best.safetensors"
        if not path.is_file():
            raise FileNotFoundError(
                f"no saved model in {folder}; expected best.safetensors, which a run writes after "
                "its first epoch"
            )
    if weights is None:
        return tl.load_model(path)
    about = read_description(path)
    if "backbone" not in about:
        raise ValueError(
            f"--weights are a SAM's; {path} is a {about['model']} without one: leave them out"
        )
    seed = about["backbone"].get("seed", 0)
    size = about["image_size"]
    sam = tl.load_sam(about["variant"], weights_of(weights), image_size=size, seed=seed)
    return tl.load_model(path, sam)


def weights_of(given: str | None) -> str | None:
    """What `load_sam` takes for the value of ``--weights``."""
    return {None: "default", "random": None}.get(given, given)
