"""A landslide map of a scene of any size: windows, blended, resumable; then polygons."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tlseg_lite.core.errors import DataError
from tlseg_lite.core.progress import bar, say
from tlseg_lite.core.provenance import provenance
from tlseg_lite.data.rasters import Raster, scaling_of
from tlseg_lite.data.scaling import Scaling
from tlseg_lite.maps.cluster import predictor
from tlseg_lite.maps.job import Job, tasks
from tlseg_lite.maps.output import (
    LEVELS,
    NODATA,
    SPREAD,
    Folder,
    beside,
    check_space,
    free_name,
    write_geotiffs,
    write_mask,
    write_quick_look,
)
from tlseg_lite.maps.polygons import write_polygons
from tlseg_lite.maps.threshold import threshold_of
from tlseg_lite.maps.windows import Blend, Windows
from tlseg_lite.maps.zonal import check_dem


@dataclass(frozen=True)
class Map:
    """What `predict_scene` leaves in its folder.

    Attributes:
        folder: the folder.
        threshold: the probability above which is landslide.
        resolution: metres of a pixel of the map; None where nobody knows.
        windows: number of windows.
        polygons: number of landslides in landslides.gpkg.
        notes: what was assumed or chosen, in words.
    """

    folder: Path
    threshold: float
    resolution: float | None
    windows: int
    polygons: int
    notes: list[str] = field(default_factory=list)

    @property
    def probability(self) -> Path:
        """The probability, a Cloud-Optimized GeoTIFF of uint8, times 1/254; 255 is nodata."""
        return self.folder / "probability.tif"

    @property
    def mask(self) -> Path:
        """1 landslide, 0 background, 255 nodata."""
        return self.folder / "mask.tif"

    @property
    def landslides(self) -> Path:
        """The polygons, a GeoPackage with its style for QGIS."""
        return self.folder / "landslides.gpkg"

    @property
    def footprint(self) -> Path:
        """Where the scene has data, one polygon in a GeoPackage."""
        return self.folder / "footprint.gpkg"


def predict_scene(
    model: torch.nn.Module | Sequence[torch.nn.Module],
    scene: str | Path,
    out: str | Path,
    overlap: float = 0.5,
    workers: int | None = None,
    scheduler: str | None = None,
    *,
    bands: Sequence[int] | None = None,
    scale: Any = None,
    resolution: float | None = None,
    pixel_size: float | None = None,
    nodata: float | None = None,
    threshold: float | None = None,
    min_area: float = 0.0,
    simplify: float | None = None,
    views: int = 1,
    uncertainty: bool = False,
    dem: str | Path | None = None,
    batch_size: int = 8,
    restart: bool = False,
    progress: bool = True,
) -> Map:
    """Map the landslides of `scene` with `model`; everything goes into the folder `out`.

    Windows of the width that the model learned from are read one after another, predicted with
    overlap and blended with smooth weights (`maps.windows`). Memory follows the width of the
    scene, not its area. Stopped at any moment, the same call goes on after the last finished row of
    windows.

    The files are the same to the bit whatever the batch size, the order or interruptions on a CPU,
    and with any number of workers that have as many threads as this process. Another number of
    threads, or another batch size on a GPU, may round a probability to the next of its 255 levels.

    Args:
        model: a trained model, or several: their mean logits count.
        scene: a raster file with a coordinate system, or without one.
        out: a new or empty folder, or that of the same map.
        overlap: share of a window that its neighbour covers again, 0 to below 1.
        workers: processes on this machine (a Dask cluster of one thread each); None: this one.
        scheduler: address of a Dask scheduler to use instead.
        bands: red, green, blue in the file, from 1; None: those of the training, else (1, 2, 3).
        scale: how values become [0, 1] (`data.scaling`); None: as in the training, else 8 bits
            / 255, else percentiles of the scene.
        resolution: metres of a pixel of the model's input; None: those of its training. A finer
            scene is read at it, a coarser one keeps its pixels.
        pixel_size: metres of a pixel of a scene that has no system to say it.
        nodata: a value that means "nothing here", beside what the file says.
        threshold: probability above which is landslide, in (0, 1); None: the model's own
            (`keep_threshold`), else 0.5.
        min_area: smaller polygons are left out, square metres.
        simplify: how far an outline may move, metres; None: half a pixel.
        views: 8: the mean over all turned and mirrored views of a window.
        uncertainty: also write uncertainty.tif, the spread over views and models.
        dem: a raster of heights; polygons get slope and elevation.
        batch_size: windows read and handed out at once, rounded up to fours. A GPU predicts them
            together, a CPU four by four.
        restart: replace another map in `out`.
        progress: show a bar with the remaining time.

    Returns:
        a `Map`: probability.tif, mask.tif, landslides.gpkg, footprint.gpkg, quicklook.png and, on
        request, uncertainty.tif.

    Raises:
        ValueError: an argument out of range, or `out` holds another map.
        DataError: the scene cannot be used, or has no valid pixel.
        FileExistsError: `out` holds other files.
        OSError: the disk is too small, or no scheduler answers.
    """
    models = list(model) if isinstance(model, Sequence) else [model]
    if not models or any(not hasattr(m, "image_size") for m in models):
        raise ValueError("expected one or more models with image_size, such as load_model gives")
    cut = threshold_of(models[0], threshold)
    _check(models, views, uncertainty, batch_size, min_area, simplify)

    def before_hours(raster: Raster) -> None:
        check_space(Path(out), raster, 2 if uncertainty else 1)
        if dem is not None:
            check_dem(dem, raster)

    raster, scaling, side, notes = plan(
        *(models[0], scene, bands, scale, resolution, pixel_size, nodata), before_hours
    )
    windows = Windows.of(raster.height, raster.width, side, overlap)
    job = Job(raster, scaling, windows, views, uncertainty)
    folder = Folder(Path(out), _about(models, job, overlap), restart)
    for note in notes:
        say(note)
    if not folder.finished:
        with predictor(models, job, workers, scheduler) as predict:
            _predict_rows(job, folder, predict, batch_size, progress)
        _refuse_empty(folder, raster)
        write_geotiffs(folder, raster, _tags(models, job, overlap), uncertainty)
    tags = _tags(models, job, overlap)
    settings = {
        "min_area": min_area,
        "simplify": simplify,
        "fields": {"scene": tags["SCENE"], "model": tags["MODEL"]},
    }
    with beside(partial(write_quick_look, folder.path, raster, scaling)):
        write_mask(folder.path, raster, cut, tags)
        number = write_polygons(folder.path, raster, dem=dem, **settings)
    count = len(windows.rows) * len(windows.columns)
    known = {"tags": tags, "threshold": cut, "polygons": number, "notes": notes}
    folder.write(known | {"polygon_settings": settings})
    return Map(folder.path, cut, raster.resolution, count, number, notes)


def _check(models, views, uncertainty, batch_size, min_area, simplify) -> None:
    if views not in (1, 8):
        raise ValueError(f"views is {views!r}; expected 1, or 8 for all turned and mirrored views")
    if uncertainty and views * len(models) == 1:
        raise ValueError("uncertainty is a spread: give views=8, or several models")
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size is {batch_size!r}; expected a positive whole number")
    for name, value in (("min_area", min_area), ("simplify", simplify)):
        if value is not None and not 0 <= value < math.inf:
            raise ValueError(f"{name} is {value}; expected 0 or more")


def plan(model, scene, bands, scale, resolution, pixel_size, nodata, check=None):
    """The scene on the map's grid, its scaling, the side of a window there, what was assumed.

    `check` gets the scene before any of it is read.
    """
    known, notes = getattr(model, "trained_on", {}), []
    learned = known.get("scaling") and Scaling.from_dict(known["scaling"])
    bands = tuple(bands or (learned.bands if learned else (1, 2, 3)))
    if len(bands) != 3:
        raise ValueError(f"bands are {bands}; the models take three, for red, green and blue")
    wanted = resolution
    if wanted is None and known.get("ground_width"):
        wanted = known["ground_width"] / model.image_size
    raster = Raster(scene, bands, wanted, pixel_size, nodata)
    if check is not None:
        check(raster)
    side = model.image_size
    if wanted is None:
        has = "unknown" if raster.resolution is None else f"{raster.resolution:.3g} m"
        notes.append(
            "the model does not know the ground resolution that it learned from: the scene is "
            f"read at its own ({has}); resolution= says another"
        )
    elif raster.resolution is None:
        notes.append(
            f"{free_name(raster.path)} has no coordinate system: a pixel is taken for {wanted:g} "
            "m, as in the training; pixel_size= says another"
        )
        raster.resolution = wanted
    else:
        side = max(8, round(wanted * model.image_size / raster.resolution))
    if scale is None and learned:
        scale = learned
        if raster.dtype == "uint8" and max(learned.high) > 255:
            raise DataError(
                f"{raster.path} has 8 bits, and the model learned from values up to "
                f"{max(learned.high):g}; give the scene as it was in the training, or scale="
            )
    scaling = scaling_of(raster, scale)
    if scale is None and raster.dtype != "uint8":
        notes.append(f"values become 0 to 1 by percentiles of the scene: {scaling}")
    return raster, scaling, side, notes


def _predict_rows(job: Job, folder: Folder, predict, batch_size: int, progress: bool) -> None:
    """Predict the window rows that are missing, and keep the pixels that they finish."""
    windows, done = job.windows, folder.done()
    starts, across = windows.rows, len(windows.columns)
    if done == len(starts):
        return
    # window rows above that reach into the pixels that are missing are needed again
    first = next(r for r, start in enumerate(starts) if start + windows.side > starts[done])
    blend = Blend(windows, job.layers, top=starts[first])
    todo = (t for row in range(first, len(starts)) for t in tasks(windows, row, batch_size))
    shown = bar(
        total=len(starts) * across,
        initial=done * across,
        desc="windows",
        unit="window",
        show=progress,
    )
    with shown:
        index, left = first, across
        for task, answers in predict(todo):
            for answer in answers:
                if answer.values is not None:
                    blend.add(task.row, answer.column, answer.values, answer.valid)
            left -= len(task.columns)
            if left == 0:
                values, there = blend.take(windows.finished(index)[1])
                if index >= done:
                    folder.keep(index, _levels(values, there))
                    shown.update(across)
                index, left = index + 1, across


def _levels(values: np.ndarray, there: np.ndarray) -> np.ndarray:
    """uint8 (layers, n, width): probabilities and spreads as stored."""
    levels = np.full(values.shape, NODATA, np.uint8)
    for top in range(0, values.shape[1], 8):  # float64 of a few rows at a time
        part = np.s_[top : top + 8]
        chance = 1 / (1 + np.exp(-values[0, part].astype(np.float64)))
        layers = [np.rint(chance * LEVELS)]
        if len(values) > 1:
            layers.append(np.rint(np.sqrt(values[1, part]) / SPREAD))
        for layer, found in zip(levels, layers, strict=True):
            np.copyto(layer[part], found, where=there[part], casting="unsafe")
    return levels


def _refuse_empty(folder: Folder, raster: Raster) -> None:
    if all((levels[0] == NODATA).all() for levels in folder.rows()):
        raise DataError(
            f"{raster.path} has no valid pixel in bands {raster.bands}: all is nodata; look at "
            "the file's nodata value and at its bands"
        )


def _about(models, job: Job, overlap: float) -> dict[str, Any]:
    """What the pixels of the map depend on."""
    raster, path = job.raster, Path(job.raster.path)
    size = path.stat().st_size if path.is_file() else None
    return {
        "scene": free_name(raster.path),
        "scene_bytes": size,
        "grid": [raster.height, raster.width, *tuple(raster.transform)[:6]],
        "crs": raster.crs and raster.crs.to_wkt(),
        "models": [_fingerprint(m) for m in models],
        "scaling": job.scaling.as_dict(),
        "nodata": raster.nodata,
        "side": job.windows.side,
        "overlap": overlap,
        "views": job.views,
        "uncertainty": job.spread,
    }


def _fingerprint(model: torch.nn.Module) -> str:
    state = model.trained_state() if hasattr(model, "trained_state") else model.state_dict()
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _tags(models, job: Job, overlap: float) -> dict[str, str]:
    """Provenance, for the GeoTIFFs and the polygons."""
    names = [f"{type(m).__name__} {_fingerprint(m)[:12]}" for m in models]
    made = provenance()
    return {
        "SCENE": free_name(job.raster.path),
        "MODEL": ", ".join(names),
        "BANDS": ", ".join(map(str, job.scaling.bands)),
        "SCALING": str(job.scaling),
        "OVERLAP": f"{overlap:g}",
        "VIEWS": str(job.views),
        "RESOLUTION_M": "" if job.raster.resolution is None else f"{job.raster.resolution:.6g}",
        "TIFFTAG_SOFTWARE": f"tlseg-lite {made['version']}",
        "COMMIT": made["commit"],
        "FINISHED": made["finished"],
    }
