"""Defaults for every test and for the kernels that execute the notebooks."""

import os

import pytest

os.environ.setdefault("TLSEG_OFFLINE", "1")  # no test touches the network
# Processes side by side have one thread each: two that share a core wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else "2")
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
    """Test processes: one a core that this process may use, at most four for their memory (each
    up to 3 GB); no process beside the main one for a single core or a single file."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    alone = len(config.args) == 1 and os.path.isfile(config.args[0].split("::")[0])
    return 0 if alone or (cores or 1) < 2 else min(cores or 1, 4)
