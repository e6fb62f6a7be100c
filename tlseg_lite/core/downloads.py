"""Fetching SAM's checkpoints and the real samples: once, verified, resumable, or with a manual way.

Everything lies in one cache folder, each file under its published name, and nothing gets there
before its sha256 is right: a download grows in ``<name>.part`` and continues there after an
interruption.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from tlseg_lite.core.transfer import (
    ChecksumError,
    DownloadError,
    OfflineError,
    RemoteFile,
    ResumingDownloader,
    manual_way,
)

CHECKPOINT_URL = "https://dl.fbaipublicfiles.com/segment_anything/"
SAMPLES_URL = (
    "https://raw.githubusercontent.com/JunchuanYu/TransLandSeg/"
    "877934ca918aea399823f270d47e6eb96342bf2f/data/"
)
SAMPLE_FOLDERS = {"bijie": "Bijie", "landslide4sense": "Landslide4Sense"}  # on the server

CHECKPOINTS = {
    "vit_b": RemoteFile(
        "sam_vit_b_01ec64.pth",
        "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        375_042_383,
    ),
    "vit_l": RemoteFile(
        "sam_vit_l_0b3195.pth",
        "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
        1_249_524_607,
    ),
    "vit_h": RemoteFile(
        "sam_vit_h_4b8939.pth",
        "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        2_564_550_879,
    ),
}


def cache_dir() -> Path:
    """The download cache: TLSEG_CACHE, else the system's cache folder for ``tlseg_lite``."""
    given = os.environ.get("TLSEG_CACHE")
    if given:
        return Path(given).expanduser().resolve()
    import pooch

    return Path(pooch.os_cache("tlseg_lite"))


def offline() -> bool:
    """Whether TLSEG_OFFLINE forbids the network (set to anything but 0, false, no)."""
    return os.environ.get("TLSEG_OFFLINE", "").strip().lower() not in ("", "0", "false", "no")


def sha256_of(path: str | Path) -> str:
    """The sha256 of a file as 64 hexadecimal digits."""
    import pooch

    return pooch.file_hash(str(path), alg="sha256")


def fetch_checkpoint(name: str, *, base_url: str = CHECKPOINT_URL, progress: bool = True) -> Path:
    """The published checkpoint of ``"vit_b"``, ``"vit_l"`` or ``"vit_h"`` in the cache.

    Downloaded on first use (0.4, 1.2, 2.6 GB). Its sha256 is computed once; afterwards a small
    file ``<name>.verified`` with size and time of change stands for it, and a checkpoint that
    has changed since is hashed again, and fetched again if it is damaged.

    Args:
        name: which SAM.
        base_url: folder on the server, of a mirror for example.
        progress: show a progress bar.

    Raises:
        ValueError: for another name.
        OfflineError, ChecksumError, DownloadError: each names the file, its size and sha256,
            and where to put it by hand.
    """
    if name not in CHECKPOINTS:
        raise ValueError(f"no checkpoint for {name!r}; choose one of {', '.join(CHECKPOINTS)}")
    remote = CHECKPOINTS[name]
    return fetch(base_url + remote.name, remote, cache_dir(), marker=True, progress=progress)


def fetch_samples(name: str, *, base_url: str = SAMPLES_URL, progress: bool = True) -> Path:
    """The folder ``<cache>/<name>_sample`` with ``image`` and ``label``, every file verified.

    Files that are missing or damaged are downloaded (the 40 files have under 3 MB). The images
    belong to the authors of Bijie and Landslide4Sense; they are for research and teaching.

    Args:
        name: ``"bijie"`` or ``"landslide4sense"``.
        base_url: folder on the server that holds ``Bijie`` and ``Landslide4Sense``.
        progress: show a progress bar.

    Raises:
        ValueError: for another name.
        OfflineError, ChecksumError, DownloadError: each names the first file that is not there.
    """
    from tlseg_lite.data.sample_files import SAMPLE_FILES

    if name not in SAMPLE_FOLDERS:
        raise ValueError(f"unknown samples {name!r}; choose one of {', '.join(SAMPLE_FOLDERS)}")
    from tlseg_lite.core.progress import bar

    folder = cache_dir() / f"{name}_sample"
    remotes = [RemoteFile(path, *rest) for path, rest in SAMPLE_FILES[name].items()]
    wanted = [remote for remote in remotes if not _is_verified(folder / remote.name, remote)]
    show = progress and bool(wanted) and not offline()
    for remote in bar(wanted, desc=f"{name} samples", unit="file", show=show):
        url = f"{base_url}{SAMPLE_FOLDERS[name]}/{remote.name}"
        fetch(url, remote, folder, marker=False, progress=False)
    return folder


def fetch(url: str, remote: RemoteFile, folder: Path, *, marker: bool, progress: bool) -> Path:
    """The file `remote` in `folder`, downloaded from `url` unless it is there and right.

    Args:
        marker: keep ``<name>.verified`` beside the file, so that it is hashed only once.

    Raises:
        OfflineError, ChecksumError, DownloadError: as in `fetch_checkpoint`.
    """
    path = folder / remote.name
    if _is_verified(path, remote, marker):
        return path
    if offline():
        if path.is_file():
            raise ChecksumError(
                f"{path} is not the published file (size {path.stat().st_size}) and TLSEG_OFFLINE "
                f"is set. Replace it.\n{manual_way(url, remote, path)}",
                f"the file {remote.name} in the cache is damaged",
            )
        raise OfflineError(
            f"{remote.name} is not in the cache and TLSEG_OFFLINE is set.\n"
            f"{manual_way(url, remote, path)}\nOr unset TLSEG_OFFLINE",
            "TLSEG_OFFLINE is set and the cache has none",
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _lock(folder):
            if not _is_verified(path, remote, marker):  # another process may have fetched it
                _download(url, remote, path, progress)
                _is_verified(path, remote, marker)
    except OSError as error:
        raise DownloadError(
            f"cannot write {path}: {error}. Free some space, or set TLSEG_CACHE to a folder that "
            f"can be written.\n{manual_way(url, remote, path)}",
            "the cache folder cannot be written",
        ) from error
    return path


def _is_verified(path: Path, remote: RemoteFile, marker: bool = False) -> bool:
    """Whether the file is there and is the published one."""
    if not path.is_file() or path.stat().st_size != remote.size:
        return False
    note = path.with_name(path.name + ".verified")
    state = path.stat()
    known = {"sha256": remote.sha256, "size": state.st_size, "mtime_ns": state.st_mtime_ns}
    if marker:
        with contextlib.suppress(OSError, ValueError):
            if json.loads(note.read_text(encoding="utf-8")) == known:
                return True
    if sha256_of(path) != remote.sha256:
        return False
    if marker:
        with contextlib.suppress(OSError):  # a cache that can only be read is hashed each time
            note.write_text(json.dumps(known), encoding="utf-8")
    return True


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """One download into `folder` at a time, where the system can lock files."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with open(folder / ".lock", "w") as handle:
        with contextlib.suppress(OSError):  # some network file systems cannot lock
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _download(url: str, remote: RemoteFile, path: Path, progress: bool) -> None:
    """Fetch with pooch, which compares the sha256 and only then moves the file to its name."""
    import pooch

    free = shutil.disk_usage(path.parent).free
    if free < remote.size:
        raise OSError(f"{remote.size} bytes needed, {free} bytes free")
    kitchen = pooch.create(
        path=path.parent,
        base_url="",
        registry={path.name: f"sha256:{remote.sha256}"},
        urls={path.name: url},
    )
    part = path.with_name(path.name + ".part")
    resumed = part.is_file() and part.stat().st_size > 0
    downloader = ResumingDownloader(part, remote, path, progress)
    with _quiet_pooch():
        for last in (False, True) if resumed else (True,):
            try:
                kitchen.fetch(path.name, downloader=downloader)
                return
            except ValueError as error:  # pooch: the sha256 differs; its temporary file is gone
                if last:
                    raise ChecksumError(
                        f"what {url} sent is not the published file (another sha256). Try again "
                        f"later, or on another network.\n{manual_way(url, remote, path)}",
                        "the server sent another file than the published one",
                    ) from error


@contextlib.contextmanager
def _quiet_pooch() -> Iterator[None]:
    """Without pooch's log lines, which would end up in a notebook's output."""
    import pooch

    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
