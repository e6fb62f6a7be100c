"""Sphinx extension: chapters that have to be executed are, two at a time, before pages are read.

Much of a chapter runs on one core: a second chapter beside it uses the other. What has run lies in
MyST-NB's cache, under the chapter's code, where the reading of pages finds it. A chapter that fails
is not kept; it is executed again there, and reported as always. ``TLSEG_BOOK_PROCESSES`` says how
many run at once; 1: none ahead of its page.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from sphinx.util import logging

LOG = logging.getLogger(__name__)
PROCESSES = 2
GIGABYTES = 6
"""Memory for each: a chapter takes up to four, and the rest of the machine lives too."""


def processes() -> int:
    """How many at once on this machine: as asked for, else two where cores and memory suffice."""
    asked = os.environ.get("TLSEG_BOOK_PROCESSES")
    if asked:
        return max(1, int(asked))
    if not hasattr(os, "sysconf"):  # Windows: its memory is not known
        return 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return max(1, min(PROCESSES, cores(), int(memory / GIGABYTES)))


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def threads_each(number: int) -> Iterator[None]:
    """Kernels that start meanwhile compute with so many threads, unless the caller has said."""
    if "OMP_NUM_THREADS" in os.environ:
        yield
        return
    os.environ["OMP_NUM_THREADS"] = str(number)
    try:
        yield
    finally:
        del os.environ["OMP_NUM_THREADS"]


def execute_ahead(
    paths: Iterable[Path], cache_folder: str, at_once: int, cell_seconds: int
) -> dict[Path, float | None]:
    """Execute what the cache does not have.

    Args:
        paths: notebooks.
        cache_folder: of jupyter-cache.
        at_once: how many together.
        cell_seconds: for one cell.

    Returns:
        path -> seconds, or None where it failed; of those that ran.
    """
    taken: dict[Path, float | None] = {}
    cache, stale = get_cache(cache_folder), {}
    for path in paths:
        notebook = nbformat.read(path, as_version=4)
        try:
            cache.match_cache_notebook(notebook)
        except KeyError:
            stale[path] = notebook
    if len(stale) < 2 or at_once < 2:
        return taken
    free = asyncio.Semaphore(at_once)

    async def run(path: Path, notebook: nbformat.NotebookNode) -> None:
        async with free:
            began = time.perf_counter()
            place = {"metadata": {"path": str(path.parent)}}
            client = NotebookClient(
                notebook, timeout=cell_seconds, resources=place, record_timing=False
            )  # times would be part of what the cache knows a chapter by
            try:
                await client.async_execute()
            except (CellExecutionError, CellTimeoutError, DeadKernelError):
                taken[path] = None
                LOG.info(f"{path.name}: failed, and is run again with its page")
                return
        taken[path] = time.perf_counter() - began
        bundle = CacheBundleIn(notebook, str(path), data={"execution_seconds": taken[path]})
        cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
        LOG.info(f"{path.name}: executed in {taken[path]:.0f} s")

    async def all_of_them() -> None:
        await asyncio.gather(*(run(*each) for each in stale.items()))

    with threads_each(max(1, cores() // at_once)):
        asyncio.run(all_of_them())
    return taken


def before_reading(app, env, docnames):
    settings = env.mystnb_config
    if settings.execution_mode != "cache" or settings.execution_in_temp:
        return
    paths = [Path(env.doc2path(name)) for name in docnames]
    execute_ahead(
        [path for path in paths if path.suffix == ".ipynb"],
        settings.execution_cache_path,
        processes(),
        settings.execution_timeout,
    )


def setup(app):
    app.connect("env-before-read-docs", before_reading)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
