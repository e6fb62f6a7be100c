"""Scores of a model on a dataset, and predictions: counted once, at the native resolution."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Subset

from tlseg_lite.core.checks import check_image
from tlseg_lite.core.errors import listing
from tlseg_lite.core.precision import float32_products
from tlseg_lite.core.progress import bar
from tlseg_lite.data.transforms import fit_image, unfit
from tlseg_lite.metrics.confusion import ConfusionMatrix, Scores, confusion
from tlseg_lite.metrics.masks import as_mask
from tlseg_lite.training.memory import is_out_of_memory, too_small

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
        model: logits (B, 1, S, S) from images (B, 3, S, S); evaluated on the device it is on, in
            float32 (no TF32) unless an autocast is on.
        dataset: images and masks at native size; each is fitted to S, predicted, its padding
            dropped, brought back to its size, and cut at logit 0.
        batch_size: images predicted at once, fewer where memory is short; the result does not
            depend on it.
        views: 8: of each image's eight turned and mirrored views, the mean logits count (test-time
            augmentation, eight times the work). Seen from above, no side is up.
        progress: show a bar.

    Raises:
        ValueError: the dataset is empty, `views` is neither 1 nor 8, or an image is not 3xHxW,
            finite and in [0, 1].
        FloatingPointError: the model's logits are not finite.
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

    Samples come without their image. Arguments and errors are those of `evaluate`; that of logits
    that are not finite comes at the end, since to look at each image's would wait for the device.
    """
    if len(dataset) == 0:
        raise ValueError("the dataset is empty: there is nothing to evaluate on")
    loader = _batches(model, dataset, batch_size, views)
    with bar(total=len(dataset), desc="images", show=progress) as shown:
        for pair in answered(model, loader):
            yield pair
            shown.update()


def predict(model: torch.nn.Module, image: torch.Tensor, *, views: int = 1) -> torch.Tensor:
    """Logits (1, h, w) of one image (3, h, w), float in [0, 1], of any size; > 0 is landslide.

    `views` and the errors are as in `evaluate`.
    """
    fitted = _Fitted([{"image": image, "id": "the image given"}], model.image_size, views)
    ((_, logits),) = answered(model, [_together([fitted[0]])])
    return logits


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
    loader = _batches(model, mine, batch_size, workers=workers)
    with accelerator.autocast():
        pairs = answered(model, loader)
        counted = sum((_counted(*pair) for pair in pairs), start=ConfusionMatrix(0, 0, 0, 0))
    counts = torch.tensor(counted.counts(), dtype=torch.float64, device=accelerator.device)
    return ConfusionMatrix(*accelerator.reduce(counts, "sum").tolist()).scores()


class _Fitted(Dataset):
    """Each sample's views as the model's squares (views, 3, S, S), and the sample without image.

    The sample's mask is a bool tensor; ``native_size`` is that of the image.
    """

    def __init__(self, dataset: Dataset, size: int, views: int):
        if views not in (1, 8):
            raise ValueError(
                f"views is {views!r}; expected 1, or 8 for all turned and mirrored views"
            )
        self.dataset, self.size, self.views = dataset, size, views

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[dict[str, Any], torch.Tensor]:
        sample = self.dataset[index]
        image = check_image(sample["image"], sample["id"])
        about = {key: value for key, value in sample.items() if key != "image"}
        for key in ("mask", "valid"):
            if key in about:
                about[key] = as_mask(f"{sample['id']}: {key}", about[key])
        about["native_size"] = tuple(image.shape[-2:])
        seen = (turned(image, *view) for view in VIEWS[: self.views])
        return about, torch.stack([fit_image(view, self.size) for view in seen])


VIEWS = [(turns, mirrored) for turns in range(4) for mirrored in (False, True)]
"""The eight symmetries of the square, plain first."""


def turned(x: torch.Tensor, turns: int, mirrored: bool) -> torch.Tensor:
    """`x` (..., H, W) mirrored left-right, or not, and then turned by quarters."""
    if not turns and not mirrored:  # most often; rot90 would copy
        return x
    return torch.rot90(x.flip(-1) if mirrored else x, turns, (-2, -1))


def turned_back(x: torch.Tensor, turns: int, mirrored: bool) -> torch.Tensor:
    """What `turned` made `x` from."""
    if not turns and not mirrored:
        return x
    back = torch.rot90(x, -turns, (-2, -1))
    return back.flip(-1) if mirrored else back


def _batches(
    model: torch.nn.Module, dataset: Dataset, batch_size: int, views: int = 1, workers: int = 0
) -> DataLoader:
    """Samples in order, prepared by `workers`, in the batches that `answered` takes."""
    return DataLoader(
        _Fitted(dataset, model.image_size, views),
        batch_size,
        collate_fn=_together,
        num_workers=workers,
        pin_memory=_device(model).type == "cuda",
        generator=torch.Generator(),  # else the loader draws from the global one
    )


def _together(items: list[tuple[dict[str, Any], torch.Tensor]]):
    samples, squares = zip(*items, strict=True)
    return list(samples), torch.stack(squares, 1)  # views, B, 3, S, S


def _device(model: torch.nn.Module) -> torch.device:
    return next(model.parameters()).device


def answered(model: torch.nn.Module, batches) -> Iterator[tuple[dict[str, Any], torch.Tensor]]:
    """Each sample and its logits (1, h, w) at native size, the mean over its views, in order.

    Args:
        model: as in `evaluate`.
        batches: pairs of samples, which have an ``id`` and a ``native_size``, and their squares
            float32 (views, B, 3, S, S) in [0, 1], of one view or of all.

    Raises:
        FloatingPointError: after the last one, if some were not finite.
    """
    device, ids, finite = _device(model), [], []
    for samples, squares in batches:
        views = [_logits(model, view.to(device, non_blocking=True)) for view in squares]
        for index, sample in enumerate(samples):
            mean = _mean_of_views([view[index] for view in views], sample["native_size"])
            ids.append(sample["id"])
            finite.append(_finite(mean))
            yield sample, mean
    good = torch.stack(finite).tolist() if finite else []  # one transfer for all
    if bad := [name for name, fine in zip(ids, good, strict=True) if not fine]:
        raise FloatingPointError(_not_finite(model, bad))


def _finite(values: torch.Tensor) -> torch.Tensor:
    """Whether all values are finite, on their device.

    By NumPy on a CPU: two of PyTorch's threads would wait for each other, longest where other
    programs run.
    """
    if values.device.type != "cpu":
        return values.isfinite().all()
    return torch.tensor(bool(np.isfinite(values.numpy()).all()))


def _mean_of_views(logits: list[torch.Tensor], native: tuple[int, int]) -> torch.Tensor:
    if len(logits) == 1:
        return unfit(logits[0], native)
    mean = 0.0
    for view, (turns, mirrored) in zip(logits, VIEWS, strict=True):
        whole = unfit(view, native[::-1] if turns % 2 else native)
        mean = mean + turned_back(whole, turns, mirrored) / 8
    return mean


def _not_finite(model: torch.nn.Module, ids: list[str]) -> str:
    weights = [name for name, value in model.state_dict().items() if not value.isfinite().all()]
    if weights:
        why = f"weights are not finite either ({listing(weights, 3)}): it was saved after a "
        why += "training that diverged, or its file is damaged; train it again with a lower "
        why += "learning_rate"
    else:
        why = "its weights are finite: the numbers overflow; use precision='no'"
    return f"the model's logits are not finite (NaN or infinite) on {listing(ids, 3)}; {why}"


def _counted(sample: dict[str, Any], logits: torch.Tensor) -> ConfusionMatrix:
    truth = (sample[key] for key in ("mask", "valid") if key in sample)
    on_device = (field.to(logits.device, non_blocking=True) for field in truth)
    return confusion(logits > 0, *on_device)


@torch.no_grad()
def _logits(model: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Logits (B, 1, S, S) of images (B, 3, S, S), float32; in halves where memory is short."""
    was_training = model.training
    if any(module.training for module in model.modules()):  # eval() takes as long as a window
        model.eval()
    try:
        with float32_products(images.device, exact=not torch.is_autocast_enabled()):
            return model(images).float()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        reason = str(error).partition("\n")[0]
    finally:
        if was_training:
            model.train()
    from accelerate.utils import release_memory  # seconds to import, and seldom needed

    release_memory()
    if len(images) == 1:
        raise too_small(images.device, model.image_size, "no", reason)
    half = len(images) // 2
    return torch.cat([_logits(model, images[:half]), _logits(model, images[half:])])
