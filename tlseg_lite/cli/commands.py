<<<<<<< HEAD
"""The command ``tlseg-lite``: train, evaluate, map, ablate, synthesize, pretrain, fetch, course."""
=======
"""The command ``tlseg-lite``, and its smaller commands."""
>>>>>>> main

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

<<<<<<< HEAD
from tlseg_lite.cli import map as map_scene
from tlseg_lite.cli.train import dataset_from, recipe_from, train

SOURCES = (
    *("bijie-samples", "landslide4sense-samples", "synthetic", "bijie", "landslide4sense"),
    *("folder", "scene"),
)
=======
from tlseg_lite.cli import check, evaluate, export, predict, train
from tlseg_lite.cli.options import positive, recipe_from, whole
>>>>>>> main


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        the exit status: 0 done, 1 failed, or for `check` problems found, 130 after Ctrl-C, 143
        after SIGTERM. Bad usage exits with 2 (argparse's own).
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    for stream in (sys.stdout, sys.stderr):  # a terminal without the letters of a path
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    options = None
    try:
        with _stopped_by_sigterm():
            parser = build_parser()
            options = parser.parse_args(arguments)
            return options.action(options, parser) or 0
    except KeyboardInterrupt as stop:
        print(f"tlseg-lite: {_interrupted(options, arguments)}", file=sys.stderr)
        return 143 if isinstance(stop, _Terminated) else 130
    except (ValueError, OSError, RuntimeError, ArithmeticError, ImportError) as error:
        # ours, each with a remedy in its text; anything else is a bug and keeps its traceback
        print(f"tlseg-lite: error: {error}", file=sys.stderr)
        return 1


class _Terminated(KeyboardInterrupt):
    """SIGTERM came; whatever is tidied up after Ctrl-C is tidied up."""


@contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """SIGTERM raises `_Terminated` inside."""
    if threading.current_thread() is not threading.main_thread():  # only it may set handlers
        yield
        return

    def stop(number, frame):
        raise _Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def _interrupted(options: argparse.Namespace | None, arguments: Sequence[str]) -> str:
    if not getattr(options, "goes_on", False):
        return f"interrupted. To run it again:\n  {shlex.join(['tlseg-lite', *arguments])}"
    if getattr(options, "restart", False):  # what has been done since is to be kept
        arguments = [a for a in arguments if not (len(a) > 4 and "--restart".startswith(a))]
    return (
        "interrupted; what was finished is saved. To go on:\n"
        f"  {shlex.join(['tlseg-lite', *arguments])}"
    )


def build_parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    parser = argparse.ArgumentParser(
        prog="tlseg-lite", description="Adapt the Segment Anything Model to landslides."
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
<<<<<<< HEAD
    _add_train(commands)
    _add_evaluate(commands)
    map_scene.add_parser(commands)
=======
    for each in (check, train, evaluate, predict, export):
        each.add_parser(commands)
>>>>>>> main
    _add_ablate(commands)
    _add_synthesize(commands)
    _add_pretrain(commands)
    _add_fetch(commands)
    _add_course(commands)
    return parser


<<<<<<< HEAD
def _whole(least: int):
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if value < least:
            raise argparse.ArgumentTypeError(f"{value} is less than {least}")
        return value

    return parse


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", required=True, choices=SOURCES, help="where the images are from")
    parser.add_argument("--root", type=Path, help="folder of the full bijie or landslide4sense")
    own = parser.add_argument_group("own data")
    own.add_argument("--images", type=Path, help="folder: images, paired with --masks by name")
    own.add_argument("--masks", type=Path, help="folder: masks")
    own.add_argument("--scene", type=Path, help="scene: a GeoTIFF that chips are cut from")
    own.add_argument("--polygons", type=Path, help="scene: its landslides, a vector file")
    own.add_argument("--bands", type=int, nargs=3, default=(1, 2, 3), metavar=("R", "G", "B"))
    own.add_argument("--white", type=float, help="value that becomes 1 (else: 255, percentiles)")
    own.add_argument("--chip", type=_whole(8), default=256, help="side, pixels (default 256)")
    own.add_argument("--stride", type=_whole(1), help="from chip to chip (default: its side)")
    own.add_argument("--negatives", type=float, help="chips without a landslide for each with one")
    own.add_argument("--ground-resolution", type=float, help="metres of a pixel of the chips")
    parser.add_argument(
        "--n", type=_whole(3), default=60, help="number of synthetic scenes (default %(default)s)"
    )


def _add_train(commands) -> None:
    from tlseg_lite.training.recipe import CACHES, KEPT, PRECISIONS, RECIPES

    p = commands.add_parser("train", help="train a model and report it on held-out images")
    _add_data(p)
    p.add_argument("--recipe", choices=RECIPES, default="for_this_machine")
    p.add_argument(
        "--model", help="a design of the papers or a baseline (default TransLandSeg, or --start's)"
    )
    p.add_argument("--sam", help="SAM variant instead of the recipe's")
    p.add_argument("--weights", help="the SAM's weights file, or 'random'")
    p.add_argument("--start", type=Path, help="a best.safetensors to go on from, as another run's")
    p.add_argument(
        "--average-with",
        type=Path,
        metavar="MODEL",
        help="another best.safetensors from the same start (same --seed): the test is of the "
        "averaged weights (a model soup), kept in averaged.safetensors",
    )
    p.add_argument("--epochs", type=_whole(1))
    p.add_argument("--batch-size", type=_whole(1))
    p.add_argument("--learning-rate", type=_positive)
    p.add_argument("--precision", choices=PRECISIONS)
    p.add_argument("--keep", choices=KEPT, help="weights of the best epoch on validation, or last")
    p.add_argument("--workers", type=_whole(0), help="processes that read images")
    p.add_argument("--micro-batch", type=_whole(0), help="images at once; 0: as many as fit")
    p.add_argument("--cache", choices=CACHES, help="where decoded images are kept")
    p.add_argument(
        "--checkpointing",
        action="store_const",
        const=True,
        help="far less memory, half as much time again",
    )
    p.add_argument("--compile", action="store_const", const=True, help="use torch.compile")
    p.add_argument("--seed", type=_whole(0), default=0)
    p.add_argument(
        "--out", type=Path, required=True, help="folder of the run; goes on if there is one"
    )
    p.add_argument("--restart", action="store_true", help="replace a run in --out")
    p.add_argument("--quiet", action="store_true", help="no progress bar")
    p.set_defaults(action=train)


def _add_evaluate(commands) -> None:
    p = commands.add_parser("evaluate", help="scores of a saved model")
    p.add_argument("model", type=Path, help="a best.safetensors")
    _add_data(p)
    p.add_argument(
        "--part",
        choices=("all", "train", "validation", "test"),
        default="test",
        help="of the split that train makes with the same --seed (default %(default)s)",
    )
    p.add_argument("--seed", type=_whole(0), default=0)
    p.add_argument("--json", action="store_true", help="print JSON")
    p.set_defaults(action=evaluate)


=======
>>>>>>> main
def _add_ablate(commands) -> None:
    from tlseg_lite.training.recipe import RECIPES

    p = commands.add_parser("ablate", help="a grid of designs and seeds, resumable")
    p.add_argument("--designs", nargs="+", default=["table4"], help="names or groups of designs")
    p.add_argument("--seeds", type=whole(1), default=5, help="number of seeds (default 5)")
    p.add_argument(
        "--data",
        nargs="+",
        default=["synthetic"],
        choices=("synthetic", "synthetic-landslide4sense", "bijie", "landslide4sense", "real"),
        help="synthetic scenes, or real samples in five folds (real: both sets)",
    )
    p.add_argument("--minutes", type=positive, help="start no further run after this time")
    p.add_argument("--recipe", choices=RECIPES, default="laptop")
    p.add_argument("--epochs", type=whole(1))
    p.add_argument("--out", type=Path, required=True, help="CSV file; finished rows are kept")
    p.set_defaults(action=ablate, goes_on=True)


def _add_synthesize(commands) -> None:
    p = commands.add_parser("synthesize", help="write synthetic landslides to disk")
    p.add_argument("out", type=Path, metavar="OUT", help="a new or empty folder")
    p.add_argument("--style", choices=("bijie", "landslide4sense"), default="bijie")
    p.add_argument("--n", type=whole(1), default=100)
    p.add_argument("--size", type=whole(16), help="side in pixels (256; 128 for landslide4sense)")
    p.add_argument("--seed", type=whole(0), default=0)
    p.set_defaults(action=synthesize)


def _add_pretrain(commands) -> None:
    p = commands.add_parser("pretrain", help="make sam_mini's weights")
    p.add_argument(
        "--out", type=Path, required=True, help="folder of the run; goes on if there is one"
    )
    p.add_argument("--minutes", type=positive, required=True, help="how long to train")
    p.add_argument(
        "--start", type=Path, help="weights to begin with instead of random ones; 'shipped': ours"
    )
    p.add_argument(
        "--processes", type=whole(1), default=1, help="side by side on a CPU, a core each"
    )
    p.add_argument("--seed", type=whole(0), help="of weights and pictures")
    p.set_defaults(action=pretrain, goes_on=True)


def _add_fetch(commands) -> None:
    p = commands.add_parser("fetch", help="download sample images or a SAM checkpoint")
    p.add_argument("what", choices=("samples", "vit_b", "vit_l", "vit_h"))
    p.set_defaults(action=fetch)


def _add_course(commands) -> None:
    p = commands.add_parser("course", help="copies of the notebooks for students and teachers")
    p.add_argument("out", type=Path, metavar="OUT", help="a new or empty folder")
    p.add_argument("--notebooks", type=Path, help="their folder (default: the checkout's own)")
    p.set_defaults(action=course)


def ablate(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Run the grid; rows that are already in the CSV are not run again."""
    from tlseg_lite.experiments import ablation

    frame = ablation.run(
        designs=options.designs,
        seeds=range(options.seeds),
        data=options.data,
        recipe=recipe_from(options),
        out=options.out,
        minutes=options.minutes,
    )
    print(ablation.summary(frame).to_string())


def synthesize(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Write synthetic landslides in the layout and format of the real data sets."""
    from tlseg_lite.scenes.export import synthesize as write

    size = options.size or (256 if options.style == "bijie" else 128)
    write(options.out, style=options.style, n=options.n, size=size, seed=options.seed)
    print(f"written    {options.n} scenes in {options.out}")


def pretrain(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Train sam_mini on pictures that are made on the way."""
    from tlseg_lite.pretraining import Plan
    from tlseg_lite.pretraining import pretrain as run

    start, plan = options.start, None
    if options.seed is not None:
        plan = Plan(seed=options.seed) if start is None else Plan.continued(options.seed)
    if start is not None and str(start) == "shipped":
        from tlseg_lite.sam.variants import MINI_WEIGHTS as start
    run(
        options.out,
        minutes=options.minutes,
        start=start,
        plan=plan,
        processes=options.processes,
        resume=True,
    )


def fetch(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Fill the cache, so that everything works without a network later."""
    from tlseg_lite.core import downloads

    if options.what == "samples":
        for name in ("bijie", "landslide4sense"):
            print(downloads.fetch_samples(name))
    else:
        print(downloads.fetch_checkpoint(options.what))


def course(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Write the notebooks without solutions for students, and with them for teachers."""
    from tlseg_lite.exercises import course as write

    files = write(options.out, options.notebooks)
    print(f"written    {len(files)} files in {options.out}: student, instructor, README.md")
