"""Synthetic scenes on disk, in the layout and file format of Bijie and of Landslide4Sense."""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from tlseg_lite.core.progress import bar
from tlseg_lite.scenes.palettes import DIVISORS
from tlseg_lite.scenes.synthetic import STYLES, Scene, SyntheticLandslides

BIJIE = "Bijie-landslide-dataset"
FEW = 64  # fewer scenes are written before a second process has started
NOTE = "synthetic.json"  # states that these are no real images, and how to make them again


def synthesize(
    out: str | Path,
    style: str = "bijie",
    n: int = 100,
    size: int | None = None,
    seed: int = 0,
    progress: bool = True,
    workers: int = 2,
) -> Path:
    """Write ``n`` synthetic scenes so that the readers of the real datasets read them.

    "bijie": ``Bijie-landslide-dataset/landslide/{image,mask,dem}/dfNNN.png`` and, for scenes
    without a landslide, ``non-landslide/{image,dem}``: 8-bit RGB, masks of 0 and 255, 16-bit
    heights in decimetres. "landslide4sense": ``TrainData/img/image_N.h5`` (``img``, float64,
    128 x 128 x 14, raw value / divisor) and ``TrainData/mask/mask_N.h5`` (``mask``, uint8, 0/1).
    A scene's number is its index + 1. ``synthetic.json`` states how they were made.

    Args:
        out: a new or empty folder.
        style: "bijie" or "landslide4sense".
        n: number of scenes, at least 1.
        size: side in pixels; None: native sizes. Landslide4Sense has 128 only.
        seed: 0 or larger.
        progress: show a bar.
        workers: processes; below `FEW` scenes one is enough and is used.

    Returns:
        ``out``, for `tlseg_lite.data.Bijie` or `Landslide4Sense`.

    Raises:
        FileExistsError: if ``out`` is a file or holds anything.
        ValueError: for a number out of range, an unknown style, or another size than 128 for
            Landslide4Sense.
    """
    out = Path(out).expanduser()
    if style == "landslide4sense":
        if size not in (None, 128):
            raise ValueError(
                f"size={size}: Landslide4Sense patches have 128 x 128 pixels; leave size out"
            )
        size = None
    SyntheticLandslides(n, size, seed, style)  # checks the arguments before anything is written
    if workers < 1:
        raise ValueError(f"workers={workers}: expected at least 1")
    if out.exists() and not out.is_dir():
        raise FileExistsError(f"{out} is a file; give a new or empty folder")
    if out.is_dir() and any(out.iterdir()):
        raise FileExistsError(f"{out} is not empty; give a new or empty folder, or empty this one")
    landslide4sense = [out / "TrainData" / name for name in ("img", "mask")]
    bijie = [out / BIJIE / "landslide" / name for name in ("image", "mask", "dem")]
    for folder in landslide4sense if style == "landslide4sense" else bijie:
        folder.mkdir(parents=True, exist_ok=True)
    jobs = [(out, style, n, size, seed, i) for i in range(n)]
    shown = {"total": n, "show": progress, "desc": f"writing {style} scenes", "unit": "scene"}
    if workers == 1 or n < FEW:
        for job in bar(jobs, **shown):
            _write(job)
    else:
        # spawn: a process with threads must not be forked
        with ProcessPoolExecutor(workers, get_context("spawn"), _one_thread) as pool:
            for _ in bar(pool.map(_write, jobs, chunksize=8), **shown):
                pass
    note = {"what": "synthetic scenes, not real images", "style": style, "n": n, "seed": seed}
    (out / NOTE).write_text(json.dumps({**note, "size": size}, indent=2) + "\n")
    return out


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def _write(job: tuple) -> None:
    out, style, n, size, seed, i = job
    dataset = SyntheticLandslides(n, size, seed, style)
    scene = dataset.scene(i)
    if style == STYLES[1]:
        _write_landslide4sense(out, i + 1, scene)
    else:
        _write_bijie(out / BIJIE, i + 1, dataset, scene)


def _write_bijie(root: Path, number: int, dataset: SyntheticLandslides, scene: Scene) -> None:
    from PIL import Image

    sample = dataset.finish(scene, number - 1)
    image = (sample["image"].permute(1, 2, 0).numpy() * 255 + 0.5).astype(np.uint8)
    mask = sample["mask"][0].numpy() > 0
    h, w = mask.shape
    height = Image.fromarray(scene.height.astype(np.float32))
    height = np.asarray(height.resize((w, h), Image.Resampling.BILINEAR))
    decimetres = np.clip(10 * (height - height.min() + 800), 0, 65535).astype(np.uint16)
    part = root / ("landslide" if mask.any() else "non-landslide")
    for name in ("image", "dem"):
        (part / name).mkdir(parents=True, exist_ok=True)
    name = f"df{number:03d}.png"
    Image.fromarray(image).save(part / "image" / name)
    Image.fromarray(decimetres).save(part / "dem" / name)
    if mask.any():
        Image.fromarray(mask.astype(np.uint8) * 255).save(part / "mask" / name)


def _write_landslide4sense(out: Path, number: int, scene: Scene) -> None:
    import h5py

    stored = scene.bands.astype(np.float64).transpose(1, 2, 0) / DIVISORS
    with h5py.File(out / "TrainData" / "img" / f"image_{number}.h5", "w") as file:
        file.create_dataset("img", data=stored)
    with h5py.File(out / "TrainData" / "mask" / f"mask_{number}.h5", "w") as file:
        file.create_dataset("mask", data=scene.label.astype(np.uint8))
