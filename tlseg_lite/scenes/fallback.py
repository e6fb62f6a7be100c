"""What a chapter works on: the real samples, or synthetic scenes where there are none."""

from __future__ import annotations

from torch.utils.data import Dataset

from tlseg_lite.core.downloads import DownloadError
from tlseg_lite.data.sample_sets import TITLES, check_name, samples
from tlseg_lite.data.splits import Subset
from tlseg_lite.scenes.synthetic import SyntheticLandslides


def course_samples(name: str, n: int = 20) -> Dataset:
    """`n` images for a chapter: real samples where they can be had, else synthetic landslides.

    There are 20 real samples of each dataset, so a larger `n` gives 20 of them. ``.source``
    names which they are, and for synthetic ones why.

    Args:
        name: ``"bijie"`` or ``"landslide4sense"``.
        n: number of images, at least 1.

    Raises:
        ValueError: for another name or `n` below 1.
        DataError: if TLSEG_DATA is set but what it names is missing or incomplete.
    """
    check_name(name)
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ValueError(f"n is {n!r}; expected a whole number from 1")
    try:
        real = samples(name, progress=False)
    except DownloadError as error:
        scenes = SyntheticLandslides(n, style=name)
        source = (
            f"{n} synthetic landslides in the style of {TITLES[name]} "
            f"(no real samples: {error.reason})"
        )
        return Subset(scenes, range(n), source)
    return real if n >= len(real) else Subset(real, range(n))
