"""Scores of a model on a dataset, and predictions: counted once, at the native resolution."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader, Dataset, Subset

from tlseg_lite.core.progress import bar
from tlseg_lite.data.transforms import fit_square, unfit
from tlseg_lite.metrics.confusion import ConfusionMatrix, Scores, confusion
from tlseg_lite.training.memory import free_memory, is_out_of_memory, too_small

if TYPE_CHECKING:
    from accelerate import Accelerator

__all__ = ["evaluate", "predict"]


def evaluate(
    model: torch.nn.Module,
    dataset: Dataset,
    *,
    batch_size: int = 4,
    views: int = 1,
    progress: bool = False,
) -> Scores:
    """Scores of `model` on all images of `dataset`, counted once at their native resolution.

    Args:
        model: logits (B, 1, S, S) from images (B, 3, S, S); evaluated on the device it is on.
        dataset: images and masks at native size; each is fitted to S, predicted, its padding
            dropped, brought back to its size, and cut at logit 0.
        batch_size: images predicted at once, fewer where memory is short; the result does not
            depend on it.
        views: 8: of each image's eight turned and mirrored views, the mean logits count (test-time
            augmentation, eight times the work). Seen from above, no side is up.
        progress: show a bar.

    Raises:
        ValueError: the dataset is empty, or `views` is neither 1 nor 8.
        NotEnoughMemory: not even one image at a time fits.
    """
    pairs = answers(model, dataset, batch_size, views, progress)
    return sum(_counted(*pair) for pair in pairs).scores()


def answers(
    model: torch.nn.Module,
    dataset: Dataset,
    batch_size: int = 4,
    views: int = 1,
    progress: bool = False,
) -> Iterator[tuple[dict[str, Any], torch.Tensor]]:
    """What `evaluate` counts: each sample of `dataset` in order, and its logits (1, h, w).

    Arguments and errors are those of `evaluate`.
    """
    if len(dataset) == 0:
        raise ValueError("the dataset is empty: there is nothing to evaluate on")
    indices = bar(range(len(dataset)), desc="images", show=progress)
    yield from _in_batches(model, (dataset[index] for index in indices), batch_size, views)


def predict(model: torch.nn.Module, image: torch.Tensor, *, views: int = 1) -> torch.Tensor:
    """Logits (1, h, w) of one image (3, h, w), float in [0, 1], of any size; > 0 is landslide.

    `views` is as in `evaluate`.
    """
    if image.ndim != 3 or image.shape[0] != 3:
        raise ValueError(f"image has shape {tuple(image.shape)}, expected (3, height, width)")
    mask = torch.zeros(1, *image.shape[1:])
    return _predict_views(model, [{"image": image, "mask": mask, "id": "image"}], views)[0]


def shared_scores(
    model: torch.nn.Module,
    dataset: Dataset,
    batch_size: int,
    accelerator: Accelerator,
    workers: int = 0,
) -> Scores:
    """`evaluate`, each process counting its share of the images, every image once."""
    mine = Subset(
        dataset, range(accelerator.process_index, len(dataset), accelerator.num_processes)
    )
    samples = DataLoader(mine, batch_size=None, collate_fn=_as_it_is, num_workers=workers)
    with accelerator.autocast():
        pairs = _in_batches(model, samples, batch_size)
        counted = sum((_counted(*pair) for pair in pairs), start=ConfusionMatrix(0, 0, 0, 0))
    counts = torch.tensor(counted.counts(), dtype=torch.float64, device=accelerator.device)
    return ConfusionMatrix(*accelerator.reduce(counts, "sum").tolist()).scores()


def _as_it_is(sample: dict[str, Any]) -> dict[str, Any]:
    return sample


def _in_batches(
    model: torch.nn.Module, samples: Iterable[dict[str, Any]], batch_size: int, views: int = 1
) -> Iterator[tuple[dict[str, Any], torch.Tensor]]:
    """Each sample and its logits, in order."""
    waiting: list[dict[str, Any]] = []
    for sample in samples:
        waiting.append(sample)
        if len(waiting) == batch_size:
            yield from zip(waiting, _predict_views(model, waiting, views), strict=True)
            waiting = []
    if waiting:
        yield from zip(waiting, _predict_views(model, waiting, views), strict=True)


def _counted(sample: dict[str, Any], logits: torch.Tensor) -> ConfusionMatrix:
    return confusion(logits > 0, sample["mask"].to(logits.device))


def _predict_views(model, samples: list[dict[str, Any]], views: int) -> list[torch.Tensor]:
    """`_predict_batch`, or the mean of its answers to the eight symmetries of the square."""
    if views == 1:
        return _predict_batch(model, samples)
    if views != 8:
        raise ValueError(f"views is {views!r}; expected 1, or 8 for all turned and mirrored views")
    means = [0.0] * len(samples)
    for turns in range(4):
        for mirrored in (False, True):

            def seen(x, turns=turns, mirrored=mirrored):
                return torch.rot90(x.flip(-1) if mirrored else x, turns, (-2, -1))

            turned = [{**s, "image": seen(s["image"]), "mask": seen(s["mask"])} for s in samples]
            for k, logits in enumerate(_predict_batch(model, turned)):
                back = torch.rot90(logits, -turns, (-2, -1))
                means[k] = means[k] + (back.flip(-1) if mirrored else back) / 8
    return means


@torch.no_grad()
def _predict_batch(model, samples: list[dict[str, Any]]) -> list[torch.Tensor]:
    """Logits of each sample at its native size, (1, h, w); in halves where memory is short."""
    device = next(model.parameters()).device
    fitted = [fit_square(sample, model.image_size) for sample in samples]
    was_training = model.training
    model.eval()
    try:
        logits = model(torch.stack([f["image"] for f in fitted]).to(device)).float()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        logits, reason = None, str(error).partition("\n")[0]
    finally:
        model.train(was_training)
    if logits is None:
        free_memory()
        if len(samples) == 1:
            raise too_small(device, model.image_size, "no", reason)
        half = len(samples) // 2
        return _predict_batch(model, samples[:half]) + _predict_batch(model, samples[half:])
    return [
        unfit(each, tuple(f["native_size"].tolist()))
        for each, f in zip(logits, fitted, strict=True)
    ]
