"""Fetching SAM's checkpoints and the real samples: once, verified, or by hand.

Everything lies in one cache folder, each file under its published name, and nothing gets there
before its sha256 is right: a full disk or a lost connection leaves what was there. The samples come
through `pooch`; a checkpoint of up to 2.6 GB grows in ``<name>.part`` and continues there after an
interruption, which `pooch` cannot do.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tlseg_lite.core.errors import ChecksumError, DownloadError, OfflineError
from tlseg_lite.core.locks import locked
from tlseg_lite.core.progress import bar

CONNECT_SECONDS, ANSWER_SECONDS, READ_SECONDS = 5, 8, 30
CONNECT_TRIES, DOWNLOAD_TRIES = 2, 5
CHUNK = 1 << 16  # bytes; an interruption loses at most one chunk
PAUSE_SECONDS = 0.5  # before the second try; doubled before each further one

CHECKPOINT_URL = "https://dl.fbaipublicfiles.com/segment_anything/"
_REVISION = "877934ca918aea399823f270d47e6eb96342bf2f"
SAMPLES_URL = f"https://raw.githubusercontent.com/JunchuanYu/TransLandSeg/{_REVISION}/data/"
SAMPLE_FOLDERS = {"bijie": "Bijie", "landslide4sense": "Landslide4Sense"}  # on the server
TABLES = Path(__file__).with_name("tables")
"""``<name>_sample.txt``: path, sha256 and size in bytes of each sample file."""


class RemoteFile(NamedTuple):
    """A file on a server: name in the cache folder, sha256, size in bytes."""

    name: str
    sha256: str
    size: int

    def by_hand(self, url: str, path: Path) -> str:
        """How to get the file by hand: what to fetch, where to put it, how to recognise it."""
        return (
            f"By hand: fetch {url}\n  and put it at {path}\n"
            f"  size {self.size} bytes, sha256 {self.sha256}"
        )


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
    import pooch

    if name not in SAMPLE_FOLDERS:
        raise ValueError(f"unknown samples {name!r}; choose one of {', '.join(SAMPLE_FOLDERS)}")
    folder = cache_dir() / f"{name}_sample"
    rows = map(str.split, (TABLES / f"{name}_sample.txt").read_text(encoding="utf-8").splitlines())
    remotes = [RemoteFile(path, sha256, int(size)) for path, sha256, size in rows]
    files = pooch.create(
        path=folder,
        base_url=f"{base_url}{SAMPLE_FOLDERS[name]}/",
        registry={remote.name: remote.sha256 for remote in remotes},
    )
    wanted = [remote for remote in remotes if not _is_verified(folder / remote.name, remote)]
    show = progress and bool(wanted) and not offline()
    for remote in bar(wanted, desc=f"{name} samples", unit="file", show=show):
        url, path = files.get_url(remote.name), folder / remote.name
        with _errors_named(url, remote, path), _quiet_pooch():
            files.fetch(
                remote.name,
                downloader=lambda url, to, _, r=remote, p=path: _complete(url, r, Path(to), p),
            )
    return folder


def fetch(url: str, remote: RemoteFile, folder: Path, *, marker: bool, progress: bool) -> Path:
    """The file `remote` in `folder`, downloaded from `url` unless it is there and right.

    Two processes that want it wait for each other; one of them fetches it.

    Args:
        marker: keep ``<name>.verified`` beside the file, so that it is hashed only once.

    Raises:
        OfflineError, ChecksumError, DownloadError: as in `fetch_checkpoint`.
    """
    path = folder / remote.name
    if _is_verified(path, remote, marker):
        return path
    with _errors_named(url, remote, path), locked(path):
        if not _is_verified(path, remote, marker):  # another process may have fetched it
            _fetch_resuming(url, remote, path, progress)
            _is_verified(path, remote, marker)
    return path


def _is_verified(path: Path, remote: RemoteFile, marker: bool = False) -> bool:
    """Whether the file is there and is the published one."""
    if not path.is_file() or path.stat().st_size != remote.size:
        return False
    note, state = path.with_name(path.name + ".verified"), path.stat()
    known = {"sha256": remote.sha256, "size": state.st_size, "mtime_ns": state.st_mtime_ns}
    with contextlib.suppress(OSError, ValueError):
        if marker and json.loads(note.read_text(encoding="utf-8")) == known:
            return True
    right = sha256_of(path) == remote.sha256
    if right and marker:
        with contextlib.suppress(OSError):  # a cache that can only be read is hashed each time
            note.write_text(json.dumps(known), encoding="utf-8")
    return right


@contextlib.contextmanager
def _errors_named(url: str, remote: RemoteFile, path: Path) -> Iterator[None]:
    """What goes wrong inside, or is forbidden, as an error that says how to do it by hand."""
    if offline():
        if path.is_file():
            raise ChecksumError(
                f"{path} is not the published file (size {path.stat().st_size}) and TLSEG_OFFLINE "
                "is set. If it is your own, keep it elsewhere and name it (weights=PATH); the "
                f"published one belongs here.\n{remote.by_hand(url, path)}",
                f"the file {remote.name} in the cache is not the published one",
            )
        raise OfflineError(
            f"{remote.name} is not in the cache and TLSEG_OFFLINE is set.\n"
            f"{remote.by_hand(url, path)}\nOr unset TLSEG_OFFLINE",
            "TLSEG_OFFLINE is set and the cache has none",
        )
    try:
        yield
    except OSError as error:
        raise DownloadError(
            f"cannot write {path}: {error}. What was there is kept. Free some space, or set "
            f"TLSEG_CACHE to a folder that can be written.\n{remote.by_hand(url, path)}",
            "the cache folder cannot be written",
        ) from error
    except ValueError as error:  # pooch's word for another sha256
        raise ChecksumError(
            f"what {url} sent is not the published file (another sha256). Try again later, or on "
            f"another network.\n{remote.by_hand(url, path)}",
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


def _fetch_resuming(url: str, remote: RemoteFile, path: Path, progress: bool) -> None:
    """Complete ``<name>.part``, compare its sha256, and only then give it its name."""
    part = path.with_name(path.name + ".part")
    needed, free = remote.size - _size(part), shutil.disk_usage(path.parent).free
    if free < needed:
        raise OSError(f"{needed} bytes needed, {free} bytes free")
    resumed = _size(part) > 0
    while True:
        _complete(url, remote, part, path, progress)
        if sha256_of(part) == remote.sha256:
            os.replace(part, path)
            return
        part.unlink()
        if not resumed:
            raise ValueError("another sha256")
        resumed = False  # what an earlier run had left may have been wrong


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _complete(url: str, remote: RemoteFile, part: Path, path: Path, progress=False) -> None:
    """Ask for what `part` lacks until it has its size.

    Connecting is tried `CONNECT_TRIES` times, a download that keeps breaking off `DOWNLOAD_TRIES`
    times.
    """
    import requests

    pause, refused, broken = PAUSE_SECONDS, 0, 0
    while (before := _size(part)) < remote.size:
        try:
            return _ask_for_the_rest(url, remote, part, path, progress)
        except requests.RequestException as error:
            cause = error
        if isinstance(cause, requests.ConnectTimeout):
            refused = CONNECT_TRIES  # long enough for a machine without a network
        elif isinstance(cause, requests.ConnectionError) and _size(part) == before:
            refused += 1
        else:
            broken += 1
        if refused >= CONNECT_TRIES or broken >= DOWNLOAD_TRIES:
            what = "cannot be reached" if refused >= CONNECT_TRIES else "breaks off"
            what = f"{url.split('/')[2]} {what}"
            raise DownloadError(
                f"{what} ({type(cause).__name__}: {cause}). Check the network and try again: "
                f"{_size(part)} of {remote.size} bytes have come.\n{remote.by_hand(url, path)}",
                what,
            ) from cause
        time.sleep(pause)
        pause *= 2


def _ask_for_the_rest(url, remote: RemoteFile, part: Path, path: Path, progress: bool) -> None:
    """One request: from where `part` ends if the server can, else from the beginning.

    Raises:
        requests.RequestException: HTTPError among them where another try may help.
    """
    import requests

    have = _size(part)
    headers = {"Accept-Encoding": "identity"}  # the sizes are those of the file itself
    if have:
        headers["Range"] = f"bytes={have}-"
    with answer(url, headers) as response:
        code, status = response.status_code, f"{response.status_code} {response.reason}"
        begins = response.headers.get("Content-Range", "")
        if code == 416 or (code == 206 and not begins.startswith(f"bytes {have}-")):
            part.unlink(missing_ok=True)
            raise requests.HTTPError("the server does not know the rest; beginning again")
        if code in (408, 429) or code >= 500:
            raise requests.HTTPError(f"the server answers {status}")
        if code not in (200, 206):
            raise DownloadError(
                f"the server answers {status} for {url}.\n{remote.by_hand(url, path)}",
                f"the server answers {code} for {remote.name}",
            )
        have = have if code == 206 else 0
        options = {"unit": "B", "unit_scale": True, "show": progress}
        with (
            bar(desc=remote.name, total=remote.size, initial=have, **options) as shown,
            open(part, "ab" if have else "wb") as file,
        ):
            for chunk in response.iter_content(CHUNK):
                file.write(chunk)
                shown.update(len(chunk))
                if file.tell() > remote.size:
                    break  # another file than the published one; the sha256 will say so
    if _size(part) < remote.size:
        raise requests.HTTPError(f"{_size(part)} of {remote.size} bytes came")
