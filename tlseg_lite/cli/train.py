"""``tlseg-lite train``: train, choose on validation, report once on test, if one is kept."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from tlseg_lite.cli.options import (
    ROUNDS,
    add_data,
    add_weights,
    dataset_from,
    divide,
    model_from,
    positive,
    recipe_from,
    saved_model,
    share,
    whole,
)

FULLY_CHECKED = 200
"""Up to so many images are all read before a training; of more, every n-th one, about half."""


def add_parser(commands) -> None:
    """The command's arguments."""
    p = commands.add_parser("train", help="train a model and report it on held-out images")
    add_data(p)
    p.add_argument(
        "--no-test",
        action="store_true",
        help="keep no images for a test: 85 %% train and 15 %% validate, for a model that is "
        "tested on other images",
    )
    _add_model(p)
    _add_recipe(p)
    p.add_argument(
        "--out", type=Path, required=True, help="folder of the run; goes on if there is one"
    )
    p.add_argument("--restart", action="store_true", help="replace a run in --out")
    p.add_argument(
        "--extend",
        action="store_true",
        help="go on with a run in --out that was planned for fewer epochs; the learning rate's "
        "cosine is stretched over all of them",
    )
    p.add_argument("--quiet", action="store_true", help="no progress bar")
    p.set_defaults(action=train, goes_on=True)


def _add_model(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--model", help="a design of the papers or a baseline (default TransLandSeg, or --start's)"
    )
    p.add_argument("--sam", help="SAM variant instead of the recipe's")
    add_weights(p)
    p.add_argument(
        "--start", type=Path, help="a run's folder or a best.safetensors to go on from, in --out"
    )
    p.add_argument(
        "--average-with",
        type=Path,
        metavar="MODEL",
        help="another run or best.safetensors from the same start (same --seed): the test is of "
        "the averaged weights (a model soup), kept in averaged.safetensors",
    )


def _add_recipe(p: argparse.ArgumentParser) -> None:
    from tlseg_lite.training.recipe import AUGMENTATIONS, CACHES, KEPT, PRECISIONS, RECIPES

    p.add_argument("--recipe", choices=RECIPES, default="for_this_machine")
    p.add_argument("--epochs", type=whole(1))
    p.add_argument("--batch-size", type=whole(1))
    p.add_argument("--learning-rate", type=positive)
    p.add_argument("--precision", choices=PRECISIONS)
    p.add_argument(
        "--augment",
        choices=AUGMENTATIONS,
        help="changes of the training images: all, flips and quarter turns alone, or none",
    )
    p.add_argument("--keep", choices=KEPT, help="weights of the best epoch on validation, or last")
    p.add_argument(
        "--ema",
        type=share,
        metavar="DECAY",
        help="keep a moving average of the weights over the steps, with this decay (0.99 is about "
        "the last hundred steps)",
    )
    p.add_argument(
        "--prompts",
        action="store_true",
        help="a model that keeps SAM's prompts: each step answers without one, then corrective "
        "clicks on its own errors",
    )
    p.add_argument(
        "--clicks", type=whole(1), help=f"with --prompts: rounds of clicks a step ({ROUNDS})"
    )
    p.add_argument("--workers", type=whole(0), help="processes that read images")
    p.add_argument("--micro-batch", type=whole(0), help="images at once; 0: as many as fit")
    p.add_argument("--cache", choices=CACHES, help="where decoded images are kept")
    p.add_argument(
        "--checkpointing",
        action="store_const",
        const=True,
        help="far less memory, half as much time again",
    )
    p.add_argument("--compile", action="store_const", const=True, help="use torch.compile")
    p.add_argument("--seed", type=whole(0), default=0)


def train(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Train, choose on validation, report once on test, write curves and figures."""
    import tlseg_lite as tl

    if options.sam is not None and options.sam not in tl.sam.VARIANTS:
        choices = ", ".join(tl.sam.VARIANTS)
        parser.error(f"argument --sam: unknown variant {options.sam!r} (choose from {choices})")
    if options.clicks and not options.prompts:
        parser.error("argument --clicks: goes with --prompts")
    if options.no_test and options.test_regions:
        parser.error("argument --no-test: --test-regions names a test; leave one of them out")
    main_process = os.environ.get("RANK", "0") == "0"  # set by `accelerate launch`
    recipe = recipe_from(options)
    model, name = _start(options, parser, recipe)
    other = _other(options, parser, model)  # before the training: a mistake shows at once
    dataset = dataset_from(options, parser, model.image_size, options.seed)
    checked = check_quickly(dataset)
    parts = divide(dataset, options, options.seed)
    recipe = recipe_from(options, len(parts[0]))  # the laptop's goes by the number of images
    measured = tl.preflight(model, parts[0], recipe)  # all processes take the same steps
    if main_process:
        numbers = ", ".join(str(len(part or ())) for part in parts)
        print(f"images     {dataset.source}: {numbers} for training, validation, test{checked}")
        print(f"model      {name}: {tl.count_parameters(model)}")
        if recipe.why:
            print(f"chosen     {recipe.why}")
        print(measured, flush=True)
    run = tl.fit(
        model,
        parts[0],
        parts[1],
        measured.recipe,
        options.out,
        test=parts[2],
        resume=not options.restart,
        extend=options.extend,
        progress=not options.quiet,
    )
    if main_process:
        if other is not None:
            _average(model, other)
        tl.maps.keep_threshold(model, parts[1])  # of maps: chosen on validation
        model.save(run.best if other is None else options.out / "averaged.safetensors")
        about = {
            "data": dataset.source,
            "test_ids": [] if parts[2] is None else parts[2].ids,
            "model": name,
            "start": options.start and str(options.start),
            "average_with": options.average_with and str(options.average_with),
            "recipe": recipe.as_dict(),
            "how": measured.recipe.how(),
        }
        _report(model, run, parts[1:], recipe, about)


def _start(options: argparse.Namespace, parser: argparse.ArgumentParser, recipe):
    """The model to train, and its name in words."""

    if options.start is None:
        options.model = options.model or "TransLandSeg"
        return model_from(options, parser, recipe), options.model
    if options.model is not None or options.sam is not None:
        parser.error("--start brings its model along: leave out --model and --sam")
    model = saved_model(options.start, options.weights)
    if recipe.clicks and not getattr(model, "prompts", False):
        parser.error(f"argument --prompts: the model of {options.start} takes none")
    return model, f"as in {options.start}"


def _other(options: argparse.Namespace, parser: argparse.ArgumentParser, model):
    """The model of ``--average-with``; None without."""
    from tlseg_lite.training.identity import differences

    if options.average_with is None:
        return None
    other = saved_model(options.average_with, options.weights)
    one, two = ({"model": each.description()} for each in (other, model))
    if differing := differences(one, two):
        parser.error(
            f"--average-with {options.average_with}: it is another kind of model than the one to "
            f"train ({'; '.join(differing)})"
        )
    return other


def check_quickly(dataset) -> str:
    """Read the images, or some of many, before a training; what was read, in words.

    Raises:
        DataError: lists what cannot be used.
    """
    from tlseg_lite.core.errors import DataError
    from tlseg_lite.data import Subset

    if not dataset.files(0):  # synthetic scenes
        return ""
    every = -(-len(dataset) // FULLY_CHECKED)
    some = Subset(dataset, range(0, len(dataset), every))
    try:
        some.check()
    except DataError as error:
        raise DataError(f"{error}\n`tlseg-lite check` reads all images") from error
    return "" if every == 1 else f"; {len(some)} of them were read beforehand"


def _average(model, other) -> None:
    """Average the weights with those of `other`."""
    import tlseg_lite as tl
    from tlseg_lite.training.identity import joined

    tl.blend(model, other.to(next(model.parameters()).device).trained_state())
    model.run = joined(model.run, other.run)


def _report(model, run, parts, recipe, about: dict) -> None:
    """Score the test images, write ``scores.json`` and the figures, and print it all.

    `parts`: validation and test images; without a test (None) the figure shows the former.
    """
    import tlseg_lite as tl
    from tlseg_lite.core.files import write_atomically

    val, test = parts
    scores = None if test is None else tl.evaluate(model, test)
    about |= {
        "best_epoch": run.best_epoch,
        "validation_miou": run.best_miou,
        "test": scores and scores.as_dict(),
    }
    text = json.dumps(about, indent=1)
    write_atomically(run.out / "scores.json", lambda t: t.write_text(text, encoding="utf-8"))
    _save_figures(model, run, val if test is None else test)
    chosen = "validation chose" if recipe.keep == "best" else "kept the last,"
    if test is None:
        tested = "no images were kept for a test; `tlseg-lite evaluate --part all` scores others"
    else:
        tested = f"on the {len(test)} test images:\n{scores}"
    print(f"{chosen} epoch {run.best_epoch} (MIoU {run.best_miou:.2%} on validation); {tested}")
    averaged = "averaged.safetensors, " if about["average_with"] else ""
    print(
        f"written    {run.out}: best.safetensors, {averaged}history.csv, curve.png, "
        "predictions.png, scores.json"
    )


def _save_figures(model, run, shown) -> None:
    import matplotlib
    from matplotlib import pyplot

    from tlseg_lite import plots
    from tlseg_lite.core.files import write_atomically

    matplotlib.use("Agg")
    for name, figure in (
        ("curve.png", plots.learning_curve(run.history)),
        ("predictions.png", plots.predictions(model, shown, n=min(4, len(shown)))),
    ):
        path = run.out / name
        write_atomically(path, lambda t, f=figure: f.savefig(t, dpi=150, format="png"))
        pyplot.close(figure)
