"""ONNX Runtime for a browser, from its npm package: fetched once, checked, kept in the cache."""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from tlseg_lite.core.downloads import cache_dir, offline
from tlseg_lite.core.errors import ChecksumError, DownloadError, OfflineError
from tlseg_lite.core.locks import locked

PACKAGE, RELEASE = "onnxruntime-web", "1.30.0"
SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
"""Of the package's archive, in base64, as npm's lock files print it."""

FILES = {
    "wasm": ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"),
    "webgpu": (
        "ort.webgpu.min.mjs",
        "ort-wasm-simd-threaded.asyncify.mjs",
        "ort-wasm-simd-threaded.asyncify.wasm",
    ),
}
"""Two builds: for the processor alone, and with WebGPU (which also runs on the processor). A page
loads one of them: the script, its helper, and the compiled runtime (packed with gzip)."""

LICENCE = """onnxruntime-web {release}

MIT License

Copyright (c) Microsoft Corporation

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
"""
_SECONDS = 240  # for npm, in which 33 MB come


def web_runtime(folder: str | Path, *, fetch: bool | None = None) -> dict[str, int]:
    """Write ONNX Runtime's files for a browser into a folder, compiled files packed with gzip.

    Args:
        folder: made if it is not there.
        fetch: whether npm may fetch the package when the cache has none; None: unless
            TLSEG_OFFLINE is set.

    Returns:
        name of each file -> its bytes, licence included.

    Raises:
        OfflineError: the cache has no package and fetching is forbidden, or npm is not installed.
        DownloadError: npm could not fetch it.
        ChecksumError: what came is not the published package.
    """
    archive = _archive(not offline() if fetch is None else fetch)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    with tarfile.open(archive) as package:
        for name in [name for build in FILES.values() for name in build]:
            data = package.extractfile(f"package/dist/{name}").read()
            if name.endswith(".wasm"):
                name, data = f"{name}.gz", gzip.compress(data, 9, mtime=0)
            (folder / name).write_bytes(data)
            written[name] = len(data)
    text = LICENCE.format(release=RELEASE)
    (folder / f"{PACKAGE}.LICENSE.txt").write_text(text, encoding="utf-8")
    return written


def _archive(fetch: bool) -> Path:
    """The package's archive in the cache, fetched if it must be."""
    path = cache_dir() / f"{PACKAGE}-{RELEASE}.tgz"
    if path.is_file() and _right(path):
        return path
    by_hand = f"By hand: npm pack {PACKAGE}@{RELEASE}, and put the file at {path}"
    npm = shutil.which("npm")
    if not fetch or npm is None:
        why = "npm is not installed" if fetch else "fetching is forbidden (TLSEG_OFFLINE)"
        raise OfflineError(f"{path.name} is not in the cache and {why}.\n{by_hand}", why)
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path), tempfile.TemporaryDirectory(dir=path.parent) as beside:
        if path.is_file() and _right(path):  # another process may have fetched it
            return path
        command = [npm, "pack", f"{PACKAGE}@{RELEASE}", "--silent"]
        command += ["--fetch-retries=1", "--fetch-timeout=60000"]
        try:
            subprocess.run(command, cwd=beside, check=True, capture_output=True, timeout=_SECONDS)
        except (OSError, subprocess.SubprocessError) as error:
            said = getattr(error, "stderr", None) or b""
            raise DownloadError(
                f"npm could not fetch {PACKAGE} {RELEASE}: {error} "
                f"{said.decode(errors='replace')[-300:]}\n{by_hand}",
                "npm could not fetch it",
            ) from error
        came = Path(beside) / path.name
        if not came.is_file() or not _right(came):
            raise ChecksumError(
                f"what npm fetched is not {PACKAGE} {RELEASE} as published (another sha512).\n"
                f"{by_hand}",
                "npm fetched another file than the published one",
            )
        os.replace(came, path)
    return path


def _right(path: Path) -> bool:
    digest = hashlib.sha512(path.read_bytes()).digest()
    return base64.b64encode(digest).decode("ascii") == SHA512
