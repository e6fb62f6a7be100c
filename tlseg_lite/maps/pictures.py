"""Masks of pictures without a coordinate system: the short way, for files of any size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tlseg_lite.core.files import write_atomically
from tlseg_lite.core.progress import bar
from tlseg_lite.data.images import read_image
from tlseg_lite.training.evaluation import predict


def predict_pictures(
    model: torch.nn.Module,
    images: Sequence[str | Path],
    out: str | Path,
    *,
    threshold: float | None = None,
    views: int = 1,
    progress: bool = True,
) -> list[dict[str, Any]]:
    """Write ``NAME_mask.png`` (0, 255) and ``NAME_probability.png`` (round(255 p)) of each image.

    Each image is seen as a whole, as in `tlseg_lite.evaluate`; for a scene that is much larger
    than the training images take `predict_scene`.

    Args:
        model: a trained model.
        images: 8-bit RGB files with names of their own.
        out: folder; made if it is not there.
        threshold: probability above which is landslide; None: the model's own, else 0.5.
        views: 8: the mean over all turned and mirrored views.
        progress: show a bar.

    Returns:
        for each image its ``id`` and ``landslide_share``, in [0, 1].

    Raises:
        ValueError: two images have the same name, or there is none.
        DataError: an image cannot be read.
    """
    from PIL import Image

    from tlseg_lite.maps.threshold import threshold_of

    paths = [Path(path) for path in images]
    if not paths or len({path.stem for path in paths}) < len(paths):
        raise ValueError("expected one or more images, no two of them with the same name")
    cut, found = threshold_of(model, threshold), []
    for path in bar(paths, desc="images", show=progress):
        chance = predict(model, read_image(path), views=views).sigmoid()[0].cpu().numpy()
        mask = chance > cut
        for name, pixels in (("mask", mask * 255.0), ("probability", chance * 255)):
            picture = Image.fromarray(np.rint(pixels).astype(np.uint8))
            target = Path(out) / f"{path.stem}_{name}.png"
            write_atomically(target, lambda t, p=picture: p.save(t, "PNG"))
        found.append({"id": path.stem, "landslide_share": float(mask.mean())})
    return found
