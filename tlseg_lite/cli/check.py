"""``tlseg-lite check``: read all images and masks, and tell what is there and what is wrong."""

from __future__ import annotations

import argparse
from pathlib import Path

from tlseg_lite.cli.options import add_data, dataset_from


def add_parser(commands) -> None:
    """The command's arguments."""
    p = commands.add_parser("check", help="read all images and list every problem")
    p.add_argument(
        "folder",
        type=Path,
        nargs="?",
        metavar="FOLDER",
        help="of images and masks, in the layout of bijie or landslide4sense; or --data",
    )
    add_data(p, required=False)
    p.set_defaults(action=check)


def check(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Print what was found; 1 if there are problems."""
    from tlseg_lite.data.check import inspect

    if (options.folder is None) == (options.data is None):
        parser.error("check takes a FOLDER, or --data")
    if options.folder is not None:
        if options.root is not None:
            parser.error("--root goes with --data; a FOLDER is given")
        datasets = in_folder(options.folder)
    else:
        datasets = [dataset_from(options, parser, 256, 0)]
    problems = 0
    for dataset in datasets:
        report = inspect(dataset, progress=True)
        print(report)
        problems += len(report.problems)
    return 1 if problems else 0


def in_folder(folder: Path) -> list:
    """The datasets in a folder: the parts of Landslide4Sense that are there, or one like Bijie.

    Raises:
        DataError: there is none, or images and masks do not pair up.
    """
    from tlseg_lite.data import Bijie, Landslide4Sense
    from tlseg_lite.data.landslide4sense import PARTS

    parts = [part for part, name in PARTS.items() if (folder / name).is_dir()]
    if parts:
        return [Landslide4Sense(folder, part) for part in parts]
    if (folder / "img").is_dir():
        return [Landslide4Sense(folder)]
    return [Bijie(folder)]
