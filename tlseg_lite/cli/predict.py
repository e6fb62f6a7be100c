"""``tlseg-lite predict``: masks of image files."""

from __future__ import annotations

import argparse
import unicodedata
from pathlib import Path

from tlseg_lite.cli.options import add_weights, on_device, saved_model


def add_parser(commands) -> None:
    """The command's arguments."""
    p = commands.add_parser("predict", help="masks of image files by a saved model")
    p.add_argument("model", type=Path, metavar="MODEL", help="a run's folder or a best.safetensors")
    p.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="RGB images of any size")
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
    add_weights(p)
    p.set_defaults(action=predict)


def predict(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Write a mask for each image; nothing is written if one of them is none."""
    import tlseg_lite as tl
    from tlseg_lite.data import read_image

    targets = targets_of(options.images, options.out, options.probability)
    for image in options.images:
        check_is_image(image)
    model = on_device(saved_model(options.model, options.weights))
    for image in options.images:
        probability = tl.predict(model, read_image(image)).sigmoid()[0].cpu().numpy()
        write(probability, *targets[image])
    print(f"written    {len(targets)} masks in {options.out}")


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


def write(probability, mask: Path, more: Path | None) -> None:
    """Write a mask (H, W), 255 where `probability` is above 0.5, and the probabilities."""
    import numpy as np
    from PIL import Image

    from tlseg_lite.core.files import write_atomically
    from tlseg_lite.data.images import write_mask

    def png(path):
        Image.fromarray(np.rint(probability * 65535).astype(np.uint16)).save(path, format="PNG")

    def npy(path):
        with open(path, "wb") as file:
            np.save(file, probability.astype(np.float32))

    write_mask(mask, probability > 0.5)
    if more is not None:
        write_atomically(more, npy if more.suffix == ".npy" else png)
