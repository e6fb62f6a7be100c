"""Fetching SAM's checkpoints and the real samples: once, verified, resumable, or with a manual way.

Everything lies in one cache folder, each file under its published name, and nothing gets there
before its sha256 is right: a download grows in ``<name>.part`` and continues there after an
interruption.
"""

from __future__ import annotations

import contextlib
import csv
import json
import logging
import os
import queue
import shutil
import threading
import time
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from tlseg_lite.core.progress import bar

CONNECT_SECONDS, ANSWER_SECONDS, READ_SECONDS = 5, 8, 30
CONNECT_TRIES, TRANSFER_TRIES = 2, 5
CHUNK = 1 << 16  # bytes; an interruption loses at most one chunk
PAUSE_SECONDS = 0.5  # before the second try; doubled before each further one


class RemoteFile(NamedTuple):
    """A file on a server: name in the cache folder, sha256, size in bytes."""

    name: str
    sha256: str
    size: int


class DownloadError(RuntimeError):
    """A file could not be fetched. ``.reason`` is the cause in a few words."""

    def __init__(self, message: str, reason: str):
        super().__init__(message)
        self.reason = reason


class OfflineError(DownloadError):
    """A file is not here and TLSEG_OFFLINE forbids fetching it."""


class ChecksumError(DownloadError):
    """A file is not the published one, by its sha256."""


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


@cache
def sample_files(name: str) -> list[RemoteFile]:
    """The files of the samples ``"bijie"`` or ``"landslide4sense"``, as they are published."""
    with (files("tlseg_lite.core") / "sample_files.csv").open(encoding="utf-8") as table:
        rows = [row for row in csv.DictReader(table) if row["samples"] == name]
    return [RemoteFile(row["file"], row["sha256"], int(row["bytes"])) for row in rows]


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
    if name not in SAMPLE_FOLDERS:
        raise ValueError(f"unknown samples {name!r}; choose one of {', '.join(SAMPLE_FOLDERS)}")
    folder = cache_dir() / f"{name}_sample"
    remotes = sample_files(name)
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
                f"is set. Replace it.\n{by_hand(url, remote, path)}",
                f"the file {remote.name} in the cache is damaged",
            )
        raise OfflineError(
            f"{remote.name} is not in the cache and TLSEG_OFFLINE is set.\n"
            f"{by_hand(url, remote, path)}\nOr unset TLSEG_OFFLINE",
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
            f"can be written.\n{by_hand(url, remote, path)}",
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
    registry = pooch.create(
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
                registry.fetch(path.name, downloader=downloader)
                return
            except ValueError as error:  # pooch: the sha256 differs; its temporary file is gone
                if last:
                    raise ChecksumError(
                        f"what {url} sent is not the published file (another sha256). Try again "
                        f"later, or on another network.\n{by_hand(url, remote, path)}",
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


def by_hand(url: str, remote: RemoteFile, path: Path) -> str:
    """How to get a file by hand: what to fetch, where to put it, how to recognise it."""
    return (
        f"By hand: fetch {url}\n  and put it at {path}\n"
        f"  size {remote.size} bytes, sha256 {remote.sha256}"
    )


def answer(url: str, headers: dict[str, str]):
    """The server's answer, its body not yet read, within `ANSWER_SECONDS` all in all.

    `requests` bounds each address of a host and not the look-up of its name, so a machine behind
    a silent firewall would wait for minutes.

    Raises:
        requests.RequestException: among them ConnectTimeout when the time is over.
    """
    import requests

    came: queue.Queue = queue.Queue()

    def ask() -> None:
        wait = (CONNECT_SECONDS, READ_SECONDS)
        try:
            came.put(requests.get(url, headers=headers, stream=True, timeout=wait))
        except requests.RequestException as error:
            came.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        result = came.get(timeout=ANSWER_SECONDS)
    except queue.Empty:
        raise requests.ConnectTimeout(f"no answer within {ANSWER_SECONDS} s") from None
    if isinstance(result, Exception):
        raise result
    return result


class _Interrupted(Exception):
    """A transfer ended early or the server had a temporary fault; another try may help."""


class ResumingDownloader:
    """A downloader for pooch that keeps what has come and asks the server for the rest.

    The bytes grow in `part`. A server that ignores the range, or does not know it, makes the
    download begin again. Connecting is tried `CONNECT_TRIES` times, a transfer that keeps
    breaking off `TRANSFER_TRIES` times.
    """

    def __init__(self, part: Path, remote: RemoteFile, path: Path, progress: bool):
        self.part, self.remote, self.path, self.progress = part, remote, path, progress

    def __call__(self, url: str, output_file, pooch, check_only: bool = False) -> None:
        """Fetch `url` completely into `part`, then rename it to `output_file`."""
        import requests

        pause, refused, broken = PAUSE_SECONDS, 0, 0
        while self._have() != self.remote.size:
            before = self._have()
            try:
                self._transfer(url)
                break
            except (requests.RequestException, _Interrupted) as error:
                cause = error
            if isinstance(cause, requests.ConnectTimeout):
                refused = CONNECT_TRIES  # long enough for a machine without a network
            elif isinstance(cause, requests.ConnectionError) and self._have() == before:
                refused += 1
            else:
                broken += 1
            if refused >= CONNECT_TRIES or broken >= TRANSFER_TRIES:
                what = "cannot be reached" if refused >= CONNECT_TRIES else "breaks off"
                host = url.split("/")[2]
                raise DownloadError(
                    f"{host} {what} ({type(cause).__name__}: {cause}). Check the network and try "
                    f"again: {self._have()} of {self.remote.size} bytes are kept.\n"
                    f"{by_hand(url, self.remote, self.path)}",
                    f"{host} {what}",
                ) from cause
            time.sleep(pause)
            pause *= 2
        os.replace(self.part, output_file)

    def _have(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0

    def _transfer(self, url: str) -> None:
        """One request: from where `part` ends if the server can, else from the beginning."""
        have = self._have()
        if have > self.remote.size:
            self.part.unlink()
            have = 0
        headers = {"Accept-Encoding": "identity"}  # the sizes are those of the file itself
        if have:
            headers["Range"] = f"bytes={have}-"
        with answer(url, headers) as response:
            status = response.status_code
            if status == 416:  # the server's file ends before our part does
                self.part.unlink()
                raise _Interrupted("the server does not know the rest; beginning again")
            if status in (408, 429) or status >= 500:
                raise _Interrupted(f"the server answers {status} {response.reason}")
            if status not in (200, 206):
                raise DownloadError(
                    f"the server answers {status} {response.reason} for {url}.\n"
                    f"{by_hand(url, self.remote, self.path)}",
                    f"the server answers {status} for {self.remote.name}",
                )
            expected = f"bytes {have}-"
            if status == 206 and not response.headers.get("Content-Range", "").startswith(expected):
                self.part.unlink(missing_ok=True)
                raise _Interrupted("the server sent another range; beginning again")
            self._store(response, have if status == 206 else 0)
        if self._have() < self.remote.size:
            raise _Interrupted(f"{self._have()} of {self.remote.size} bytes came")

    def _store(self, response, have: int) -> None:
        with (
            bar(
                desc=self.remote.name,
                total=self.remote.size,
                initial=have,
                unit="B",
                unit_scale=True,
                show=self.progress,
            ) as shown,
            open(self.part, "ab" if have else "wb") as file,
        ):
            for chunk in response.iter_content(CHUNK):
                file.write(chunk)
                shown.update(len(chunk))
                if file.tell() > self.remote.size:
                    break  # another file than the published one; the sha256 will say so
