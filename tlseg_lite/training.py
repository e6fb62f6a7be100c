"""Training and evaluation, on Accelerate: one CPU, one GPU or several with the same calls.

A run writes into one folder: ``history.csv`` (a row an epoch), ``best.safetensors`` (the model
with the best validation MIoU) and ``state.pt`` (what a later call needs to go on). Everything
random is drawn from (seed, epoch), so an interrupted run that goes on ends with the same weights
as one that was never interrupted.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from tlseg_lite.data.transforms import Augment, Prepared, fit_square, unfit
from tlseg_lite.files import write_atomically
from tlseg_lite.losses import bce_dice
from tlseg_lite.metrics import ConfusionMatrix, Scores, confusion
from tlseg_lite.progress import bar
from tlseg_lite.recipes import Recipe
from tlseg_lite.sam import CheckpointError

if TYPE_CHECKING:
    import pandas as pd
    from accelerate import Accelerator

__all__ = ["Preflight", "Recipe", "Run", "evaluate", "fit", "predict", "preflight"]


@dataclass(frozen=True)
class Run:
    """What `fit` leaves: the folder, the learning curve, and the epoch that validation chose."""

    out: Path
    history: pd.DataFrame
    best_epoch: int
    best_miou: float

    @property
    def best(self) -> Path:
        """The saved model of the best epoch."""
        return self.out / "best.safetensors"


def fit(
    model: torch.nn.Module,
    train: Dataset,
    val: Dataset,
    recipe: Recipe,
    out: str | Path,
    *,
    resume: bool = True,
    progress: bool = True,
) -> Run:
    """Train `model`, choose the epoch with the best validation MIoU, leave those weights in it.

    Args:
        model: a `TransLandSeg` or a model of `build_baseline`.
        train: training images at native size (the contract of `tlseg_lite.data`).
        val: images that choose the epoch; never the ones that are reported on.
        recipe: the settings.
        out: folder of the run; made if it is not there.
        resume: go on where a run in `out` stopped; False: start anew and replace it.
        progress: show a bar.

    Returns:
        the run; `history` has a row an epoch: loss, learning_rate, the validation scores
        (fractions), seconds.

    Raises:
        ValueError: an empty dataset, or a run in `out` with other settings.
        CheckpointError: the state in `out` cannot be read.
        FloatingPointError: the loss is no longer a finite number.
    """
    _check_datasets(train, val)
    out = Path(out)
    accelerator = _accelerator(recipe.precision)
    data = Prepared(train, model.image_size, Augment() if recipe.augment else None, recipe.seed)
    loader = DataLoader(
        data,
        recipe.batch_size,
        sampler=EpochOrder(len(data), recipe.seed),
        num_workers=recipe.workers,
    )
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(
        parameters, recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    model, optimiser, loader = accelerator.prepare(model, optimiser, loader)
    plain = accelerator.unwrap_model(model)
    state = _State(out, plain, optimiser, recipe, accelerator)
    start = state.restore() if resume else 0
    with bar(range(start, recipe.epochs), desc="epochs", show=progress) as epochs:
        for epoch in epochs:
            began = time.perf_counter()
            data.set_epoch(epoch)
            loader.set_epoch(epoch)  # Accelerate's loader passes it on to `EpochOrder`
            loss = _train_epoch(accelerator, model, parameters, optimiser, loader, recipe, epoch)
            scores = _scores(plain, val, recipe.batch_size, accelerator)
            row = {
                "epoch": epoch,
                "loss": loss,
                "learning_rate": optimiser.param_groups[0]["lr"],
                **{name: getattr(scores, name) for name in _HISTORY_SCORES},
                "seconds": round(time.perf_counter() - began, 3),
            }
            state.finish_epoch(row)
            epochs.set_postfix(loss=f"{loss:.3f}", miou=f"{scores.miou:.3f}")
    return state.close()


_HISTORY_SCORES = (
    "miou",
    "landslide_iou",
    "landslide_f1",
    "precision",
    "recall",
    "f1",
    "oa",
)


def _train_epoch(accelerator, model, parameters, optimiser, loader, recipe, epoch) -> float:
    """One pass over the training images; the mean loss of an image."""
    torch.manual_seed(recipe.seed * 1_000_003 + epoch)  # for models with dropout
    model.train()
    total = torch.zeros(2, device=accelerator.device)  # sum of losses, images
    steps = len(loader)
    for step, batch in enumerate(loader):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(recipe, epoch * steps + step, recipe.epochs * steps)
        with accelerator.autocast():
            logits = model(batch["image"])
        loss = bce_dice(logits, batch["mask"], batch["valid"], dice_weight=recipe.dice_weight)
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"the loss is {loss.item()} in epoch {epoch}; lower learning_rate "
                f"(now {recipe.learning_rate}) or use precision='no' (now {recipe.precision!r})"
            )
        optimiser.zero_grad(set_to_none=True)
        accelerator.backward(loss)
        if recipe.clip:
            accelerator.clip_grad_norm_(parameters, recipe.clip)
        optimiser.step()
        images = len(batch["image"])
        total += torch.stack([loss.detach() * images, loss.new_tensor(images)])
    total = accelerator.reduce(total, "sum")
    return (total[0] / total[1]).item()


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """Linear warm-up, then a cosine down to zero, at 0-based `step` of `steps`."""
    warm = int(recipe.warmup * steps)
    if step < warm:
        return recipe.learning_rate * (step + 1) / (warm + 1)
    done = (step - warm) / max(1, steps - warm)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


class EpochOrder(Sampler[int]):
    """A random order of n images that depends on (seed, epoch) only."""

    def __init__(self, n: int, seed: int):
        self.n, self.seed, self.epoch = n, seed, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.n

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        return iter(torch.randperm(self.n, generator=generator).tolist())


class _State:
    """The files of one run: written after each epoch, read when the run goes on."""

    def __init__(self, out: Path, model, optimiser, recipe: Recipe, accelerator: Accelerator):
        self.out, self.model, self.optimiser, self.recipe = out, model, optimiser, recipe
        self.accelerator = accelerator
        self.rows: list[dict[str, Any]] = []
        self.path = out / "state.pt"

    def restore(self) -> int:
        """Load the state if there is one; the number of finished epochs."""
        if not self.path.is_file():
            return 0
        try:
            saved = torch.load(self.path, map_location="cpu", weights_only=True)
            about, rows = saved["about"], saved["rows"]
        except Exception as error:  # torch raises many kinds here
            raise CheckpointError(
                f"{self.path} cannot be read ({type(error).__name__}); delete it to start anew, "
                f"or use {self.out / 'best.safetensors'}"
            ) from error
        wanted = _plain(self._about())
        if differing := sorted(k for k in wanted if about.get(k) != wanted[k]):
            told = ", ".join(f"{k} was {about.get(k)!r}, now {wanted[k]!r}" for k in differing)
            raise ValueError(
                f"{self.out} holds a run with other settings ({told}); "
                "choose another folder, or resume=False to replace it"
            )
        self.model.load_trained_state(saved["model"], self.path)
        self.optimiser.load_state_dict(saved["optimiser"])
        if self.accelerator.scaler is not None and saved["scaler"]:
            self.accelerator.scaler.load_state_dict(saved["scaler"])
        self.rows = rows
        return len(rows)

    def _about(self) -> dict[str, Any]:
        recipe = self.recipe.as_dict()
        del recipe["epochs"], recipe["workers"]  # may change without making it another run
        return {**recipe, **self.model.description()}

    def finish_epoch(self, row: dict[str, Any]) -> None:
        """Record an epoch; write the best model first, then the state, then the curve."""
        self.rows.append(row)
        if not self.accelerator.is_main_process:
            return
        if row["epoch"] == self._best()["epoch"]:
            self.model.save(self.out / "best.safetensors")
        scaler = self.accelerator.scaler
        state = {
            "about": _plain(self._about()),
            "rows": self.rows,
            "model": self.model.trained_state(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": scaler.state_dict() if scaler is not None else None,
        }
        write_atomically(self.path, lambda temporary: torch.save(state, temporary))
        history = self.history()
        write_atomically(self.out / "history.csv", lambda t: history.to_csv(t, index=False))

    def _best(self) -> dict[str, Any]:
        return max(self.rows, key=lambda row: row["miou"])  # the first of equals

    def history(self) -> pd.DataFrame:
        import pandas as pd

        return pd.DataFrame(self.rows)

    def close(self) -> Run:
        self.accelerator.wait_for_everyone()
        run = Run(self.out, self.history(), self._best()["epoch"], self._best()["miou"])
        saved = type(self.model).load_tensors(run.best)
        self.model.load_trained_state(saved, run.best)
        self.model.eval()
        return run


def _plain(value: Any) -> Any:
    """Tuples as lists, all the way down, as they come back from a file."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value


def evaluate(
    model: torch.nn.Module,
    dataset: Dataset,
    *,
    batch_size: int = 4,
    progress: bool = False,
) -> Scores:
    """Scores of `model` on all images of `dataset`, counted once at their native resolution.

    Args:
        model: logits (B, 1, S, S) from images (B, 3, S, S); evaluated on the device it is on.
        dataset: images and masks at native size; each is fitted to S, predicted, its padding
            dropped, brought back to its size, and cut at logit 0.
        batch_size: images predicted at once; the result does not depend on it.
        progress: show a bar.

    Raises:
        ValueError: the dataset is empty.
    """
    if len(dataset) == 0:
        raise ValueError("the dataset is empty: there is nothing to evaluate on")
    indices = bar(range(len(dataset)), desc="images", show=progress)
    return sum(_confusions(model, dataset, indices, batch_size)).scores()


def _confusions(
    model: torch.nn.Module, dataset: Dataset, indices: Iterable[int], batch_size: int
) -> Iterator[ConfusionMatrix]:
    """The confusion matrix of each image, in order."""
    waiting: list[dict[str, Any]] = []
    for index in indices:
        waiting.append(dataset[index])
        if len(waiting) == batch_size:
            yield from _count_batch(model, waiting)
            waiting = []
    if waiting:
        yield from _count_batch(model, waiting)


def _count_batch(model, samples: list[dict[str, Any]]) -> Iterator[ConfusionMatrix]:
    for sample, logits in zip(samples, _predict_batch(model, samples), strict=True):
        yield confusion(logits > 0, sample["mask"].to(logits.device))


@torch.no_grad()
def _predict_batch(model, samples: list[dict[str, Any]]) -> list[torch.Tensor]:
    """Logits of each sample at its native size, (1, h, w)."""
    device = next(model.parameters()).device
    fitted = [fit_square(sample, model.image_size) for sample in samples]
    was_training = model.training
    model.eval()
    logits = model(torch.stack([f["image"] for f in fitted]).to(device)).float()
    model.train(was_training)
    return [
        unfit(each, tuple(f["native_size"].tolist()))
        for each, f in zip(logits, fitted, strict=True)
    ]


def predict(model: torch.nn.Module, image: torch.Tensor) -> torch.Tensor:
    """Logits (1, h, w) of one image (3, h, w), float in [0, 1], of any size; > 0 is landslide."""
    if image.ndim != 3 or image.shape[0] != 3:
        raise ValueError(f"image has shape {tuple(image.shape)}, expected (3, height, width)")
    mask = torch.zeros(1, *image.shape[1:])
    return _predict_batch(model, [{"image": image, "mask": mask, "id": "image"}])[0]


def _scores(model, dataset, batch_size, accelerator: Accelerator) -> Scores:
    """`evaluate`, each process counting its share of the images, every image once."""
    mine = range(accelerator.process_index, len(dataset), accelerator.num_processes)
    with accelerator.autocast():
        counted = sum(
            _confusions(model, dataset, mine, batch_size),
            start=ConfusionMatrix(0, 0, 0, 0),
        )
    counts = torch.tensor(counted.counts(), dtype=torch.float64, device=accelerator.device)
    return ConfusionMatrix(*accelerator.reduce(counts, "sum").tolist()).scores()


def _accelerator(precision: str) -> Accelerator:
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState
    from accelerate.utils import DistributedDataParallelKwargs

    # Accelerate keeps the first precision of a process for good; a notebook may well use two.
    if AcceleratorState._shared_state and AcceleratorState().mixed_precision != precision:
        AcceleratorState._reset_state()
    # Parts of SAM's decoder (the masks for ambiguous prompts, the IoU head) get no gradient here.
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    return Accelerator(mixed_precision=precision, kwargs_handlers=[unused])


def _check_datasets(train: Dataset, val: Dataset) -> None:
    for name, dataset in (("training", train), ("validation", val)):
        if len(dataset) == 0:
            raise ValueError(f"the {name} dataset is empty")
    both = set(getattr(train, "ids", ())) & set(getattr(val, "ids", ()))
    if both:
        warnings.warn(
            f"{len(both)} images are in the training and in the validation set "
            f"({', '.join(sorted(both)[:3])}): the validation scores will be too good. "
            "tlseg_lite.data.split makes disjoint sets",
            stacklevel=3,
        )


@dataclass(frozen=True)
class Preflight:
    """What a run on this machine will take; `print` shows it."""

    device: str
    recipe: Recipe
    images: int
    seconds_per_step: float
    minutes: float
    trainable: int

    def __str__(self) -> str:
        r = self.recipe
        return (
            f"device     {self.device}\n"
            f"recipe     {r.sam}, {r.epochs} epochs of {self.images} images, "
            f"batch {r.batch_size}, precision {r.precision}\n"
            f"trainable  {self.trainable:,} parameters\n"
            f"step       {self.seconds_per_step:.2f} s\n"
            f"expected   {self.minutes:.1f} minutes, plus validation"
        )


def preflight(model: torch.nn.Module, train: Dataset, recipe: Recipe) -> Preflight:
    """Time two training steps (weights unchanged) and tell what the whole run will take."""
    _check_datasets(train, [None])
    accelerator = _accelerator(recipe.precision)
    model.to(accelerator.device).train()
    data = Prepared(train, model.image_size, Augment() if recipe.augment else None, recipe.seed)
    take = [data[i % len(data)] for i in range(recipe.batch_size)]
    images = torch.stack([t["image"] for t in take]).to(accelerator.device)
    masks = torch.stack([t["mask"] for t in take]).to(accelerator.device)
    times = []
    for _ in range(2):
        began = time.perf_counter()
        with accelerator.autocast():
            loss = bce_dice(model(images), masks, dice_weight=recipe.dice_weight)
        loss.backward()
        times.append(time.perf_counter() - began + 0 * loss.item())
    model.zero_grad(set_to_none=True)
    model.eval()
    steps = math.ceil(len(train) / recipe.batch_size) * recipe.epochs
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return Preflight(
        str(accelerator.device), recipe, len(train), times[-1], steps * times[-1] / 60, trainable
    )
