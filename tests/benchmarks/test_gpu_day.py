"""The measurements of a GPU, dry: every stage runs, and none depends on another."""

import csv
import json
import subprocess
import sys

import gpu_day
import pytest
from course import ROOT


def test_a_dry_run_fills_the_table(tmp_path):
    done = subprocess.run(
        ["bash", str(ROOT / "benchmarks" / "gpu_day.sh"), "--dry", "--out", str(tmp_path)],
        capture_output=True, text=True, timeout=600, env=None,
    )  # fmt: skip
    log = (tmp_path / "gpu_day.log").read_text()
    assert done.returncode == 0, done.stderr + log
    assert [line.split(" in ")[0] for line in done.stdout.splitlines()[:5]] == [
        f"{stage}: done" for stage in gpu_day.SECONDS
    ], log
    with (tmp_path / "gpu_day.csv").open() as file:
        rows = list(csv.DictReader(file))
    measured = {(r["stage"], r["name"]): json.loads(r["measured"]) for r in rows}
    assert {r["stage"] for r in rows} == set(gpu_day.SECONDS)
    assert all(r["status"] == "done" for r in rows if "flex" not in r["name"])
    assert measured["parity", "concat, no"]["output"] < 1e-5
    assert measured["parity", "concat, no"]["gradient"] < 1e-4
    assert measured["parity", "concat, bf16"]["gradient"] < 0.1
    (step,) = (v for k, v in measured.items() if k[0] == "steps")
    assert step["steps"] == 3
    assert 0 <= step["gpu_waits"] < 1
    assert measured["pretrain", "sam_mini"]["pictures"] > 0
    assert (tmp_path / "sam_mini.safetensors").is_file()
    assert len(list(tmp_path.iterdir())) <= 8


def test_boxes_fill_the_time_and_the_last_stage_has_the_rest():
    found = gpu_day.boxes(gpu_day.PARTS["2"], 360)
    assert found == {"steps": 90, "pretrain": 270}
    assert sum(gpu_day.boxes(gpu_day.PARTS["all"], 780).values()) == 780
    assert gpu_day.boxes(("parity", "memory"), 50) == {"parity": 50, "memory": 0}
    for part in ("1", "2"):  # a call may take ten minutes
        assert sum(gpu_day.SECONDS[stage] for stage in gpu_day.PARTS[part]) <= 600


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("pass", "done"),
        ("1 / 0", "failed (code 1)"),
        ("import time; time.sleep(60)", "out of time"),
    ],
)
def test_a_stage_that_fails_or_hangs_is_said_and_left(tmp_path, code, status):
    log = tmp_path / "log"
    seconds = 1 if status == "out of time" else 60
    assert gpu_day.run_stage([sys.executable, "-c", code], seconds, log) == status
    assert ("ZeroDivisionError" in log.read_text()) is (code == "1 / 0")


def test_what_is_missing_is_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(gpu_day, "missing", lambda: ["segment_anything"])
    assert gpu_day.main(["--out", str(tmp_path)]) == 2
    assert "missing: segment_anything; carry them along as wheels" in capsys.readouterr().out
