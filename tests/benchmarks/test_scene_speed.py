"""The benchmark of maps, at the smallest size: rows with what they promise."""

import pytest
import scene_speed

from tlseg_lite.experiments.results import Rows


def test_rows_have_time_memory_and_windows(tmp_path, monkeypatch):
    held = bytearray(3 * 2**29)  # 1.5 GiB of this process: not memory of the map
    held[::4096] = b"\1" * (len(held) // 4096)
    out = tmp_path / "rows.csv"
    monkeypatch.setattr("sys.argv", ["scene_speed.py", "--sides", "512", "--repeats", "1",
                                     "--only", "overhead", "--out", str(out)])  # fmt: skip
    scene_speed.main()
    (row,) = Rows(out, scene_speed.COLUMNS).read()
    assert int(row["windows"]) == 9  # 512 px, windows of 256 at every 128
    assert float(row["seconds"]) > float(row["model_seconds"]) > 0
    assert float(row["overhead"]) == pytest.approx(
        float(row["seconds"]) / float(row["model_seconds"]), rel=0.1
    )
    assert 100 < int(row["peak_mb"]) < 1500


def test_a_round_has_both_workers_and_every_size():
    both = [settings["workers"] for _, settings in scene_speed.plan([512, 1024], None)]
    assert both == [0, 0, 1, 2]
    assert scene_speed.plan([512, 1024], ["workers"])[0][1]["side"] == 512
