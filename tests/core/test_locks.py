"""A lock holds while its process lives, names it, and leaves nothing behind."""

import os
import subprocess
import sys

import pytest

from tlseg_lite.core.locks import locked

pytest.importorskip("fcntl")

HOLDER = """
import sys
from tlseg_lite.core.locks import locked
with locked(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_holder_is_named_and_purposes_are_apart(tmp_path):
    path = tmp_path / "new" / "rows.csv"
    with locked(path):
        with pytest.raises(RuntimeError, match=rf"rows.csv \(process {os.getpid()} on "):
            locked(path, wait=False).__enter__()
        with locked(path, purpose="runs", wait=False):
            assert len(list(path.parent.iterdir())) == 2
    assert list(path.parent.iterdir()) == []


def test_an_error_inside_frees_it(tmp_path):
    with pytest.raises(BlockingIOError), locked(tmp_path / "a"):
        raise BlockingIOError("of the block itself")
    with locked(tmp_path / "a", wait=False):
        pass


def test_a_killed_holder_is_no_obstacle(tmp_path):
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "a")]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"held\n"
    with pytest.raises(RuntimeError, match=f"process {child.pid} on"):
        locked(tmp_path / "a", wait=False).__enter__()
    child.kill()
    child.communicate()
    assert (tmp_path / ".a.lock").exists()
    with locked(tmp_path / "a", wait=False):
        pass
    assert list(tmp_path.iterdir()) == []


WITH_A_CHILD = """
import os, sys
from tlseg_lite.core.locks import locked
with locked(sys.argv[1]):
    number = os.fork()
    if not number:
        print(os.getpid(), flush=True)
    sys.stdin.read()  # both live until they are told
    if not number:
        os._exit(0)
"""


def test_children_do_not_keep_the_lock_of_a_killed_parent(tmp_path):
    """A loader's workers notice after seconds that their parent was killed."""
    command = [sys.executable, "-c", WITH_A_CHILD, str(tmp_path / "a")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        worker = int(parent.stdout.readline())
        parent.kill()
        os.waitpid(parent.pid, 0)
        os.kill(worker, 0)  # it lives
        with locked(tmp_path / "a", wait=False):
            pass
        parent.stdin.close()
