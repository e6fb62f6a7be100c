"""The real samples: 20 Bijie and 20 Landslide4Sense images."""

from __future__ import annotations

import os
from pathlib import Path

from tlseg_lite.core.errors import MissingDataError
from tlseg_lite.data.images import ImagePairs

TITLES = {"bijie": "Bijie", "landslide4sense": "Landslide4Sense"}


def samples(name: str, *, progress: bool = True) -> ImagePairs:
    """The 20 real sample images of a dataset with their masks, at native size.

    They are taken from ``<TLSEG_DATA>/<name>_sample`` as they are there, else from the download
    cache, else downloaded once (under 3 MB); downloaded files are compared with their sha256.

    The Bijie images are RGB aerial images with 0.8 m pixels; those of Landslide4Sense are
    128 x 128 Sentinel-2 patches (10 m) that were turned into RGB by the samples' publisher.

    Args:
        name: ``"bijie"`` or ``"landslide4sense"``.
        progress: show a progress bar while downloading.

    Raises:
        ValueError: for another name.
        DataError: if TLSEG_DATA names no folder, or an image there lacks its mask.
        tlseg_lite.core.downloads.DownloadError: if they are not here and cannot be fetched.
    """
    check_name(name)
    folder = _given_folder(name)
    if folder is None:
        from tlseg_lite.core.downloads import fetch_samples

        folder = fetch_samples(name, progress=progress)
    pairs = ImagePairs(folder / "image", folder / "label", source="")
    pairs.source = f"{len(pairs)} real {TITLES[name]} samples"
    return pairs


def check_name(name: str) -> None:
    """ValueError for a name that no sample set has."""
    if name not in TITLES:
        raise ValueError(f"unknown samples {name!r}; choose one of {', '.join(TITLES)}")


def _given_folder(name: str) -> Path | None:
    """The sample folder under TLSEG_DATA, read as it is; None if there is none."""
    given = os.environ.get("TLSEG_DATA")
    if not given:
        return None
    root = Path(given).expanduser().resolve()
    if not root.is_dir():
        raise MissingDataError(
            f"TLSEG_DATA={given} names no folder (looked at {root}; relative paths start at the "
            "current folder). Correct it or unset it"
        )
    folder = root / f"{name}_sample"
    if not folder.is_dir():
        return None
    return folder
