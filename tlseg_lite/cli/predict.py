"""``tlseg-lite predict``: masks of image files."""

from __future__ import annotations

import argparse
import unicodedata
from pathlib import Path

from tlseg_lite.cli.options import add_weights, on_device, saved_model


def add_parser(commands) -> None:
    """The command's arguments."""
    p = commands.add_parser("predict", help="masks of image files by a saved model")
    p.add_argument(
        "files",
        type=Path,
        nargs="+",
        metavar="IMAGE",
        help="RGB images of any size; without --model the first of the files is the model",
    )
    p.add_argument("--model", type=Path, help="a run's folder or a best.safetensors")
    p.add_argument(
        "--out",
        type=Path,
        required=True,
        help="folder for NAME_mask.png: 0 and 255 (landslide), of the image's size",
    )
    p.add_argument(
        "--probability",
        choices=("png", "npy"),
        help="also NAME_probability: 16-bit PNG, 65535 for 1, or float32 NumPy",
    )
    p.add_argument(
        "--threshold",
        type=_threshold,
        default=0.5,
        help="probability above which is landslide (default 0.5, as in evaluate); own: the one "
        "that the model chose on its validation images, as in map",
    )
    add_weights(p)
    p.set_defaults(action=predict)


def _threshold(text: str) -> float | None:
    """The type of ``--threshold``: a probability, or None for the model's own."""
    if text == "own":
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no probability between 0 and 1, nor 'own'")
    return value


def _model_and_images(
    options: argparse.Namespace, parser: argparse.ArgumentParser
) -> tuple[Path, list[Path]]:
    """``IMAGE ... --model MODEL``, or ``MODEL IMAGE ...``."""
    if options.model is not None:
        return options.model, options.files
    model, *images = options.files
    if not images or _is_image(model):
        parser.error(f"no model for {model}: give --model, a run's folder or a best.safetensors")
    return model, images


def predict(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Write a mask for each image; nothing is written if one of them is none."""
    import tlseg_lite as tl
    from tlseg_lite.maps.threshold import threshold_of

    saved, images = _model_and_images(options, parser)
    targets = targets_of(images, options.out, options.probability)
    for image in images:
        check_is_image(image)
    model = on_device(saved_model(saved, options.weights))
    cut = threshold_of(model, options.threshold)
    for image in images:
        pixels, valid = _read(model, image)
        probability = tl.predict(model, pixels).sigmoid()[0].cpu().numpy() * valid
        write(probability, *targets[image], cut)
    print(f"written    {len(targets)} masks in {options.out}: probabilities above {cut:.2f}")


def _read(model, path: Path) -> tuple:
    """An image float32 (3, H, W) in [0, 1] and its valid pixels, with the training's scaling."""
    from tlseg_lite.data import Scaling, read_image
    from tlseg_lite.data.folder import read_scaled

    known = getattr(model, "trained_on", {}).get("scaling")
    return read_scaled(path, Scaling.from_dict(known)) if known else (read_image(path), True)


def targets_of(
    images: list[Path], out: Path, probability: str | None
) -> dict[Path, tuple[Path, Path | None]]:
    """The files to write for each image: mask and probabilities.

    Raises:
        ValueError: two images would have one mask.
        FileExistsError: a file is there already, such as an input.
    """
    targets, taken = {}, {}
    for image in images:
        stem = unicodedata.normalize("NFC", image.stem)
        if other := taken.get(stem.casefold()):
            raise ValueError(
                f"{other} and {image} would have the same mask, {stem}_mask.png; predict them one "
                "by one, into two folders"
            )
        taken[stem.casefold()] = image
        mask, more = out / f"{stem}_mask.png", None
        if probability is not None:
            more = out / f"{stem}_probability.{probability}"
        for path in (mask, more):
            if path is not None and path.exists():
                raise FileExistsError(
                    f"{path} is there already, and nothing is overwritten; choose another --out"
                )
        targets[image] = mask, more
    return targets


def _is_image(path: Path) -> bool:
    from tlseg_lite.core.errors import DataError

    try:
        check_is_image(path)
    except (DataError, FileNotFoundError):
        return False
    return True


def check_is_image(path: Path) -> None:
    """DataError or FileNotFoundError unless `path` is an image file, by its first bytes."""
    from tlseg_lite.core.errors import DataError, MissingDataError
    from tlseg_lite.data.pixels import layout_of, read_pixels

    if path.is_dir():
        raise DataError(f"{path} is a folder; name the images in it, such as {path}/*.png")
    if not path.is_file():
        raise MissingDataError(f"no image {path}")
    if layout_of(path) is None:
        read_pixels(path)  # says why


def write(probability, mask: Path, more: Path | None, threshold: float = 0.5) -> None:
    """Write a mask (H, W), 255 where `probability` is above `threshold`, and the probabilities."""
    import numpy as np
    from PIL import Image

    from tlseg_lite.core.files import write_atomically
    from tlseg_lite.data.images import write_mask

    def png(path):
        Image.fromarray(np.rint(probability * 65535).astype(np.uint16)).save(path, format="PNG")

    def npy(path):
        with open(path, "wb") as file:
            np.save(file, probability.astype(np.float32))

    write_mask(mask, probability > threshold)
    if more is not None:
        write_atomically(more, npy if more.suffix == ".npy" else png)
