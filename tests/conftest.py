"""Shared fixtures. Tests never touch the network; those on real samples need TLSEG_DATA."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(  # no test depends on how fast or busy the machine is
    "any-speed", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any-speed")

ROOT = Path(__file__).resolve().parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `cuda` are skipped where there is no GPU, and say so."""
    import torch

    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("cuda"):
            item.add_marker(pytest.mark.skip(reason="no CUDA device on this machine"))


@pytest.fixture(autouse=True)
def no_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are drawn off the screen. Not set for notebook kernels, which show them inline."""
    monkeypatch.setenv("MPLBACKEND", "Agg")


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
