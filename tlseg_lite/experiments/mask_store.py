"""Predicted masks in one small file: the pictures of a comparison, without training again."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np


def add(path: str | Path, masks: Mapping[tuple[str, ...], np.ndarray]) -> None:
    """Put masks into the file, beside those that are there; it is replaced as a whole.

    Args:
        path: an ``.npz`` file; made if it is not there.
        masks: bool (H, W) arrays by key, a tuple of words such as (data, model, diet, image id).

    Raises:
        ValueError: a mask is not a two-dimensional bool array.
    """
    path = Path(path)
    every = read(path)
    for key, mask in masks.items():
        if mask.ndim != 2 or mask.dtype != bool:
            raise ValueError(f"mask {key} is {mask.dtype} {mask.shape}; expected bool (H, W)")
        every[tuple(key)] = mask
    keys = sorted(every)
    index = [[list(key), *every[key].shape] for key in keys]
    bits = np.concatenate([np.packbits(every[key]) for key in keys]) if keys else np.zeros(0, "u1")
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        np.savez_compressed(file, index=np.array(json.dumps(index)), bits=bits)
    os.replace(part, path)


def read(path: str | Path) -> dict[tuple[str, ...], np.ndarray]:
    """All masks of the file, bool (H, W) by key; none if it is not there.

    Raises:
        ValueError: not a file of `add`, or a damaged one.
    """
    path = Path(path)
    if not path.exists():
        return {}
    try:
        with np.load(path, allow_pickle=False) as file:
            index, bits = json.loads(str(file["index"])), file["bits"]
        found, at = {}, 0
        for key, height, width in index:
            size = (height * width + 7) // 8
            flat = np.unpackbits(bits[at : at + size], count=height * width)
            found[tuple(key)] = flat.reshape(height, width).astype(bool)
            at += size
    except (OSError, ValueError, KeyError, EOFError, TypeError) as error:
        raise ValueError(f"{path} holds no masks: {error}; remove it and run again") from error
    return found
