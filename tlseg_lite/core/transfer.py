"""A download that survives interruptions: what has come is kept, the rest is asked for."""

from __future__ import annotations

import os
import queue
import threading
import time
from pathlib import Path
from typing import NamedTuple

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


def manual_way(url: str, remote: RemoteFile, path: Path) -> str:
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
                    f"{manual_way(url, self.remote, self.path)}",
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
                    f"{manual_way(url, self.remote, self.path)}",
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
        from tlseg_lite.core.progress import bar

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
