"""Defaults for every test and for the kernels that execute the notebooks."""

import os

import pytest

os.environ.setdefault("TLSEG_OFFLINE", "1")  # no test touches the network
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
