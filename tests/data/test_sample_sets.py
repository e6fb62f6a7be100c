"""Where the real samples come from, and what stands in for them."""

import shutil

import pytest
import torch

import tlseg_lite as tl
from tlseg_lite.data import MissingDataError
from tlseg_lite.data.images import natural_key


@pytest.fixture
def nothing(monkeypatch, tmp_path):
    """A machine without samples and without the network."""
    monkeypatch.delenv("TLSEG_DATA", raising=False)
    monkeypatch.setenv("TLSEG_OFFLINE", "1")
    monkeypatch.setenv("TLSEG_CACHE", str(tmp_path / "cache"))
    return monkeypatch


@pytest.mark.parametrize(
    ("name", "first", "empty"), [("bijie", "df002", 0), ("landslide4sense", "0", 1)]
)
def test_the_real_samples(real_data, monkeypatch, name, first, empty):
    monkeypatch.setenv("TLSEG_DATA", str(real_data))
    data = tl.data.samples(name)
    assert len(data) == 20
    assert data.ids[0] == first
    assert data.ids == sorted(data.ids, key=natural_key)
    assert data.source.startswith("20 real ")
    data.check()
    shares = []
    for item in data:
        assert item["image"].dtype == item["mask"].dtype == torch.float32
        assert item["image"].shape[0] == 3
        assert item["image"].shape[1:] == item["mask"].shape[1:]
        assert 0 <= item["image"].min() < item["image"].max() <= 1
        assert set(item["mask"].unique().tolist()) <= {0.0, 1.0}
        shares.append(item["mask"].mean().item())
    assert shares.count(0.0) == empty  # as the samples' description says
    assert max(shares) < 0.9


def test_real_samples_for_a_chapter(real_data, monkeypatch):
    monkeypatch.setenv("TLSEG_DATA", str(real_data))
    few = tl.data.course_samples("bijie", 6)
    assert few.ids == tl.data.samples("bijie").ids[:6]
    assert few.source == "6 of 20 real Bijie samples"
    assert len(tl.data.course_samples("bijie", 50)) == 20


def test_the_way_there_and_back_on_real_masks(real_data, monkeypatch):
    monkeypatch.setenv("TLSEG_DATA", str(real_data))
    for name in ("bijie", "landslide4sense"):
        for item in tl.data.samples(name):
            fitted = tl.data.fit_square(item, 256)
            back = tl.data.unfit(2 * fitted["mask"] - 1, fitted["native_size"]) > 0
            truth = item["mask"] > 0
            if truth.any():
                assert (back & truth).sum() / (back | truth).sum() > 0.9, item["id"]


def test_the_cache_serves_offline(real_data, nothing, tmp_path):
    shutil.copytree(real_data / "bijie_sample", tmp_path / "cache" / "bijie_sample")
    assert len(tl.data.samples("bijie")) == 20


def test_a_folder_of_the_user_is_read_as_it_is(real_data, nothing, tmp_path):
    folder = tmp_path / "mine" / "bijie_sample"
    shutil.copytree(real_data / "bijie_sample", folder)
    nothing.setenv("TLSEG_DATA", str(tmp_path / "mine"))
    for part in ("image", "label"):
        (folder / part).chmod(0o755)
        (folder / part / "df004.png").unlink()
    data = tl.data.samples("bijie")
    assert data.source == "19 real Bijie samples"
    assert "df004" not in data.ids
    (folder / "label/df005.png").unlink()
    with pytest.raises(MissingDataError, match="df005"):
        tl.data.course_samples("bijie")


def test_nothing_there_and_offline(nothing, tmp_path):
    with pytest.raises(tl.downloads.OfflineError, match=r"image/df002\.png"):
        tl.data.samples("bijie")
    nothing.setenv("TLSEG_DATA", str(tmp_path))  # a folder, but without samples
    with pytest.raises(tl.downloads.OfflineError, match=r"image/0\.png"):
        tl.data.samples("landslide4sense")


@pytest.mark.parametrize("name", ["bijie", "landslide4sense"])
def test_synthetic_images_stand_in_and_say_so(nothing, name):
    data = tl.data.course_samples(name, 3)
    assert len(data) == len(data.ids) == 3
    assert data.source.startswith("3 synthetic landslides")
    assert "TLSEG_OFFLINE is set" in data.source
    item = data[1]
    assert item["id"] == data.ids[1]
    assert item["image"].shape[0] == 3
    assert item["mask"].shape == (1, *item["image"].shape[1:])


def test_wrong_settings_are_refused(nothing, tmp_path):
    nothing.setenv("TLSEG_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(MissingDataError, match=r"TLSEG_DATA=.*names no folder"):
        tl.data.course_samples("bijie")
    with pytest.raises(ValueError, match="choose one of bijie, landslide4sense"):
        tl.data.samples("Bijie")
    for n in (0, 2.0, True):
        with pytest.raises(ValueError, match="whole number from 1"):
            tl.data.course_samples("bijie", n)


def test_the_module_does_not_hide_the_function():
    import tlseg_lite.data.sample_sets  # noqa: F401

    assert callable(tl.data.samples)
    assert set(dir(tl.data)) >= set(tl.data.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        _ = tl.data.nothing
