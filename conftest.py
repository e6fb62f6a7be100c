"""Defaults for every test and for the kernels that execute the notebooks."""

import os

import pytest

os.environ.setdefault("TLSEG_OFFLINE", "1")  # no test touches the network
given_threads = "OMP_NUM_THREADS" in os.environ
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait let others work
os.environ.setdefault("TLSEG_PROGRESS", "0")  # no progress bars in outputs
os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")  # no debugger remark per kernel


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--strict-book",
        action="store_true",
        help="fail, instead of skipping, where the built book is missing",
    )


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """All tests run in as many processes as there are cores, at most four; some run in this one.

    A process holds 2 to 4 GiB while it tests. They share the cores: each gets its part as threads.
    """
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    everything = config.args_source is config.ArgsSource.TESTPATHS  # no test was named
    workers = min(cores, 4) if everything and cores > 1 else 0
    if workers and not given_threads:
        os.environ["OMP_NUM_THREADS"] = str(cores // workers)
    return workers
