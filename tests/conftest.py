"""Shared fixtures. Tests never touch the network; those on real samples need TLSEG_DATA."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("TLSEG_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("MPLBACKEND", "Agg")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with the real samples, or a skip that says why."""
    folder = os.environ.get("TLSEG_DATA")
    if not folder:
        pytest.skip("TLSEG_DATA is not set: no real samples to test on")
    path = Path(folder).resolve()
    if not (path / "bijie_sample").is_dir():
        pytest.skip(f"TLSEG_DATA={folder} holds no folder bijie_sample")
    return path
