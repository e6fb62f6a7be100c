"""A training survives kills at any moment, a full disk, and an unreadable checkpoint."""

import errno
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from course import ROOT
from training_helpers import Blobs

import tlseg_lite as tl
from tlseg_lite.core.errors import CheckpointError

RECIPE = tl.Recipe(epochs=2, batch_size=3)
KILLS = 20


@pytest.fixture(scope="module")
def sam():
    return tl.load_sam("sam_mini", None, image_size=64)


def train(sam, out, epochs=2, **options):
    model = tl.TransLandSeg(sam, tl.ATLConfig())
    recipe = replace(RECIPE, epochs=epochs)
    tl.fit(model, Blobs(4), Blobs(2, "val"), recipe, out, progress=False, **options)
    return {name: tensor.clone() for name, tensor in model.trained_state().items()}


def files_of(folder):
    """Contents by name; not the lock of the process at work."""
    return {p.name: p.read_bytes() for p in folder.iterdir() if not p.name.endswith(".lock")}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked")
def test_twenty_kills_leave_no_trace(tmp_path):
    """Bit-identical weights and losses, and no half-written file, after 20 kills -9."""
    script = ROOT / "tests" / "support" / "interrupted_training.py"
    told = subprocess.run(
        [sys.executable, str(script), str(tmp_path), str(KILLS)],
        # freed tensors go back to the system at once, so that a limit on memory means what it says
        env={**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "100000"},
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert told.returncode == 0, told.stderr
    report = json.loads(told.stdout.splitlines()[-1])
    assert report["outside"] == report["inside"] == KILLS // 2
    assert report["left_over"] > 0, "no kill came while a file was written: the test tests little"
    assert len(set(report["epochs"])) > 2, "the kills came all at the same place"
    assert report["identical"]
    assert report["tensors"] > 100
    assert report["same_losses"]
    assert report["files"] == [
        "best.safetensors", "final.pt", "history.csv", "previous.pt", "state.pt"
    ]  # fmt: skip
    if sys.platform == "linux":  # where memory can be limited for real
        assert 1 <= report["fits"] < 32
        assert "out of memory on the CPU with 32 images at a time: going on with 16" in told.stdout


def test_a_full_disk_is_said_and_keeps_what_was_there(sam, tmp_path, monkeypatch):
    straight = train(sam, tmp_path / "straight")
    write, states, before = Path.write_bytes, [], {}

    def full(path, data):
        if path.name.startswith(".state.pt"):
            states.append(path)
        if len(states) == 2:  # the second epoch's
            before.update(files_of(path.parent))
            write(path, bytes(memoryview(data)[:1000]))
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, data)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match="No space left on device") as caught:
            train(sam, tmp_path / "full")
    assert caught.value.errno == errno.ENOSPC
    for part in ("state.pt", "the former file is kept", "it goes on after epoch 1"):
        assert part in str(caught.value)
    after = files_of(tmp_path / "full")
    assert after == before  # the first epoch's files, and nothing half-written
    assert "state.pt" in after
    assert same(train(sam, tmp_path / "full"), straight)


@pytest.mark.parametrize("name", ["best.safetensors", "state.pt", "history.csv"])
def test_a_disk_that_fills_up_in_any_write_keeps_what_was_there(name, sam, tmp_path, monkeypatch):
    """The first epoch's files are whole, and the same call goes on to the same end."""
    recipe = replace(RECIPE, keep="last")  # each epoch writes every file
    data = (Blobs(4), Blobs(2, "val"), recipe)
    models = [tl.TransLandSeg(sam, tl.ATLConfig()) for _ in range(3)]
    tl.fit(models[0], *data, tmp_path / "straight", progress=False)
    replaced, out = [], tmp_path / "full"
    move = os.replace

    def full(source, target):
        if Path(target).name == name:
            replaced.append(target)
            if len(replaced) == 2:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return move(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full)
        with pytest.raises(OSError, match="No space left on device") as caught:
            tl.fit(models[1], *data, out, progress=False)
    assert "it goes on after epoch" in str(caught.value)
    assert not list(out.glob(".*"))
    assert tl.load_model(out / "best.safetensors").run["recipe"]["keep"] == "last"
    assert len(pd.read_csv(out / "history.csv")) == 1
    tl.fit(models[2], *data, out, progress=False)
    assert same(models[2].trained_state(), models[0].trained_state())
    assert len(pd.read_csv(out / "history.csv")) == 2


def test_a_real_limit_on_files(sam, tmp_path):
    """The kernel refuses to write past a limit, as a quota does."""
    resource = pytest.importorskip("resource")
    train(sam, tmp_path, epochs=1)
    largest = (tmp_path / "state.pt").stat().st_size
    before = (tmp_path / "state.pt").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest // 2, hard))
    try:
        with pytest.raises(OSError, match="cannot write"):
            train(sam, tmp_path, extend=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "state.pt").read_bytes() == before
    train(sam, tmp_path, extend=True)
    assert len(pd.read_csv(tmp_path / "history.csv")) == 2


def test_a_damaged_state_names_the_one_before(sam, tmp_path):
    straight = train(sam, tmp_path)
    state, previous = tmp_path / "state.pt", tmp_path / "previous.pt"
    kept = previous.read_bytes()
    for damage in (b"", state.read_bytes()[:-2000], b"not a checkpoint"):
        state.write_bytes(damage)
        with pytest.raises(CheckpointError, match=r"state\.pt cannot be read") as caught:
            train(sam, tmp_path)
        assert f"Move it to another folder to go on after epoch 1 with {previous}" in str(
            caught.value
        )
        assert state.read_bytes() == damage  # nothing was replaced
        assert previous.read_bytes() == kept
    state.rename(tmp_path / "away.pt")  # as the error says
    assert same(train(sam, tmp_path), straight)


def test_a_damaged_state_without_one_before(sam, tmp_path):
    train(sam, tmp_path, epochs=1)
    assert not (tmp_path / "previous.pt").exists()
    (tmp_path / "state.pt").write_bytes(b"half a file")
    with pytest.raises(CheckpointError, match="Move it to another folder to start anew"):
        train(sam, tmp_path)
    train(sam, tmp_path, resume=False)


def test_a_new_run_in_an_old_folder_forgets_the_old_one(sam, tmp_path):
    train(sam, tmp_path, epochs=2)

    class Stop(Blobs):
        def __getitem__(self, index):
            if index:
                raise KeyboardInterrupt
            return super().__getitem__(index)

    model = tl.TransLandSeg(sam, tl.ATLConfig())
    with pytest.raises(KeyboardInterrupt):
        tl.fit(model, Stop(4), Blobs(2, "val"), RECIPE, tmp_path, progress=False, resume=False)
    assert not list(tmp_path.glob("*.pt"))  # the old run would have been taken for this one


def test_ctrl_c_while_an_epoch_is_written_waits_for_it(sam, tmp_path, monkeypatch):
    move = os.replace

    def interrupted(source, target):
        signal.raise_signal(signal.SIGINT)  # Python handles it before the next line
        return move(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", interrupted)
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with pytest.raises(KeyboardInterrupt):
                train(sam, tmp_path)
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        finally:
            signal.signal(signal.SIGINT, before)
    assert {p.name for p in tmp_path.iterdir()} == {"best.safetensors", "history.csv", "state.pt"}
    assert len(torch.load(tmp_path / "state.pt")["rows"]) == 1


def test_a_clock_that_stops_or_jumps_back_changes_no_weight(sam, tmp_path, monkeypatch):
    straight = train(sam, tmp_path / "straight")
    for name, clock in (("stopped", itertools.repeat(0.0)), ("back", itertools.count(1e9, -3600))):
        with monkeypatch.context() as patched:
            for each in ("time", "perf_counter", "monotonic"):
                patched.setattr(time, each, lambda clock=clock: float(next(clock)))
            assert same(train(sam, tmp_path / name), straight)
