"""Downloads against a server on this machine: resume, restart, verification, the manual way."""

import contextlib
import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from tlseg_lite.core import downloads
from tlseg_lite.core.downloads import ChecksumError, DownloadError, OfflineError, RemoteFile

CHUNK = downloads.CHUNK
BODY = bytes(range(256)) * 2000  # half a megabyte
REMOTE = RemoteFile("weights.pth", hashlib.sha256(BODY).hexdigest(), len(BODY))


class Server:
    """A web server whose behaviour a test sets; `log` has the Range of every request."""

    def __init__(self):
        self.files, self.log = {"/weights.pth": BODY}, []
        self.ranges, self.cuts, self.status, self.shift = True, [], [], 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.answer(self)

            def log_message(self, *args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self, request):
        wanted = request.headers.get("Range")
        self.log.append(wanted)
        if self.status:
            return request.send_error(self.status.pop(0))
        body = self.files.get(request.path)
        if body is None:
            return request.send_error(404)
        start = int(wanted[6:-1]) if wanted and self.ranges else 0
        if start >= len(body):
            return request.send_error(416)
        request.send_response(206 if start else 200)
        if start:
            first = start + self.shift
            request.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
        request.send_header("Content-Length", str(len(body) - start))
        request.end_headers()
        end = start + self.cuts.pop(0) if self.cuts else len(body)
        request.wfile.write(body[start:end])
        request.close_connection = True
        return None


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.delenv("TLSEG_OFFLINE", raising=False)
    monkeypatch.setenv("TLSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(downloads, "PAUSE_SECONDS", 0.001)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


def get(server, folder, marker=False, remote=REMOTE):
    url = server.url + remote.name
    return downloads.fetch(url, remote, folder, marker=marker, progress=False)


def leftovers(folder):
    return sorted(p.name for p in folder.iterdir() if p.name not in (REMOTE.name, ".lock"))


def test_a_file_comes_whole_and_only_once(server, tmp_path, capfd):
    path = get(server, tmp_path)
    assert path == tmp_path / REMOTE.name
    assert path.read_bytes() == BODY
    assert leftovers(tmp_path) == []
    get(server, tmp_path)
    assert server.log == [None]
    assert capfd.readouterr() == ("", "")  # no log lines, no bar


def test_the_bar_shows_the_bytes(server, tmp_path, capfd, monkeypatch):
    monkeypatch.delenv("TLSEG_PROGRESS", raising=False)
    url = server.url + REMOTE.name
    downloads.fetch(url, REMOTE, tmp_path, marker=False, progress=True)
    assert "512k" in capfd.readouterr().err


def test_a_broken_transfer_goes_on_where_it_stopped(server, tmp_path):
    server.cuts = [2 * CHUNK, CHUNK + 9]
    assert get(server, tmp_path).read_bytes() == BODY
    assert server.log == [None, f"bytes={2 * CHUNK}-", f"bytes={3 * CHUNK}-"]


def test_an_earlier_runs_part_is_used(server, tmp_path):
    (tmp_path / "weights.pth.part").write_bytes(BODY[:300_000])
    assert get(server, tmp_path).read_bytes() == BODY
    assert server.log == ["bytes=300000-"]
    assert leftovers(tmp_path) == []


def test_a_whole_part_needs_no_request(server, tmp_path):
    (tmp_path / "weights.pth.part").write_bytes(BODY)
    assert get(server, tmp_path).read_bytes() == BODY
    assert server.log == []


@pytest.mark.parametrize("part", [b"x" * 1000, b"x" * len(BODY), b"x" * (len(BODY) + 9)])
def test_a_damaged_part_is_thrown_away(server, tmp_path, part):
    (tmp_path / "weights.pth.part").write_bytes(part)
    assert get(server, tmp_path).read_bytes() == BODY
    assert server.log[-1] is None  # a request for the whole file
    assert leftovers(tmp_path) == []


def test_a_server_without_ranges_sends_it_anew(server, tmp_path):
    server.ranges, server.cuts = False, [100_000]
    assert get(server, tmp_path).read_bytes() == BODY
    assert len(server.log) == 2


def test_a_server_that_sends_another_range_is_not_trusted(server, tmp_path):
    server.shift, server.cuts = 7, [CHUNK]
    assert get(server, tmp_path).read_bytes() == BODY
    assert server.log == [None, f"bytes={CHUNK}-", None]


def test_a_range_the_server_does_not_know_begins_again(server, tmp_path):
    (tmp_path / "weights.pth.part").write_bytes(b"y" * 1000)
    server.status = [416]
    assert get(server, tmp_path).read_bytes() == BODY
    assert server.log == ["bytes=1000-", None]


def test_a_busy_server_is_asked_again(server, tmp_path):
    server.status = [503, 429]
    assert get(server, tmp_path).read_bytes() == BODY


def test_a_transfer_that_never_ends_is_given_up_and_kept(server, tmp_path):
    server.cuts = [CHUNK] * 50
    with pytest.raises(DownloadError, match="breaks off") as caught:
        get(server, tmp_path)
    assert len(server.log) == downloads.DOWNLOAD_TRIES
    assert f"{CHUNK * downloads.DOWNLOAD_TRIES} of {len(BODY)} bytes have come" in str(caught.value)
    assert leftovers(tmp_path) == ["weights.pth.part"]
    assert not (tmp_path / REMOTE.name).exists()


@pytest.mark.parametrize("body", [b"z" * len(BODY), BODY + b"more"])
def test_another_file_is_refused_with_the_manual_way(server, tmp_path, body):
    server.files["/weights.pth"] = body
    with pytest.raises(ChecksumError, match="not the published file") as caught:
        get(server, tmp_path)
    for part in (server.url, str(tmp_path / REMOTE.name), REMOTE.sha256, str(REMOTE.size)):
        assert part in str(caught.value)
    assert leftovers(tmp_path) == []
    assert not (tmp_path / REMOTE.name).exists()


def test_a_damaged_file_in_the_cache_is_fetched_again(server, tmp_path):
    (tmp_path / REMOTE.name).write_bytes(b"q" * len(BODY))
    assert get(server, tmp_path).read_bytes() == BODY


def test_a_missing_file_on_the_server_is_said_at_once(server, tmp_path):
    server.files.clear()
    with pytest.raises(DownloadError, match="answers 404") as caught:
        get(server, tmp_path)
    assert "By hand" in str(caught.value)
    assert len(server.log) == 1


def test_an_unreachable_host_is_said_soon(monkeypatch, tmp_path):
    monkeypatch.delenv("TLSEG_OFFLINE", raising=False)
    monkeypatch.setattr(downloads, "PAUSE_SECONDS", 0.001)
    with socket.socket() as taken:  # bound, not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/weights.pth"
        with pytest.raises(DownloadError, match=r"(?s)cannot be reached.*By hand") as caught:
            downloads.fetch(url, REMOTE, tmp_path, marker=False, progress=False)
    assert caught.value.reason.endswith("cannot be reached")


def test_a_silent_host_is_given_up(monkeypatch, tmp_path):
    monkeypatch.delenv("TLSEG_OFFLINE", raising=False)
    monkeypatch.setattr(downloads, "ANSWER_SECONDS", 0.2)
    with socket.socket() as silent:  # accepts, never answers
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/weights.pth"
        with pytest.raises(DownloadError, match="no answer within"):
            downloads.fetch(url, REMOTE, tmp_path, marker=False, progress=False)


def test_offline_says_what_to_put_where(server, tmp_path, monkeypatch):
    monkeypatch.setenv("TLSEG_OFFLINE", "1")
    with pytest.raises(OfflineError, match="TLSEG_OFFLINE") as caught:
        get(server, tmp_path)
    for part in (server.url, str(tmp_path / REMOTE.name), REMOTE.sha256, str(REMOTE.size)):
        assert part in str(caught.value)
    (tmp_path / REMOTE.name).write_bytes(b"half")
    with pytest.raises(ChecksumError, match="keep it elsewhere"):
        get(server, tmp_path)
    (tmp_path / REMOTE.name).write_bytes(BODY)  # as the message says
    assert get(server, tmp_path).read_bytes() == BODY
    assert server.log == []


@pytest.mark.parametrize(
    ("value", "forbidden"), [("1", True), ("yes", True), ("0", False), ("", False)]
)
def test_values_of_offline(monkeypatch, value, forbidden):
    monkeypatch.setenv("TLSEG_OFFLINE", value)
    assert downloads.offline() is forbidden


def test_no_room_is_said_before_the_download(server, tmp_path, monkeypatch):
    huge = RemoteFile(REMOTE.name, REMOTE.sha256, 10**18)
    with pytest.raises(DownloadError, match="TLSEG_CACHE"):
        get(server, tmp_path, remote=huge)
    assert server.log == []


def test_a_cache_that_is_a_file_is_said(server, tmp_path):
    (tmp_path / "cache").write_text("not a folder")
    with pytest.raises(DownloadError, match="cannot write"):
        get(server, tmp_path / "cache")


def test_the_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("TLSEG_CACHE", str(tmp_path))
    assert downloads.cache_dir() == tmp_path.resolve()
    monkeypatch.delenv("TLSEG_CACHE")
    assert downloads.cache_dir().name == "tlseg_lite"


def test_a_checkpoint_is_hashed_once_and_again_when_it_changed(server, tmp_path, monkeypatch):
    monkeypatch.setitem(downloads.CHECKPOINTS, "vit_b", REMOTE)
    path = downloads.fetch_checkpoint("vit_b", base_url=server.url, progress=False)
    assert path.parent == downloads.cache_dir()
    note = path.with_name("weights.pth.verified")
    assert json.loads(note.read_text())["sha256"] == REMOTE.sha256
    with monkeypatch.context() as patch:
        patch.setattr(downloads, "sha256_of", lambda path: pytest.fail("hashed again"))
        assert downloads.fetch_checkpoint("vit_b", base_url=server.url, progress=False) == path
    path.write_bytes(b"q" * len(BODY))
    assert downloads.fetch_checkpoint("vit_b", base_url=server.url, progress=False) == path
    assert path.read_bytes() == BODY
    note.write_text("{broken")
    assert downloads.fetch_checkpoint("vit_b", base_url=server.url, progress=False) == path
    assert len(server.log) == 2


def test_the_published_checkpoints():
    sizes = {name: remote.size for name, remote in downloads.CHECKPOINTS.items()}
    assert sizes == {"vit_b": 375042383, "vit_l": 1249524607, "vit_h": 2564550879}
    for remote in downloads.CHECKPOINTS.values():
        assert len(bytes.fromhex(remote.sha256)) == 32
    assert downloads.CHECKPOINT_URL == "https://dl.fbaipublicfiles.com/segment_anything/"


def test_samples_come_into_their_folder(server, monkeypatch, tmp_path):
    table, server.files = {}, {}
    for number in range(2):
        for kind in ("image", "label"):
            body = f"{kind}{number}".encode() * 50
            name = f"{kind}/{number}.png"
            table[name] = f"{name} {hashlib.sha256(body).hexdigest()} {len(body)}"
            server.files[f"/Landslide4Sense/{name}"] = body
    (tmp_path / "landslide4sense_sample.txt").write_text("\n".join(table.values()) + "\n")
    monkeypatch.setattr(downloads, "TABLES", tmp_path)
    folder = downloads.fetch_samples("landslide4sense", base_url=server.url, progress=False)
    assert folder == downloads.cache_dir() / "landslide4sense_sample"
    found = {str(p.relative_to(folder).as_posix()) for p in folder.rglob("*.png")}
    assert found == set(table)
    (folder / "image/1.png").write_bytes(b"damaged")
    downloads.fetch_samples("landslide4sense", base_url=server.url, progress=False)
    assert (folder / "image/1.png").read_bytes() == b"image1" * 50
    assert len(server.log) == 5
    del server.files["/Landslide4Sense/label/0.png"]
    (folder / "label/0.png").unlink()
    with pytest.raises(DownloadError, match=r"404.*Landslide4Sense/label/0\.png"):
        downloads.fetch_samples("landslide4sense", base_url=server.url, progress=False)


def test_real_samples_are_those_of_the_table(server, real_data):
    """The real files, served from this machine, pass the published hashes."""
    for name, folder in downloads.SAMPLE_FOLDERS.items():
        for path in (real_data / f"{name}_sample").glob("*/*.png"):
            server.files[f"/{folder}/{path.parent.name}/{path.name}"] = path.read_bytes()
        fetched = downloads.fetch_samples(name, base_url=server.url, progress=False)
        assert len(list(fetched.rglob("*.png"))) == 40


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="choose one of vit_b, vit_l, vit_h"):
        downloads.fetch_checkpoint("vit_x")
    with pytest.raises(ValueError, match="choose one of bijie, landslide4sense"):
        downloads.fetch_samples("bijia")


PROCESS = """
import sys
from tlseg_lite.core import downloads
from tlseg_lite.core.downloads import RemoteFile, fetch
url, folder, sha256, size = sys.argv[1:]
from pathlib import Path
remote = RemoteFile("weights.pth", sha256, int(size))
print(fetch(url + "weights.pth", remote, Path(folder), marker=True, progress=False))
"""


def test_two_processes_fetch_it_once(server, tmp_path):
    arguments = [server.url, str(tmp_path), REMOTE.sha256, str(REMOTE.size)]
    both = [
        subprocess.Popen([sys.executable, "-c", PROCESS, *arguments], stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    for process in both:
        assert process.communicate()[0].decode().strip() == str(tmp_path / REMOTE.name)
        assert process.returncode == 0
    assert server.log == [None]  # the second one waited and found it
    assert (tmp_path / REMOTE.name).read_bytes() == BODY


def test_a_cache_that_can_only_be_read(server, tmp_path, monkeypatch):
    """What is there is used; what is not names the remedy."""
    get(server, tmp_path)

    def refused(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refused)  # tests may run as root, who may write anywhere
    monkeypatch.setattr(os, "makedirs", refused)
    monkeypatch.setattr(Path, "write_text", refused)
    assert get(server, tmp_path, marker=True).read_bytes() == BODY
    assert len(server.log) == 1
    with pytest.raises(DownloadError, match=r"cannot write .*Permission denied.*TLSEG_CACHE"):
        get(server, tmp_path / "new")
    with pytest.raises(DownloadError, match="TLSEG_CACHE"):
        downloads.fetch_samples("bijie", base_url=server.url, progress=False)


def test_a_disk_that_fills_up_keeps_what_was_there(server, tmp_path, monkeypatch):
    path, older = tmp_path / REMOTE.name, b"older" * 100
    path.write_bytes(older)
    real_open = open

    def full(name, mode="r", *arguments, **options):
        file = real_open(name, mode, *arguments, **options)
        if str(name).endswith(".part"):
            write, room = file.write, iter([2])

            def some(chunk):
                if next(room, None) is None:
                    raise OSError(28, "No space left on device")
                return write(chunk)

            file = SimpleNamespace(write=some, tell=file.tell, close=file.close)
            return contextlib.closing(file)
        return file

    monkeypatch.setattr(downloads, "open", full, raising=False)
    with pytest.raises(DownloadError, match=r"No space left.*What was there is kept") as caught:
        get(server, tmp_path)
    assert "delete" not in str(caught.value).lower()
    assert path.read_bytes() == older
    assert (tmp_path / "weights.pth.part").read_bytes() == BODY[:CHUNK]
    monkeypatch.undo()
    monkeypatch.delenv("TLSEG_OFFLINE", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert get(server, tmp_path).read_bytes() == BODY  # goes on where it stopped
    assert server.log == [None, f"bytes={CHUNK}-"]
