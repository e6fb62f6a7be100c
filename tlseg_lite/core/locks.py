"""A lock between processes: two of them that write one file lose nothing."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TextIO

_HELD: set[TextIO] = set()
"""The files that this process holds."""


@contextmanager
def locked(path: str | Path, *, purpose: str = "", wait: bool = True) -> Iterator[None]:
    """Hold `path` against all other processes that ask for it here, until the block ends.

    The hold is on a small file beside `path`, ``.NAME.lock``, which is removed at the end; one that
    a killed process has left does no harm, for the hold ends with the process, even if children
    that it forked, such as a loader's workers, outlive it. Windows and some network file systems
    have no such lock, and none is taken there.

    Args:
        path: what is held; it need not exist.
        purpose: part of the lock's name; holds for different purposes do not exclude each other.
        wait: until it is free; False: raise if it is not.

    Raises:
        RuntimeError: another process holds it; names the process.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    name = path.with_name(f".{path.name}{purpose and '.' + purpose}.lock")
    while True:
        with open(name, "a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                file.seek(0)
                holder = file.read().strip() or "its number is not known"
                raise RuntimeError(
                    f"another process is writing {path} ({holder}); wait for it to end, or choose "
                    "another place"
                ) from None
            except OSError:  # a file system that cannot lock
                yield
                return
            if not _is(name, file.fileno()):  # removed by its former holder while we waited
                continue
            file.truncate(0)
            file.write(f"process {os.getpid()} on {platform.node()}")
            file.flush()
            _keep_from_children()
            _HELD.add(file)
            try:
                yield
            finally:
                if file in _HELD:  # not in a forked child
                    _HELD.remove(file)
                    name.unlink(missing_ok=True)
            return


@cache
def _keep_from_children() -> None:
    """A forked child has a share in its parent's locks; it gives that back at once."""
    os.register_at_fork(after_in_child=_let_go)


def _let_go() -> None:
    for file in _HELD:
        file.close()
    _HELD.clear()


def _is(path: Path, descriptor: int) -> bool:
    """Whether the open file is still the one at `path`."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
