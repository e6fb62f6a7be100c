"""The command ``tlseg-lite``, and its smaller commands."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tlseg_lite.cli import check, evaluate, export, predict, train
from tlseg_lite.cli import map as map_scene
from tlseg_lite.cli.options import positive, recipe_from, whole


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
    for each in (check, train, evaluate, predict, map_scene, export):
        each.add_parser(commands)
    _add_ablate(commands)
    _add_synthesize(commands)
    _add_pretrain(commands)
    _add_fetch(commands)
    _add_course(commands)
    return parser


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
    """Write synthetic landslides in the layout and format of the real datasets."""
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
