"""Training and evaluation, on Accelerate: one CPU, one GPU or several with the same calls.

A run writes into one folder: ``history.csv`` (a row an epoch), ``best.safetensors`` (the model
with the best validation MIoU, or the last one), ``state.pt`` (what a later call needs to go on) and
``previous.pt`` (the same, an epoch before). Everything random is drawn from (seed, epoch, step),
so an interrupted run that goes on ends with the same weights as one that was never interrupted.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import Dataset

from tlseg_lite.core.progress import bar
from tlseg_lite.core.seeding import derived_seed
from tlseg_lite.core.trainable import check_trainable
from tlseg_lite.data.base import what_it_shows
from tlseg_lite.data.cache import cached
from tlseg_lite.training.evaluation import evaluate, predict, shared_scores
from tlseg_lite.training.identity import identity
from tlseg_lite.training.loader import TrainingBatches, check_datasets
from tlseg_lite.training.preflight import Preflight, preflight
from tlseg_lite.training.recipe import Recipe
from tlseg_lite.training.run_state import Run, RunState
from tlseg_lite.training.step import (
    TrainingStep,
    accelerator_for,
    diverging,
    learning_rate,
    optimizer_for,
    use_options,
)
from tlseg_lite.training.weight_averaging import MovingAverage

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Preflight", "Recipe", "Run", "evaluate", "fit", "predict", "preflight"]


def fit(
    model: torch.nn.Module,
    train: Dataset,
    val: Dataset,
    recipe: Recipe,
    out: str | Path,
    *,
    test: Dataset | None = None,
    resume: bool = True,
    extend: bool = False,
    progress: bool = True,
    watch: Callable[[pd.DataFrame], object] | None = None,
) -> Run:
    """Train `model`, choose the epoch with the best validation MIoU, leave those weights in it.

    With ``recipe.keep = "last"`` the last epoch's weights stay, and validation only watches. With
    ``recipe.ema`` the weights that are validated and stay are the moving average of the steps.

    Under ``accelerate launch`` with several processes the result is that of one process: each
    batch is divided among them. Where memory is short, it goes through the model in pieces.

    Args:
        model: a `TransLandSeg`, a model of `build_baseline` or a `Trainable` of your own.
        train: training images at native size (the contract of `tlseg_lite.data`).
        val: images that choose the epoch; never the ones that are reported on.
        recipe: the settings.
        out: folder of the run; made if it is not there.
        test: images that the model will be tested on; they are noted in the run and not looked at.
        resume: go on where a run in `out` stopped; False: start anew and replace it.
        extend: go on with a run that was planned for fewer epochs; the learning rate's cosine is
            stretched over the new number.
        progress: show a bar.
        watch: called with the history so far after each epoch, on the main process, for example to
            draw the learning curve while it grows.

    Afterwards the model is on the device that it was trained on, and with it the encoder that it
    shares with its `sam`.

    Returns:
        the run; `history` has a row an epoch: loss, learning_rate, the validation scores
        (fractions), micro_batch (images at once on a process), seconds, and of these waiting
        (seconds in which training waited for images).

    Raises:
        TypeError: the model is not of the form of `Trainable`.
        ValueError: an empty dataset, an image that is not 3xHxW, finite and in [0, 1], fewer images
            in a batch than processes, another run in `out` (settings, images or model differ), or
            an environment variable that would change the result.
        RuntimeError: another process trains in `out`.
        CheckpointError: the state in `out` cannot be read; the one before it is kept.
        OSError: the disk is full; the state before is kept.
        NotEnoughMemory: not even one image at a time fits.
        FloatingPointError: the loss, or a logit on a validation image, is no longer finite.
    """
    check_trainable(model)
    check_datasets(train, val)
    out = Path(out)
    about = identity(recipe, model, train, val, test)
    accelerator = accelerator_for(recipe)
    batches = TrainingBatches(train, model.image_size, recipe, accelerator)
    val = cached(val, recipe.cache, None, recipe.workers)
    model.to(accelerator.device)
    model.trained_on = what_it_shows(train)
    optimizer = accelerator.prepare(optimizer_for(model, recipe))
    state = RunState(out, model, optimizer, recipe, accelerator, about)
    with state.held():
        start = state.restore(resume, extend)
        step = TrainingStep(model, optimizer, recipe, accelerator, state.micro_batch)
        shown = bar(
            range(start, recipe.epochs),
            desc="epochs",
            show=progress and accelerator.is_main_process,
        )
        with use_options(model, recipe, accelerator.device), shown as epochs:
            for epoch in epochs:
                row = _run_epoch(step, batches, val, epoch, state.average)
                state.micro_batch = step.micro_batch
                state.finish_epoch(row)
                if watch is not None and accelerator.is_main_process:
                    watch(state.history())
                epochs.set_postfix(loss=f"{row['loss']:.3f}", miou=f"{row['miou']:.3f}")
        return state.close()


def _run_epoch(
    step: TrainingStep, batches: TrainingBatches, val: Dataset, epoch: int, average: MovingAverage
) -> dict[str, Any]:
    """Train on all images once and validate; a row of the history."""
    began = time.perf_counter()
    loss, waiting = _train_epoch(step, batches, epoch, average)
    step.share_statistics(average)
    accelerator, workers = step.accelerator, step.recipe.workers
    with average.in_model():
        scores = shared_scores(step.model, val, step.micro_batch, accelerator, workers)
    return {
        "epoch": epoch,
        "loss": loss,
        "learning_rate": step.optimizer.param_groups[0]["lr"],
        **{name: getattr(scores, name) for name in _HISTORY_SCORES},
        "micro_batch": step.micro_batch,
        "seconds": round(time.perf_counter() - began, 3),
        "waiting": round(waiting, 3),
    }


_HISTORY_SCORES = (
    "miou",
    "landslide_iou",
    "landslide_f1",
    "precision",
    "recall",
    "f1",
    "oa",
)


def _train_epoch(
    step: TrainingStep, batches: TrainingBatches, epoch: int, average: MovingAverage
) -> tuple[float, float]:
    """One pass over the training images: the mean loss of an image, seconds without images."""
    from accelerate.utils import send_to_device

    accelerator, recipe = step.accelerator, step.recipe
    step.model.train()
    total, waiting, steps = torch.zeros((), device=accelerator.device), 0.0, len(batches)
    began = time.perf_counter()
    for index, (batch, images) in enumerate(batches.epoch(epoch)):
        batch = send_to_device(batch, accelerator.device, non_blocking=True)
        waiting += time.perf_counter() - began
        for group in step.optimizer.param_groups:
            group["lr"] = learning_rate(recipe, epoch * steps + index, recipe.epochs * steps)
        try:
            total += step(batch, images, derived_seed(recipe.seed, epoch, index))
        except FloatingPointError as error:
            raise FloatingPointError(f"epoch {epoch}, step {index}: {error}") from None
        average.update()
        began = time.perf_counter()
    loss = (accelerator.reduce(total, "sum") / batches.images).item()
    if not math.isfinite(loss):  # on a GPU, where no step waits for it
        raise FloatingPointError(f"epoch {epoch}: {diverging(loss, recipe)}")
    return loss, waiting
