"""Scenes: rasters of any size, read window by window in square pixels of a ground resolution."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from math import hypot
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlseg_lite.core.errors import DataError, MissingDataError
from tlseg_lite.data.scaling import SAMPLE, Scaling, scaling_for, thinned

if TYPE_CHECKING:
    import pyproj
    from rasterio import DatasetReader

SAME = 0.01  # resolutions that differ by less than this share are the same
CACHE = 64 * 2**20  # bytes of GDAL's own cache, which is else a share of the machine's memory


def need_maps() -> None:
    """ImportError with the remedy unless rasterio and geopandas can be imported."""
    try:
        import geopandas  # noqa: F401
        import rasterio  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"{error.name} is needed for scenes and polygons: pip install 'tlseg-lite[maps]'"
        ) from error


@contextmanager
def opened(path: str | Path, mode: str = "r", **options: Any):
    """`rasterio.open` with a small cache, without the warning for a file without a system.

    Raises:
        MissingDataError: there is no such file.
        DataError: GDAL cannot read it.
    """
    need_maps()
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioIOError

    remote = str(path).startswith(("http:", "https:", "/vsi", "s3:"))
    if mode == "r" and not remote and not Path(path).is_file():
        raise MissingDataError(f"no raster file {path}; give a GeoTIFF, or another one")
    with warnings.catch_warnings(), rasterio.Env(GDAL_CACHEMAX=CACHE):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            dataset = rasterio.open(path, mode, **options)
        except RasterioIOError as error:
            if mode != "r":
                raise
            raise DataError(f"{path} cannot be read as a raster ({error})") from error
        with dataset:
            yield dataset


def equal_area(crs: Any, x: float, y: float) -> pyproj.CRS:
    """An equal-area system in metres around the point (x, y) of `crs`, on its own ellipsoid.

    Lambert's azimuthal one: areas are exact everywhere, lengths near the point; so it also serves
    for perimeters and distances within a scene. Works for other planets.
    """
    import pyproj

    own = pyproj.CRS.from_user_input(crs)
    base = own.geodetic_crs
    if base is None:
        raise DataError(
            f"the system {own.name!r} is not tied to an ellipsoid; give the scene a geographic or "
            "a projected one"
        )
    to_degrees = pyproj.Transformer.from_crs(own, base, always_xy=True)
    longitude, latitude = to_degrees.transform(x, y)
    ball = own.ellipsoid
    return pyproj.CRS.from_dict(
        {
            "proj": "laea",
            "lat_0": latitude,
            "lon_0": longitude,
            "a": ball.semi_major_metre,
            "b": ball.semi_minor_metre,
            "units": "m",
        }
    )


def same_planet(a: Any, b: Any, what: str) -> None:
    """DataError unless two systems are of one celestial body (radii within 1 %)."""
    import pyproj

    radii = [pyproj.CRS.from_user_input(crs).ellipsoid for crs in (a, b)]
    if None in radii:
        return
    first, second = (ball.semi_major_metre / 1000 for ball in radii)
    if abs(first / second - 1) > 0.01:
        raise DataError(
            f"{what} lie on different planets: radii of {first:.0f} and {second:.0f} km. One of "
            "them has the wrong coordinate system"
        )


class Raster:
    """A scene on a grid of square pixels: its own, or a coarser one of the resolution asked for.

    Args:
        path: a file that GDAL reads: GeoTIFF, JPEG 2000, VRT, PNG. Workers open it by themselves.
        bands: numbers of the bands to read, from 1.
        resolution: side of a pixel in metres. A finer scene is averaged to it; a coarser one keeps
            its own pixels. None: the scene's own.
        pixel_size: metres of one of its pixels, for a scene that has no system to say it.
        nodata: a value that means "nothing here" in all bands, beside what the file says.

    Attributes:
        height, width: of the grid, in pixels.
        transform: the grid's affine transform (it may be rotated; pixels stay as they are).
        crs: the scene's own system, or None.
        resolution: metres of a pixel of the grid; None where nobody knows.
        dtype: of the stored values.

    Raises:
        MissingDataError: there is no such file.
        DataError: it cannot be read, lacks a band, or has bands of several types.
    """

    def __init__(
        self,
        path: str | Path,
        bands: tuple[int, ...] = (1, 2, 3),
        resolution: float | None = None,
        pixel_size: float | None = None,
        nodata: float | None = None,
    ):
        for name, value in (("resolution", resolution), ("pixel_size", pixel_size)):
            if value is not None and not value > 0:
                raise ValueError(f"{name} is {value}; expected metres above 0")
        self.path, self.bands, self.nodata = str(path), tuple(bands), nodata
        with opened(path) as source:
            self._check(source)
            self.crs, self.dtype = source.crs, source.dtypes[self.bands[0] - 1]
            self.native = _pixel_metres(source, pixel_size)
            self._masked = any("all_valid" not in str(f) for f in source.mask_flag_enums)
            self._set_grid(source, resolution)
        self._open: Any = None

    def _check(self, source: DatasetReader) -> None:
        missing = [b for b in self.bands if not (isinstance(b, int) and 1 <= b <= source.count)]
        if missing or not self.bands:
            raise DataError(
                f"{self.path} has {source.count} bands, numbered from 1, and bands are "
                f"{self.bands}; "
                + (
                    "for a grey image give bands=(1, 1, 1)"
                    if source.count < 3
                    else "choose among them"
                )
            )
        kinds = {source.dtypes[band - 1] for band in self.bands}
        if len(kinds) > 1 or "complex" in next(iter(kinds)):
            raise DataError(f"{self.path}: bands {self.bands} hold {kinds}; expected one real type")

    def _set_grid(self, source: DatasetReader, wanted: float | None) -> None:
        from rasterio import Affine

        height, width = source.shape
        self.resolution = None if self.native is None else min(self.native)
        shrink = (1.0, 1.0)
        if self.native is not None:
            side = max(self.resolution, wanted or 0.0)
            shrink = tuple(side / own for own in self.native)
            if all(abs(s - 1) < SAME for s in shrink):
                shrink = (1.0, 1.0)
            else:
                self.resolution = side
        self.width, self.height = (
            max(1, round(n / s)) for n, s in zip((width, height), shrink, strict=True)
        )
        if min(width / shrink[0], height / shrink[1]) < 0.5:
            raise DataError(
                f"a pixel of {self.resolution:g} m is larger than {self.path}, which has {width} x "
                f"{height} pixels of {min(self.native):g} m; give a smaller resolution, in metres"
            )
        self.step = width / self.width, height / self.height  # columns, rows of the file a pixel
        across, down = self.step
        a, b, c, d, e, f = tuple(source.transform)[:6]
        self.transform = Affine(a * across, b * down, c, d * across, e * down, f)

    @property
    def exact(self) -> bool:
        """Whether the grid is the scene's own."""
        return self.step == (1.0, 1.0)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": None}

    def __enter__(self) -> Raster:
        self._open = opened(self.path)
        self._source = self._open.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._open.__exit__(*error)
        self._open = None
        del self._source

    def read(self, row: int, column: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """A window of the grid: values (C, height, width) as stored, and which are valid, bool.

        It has to lie inside the grid. Valid is what is neither nodata nor masked nor NaN.

        Raises:
            DataError: the file is damaged there.
        """
        if self._open is None:
            with self:
                return self.read(row, column, height, width)
        from rasterio.enums import Resampling
        from rasterio.errors import RasterioIOError
        from rasterio.windows import Window

        across, down = self.step
        window = Window(column * across, row * down, width * across, height * down)
        about: dict[str, Any] = {"window": window, "out_shape": (height, width)}
        if not self.exact:
            about["resampling"] = Resampling.average if across * down > 1 else Resampling.bilinear
        nearest = about | {"resampling": Resampling.nearest}
        source = self._source
        try:
            values = source.read(self.bands, **about)
            valid = np.ones((height, width), bool)
            if self._masked:
                valid = source.dataset_mask(**nearest) > 0
            if self.nodata is not None:
                plain = values if self.exact else source.read(self.bands, **nearest)
                valid &= (plain != self.nodata).any(0)
        except RasterioIOError as error:
            raise DataError(
                f"{self.path} is damaged in the window of {width} x {height} pixels at column "
                f"{column}, row {row}: {error.__cause__ or error}. Copy it again from its source"
            ) from error
        if values.dtype.kind == "f":
            valid &= np.isfinite(values).all(0)
        return values, valid

    def samples(self) -> Iterator[np.ndarray]:
        """Valid values (C, N) from all over the scene, for percentiles; read when asked for.

        Raises:
            DataError: the file is damaged.
        """
        side = SAMPLE**0.5
        shrink = max(1.0, (self.height * self.width) ** 0.5 / side)
        from rasterio.enums import Resampling
        from rasterio.errors import RasterioIOError

        shape = max(1, int(self.height / shrink)), max(1, int(self.width / shrink))
        with opened(self.path) as source:
            about = {"out_shape": shape, "resampling": Resampling.nearest}
            try:
                values = source.read(self.bands, **about)
                valid = source.dataset_mask(**about) > 0
            except RasterioIOError as error:
                raise DataError(
                    f"{self.path} is damaged: {error.__cause__ or error}. Copy it again from its "
                    "source"
                ) from error
        if self.nodata is not None:
            valid &= (values != self.nodata).any(0)
        yield thinned(values[:, valid], SAMPLE)


def scaling_of(raster: Raster, scale: Any) -> Scaling:
    """How the values of a scene become [0, 1]; `scale` is as in `data.scaling.scaling_for`.

    Raises:
        DataError: no valid value, or no range; names the file.
    """
    try:
        return scaling_for(scale, raster.bands, raster.dtype, raster.samples())
    except DataError as error:
        if raster.path in str(error):
            raise
        raise DataError(f"{raster.path}: {error}") from error


def _pixel_metres(source: DatasetReader, given: float | None) -> tuple[float, float] | None:
    """Metres along a row and down a column of one pixel in the middle of the scene."""
    if given is not None:
        return float(given), float(given)
    if source.crs is None:
        return None
    from rasterio.warp import transform

    row, column = source.height / 2, source.width / 2
    spots = corners(source.transform, [(0, 0), (0, 1), (1, 0)], row, column)
    if not _ellipsoid(source.crs):
        factor = source.crs.linear_units_factor[1]
        x, y = ([spot[k] * factor for spot in spots] for k in (0, 1))
    else:
        metric = equal_area(source.crs, *spots[0])
        x, y = transform(source.crs, metric.to_wkt(), *zip(*spots, strict=True))
    sides = tuple(hypot(x[k] - x[0], y[k] - y[0]) for k in (1, 2))
    if not all(0 < side < float("inf") for side in sides):
        raise DataError(
            f"{source.name}: a pixel would be {sides[0]:g} x {sides[1]:g} m; its transform "
            f"{tuple(source.transform)[:6]} does not fit its system {source.crs.to_string()[:60]}"
        )
    return sides


def corners(
    transform: Any, places: list[tuple[float, float]], row: float = 0, column: float = 0
) -> list[tuple[float, float]]:
    """(x, y) of the upper left corners of pixels at (row, column) + each of `places`."""
    from rasterio.transform import xy

    rows, columns = ([start + p[k] for p in places] for k, start in ((0, row), (1, column)))
    return list(zip(*xy(transform, rows, columns, offset="ul"), strict=True))


def _ellipsoid(crs: Any) -> bool:
    import pyproj

    return pyproj.CRS.from_user_input(crs).geodetic_crs is not None
