"""``tlseg-lite train``, and what it shares with the other commands: images, recipe, model."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path


def dataset_from(options: argparse.Namespace, parser: argparse.ArgumentParser, size: int):
    """The images of ``--data``, ``--root`` and ``--n``; synthetic ones `size` pixels wide."""
    import tlseg_lite as tl

    if options.data in ("bijie", "landslide4sense"):
        if options.root is None:
            parser.error(f"--data {options.data} needs --root, the folder of the data set")
        kind = tl.data.Bijie if options.data == "bijie" else tl.data.Landslide4Sense
        return kind(options.root)
    if options.data in ("folder", "scene"):
        return _own_data(options, parser)
    if options.root is not None:
        parser.error(f"--root goes with --data bijie or landslide4sense, not {options.data}")
    if options.data == "synthetic":
        return tl.data.SyntheticLandslides(options.n, size=size, seed=options.seed)
    return tl.data.samples(options.data.removesuffix("-samples"))


def _own_data(options: argparse.Namespace, parser: argparse.ArgumentParser):
    """The images of ``--data folder`` (--images, --masks) or ``scene`` (--scene, --polygons)."""
    import tlseg_lite as tl

    first, second = ("images", "masks") if options.data == "folder" else ("scene", "polygons")
    given = [getattr(options, name) for name in (first, second)]
    if None in given:
        parser.error(f"--data {options.data} needs --{first} and --{second}")
    common = {"bands": tuple(options.bands), "scale": options.white}
    if options.data == "folder":
        return tl.data.Folder(*given, **common)
    return tl.data.Chips(
        *given,
        options.chip,
        options.stride,
        True if options.negatives is None else options.negatives,
        resolution=options.ground_resolution,
        seed=options.seed,
        **common,
    )


def recipe_from(options: argparse.Namespace):
    """The recipe of ``--recipe``, with the options that change it."""
    from tlseg_lite.training.recipe import named_recipe

    changes = {
        name: getattr(options, name)
        for name in (
            *("sam", "epochs", "batch_size", "learning_rate", "precision", "workers"),
            *("keep", "micro_batch", "cache", "checkpointing", "compile", "seed"),
        )
        if getattr(options, name, None) is not None
    }
    return replace(named_recipe(options.recipe), **changes)


def model_from(options: argparse.Namespace, parser: argparse.ArgumentParser, recipe):
    """The untrained model of ``--model`` and ``--weights``."""
    import tlseg_lite as tl

    size = tl.sam.variant(recipe.sam).image_size
    baselines = tl.baselines.LAPTOP_ENCODERS
    if options.model in baselines:
        encoder = "paper" if options.recipe == "paper" else None
        return tl.build_baseline(options.model, encoder=encoder, image_size=size, seed=recipe.seed)
    if options.model not in tl.DESIGNS:
        parser.error(
            f"argument --model: unknown model {options.model!r} "
            f"(choose from {', '.join([*tl.DESIGNS, *baselines])})"
        )
    weights = {None: "default", "random": None}.get(options.weights, options.weights)
    sam = tl.load_sam(recipe.sam, weights)
    return tl.TransLandSeg(sam, tl.DESIGNS[options.model], seed=recipe.seed)


def train(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Train, choose on validation, report once on test, write curves and pictures."""
    import tlseg_lite as tl
    from tlseg_lite.core.files import write_atomically

    if options.sam is not None and options.sam not in tl.sam.VARIANTS:
        choices = ", ".join(tl.sam.VARIANTS)
        parser.error(f"argument --sam: unknown variant {options.sam!r} (choose from {choices})")
    main_process = os.environ.get("RANK", "0") == "0"  # set by `accelerate launch`
    recipe = recipe_from(options)
    if options.start is None:
        dataset = dataset_from(options, parser, tl.sam.variant(recipe.sam).image_size)
        name = options.model = options.model or "TransLandSeg"
        model = model_from(options, parser, recipe)
    else:
        name = f"as in {options.start}"
        if options.model is not None or options.weights is not None or options.sam is not None:
            parser.error("--start brings its model along: leave out --model, --sam and --weights")
        model = tl.model.load_model(options.start)
        dataset = dataset_from(options, parser, model.image_size)
    other = None
    if options.average_with is not None:  # before the training: a mistake shows at once
        other = tl.model.load_model(options.average_with)
        if other.description() != model.description():
            parser.error(
                f"--average-with {options.average_with}: it is another kind of model "
                f"({other.description()}) than the one to train ({model.description()})"
            )
    parts = tl.data.split(dataset, (0.7, 0.15, 0.15), seed=options.seed)
    told = tl.preflight(model, parts[0], recipe)  # all processes take the same steps
    if main_process:
        print(
            f"images     {dataset.source}: {', '.join(str(len(p)) for p in parts)} for training, "
            "validation, test"
        )
        print(f"model      {name}: {tl.count_parameters(model)}")
        if recipe.why:
            print(f"chosen     {recipe.why}")
        print(told, flush=True)
    run = tl.fit(
        model,
        parts[0],
        parts[1],
        told.recipe,
        options.out,
        resume=not options.restart,
        progress=not options.quiet,
    )
    if not main_process:
        return
    if other is not None:
        tl.blend(model, other.to(next(model.parameters()).device).trained_state())
    tl.maps.keep_threshold(model, parts[1])  # the map's, from validation
    model.save(run.best if other is None else options.out / "averaged.safetensors")
    scores = tl.evaluate(model, parts[2])
    report = {
        "data": dataset.source,
        "test_ids": parts[2].ids,
        "model": name,
        "start": options.start and str(options.start),
        "average_with": options.average_with and str(options.average_with),
        "recipe": recipe.as_dict(),
        "how": told.recipe.how(),
        "best_epoch": run.best_epoch,
        "validation_miou": run.best_miou,
        "test": scores.as_dict(),
    }
    text = json.dumps(report, indent=1)
    write_atomically(options.out / "scores.json", lambda t: t.write_text(text, encoding="utf-8"))
    _save_figures(model, run, parts[2], options.out)
    chosen = "validation chose" if recipe.keep == "best" else "kept the last,"
    print(
        f"{chosen} epoch {run.best_epoch} (MIoU {run.best_miou:.2%} on validation); "
        f"on the {len(parts[2])} test images:\n{scores}"
    )
    print(
        f"written    {options.out}: best.safetensors, "
        f"{'averaged.safetensors, ' if other is not None else ''}history.csv, curve.png, "
        "predictions.png, scores.json"
    )


def _save_figures(model, run, test, out: Path) -> None:
    import matplotlib
    from matplotlib import pyplot

    from tlseg_lite import plots

    matplotlib.use("Agg")
    for name, figure in (
        ("curve.png", plots.learning_curve(run.history)),
        ("predictions.png", plots.predictions(model, test, n=min(4, len(test)))),
    ):
        figure.savefig(out / name, dpi=150)
        pyplot.close(figure)
