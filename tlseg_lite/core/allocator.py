"""Memory that is freed and asked for again at once stays with the process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3)
_LARGEST = 32 * 2**20  # bytes; the C library takes no larger threshold for mmap
_KEPT = 2**30  # bytes that may lie idle


@contextmanager
def memory_kept() -> Iterator[None]:
    """Inside, the C library (glibc) keeps what is freed; afterwards it hands all of it back.

    A model that runs over thousands of windows frees its intermediate results and asks for as much
    again. Each time the library returns pages to the system and gets new ones, which the system
    has to fill with zeros: on virtual machines that took longer than the model. With another C
    library than glibc nothing changes.
    """
    if not keep_memory():
        yield
        return
    try:
        yield
    finally:
        libc = _glibc()
        libc.mallopt(_TRIM_THRESHOLD, 2 * _LARGEST)  # as far as it moves by itself
        libc.malloc_trim(0)


def keep_memory() -> bool:
    """As `memory_kept`, for the rest of the process; whether the C library can do it."""
    libc = _glibc()
    if libc is None:
        return False
    kept = libc.mallopt(_MMAP_THRESHOLD, _LARGEST), libc.mallopt(_TRIM_THRESHOLD, _KEPT)
    return all(kept)


def _glibc():
    import ctypes

    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "gnu_get_libc_version") else None
