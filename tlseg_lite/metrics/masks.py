"""What counts as a mask: arrays from outside become bool arrays here, or an error says why not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tlseg_lite.core.checks import binary_mask
from tlseg_lite.core.errors import DataError
from tlseg_lite.core.tensors import is_bool, is_tensor, to_numpy, zero_where_not

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

    Array = np.ndarray | torch.Tensor


def as_masks(
    prediction: Array, target: Array, valid: Array | None, threshold: float | None
) -> tuple[Array, Array, Array | None]:
    """Prediction, target and valid as bool arrays of one shape, checked.

    Arguments, returns and errors as ``tlseg_lite.metrics.confusion`` documents them. Only values
    that are not bool are looked at, which waits for the device.
    """
    given = {"prediction": prediction, "target": target}
    if valid is not None:
        given["valid"] = valid
    tensors = [name for name, array in given.items() if is_tensor(array)]
    if tensors and len(tensors) < len(given):
        other = next(name for name in given if name not in tensors)
        raise TypeError(
            f"{tensors[0]} is a torch tensor and {other} is {type(given[other]).__name__}: give "
            "both as tensors (torch.as_tensor) or both as arrays (tensor.cpu().numpy())"
        )
    if not tensors:
        given = {name: np.asarray(array) for name, array in given.items()}
    shape = tuple(given["prediction"].shape)
    for name, array in given.items():
        if tuple(array.shape) != shape:
            raise ValueError(
                f"{name} has shape {tuple(array.shape)}, prediction has {shape}: they must be "
                "equal. Add a channel with [:, None], or bring the prediction back to the mask's "
                "size with tlseg_lite.data.transforms.unfit"
            )
        if tensors and array.device != given["prediction"].device:
            raise ValueError(
                f"{name} is on {array.device}, prediction on {given['prediction'].device}: "
                f"move one of them with .to({str(given['prediction'].device)!r})"
            )
    if threshold is None:
        p = as_mask("prediction", given["prediction"])
    else:
        p = _above(given["prediction"], threshold)
    if valid is None:
        return p, as_mask("target", given["target"]), None
    v, t = as_mask("valid", given["valid"]), given["target"]
    if not is_bool(t):  # what is not counted may hold any value
        t = zero_where_not(v, t)
    return p, as_mask("target", t), v


def _is_float(array: Array) -> bool:
    if is_tensor(array):
        return array.is_floating_point()
    return np.issubdtype(array.dtype, np.floating)


def _above(scores: Array, threshold: float) -> Array:
    if not _is_float(scores):
        raise TypeError(
            f"threshold={threshold} needs float scores, but prediction is {scores.dtype}: "
            "leave threshold out for a mask"
        )
    if bool((scores != scores).any()):
        raise ValueError("prediction holds NaN: look at the model's output before scoring it")
    return scores > threshold


def as_mask(name: str, array: Array) -> Array:
    """A bool array from bool, all 0 / 1, or all 0 / 255 (``valid``: bool or 0 / 1)."""
    if name == "valid" and not is_bool(array) and bool((array > 1).any()):
        raise DataError(
            f"valid has values up to {array.max().item():g}; expected only 0 and 1, or bool: "
            "binarise it first, e.g. (valid > 0)"
        )
    if name == "prediction" and _is_float(array) and not bool(((array == 0) | (array == 1)).all()):
        raise DataError(
            f"prediction has values from {array.min().item():g} to {array.max().item():g} that "
            "are not only 0 and 1: give threshold= (0 for logits, 0.5 for probabilities)"
        )
    return binary_mask(array, name, remedy="give valid=(target != 255), which leaves them out")[0]


def as_images(
    prediction: Array, target: Array, valid: Array | None, threshold: float | None
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
    """Each image of (H, W), (B, H, W) or (B, 1, H, W) as checked bool numpy arrays (H, W)."""
    arrays = as_masks(prediction, target, valid, threshold)
    p, t, v = (to_numpy(a) for a in arrays)
    if p.ndim < 2:
        raise ValueError(f"prediction has shape {p.shape}, expected (H, W) or a batch of them")
    flat = [None if a is None else a.reshape(-1, *a.shape[-2:]) for a in (p, t, v)]
    for index in range(len(flat[0])):
        yield flat[0][index], flat[1][index], None if flat[2] is None else flat[2][index]


def as_scored_images(
    logits: Any, targets: Any, valids: Any
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each image of a batch or list: float64 scores (N,) and bool truth (N,), valid ones."""
    if len(logits) != len(targets) or (valids is not None and len(valids) != len(logits)):
        raise ValueError(
            f"{len(logits)} images of logits, {len(targets)} masks"
            f"{'' if valids is None else f', {len(valids)} valid masks'}: expected equal numbers"
        )
    if not len(logits):
        raise ValueError("no image given")
    for index in range(len(logits)):
        valid = None if valids is None else valids[index]
        _, truth, inside = as_masks(logits[index], targets[index], valid, 0.0)
        truth, inside, values = to_numpy(truth), to_numpy(inside), logits[index]
        if is_tensor(values):
            values = to_numpy(values.double())
        values = np.asarray(values, dtype=float)
        keep = slice(None) if inside is None else inside.ravel()
        yield values.ravel()[keep], truth.ravel()[keep]
