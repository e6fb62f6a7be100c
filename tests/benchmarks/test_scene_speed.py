"""The benchmark of maps, at the smallest size: rows with what they promise."""

import pandas as pd
import pytest
import rasterio
import scene_speed

from tlseg_lite.experiments.results import Rows


def called(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["scene_speed.py", *map(str, arguments)])
    scene_speed.main()


def test_rows_have_time_memory_and_windows(tmp_path, monkeypatch, capsys):
    held = bytearray(3 * 2**29)  # 1.5 GiB of this process: not memory of the map
    held[::4096] = b"\1" * (len(held) // 4096)
    out = tmp_path / "rows.csv"
    small = ["--sides", 512, "--repeats", 1, "--share", 2, "--out", out]
    called(monkeypatch, *small, "--only", "map", "terratorch")
    told = capsys.readouterr().out
    assert "terratorch is left out: --terratorch FOLDER says where it is installed" in told
    assert "512 px: " in told
    (row,) = Rows(out, scene_speed.COLUMNS).read()
    assert int(row["windows"]) == 9  # 512 px, windows of 256 at every 128
    assert int(row["model_windows"]) == 9  # rows 0 and 2 before, row 1 after
    parts = [float(row[f"model_{when}"]) for when in ("before", "after")]
    assert float(row["model_seconds"]) == pytest.approx(sum(parts) / 2, abs=0.02)
    assert float(row["seconds"]) > 0
    assert float(row["overhead"]) == pytest.approx(
        float(row["seconds"]) / float(row["model_seconds"]), rel=0.1
    )
    assert 100 < int(row["peak_mb"]) < 1500


def test_a_round_has_every_stage_and_size(monkeypatch):
    monkeypatch.setattr("sys.argv", ["scene_speed.py", "--sides", "512", "1024"])
    options = scene_speed.parsed()
    stages = [(s, x["side"], x["workers"]) for s, x in scene_speed.plan(options.only, options, 0)]
    assert stages == [
        *(("map", 512, 0), ("terratorch", 512, 0), ("map", 1024, 0), ("terratorch", 1024, 0)),
        *(("workers", 512, 1), ("workers", 512, 2), ("memory", 20480, 0)),
    ]
    later = [s for s, _ in scene_speed.plan(options.only, options, 1)]
    assert "memory" not in later  # once is enough
    assert scene_speed.plan(["workers"], options, 0)[0][1]["threads"] == 1


def test_the_rows_in_sentences():
    about = [
        *(("map", 100, 0, 110, 100, 1.1, 900), ("map", 100, 0, 120, 100, 1.2, 950)),
        *(("terratorch", 100, 0, 230, "", "", 1900), ("memory", 200, 0, 500, "", "", 969)),
        *(("workers", 100, 1, 190, "", "", 1), ("workers", 100, 2, 100, "", "", 1)),
    ]
    names = ["stage", "side", "workers", "seconds", "model_seconds", "overhead", "peak_mb"]
    lines = scene_speed.summary(pd.DataFrame(about, columns=names).astype(str))
    assert lines == [
        "100 px: 115 s, 1.15 x the model's (1.10 to 1.20, 2 runs), at most 950 MB",
        "100 px, beside TerraTorch: 0.50 of its time, 0.50 of its memory",
        "200 px: 969 MB, 1.02 x that of 100 px",
        "100 px, two workers: 1.90 x as fast as one",
    ]


def test_terratorch_s_module_alone_is_loaded(tmp_path):
    """A stand-in with its name and its import; what it is called with covers the same windows."""
    folder = tmp_path / "terratorch" / "tasks"
    folder.mkdir(parents=True)
    (folder / "tiled_inference.py").write_text(
        "import torch\nfrom terratorch.models.utils import pad_images\n"
        "def tiled_inference(model, image, *, crop, stride, **more):\n"
        "    assert more == {'delta': 0, 'padding': False, 'batch_size': 4}\n"
        "    assert (crop, stride) == (256, 128) and image.max() <= 1\n"
        "    return torch.zeros(1, 1, *image.shape[-2:])\n"
    )
    scene = scene_speed.write_scene(tmp_path / "scene.tif", 512)
    row = scene_speed.measure_terratorch(
        str(scene), str(tmp_path / "out"), 512, 0, 1, str(tmp_path)
    )
    assert row["windows"] == 9
    with rasterio.open(tmp_path / "out-terratorch.tif") as file:
        assert (file.read(1) == 127).all()  # a half, in 254 levels
    with pytest.raises(FileNotFoundError, match="no TerraTorch in"):
        scene_speed.the_function(str(tmp_path / "none"))
