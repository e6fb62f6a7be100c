"""Progress bars that a person sees and a built page does not."""

from __future__ import annotations

import os
from typing import Any


def bar(*args: Any, show: bool = True, **options: Any):
    """A tqdm bar; silent with ``show=False`` or with ``TLSEG_PROGRESS=0`` in the environment."""
    from tqdm.auto import tqdm

    hidden = not show or os.environ.get("TLSEG_PROGRESS", "1") == "0"
    return tqdm(*args, disable=hidden, dynamic_ncols=True, **options)


def say(text: str) -> None:
    """Print a line that a person must see, without breaking a bar that is being drawn."""
    from tqdm.auto import tqdm

    tqdm.write(text)
