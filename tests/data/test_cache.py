"""The cache of decoded pictures: exact, shared, limited, mended; it never changes a result."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from training_helpers import Blobs

import tlseg_lite as tl
from tlseg_lite.data import Augment, Bijie, Cached, Prepared, fit_square
from tlseg_lite.data.cache import cached, identity
from tlseg_lite.data.images import ImagePairs
from tlseg_lite.data.transforms import shrink


@pytest.fixture
def folder(tmp_path_factory):
    """Six pictures from 20 x 30 to 70 x 90 pixels with masks, as files."""
    rng, root = np.random.default_rng(0), tmp_path_factory.mktemp("pictures")
    for name in ("image", "mask"):
        (root / name).mkdir()
    for i in range(6):
        height, width = 20 + 10 * i, 30 + 12 * i
        picture = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        mask = np.zeros((height, width), dtype=np.uint8)
        mask[5:15, 4 : 10 + i] = 255
        Image.fromarray(picture).save(root / "image" / f"df{i}.png")
        Image.fromarray(mask).save(root / "mask" / f"df{i}.png")
    return root


@pytest.fixture
def pairs(folder):
    return ImagePairs(folder / "image", folder / "mask")


class Counting(Dataset):
    """Counts how often a picture is read, and passes on which files it is made of."""

    def __init__(self, dataset):
        self.dataset, self.reads, self.ids = dataset, 0, dataset.ids
        self.source = dataset.source
        if hasattr(dataset, "files"):
            self.files = dataset.files

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, index):
        self.reads += 1
        return self.dataset[index]


def assert_same(one, other):
    assert one.keys() == other.keys()
    for key in one:
        if isinstance(one[key], torch.Tensor):
            assert one[key].dtype == other[key].dtype
            assert torch.equal(one[key], other[key]), key
        else:
            assert one[key] == other[key]


@pytest.mark.parametrize("where", ["memory", "disk"])
@pytest.mark.parametrize("size", [None, 48])
def test_what_comes_out_is_what_went_in(pairs, tmp_path, where, size):
    counted = Counting(pairs)
    kept = Cached(counted, size, tmp_path / "kept" if where == "disk" else None)
    assert (len(kept), kept.ids, kept.source) == (6, pairs.ids, pairs.source)
    for _ in range(3):
        for index in range(len(pairs)):
            expected = pairs[index] if size is None else shrink(pairs[index], size)
            assert_same(kept[index], expected)
    assert counted.reads == 6
    again = Cached(counted, size, kept.folder)
    again[2]
    assert counted.reads == (6 if where == "disk" else 7)


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_training_pictures_are_the_same_with_and_without(pairs, tmp_path, where):
    plain = Prepared(pairs, 48, Augment(), seed=3)
    kept = Cached(pairs, 48, tmp_path if where == "disk" else None)
    quick = Prepared(kept, 48, Augment(), seed=3)
    for epoch in (0, 1):
        plain.set_epoch(epoch)
        quick.set_epoch(epoch)
        for index in range(6):
            assert_same(plain[index], quick[index])


def test_pictures_that_eight_bits_do_not_hold_are_kept_as_they_are(tmp_path):
    data = Blobs(3)
    kept = Cached(data)
    for index in (0, 1, 2, 0):
        assert_same(kept[index], data[index])


def test_shrinking_and_fitting_is_fitting():
    sample = Blobs(1)[0]  # 40 x 60
    both, alone = fit_square(shrink(sample, 32), 32), fit_square(sample, 32)
    for key in ("mask", "valid"):
        assert torch.equal(both[key], alone[key])
    assert (both["image"] - alone["image"]).abs().max() <= 0.5 / 255 + 1e-6  # 8 bits
    assert shrink(sample, 64) is sample
    assert shrink(sample, 32)["native_size"].tolist() == [40, 60]
    item = Prepared(Blobs(8), 32, Augment(brightness=0), seed=1)
    sizes = {tuple(item[i]["native_size"].tolist()) for i in range(8)}
    natives = {tuple(Blobs(8)[i]["image"].shape[1:]) for i in range(8)}
    assert sizes <= natives | {pair[::-1] for pair in natives}  # a quarter turn swaps the sides


def test_a_changed_file_is_read_anew(folder, pairs, tmp_path):
    before = Cached(pairs, None, tmp_path / "kept")[1]
    path = folder / "image" / "df1.png"
    Image.fromarray(np.zeros((30, 42, 3), dtype=np.uint8)).save(path)
    os.utime(path, ns=(time.time_ns(), time.time_ns() + 10**9))
    after = Cached(pairs, None, tmp_path / "kept")[1]
    assert before["image"].any()
    assert not after["image"].any()


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "other"])
def test_a_damaged_entry_is_made_anew_and_said(pairs, tmp_path, damage):
    kept = Cached(pairs, None, tmp_path)
    expected = kept[0]
    (file,) = tmp_path.iterdir()
    data = bytearray(file.read_bytes())
    if damage == "flipped":
        data[200] ^= 255  # within the picture: the checksum tells
    changed = {"cut": data[: len(data) // 2], "empty": b"", "flipped": data, "other": b"x" * 500}
    file.write_bytes(changed[damage])
    with pytest.warns(UserWarning, match="is damaged .* it is made anew"):
        assert_same(kept[0], expected)
    assert_same(kept[0], expected)  # mended: no warning


def test_several_processes_and_threads_share_a_folder(pairs, tmp_path):
    expected = [Prepared(pairs, 48)[i]["image"] for i in range(6)]
    kept = Cached(pairs, None, tmp_path)
    with ThreadPoolExecutor(4) as pool:
        read = list(pool.map(lambda i: kept[i % 6]["image"], range(48)))
    assert all(torch.equal(read[i], pairs[i % 6]["image"]) for i in range(48))
    loader = DataLoader(Prepared(kept, 48), batch_size=3, num_workers=2)
    got = torch.cat([batch["image"] for batch in loader])
    assert torch.equal(got, torch.stack(expected))
    assert not list(tmp_path.glob(".*"))  # no temporary file is left
    assert len(list(tmp_path.iterdir())) == 6


def test_the_limit_holds_and_is_said_once(pairs, tmp_path, capsys):
    largest = max(3 * (20 + 10 * i) * (30 + 12 * i) for i in range(6))
    for place in (None, tmp_path):
        kept = Cached(pairs, None, place, limit_gb=1.5 * largest / 1e9)
        for _ in range(2):
            for index in range(6):
                assert_same(kept[index], pairs[index])
        told = capsys.readouterr().out
        assert told.count("has reached its limit") == 1
        assert "the other pictures are read each time" in told
    assert 0 < sum(file.stat().st_size for file in tmp_path.iterdir()) <= 1.5 * largest


def test_old_entries_of_other_data_make_room(pairs, tmp_path):
    old = tmp_path / "old.npz"
    old.write_bytes(bytes(100_000))
    os.utime(old, (1, 1))
    kept = Cached(pairs, None, tmp_path, limit_gb=100_000 / 1e9)
    kept.fill()
    assert not old.exists()
    assert len(list(tmp_path.iterdir())) == 6


def test_a_folder_that_cannot_be_written_is_said(pairs, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    kept = Cached(pairs, None, tmp_path / "file" / "below")
    assert_same(kept[0], pairs[0])
    assert "cannot be written" in capsys.readouterr().out


def test_a_cache_on_disk_needs_to_know_the_files(tmp_path):
    with pytest.raises(ValueError, match="does not say which files"):
        Cached(Blobs(2), None, tmp_path)
    with pytest.raises(ValueError, match="limit_gb is 0"):
        Cached(Blobs(2), limit_gb=0)
    with pytest.raises(ValueError, match="cache is 'tape'"):
        cached(Blobs(2), "tape", 64)


def test_identities_follow_subsets_and_options(pairs, tmp_path):
    part = tl.data.split(pairs, (0.5, 0.5), seed=0)[1]
    assert identity(part, 1) == identity(pairs, part.indices[1])
    assert identity(pairs, 0) != identity(pairs, 1)
    from tlseg_lite.scenes.export import synthesize

    synthesize(tmp_path / "b", style="bijie", n=3, size=32, seed=0, progress=False)
    bijie = Bijie(tmp_path / "b")
    for index, name in enumerate(bijie.ids):
        assert [path.stem for path in bijie.files(index)] == [name, name]
        assert all(path.is_file() for path in bijie.files(index))
    synthesize(tmp_path / "l", style="landslide4sense", n=3, seed=0, progress=False)
    rgb, all_bands = (
        tl.data.Landslide4Sense(tmp_path / "l", bands=bands) for bands in ("rgb", "all")
    )
    assert identity(rgb, 0)[2] == identity(all_bands, 0)[2]  # the same files
    assert identity(rgb, 0) != identity(all_bands, 0)  # read in another way
    assert_same(Cached(rgb, None, tmp_path / "kept")[1], rgb[1])


def test_where_a_recipe_keeps_pictures(pairs, tmp_path, monkeypatch):
    monkeypatch.setenv("TLSEG_CACHE", str(tmp_path))
    counted = Counting(pairs)
    assert cached(counted, "no", 48) is counted
    kept = cached(counted, "memory", 48, threads=2)
    assert counted.reads == 6  # filled before workers start
    assert cached(kept, "disk", 48) is kept
    on_disk = cached(counted, "disk", 48)
    assert on_disk.folder == tmp_path / "images"
    assert cached(counted, "auto", 48).folder is None
    monkeypatch.setattr("tlseg_lite.data.cache._available_memory", lambda: 1000)
    assert cached(counted, "auto", 48).folder == tmp_path / "images"
    assert cached(Blobs(3), "auto", 48).__class__ is Blobs  # no memory, no files: no cache


def test_a_training_does_not_depend_on_the_cache(pairs, tmp_path, monkeypatch):
    monkeypatch.setenv("TLSEG_CACHE", str(tmp_path / "cache"))
    sam = tl.load_sam("sam_mini", None, image_size=64)
    train, val = tl.data.split(pairs, (0.7, 0.3), seed=0)
    found = []
    for where, workers in (("no", 0), ("memory", 0), ("disk", 2)):
        model = tl.TransLandSeg(sam, None)
        recipe = tl.Recipe(epochs=2, batch_size=2, cache=where, workers=workers)
        run = tl.fit(model, train, val, recipe, tmp_path / where, progress=False)
        assert (run.history["waiting"] >= 0).all()
        found.append(model.trained_state())
    assert list((tmp_path / "cache" / "images").iterdir())
    for state in found[1:]:
        assert all(torch.equal(state[name], found[0][name]) for name in state)
    # a run may go on with another cache: it is the same run
    recipe = replace(tl.Recipe(epochs=2, batch_size=2), cache="memory", micro_batch=1)
    tl.fit(tl.TransLandSeg(sam, None), train, val, recipe, tmp_path / "no", progress=False)
