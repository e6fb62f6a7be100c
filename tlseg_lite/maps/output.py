"""The files of a map: finished rows while it is made, GeoTIFFs and a picture at the end."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np

from tlseg_lite.core.files import write_atomically
from tlseg_lite.data.rasters import CACHE, Raster, opened

NODATA = 255
LEVELS = 254
"""A probability p is stored as round(254 p), so 255 is free for nodata."""
SPREAD = 0.5 / LEVELS
"""Of one level of the uncertainty: a standard deviation of probabilities is at most 0.5."""

MANIFEST, PARTS, CORRECTED = "map.json", "parts", "corrected.tif"
BLOCK = 512  # side of a GeoTIFF's tile
LOOK = 1200  # longest side of the quick look, pixels


class Folder:
    """The output folder of one map: its manifest, and the rows that are finished.

    Args:
        path: a new or empty folder, or one of the same map that was interrupted or is finished.
        about: what the pixels depend on, in plain values.
        restart: replace what is there.

    Raises:
        FileExistsError: it is a file, or holds something else, or corrections that a restart would
            lose.
        ValueError: it holds another map; names what differs.
    """

    def __init__(self, path: Path, about: dict[str, Any], restart: bool):
        self.path, self.about = path, json.loads(json.dumps(about))
        if path.exists() and not path.is_dir():
            raise FileExistsError(f"{path} is a file; give a folder")
        self.parts = path / PARTS
        manifest = path / MANIFEST
        if manifest.is_file() and restart:
            if (path / CORRECTED).is_file():
                raise FileExistsError(
                    f"{path / CORRECTED} holds corrections by hand, and they are not thrown away; "
                    "give another folder, or move that file"
                )
            manifest.unlink()
            shutil.rmtree(self.parts, ignore_errors=True)
            for name in ("probability.tif", "uncertainty.tif"):
                (path / name).unlink(missing_ok=True)
        elif manifest.is_file():
            self._compare(manifest)
        elif path.is_dir() and any(path.iterdir()):
            raise FileExistsError(
                f"{path} holds files that are no map of this command; give a new or empty folder"
            )
        path.mkdir(parents=True, exist_ok=True)
        if not self.finished:
            self.parts.mkdir(exist_ok=True)
        for left_over in [*path.glob(".*.part*"), *self.parts.glob(".*.part*")]:
            left_over.unlink(missing_ok=True)  # of a kill while a file was written
        if not manifest.is_file():
            self.write({})

    def _compare(self, manifest: Path) -> None:
        try:
            known = json.loads(manifest.read_text("utf-8"))["about"]
        except (ValueError, KeyError) as error:
            raise ValueError(
                f"{manifest} is damaged ({error}); give another folder, or restart=True (--restart)"
            ) from error
        if differing := sorted(
            k for k in self.about.keys() | known.keys() if known.get(k) != self.about.get(k)
        ):
            told = ", ".join(
                f"{k} was {_short(known.get(k))}, now {_short(self.about.get(k))}"
                for k in differing
            )
            raise ValueError(
                f"{self.path} holds another map ({told}); give another folder, or restart=True "
                "(--restart) to replace it"
            )

    def write(self, more: dict[str, Any]) -> None:
        """The manifest: what the pixels depend on, and `more`."""
        text = json.dumps({"about": self.about, **more}, indent=1)
        write_atomically(self.path / MANIFEST, lambda t: t.write_text(text, encoding="utf-8"))

    @property
    def finished(self) -> bool:
        """Whether all rows are in place as a GeoTIFF."""
        return (self.path / "probability.tif").is_file()

    def part(self, index: int) -> Path:
        """The file of the pixel rows that are final after window row `index`."""
        return self.parts / f"rows-{index:05d}.npz"

    def done(self) -> int:
        """Window rows whose pixels are finished, counted from above."""
        count = 0
        while self.part(count).is_file():
            count += 1
        return count

    def keep(self, index: int, levels: np.ndarray) -> None:
        """Write finished rows: uint8 (layers, n, width); as `np.savez_compressed`, but fast."""

        def write(temporary: Path) -> None:
            with (
                ZipFile(temporary, "w", ZIP_DEFLATED, compresslevel=1) as archive,
                archive.open("levels.npy", "w") as file,
            ):
                np.lib.format.write_array(file, levels)

        write_atomically(self.part(index), write)

    def rows(self) -> Iterator[np.ndarray]:
        """The finished rows in order, a block of the GeoTIFFs high, the last one lower."""
        waiting: list[np.ndarray] = []
        height = 0
        for index in range(self.done()):
            with np.load(self.part(index)) as file:
                waiting.append(file["levels"])
            height += waiting[-1].shape[1]
            if height >= BLOCK:
                joined = np.concatenate(waiting, 1)
                whole = height - height % BLOCK
                for top in range(0, whole, BLOCK):
                    yield joined[:, top : top + BLOCK]
                waiting, height = [joined[:, whole:].copy()], height - whole
        if height:
            yield np.concatenate(waiting, 1)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 80 else text[:77] + "..."


def check_space(folder: Path, raster: Raster, layers: int) -> None:
    """OSError unless the disk surely has room for the map, before hours are spent on it."""
    if (folder / "probability.tif").is_file():  # it is all there
        return
    wanted = raster.height * raster.width * (1 + 2.4 * layers)  # rows, GeoTIFFs, overviews
    there = next(p for p in [folder, *folder.absolute().parents] if p.is_dir())
    free = shutil.disk_usage(there).free
    if wanted > free:
        raise OSError(
            f"a map of {raster.width} x {raster.height} pixels needs up to {wanted / 1e9:.1f} GB "
            f"in {folder}, and {free / 1e9:.1f} GB are free; give a folder on a larger disk, or a "
            "coarser resolution"
        )


def write_geotiffs(folder: Folder, raster: Raster, tags: dict[str, str], spread: bool) -> None:
    """probability.tif and, with `spread`, uncertainty.tif from the finished rows."""
    kinds = [("uncertainty.tif", "standard deviation of the probability", SPREAD)] * spread
    kinds.append(("probability.tif", "probability of landslide", 1 / LEVELS))  # last: it is done
    for name, words, scale in kinds:
        layer = 1 if name.startswith("uncertainty") else 0
        bands = (levels[layer] for levels in folder.rows())
        write_cog(folder.path / name, bands, raster, tags, words, scale)
    shutil.rmtree(folder.parts)


def write_cog(
    path: Path,
    rows: Iterator[np.ndarray],
    raster: Raster,
    tags: dict[str, str],
    words: str,
    scale: float,
) -> None:
    """A Cloud-Optimized GeoTIFF, uint8 with `NODATA`, from blocks of rows.

    Args:
        path: of the file; written beside it first, so that it is whole or not there.
        rows: uint8 (n, width), from above, each but the last `BLOCK` high.
        raster: the grid.
        tags: metadata.
        words: what the band is.
        scale: a stored value times this is the real one.
    """
    from rasterio.shutil import copy

    plain = path.with_name(f".{path.name}.part-plain.tif")
    try:
        write_plain(plain, rows, raster, tags, words, scale)

        def cog(temporary: Path) -> None:
            with _quietly():
                copy(
                    str(plain),
                    str(temporary),
                    driver="COG",
                    compress="DEFLATE",
                    blocksize=BLOCK,
                    overview_resampling="NEAREST" if scale == 1 else "AVERAGE",
                    bigtiff="IF_SAFER",
                    num_threads="ALL_CPUS",  # to compress with: the bytes are the same
                )

        write_atomically(path, cog)
    finally:
        plain.unlink(missing_ok=True)
        for left in path.parent.glob(f".{path.name}.*.part.*"):
            left.unlink(missing_ok=True)


def write_plain(
    path: Path,
    rows: Iterator[np.ndarray],
    raster: Raster,
    tags: dict[str, str] | None = None,
    words: str = "",
    scale: float = 1.0,
) -> None:
    """A tiled GeoTIFF, uint8 with `NODATA`; arguments as `write_cog`."""
    about = {"driver": "GTiff", "count": 1, "dtype": "uint8", "nodata": NODATA, "zlevel": 1}
    about |= {"height": raster.height, "width": raster.width, "BIGTIFF": "IF_SAFER"}
    about |= {"crs": raster.crs, "transform": raster.transform, "compress": "deflate"}
    about |= {"num_threads": "ALL_CPUS"}
    with opened(path, "w", tiled=True, blockxsize=BLOCK, blockysize=BLOCK, **about) as file:
        top = 0
        for block in rows:
            file.write(block, 1, window=((top, top + len(block)), (0, raster.width)))
            top += len(block)
        file.update_tags(**(tags or {}))
        file.scales, file.offsets = (scale,), (0.0,)
        file.set_band_description(1, words)


@contextmanager
def beside(action: Callable[[], Any]) -> Iterator[None]:
    """Runs `action` in a thread while the body runs; ends when both have, with the error of either.

    Filters of warnings belong to the whole process: those that either sets inside are set around
    both, so that none is missing while the other one ends.
    """
    from rasterio.errors import NotGeoreferencedWarning

    with warnings.catch_warnings(), ThreadPoolExecutor(1) as pool:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        warnings.filterwarnings("ignore", "'crs' was not provided")
        running = pool.submit(action)
        yield
        running.result()


def _quietly():
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    stack = ExitStack()
    stack.enter_context(rasterio.Env(GDAL_CACHEMAX=CACHE))
    stack.enter_context(warnings.catch_warnings())
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    return stack


def mapped_rows(change: Callable[..., np.ndarray], *paths: Path) -> Iterator[np.ndarray]:
    """The rows of the first bands of GeoTIFFs of one grid, a block high, through `change`."""
    with ExitStack() as stack:
        files = [stack.enter_context(opened(path)) for path in paths]
        for top in range(0, files[0].height, BLOCK):
            window = (top, min(top + BLOCK, files[0].height)), (0, files[0].width)
            yield change(*(file.read(1, window=window) for file in files))


def write_mask(folder: Path, raster: Raster, threshold: float, tags: dict[str, str]) -> Path:
    """mask.tif: 1 where the stored probability is above `threshold`, 0 elsewhere, 255 nodata.

    Pixels that corrected.tif decides hold what it says.
    """

    def cut(levels: np.ndarray, decided: np.ndarray | None = None) -> np.ndarray:
        mask = (levels > threshold * LEVELS).astype(np.uint8)
        if decided is not None:
            np.copyto(mask, decided, where=decided != NODATA)
        mask[levels == NODATA] = NODATA
        return mask

    path = folder / "mask.tif"
    decided = [folder / CORRECTED] if (folder / CORRECTED).is_file() else []
    rows = mapped_rows(cut, folder / "probability.tif", *decided)
    tags = tags | {"THRESHOLD": repr(float(threshold))}
    write_cog(path, rows, raster, tags, "landslide: 1, background: 0", 1.0)
    return path


def write_quick_look(folder: Path, raster: Raster, scaling: Any) -> Path:
    """quicklook.png: the scene, and over it the probability from transparent to orange."""
    from PIL import Image
    from rasterio.enums import Resampling

    shrink = max(1.0, max(raster.height, raster.width) / LOOK)
    shape = max(1, int(raster.height / shrink)), max(1, int(raster.width / shrink))
    with opened(raster.path) as source:
        image = source.read(raster.bands, out_shape=shape, resampling=Resampling.average)
    with opened(folder / "probability.tif") as file:
        levels = file.read(1, out_shape=shape, resampling=Resampling.nearest)
    shown = scaling(image)
    chance = np.where(levels == NODATA, 0, levels).astype(np.float32)[None] * (0.75 / LEVELS)
    orange = np.array([0.902, 0.624, 0.0], np.float32)[:, None, None]
    mixed = shown * (1 - chance) + orange * chance
    mixed[:, levels == NODATA] = 1
    pixels = (np.clip(mixed, 0, 1) * 255 + 0.5).astype(np.uint8).transpose(1, 2, 0)
    path = folder / "quicklook.png"
    write_atomically(path, lambda t: Image.fromarray(pixels).save(t, "PNG", compress_level=3))
    return path


def free_name(path: Path) -> str:
    """A file's name without its folder: what may be kept in files that travel."""
    return os.path.basename(str(path))
