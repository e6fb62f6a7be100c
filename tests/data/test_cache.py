"""The cache of decoded images: exact, shared, limited; it never changes a result."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from training_helpers import Blobs

import tlseg_lite as tl
from tlseg_lite.data import Augment, Cached, Prepared, fit_square
from tlseg_lite.data.base import Wrapped
from tlseg_lite.data.cache import cached
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


class Counting(Wrapped):
    """Counts how often an item is read."""

    reads = 0

    def __getitem__(self, index):
        self.reads += 1
        return super().__getitem__(index)


def assert_same(one, other):
    assert one.keys() == other.keys()
    for key in one:
        if isinstance(one[key], torch.Tensor):
            assert one[key].dtype == other[key].dtype
            assert torch.equal(one[key], other[key]), key
        else:
            assert one[key] == other[key]


@pytest.mark.parametrize("size", [None, 48])
@pytest.mark.parametrize("ignore", [None, 255])
def test_what_comes_out_is_what_went_in(folder, size, ignore):
    pairs = ImagePairs(folder / "image", folder / "mask", ignore=ignore)
    counted = Counting(pairs)
    kept = Cached(counted, size)
    assert (len(kept), kept.ids, kept.source) == (6, pairs.ids, pairs.source)
    assert (kept.files(-1), kept.mask_file(2)) == (pairs.files(5), pairs.mask_file(2))
    for _ in range(3):
        for index in range(len(pairs)):
            expected = pairs[index] if size is None else shrink(pairs[index], size)
            assert_same(kept[index], expected)
    assert counted.reads == 6


def test_training_pictures_are_the_same_with_and_without(pairs):
    plain = Prepared(pairs, 48, Augment(), seed=3)
    kept = Cached(pairs, 48)
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


def test_workers_and_threads_share_it(pairs):
    expected = [Prepared(pairs, 48)[i]["image"] for i in range(6)]
    kept = Cached(pairs)
    with ThreadPoolExecutor(4) as pool:
        read = list(pool.map(lambda i: kept[i % 6]["image"], range(48)))
    assert all(torch.equal(read[i], pairs[i % 6]["image"]) for i in range(48))
    loader = DataLoader(Prepared(kept, 48), batch_size=3, num_workers=2)
    got = torch.cat([batch["image"] for batch in loader])
    assert torch.equal(got, torch.stack(expected))


def test_the_limit_holds_and_is_said_once(pairs, capsys):
    largest = max(3 * (20 + 10 * i) * (30 + 12 * i) for i in range(6))
    counted = Counting(pairs)
    kept = Cached(counted, limit_gb=1.5 * largest / 1e9)
    for _ in range(2):
        for index in range(6):
            assert_same(kept[index], pairs[index])
    told = capsys.readouterr().out
    assert told.count("has reached its limit") == 1
    assert "the other images are read each time" in told
    assert 6 < counted.reads < 12  # some were kept, some read twice


def test_where_a_recipe_keeps_images(pairs, monkeypatch):
    counted = Counting(pairs)
    assert cached(counted, "no", 48) is counted
    kept = cached(counted, "memory", 48, threads=2)
    assert counted.reads == 6  # filled before workers start
    assert cached(kept, "auto", 48) is kept
    monkeypatch.setattr("tlseg_lite.data.cache._available_memory", lambda: 1000)
    assert cached(counted, "auto", 48).limit == 500  # half of what is free
    with pytest.warns(FutureWarning, match="cache='disk' is gone"):
        assert isinstance(cached(counted, "disk", 48), Cached)  # recipes of version 0.1
    with pytest.raises(ValueError, match="cache is 'tape'"):
        cached(Blobs(2), "tape", 64)
    with pytest.raises(ValueError, match="limit_gb is 0"):
        Cached(Blobs(2), limit_gb=0)


def test_a_training_does_not_depend_on_the_cache(pairs, tmp_path):
    sam = tl.load_sam("sam_mini", None, image_size=64)
    train, val = tl.data.split(pairs, (0.7, 0.3), seed=0)
    found = []
    for where, workers in (("no", 0), ("memory", 0), ("auto", 2)):
        model = tl.TransLandSeg(sam, None)
        recipe = tl.Recipe(epochs=2, batch_size=2, cache=where, workers=workers)
        run = tl.fit(model, train, val, recipe, tmp_path / where, progress=False)
        assert (run.history["waiting"] >= 0).all()
        found.append(model.trained_state())
    for state in found[1:]:
        assert all(torch.equal(state[name], found[0][name]) for name in state)
    # a run may go on with another cache: it is the same run
    recipe = replace(tl.Recipe(epochs=2, batch_size=2), cache="memory", micro_batch=1)
    tl.fit(tl.TransLandSeg(sam, None), train, val, recipe, tmp_path / "no", progress=False)
