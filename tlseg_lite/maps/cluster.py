"""Windows on several processes or machines: a Dask cluster, or this process.

Results come in the order of the tasks, whoever was first, so a map does not depend on the cluster.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from tlseg_lite.core.allocator import keep_memory, memory_kept
from tlseg_lite.core.progress import say
from tlseg_lite.maps.job import Answer, Job, Task, predict_windows

if TYPE_CHECKING:
    from distributed import Client

Predict = Callable[[Iterable[Task]], Iterator[tuple[Task, list[Answer]]]]

AHEAD = 3  # tasks that each worker has at hand, beside the one that it works on


@contextmanager
def predictor(
    models: list[torch.nn.Module], job: Job, workers: int | None, scheduler: str | None
) -> Iterator[Predict]:
    """A function from tasks to their answers, in order.

    Args:
        models: each worker gets them once.
        job: what is predicted.
        workers: processes on this machine, one thread each; None: this process.
        scheduler: address of a Dask scheduler that is running; its workers must see the scene
            under the same path and have this package installed.

    Raises:
        ValueError: both are given, or `workers` is not a positive whole number.
        ImportError: `distributed` is missing.
        OSError: nothing answers at `scheduler`.
    """
    if workers is None and scheduler is None:
        with job.raster, memory_kept():
            yield lambda tasks: ((task, predict_windows(models, job, task)) for task in tasks)
        return
    with _client(workers, scheduler) as client:
        say(f"{len(client.scheduler_info()['workers'])} workers, {client.dashboard_link}")
        # one copy a worker: a large argument of every task would travel each time
        shared = client.scatter([m.cpu() for m in models], broadcast=True, hash=False)
        yield lambda tasks: _in_order(client, shared, job, tasks)


@contextmanager
def _client(workers: int | None, scheduler: str | None) -> Iterator[Client]:
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise ImportError(
            "workers and scheduler need Dask: pip install 'tlseg-lite[maps]'"
        ) from error
    if workers is not None and scheduler is not None:
        raise ValueError(
            f"workers={workers} starts a cluster, scheduler={scheduler!r} uses one; give one of "
            "them"
        )
    if scheduler is not None:
        with _answering(Client, scheduler) as client:
            yield client
        return
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise ValueError(f"workers is {workers!r}; expected a positive whole number of processes")
    with (
        # looking into each worker a hundred times a second, for one tab of the dashboard
        dask.config.set({"distributed.worker.profile.enabled": False}),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            dashboard_address=":0",
            host="127.0.0.1",
            memory_limit=None,
        ) as cluster,
        # answers come from the workers, not through the scheduler
        Client(cluster, set_as_default=False, direct_to_workers=True) as client,
    ):
        yield client


def _answering(client: type[Client], scheduler: str) -> Client:
    try:
        return client(scheduler, timeout=20, set_as_default=False)
    except OSError as error:
        raise OSError(
            f"no Dask scheduler answers at {scheduler!r} ({error}); start one with: dask "
            "scheduler, or leave it out to work in this process"
        ) from error


def _in_order(
    client: Client, models: Any, job: Job, tasks: Iterable[Task]
) -> Iterator[tuple[Task, list[Answer]]]:
    """Answers in the order of `tasks`; only so many are under way that memory stays bounded."""
    waiting: deque = deque()
    room = (AHEAD + 1) * max(1, len(client.scheduler_info()["workers"]))
    for task in tasks:
        waiting.append((task, client.submit(_work, models, job, task, pure=False)))
        if len(waiting) >= room:
            first, future = waiting.popleft()
            yield first, future.result()
    while waiting:
        first, future = waiting.popleft()
        yield first, future.result()


def _work(models: list[torch.nn.Module], job: Job, task: Task) -> list[Answer]:
    keep_memory()
    return predict_windows(models, job, task)
