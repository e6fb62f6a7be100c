"""Freed memory stays with the process while it is asked for again, and goes back afterwards."""

import json
import subprocess
import sys

import pytest

MEASURE = """
import json, resource
from pathlib import Path
from tlseg_lite.core.allocator import keep_memory, memory_kept

def pages():
    "Minor page faults while 64 MB are taken and freed ten times."
    taken = [bytearray(b"1") * 2**20 for _ in range(64)]
    del taken
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        taken = [bytearray(b"1") * 2**20 for _ in range(64)]
        del taken
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

found = {"before": pages(), "start": resident()}
with memory_kept():
    found["inside"], found["held"] = pages(), resident()
found["end"] = resident()
found["known"] = keep_memory()
print(json.dumps(found))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc is Linux's C library")
def test_pages_are_kept_inside_and_handed_back_afterwards():
    done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True)
    found = json.loads(done.stdout)
    if not found["known"]:
        pytest.skip("another C library than glibc, or another allocator: nothing to keep")
    assert found["inside"] < found["before"] / 10
    assert found["held"] - found["start"] > 50e6  # of the 64 MB
    assert found["end"] - found["start"] < 20e6


def test_other_systems_change_nothing(monkeypatch):
    from tlseg_lite.core import allocator

    monkeypatch.setattr(allocator.sys, "platform", "darwin")
    assert not allocator.keep_memory()
    with allocator.memory_kept():
        pass
