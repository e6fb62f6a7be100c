"""Where a number comes from: commit, versions, device, time."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from functools import lru_cache
from pathlib import Path


def provenance() -> dict[str, str]:
    """What a row of results should say about its making, as text.

    Keys: ``commit`` (of the package; ``+`` behind it if the package's files differ; "" without
    git), ``version``, ``torch``, ``device``, ``finished`` (UTC).
    """
    import torch

    import tlseg_lite as tl

    return {
        "commit": commit(),
        "version": tl.__version__,
        "torch": torch.__version__,
        "device": device(),
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def device() -> str:
    """The accelerator's name, or the CPU's kind and number of cores."""
    import platform

    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"CPU ({platform.machine()}, {os.cpu_count()} cores)"


@lru_cache(maxsize=1)
def commit() -> str:
    """The package's git commit when this is first called, with ``+`` if its files differ."""
    import subprocess

    package = Path(__file__).parents[1]

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments],
            cwd=package,
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        ).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "core/provenance.py")  # else: one around it
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "-uno", ".") else "")
    except (OSError, subprocess.SubprocessError):
        return ""
