"""One array of an HDF5 file, read in full, or refused with the cause and what helps."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tlseg_lite.core.errors import DataError, MissingDataError, listing

if TYPE_CHECKING:
    import h5py

SUFFIXES = (".h5", ".hdf5")


def read_hdf5(path: str | Path, key: str, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """The values of dataset `key`, as stored.

    Args:
        path: the file; it is opened for this call alone.
        key: name of the dataset in the file.
        shape: that it must have; None: any.

    Raises:
        MissingDataError: the file is gone.
        DataError: not HDF5, in use by another program, compressed by a method that is not
            installed, no such dataset, another shape, no numbers, NaN or infinite values.
    """
    import h5py

    with opened(path) as file:
        if key not in file:
            raise DataError(
                f"{path} has no dataset {key!r} but {listing(file) or 'nothing'}; "
                "is it an image where a mask should be, or the other way round?"
            )
        stored = file[key]
        if not isinstance(stored, h5py.Dataset) or stored.dtype.kind not in "fiub":
            raise DataError(f"{path}: {key!r} is no array of numbers")
        if shape is not None and stored.shape != shape:
            sizes = ["x".join(map(str, form)) for form in (stored.shape, shape)]
            raise DataError(
                f"{path}: {key!r} has shape {sizes[0] or 'scalar'}; expected {sizes[1]}"
            )
        _check_filters(stored, path)
        values = np.asarray(stored[()])
    bad = int(values.size - np.isfinite(values).sum())
    if bad:
        raise DataError(
            f"{path}: {key!r} holds {bad} NaN or infinite values; expected finite ones. Compare it "
            "with the original, or fill them before"
        )
    return values


@contextlib.contextmanager
def opened(path: str | Path) -> Iterator[h5py.File]:
    """The file, for reading; what goes wrong while it is open is an error that says what helps.

    Raises:
        MissingDataError: the file is gone.
        DataError: not HDF5, damaged, in use by another program, larger than the memory.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            yield file
    except DataError:
        raise
    except FileNotFoundError:
        raise MissingDataError(f"{path} is gone; put it back or build the dataset anew") from None
    except MemoryError as error:
        raise DataError(f"{path}: its values do not fit into memory ({error})") from error
    except Exception as error:  # the HDF5 library raises whatever broken bytes lead to
        raise DataError(_why_not(path, error)) from error


def _check_filters(stored, path: str | Path) -> None:
    """DataError if the values are compressed by a method that is not installed."""
    import h5py

    settings = stored.id.get_create_plist()
    filters = [settings.get_filter(i) for i in range(settings.get_nfilters())]
    missing = [(code, name) for code, _, _, name in filters if not h5py.h5z.filter_avail(code)]
    if missing:
        names = listing(f"{code} {name.decode(errors='replace')}".strip() for code, name in missing)
        raise DataError(
            f"{path}: {stored.name} is compressed by an HDF5 filter that is not installed "
            f"({names}). pip install hdf5plugin and import it before, or save the file with gzip"
        )


def _why_not(path: str | Path, error: Exception) -> str:
    if isinstance(error, BlockingIOError) or "unable to lock file" in str(error):
        return (
            f"{path} is locked: another program has it open for writing, or its file system knows "
            "no locks. Close it there, or set HDF5_USE_FILE_LOCKING=FALSE"
        )
    if number := getattr(error, "errno", None):  # of the system; damage has none
        return f"{path} cannot be opened: {os.strerror(number)}"
    return (
        f"{path} cannot be read as HDF5 ({error}): it is truncated, damaged or another kind of "
        "file. Compare it with the original"
    )
