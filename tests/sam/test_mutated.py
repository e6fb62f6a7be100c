"""Damaged and malicious weights files: each loads or is refused by name; none runs anything."""

import io
import pickle
import tarfile
import warnings
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save

from tlseg_lite.core.errors import CheckpointError
from tlseg_lite.sam.variants import load_strictly, read_checkpoint

N = 200


class Tiny(torch.nn.Module):
    """What `load_strictly` needs of a SAM, in 700 numbers."""

    variant = "sam_mini"

    def __init__(self):
        super().__init__()
        self.image_encoder = torch.nn.Module()
        self.image_encoder.pos_embed = torch.nn.Parameter(torch.rand(1, 4, 4, 8))
        self.image_encoder.neck = torch.nn.Conv2d(8, 8, 3)


def pth(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def legacy(state):
    buffer = io.BytesIO()
    torch.save(state, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


class Bomb:
    """A pickle of this creates a file when it is loaded with plain `pickle`."""

    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return (open, (self.target, "w"))


def mutated(data, seed):
    """One file cut short, with flipped bits, with a wrong header, or with bytes put in or out."""
    rng = np.random.default_rng(seed)
    changed, kind = bytearray(data), seed % 5
    if kind == 0:
        return bytes(changed[: rng.integers(0, len(data))])
    start = rng.integers(0, len(data))
    if kind == 1:
        for place in rng.integers(0, len(data), rng.integers(1, 9)):
            changed[place] ^= 1 << rng.integers(0, 8)
    elif kind == 2:  # the header, and the end, where a zip keeps its directory
        for place in rng.integers(0, min(300, len(data)), rng.integers(1, 5)):
            changed[place if rng.random() < 0.5 else -1 - place] = rng.integers(0, 256)
    elif kind == 3:
        del changed[start : start + rng.integers(1, 100)]
    else:
        changed[start : start + 40] = rng.bytes(40)
    return bytes(changed)


def outcome(path):
    """The loaded model, or None where the file is refused by name; anything else is a fault."""
    model = Tiny()
    try:
        load_strictly(model, read_checkpoint(path), path)
    except CheckpointError as error:
        assert path.name in str(error)  # noqa: PT017
        return None
    return model


@pytest.mark.parametrize(("suffix", "write"), [("pth", pth), ("safetensors", save), ("pt", legacy)])
def test_damaged_files(tmp_path, suffix, write):
    whole = Tiny()
    data, path, refused = write(whole.state_dict()), tmp_path / f"weights.{suffix}", 0
    path.write_bytes(data)
    assert outcome(path) is not None
    for seed in range(N):
        path.write_bytes(mutated(data, seed))
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            model = outcome(path)
        assert not told, (seed, told[0].message)
        refused += model is None
        if model is not None:
            for key, value in model.state_dict().items():
                assert value.shape == whole.state_dict()[key].shape
                assert torch.isfinite(value).all(), seed
    assert refused >= N / 5  # at least what was cut short


def test_pickles_with_code(tmp_path):
    """A call hidden in every place of a checkpoint, in every format that torch.load reads."""
    target, path = tmp_path / "it-ran", tmp_path / "weights.pth"
    bomb, state = Bomb(target), Tiny().state_dict()
    pickle.loads(pickle.dumps(bomb)).close()
    assert target.is_file()  # so it would show
    target.unlink()
    for hidden in ({**state, "x": bomb}, {"model": state, "optimizer": bomb}, [bomb], bomb):
        for write in (pth, legacy, pickle.dumps):
            data = write(hidden)
            for seed in (None, *range(1, N // 12 * 5, 5)):  # whole, then with flipped bits
                path.write_bytes(data if seed is None else mutated(data, seed))
                assert outcome(path) is None
                assert not target.exists()
            path.write_bytes(data)
            with pytest.raises(CheckpointError, match="could run code"):
                read_checkpoint(path)


def test_tar_files_are_refused_before_torch_reads_them(tmp_path, monkeypatch):
    """PyTorch before 2.6 runs code from a tar file in spite of weights_only (CVE-2025-32434)."""
    path = tmp_path / "weights.pth"
    with tarfile.open(path, "w") as file:
        for name in ("storages", "tensors", "pickle"):
            data = pickle.dumps(Bomb(tmp_path / "it-ran"))
            about = tarfile.TarInfo(name)
            about.size = len(data)
            file.addfile(about, io.BytesIO(data))
    monkeypatch.setattr(torch, "load", lambda *a, **k: pytest.fail("torch.load was called"))
    with pytest.raises(CheckpointError, match=r"tar file.*could run code"):
        read_checkpoint(path)


def test_a_zip_of_something_else(tmp_path):
    path = tmp_path / "weights.pth"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/readme.txt", "hello")
    with pytest.raises(CheckpointError, match="if they differ, fetch it again"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("odd", "words"),
    [
        (torch.ones(1, 4, 4, 8).int(), "int32"),
        (torch.ones(1, 4, 4, 8, dtype=torch.complex64), "complex64"),
        (torch.rand(4, 4).to_sparse(), "sparse"),
        (torch.ones(1, 1, 1, 8).expand(1, 3000, 3000, 8), "expected plain"),
        (torch.empty(1, 4, 4, 8, device="meta"), "meta"),
        (torch.full((1, 4, 4, 8), float("inf")), "not finite"),
    ],
    ids=["int", "complex", "sparse", "expanded", "meta", "infinite"],
)
def test_odd_tensors_are_refused(tmp_path, odd, words):
    path, model = tmp_path / "weights.pth", Tiny()
    torch.save({**model.state_dict(), "image_encoder.pos_embed": odd}, path)
    with pytest.raises(CheckpointError, match=words):
        load_strictly(model, read_checkpoint(path), path)


def test_a_file_that_cannot_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    path = tmp_path / "weights.pth"
    path.write_bytes(pth(Tiny().state_dict()))
    for error in (PermissionError(13, "Permission denied"), MemoryError()):

        def fail(*args, error=error, **kwargs):
            raise error

        monkeypatch.setattr(torch, "load", fail)
        with pytest.raises(CheckpointError, match="may be good") as caught:
            read_checkpoint(path)
        assert "fetch" not in str(caught.value)
