"""Runs the stages of `gpu_stages.py`, each boxed in time in a process of its own.

See `gpu_day.sh`. A stage that fails or runs out of its time leaves the rows that it has written,
and the next one starts. Files in ``--out``: ``gpu_day.csv`` (a row a measurement, with where it
comes from), ``gpu_day.log`` (what the stages said), and from the pre-training
``sam_mini.safetensors`` and ``curve.csv``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

SECONDS = {"parity": 75, "memory": 110, "speed": 215, "steps": 90, "pretrain": 270}
"""The stages in order, and the longest each may take."""

PARTS = {"1": ("parity", "memory", "speed"), "2": ("steps", "pretrain"), "all": tuple(SECONDS)}
LEAST = 10
"""With fewer seconds left no stage is started."""

COLUMNS = ["stage", "name", "status", "measured"]
COLUMNS += ["commit", "version", "torch", "device", "finished"]


def boxes(stages: Sequence[str], seconds: float) -> dict[str, float]:
    """Seconds of each stage: its own at most, the last one what is left of `seconds`."""
    left, found = seconds, {}
    for stage in stages:
        last = stage == stages[-1]
        found[stage] = left if last else min(SECONDS.get(stage, left), left)
        left -= found[stage]
    return found


def run_stage(command: Sequence[str], seconds: float, log: Path) -> str:
    """ "done", "failed (code)" or "out of time"; output goes to the screen's log and to `log`."""
    with log.open("a") as file:
        file.write(f"\n===== {' '.join(command[-8:])}\n")
        file.flush()
        child = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        try:
            code = child.wait(seconds)
        except subprocess.TimeoutExpired:
            child.terminate()
            try:
                child.wait(5)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            return "out of time"
    return "done" if code == 0 else f"failed (code {code})"


def missing() -> list[str]:
    """Packages that the stages need and that are not here."""
    from importlib.util import find_spec

    needed = ("torch", "torchvision", "segment_anything", "accelerate", "safetensors", "numpy")
    needed += ("pandas", "PIL", "tqdm", "scipy")
    return [name for name in needed if find_spec(name) is None]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", "gpu_day")))
    parser.add_argument("--part", choices=PARTS, default="all")
    parser.add_argument("--stages", nargs="+", choices=[*SECONDS, "real"], help="these alone")
    parser.add_argument("--minutes", type=float, help="for all stages together")
    parser.add_argument("--dry", action="store_true", help="tiny, on any machine")
    parser.add_argument("--compile", action="store_true", help="the pre-training, too")
    parser.add_argument("--real", type=Path, help="folder with the full Bijie: one more stage")
    options = parser.parse_args(arguments)
    if absent := missing():
        print(f"missing: {', '.join(absent)}; carry them along as wheels (see gpu_day.sh)")
        return 2
    stages = list(options.stages or PARTS[options.part])
    if options.real is not None and "real" not in stages:
        stages.append("real")
    usual = {"all": 13.0, "1": 7.0, "2": 6.0}[options.part]
    seconds = 60 * (options.minutes or usual)
    options.out.mkdir(parents=True, exist_ok=True)
    began, log = time.monotonic(), options.out / "gpu_day.log"
    for number, stage in enumerate(stages):
        left = seconds - (time.monotonic() - began)
        if left < LEAST:
            print(f"{stage}: not started, {left:.0f} s are left")
            continue
        box = boxes(stages[number:], left)[stage]
        command = [sys.executable, str(Path(__file__).with_name("gpu_stages.py")), stage]
        command += ["--out", str(options.out), "--seconds", f"{box - 5:.0f}"]
        command += ["--dry"] * options.dry + ["--compile"] * options.compile
        command += ["--real", str(options.real)] if options.real else []
        start = time.monotonic()
        status = run_stage(command, box, log)
        print(f"{stage}: {status} in {time.monotonic() - start:.0f} of {box:.0f} s", flush=True)
    table = options.out / "gpu_day.csv"
    if table.is_file():
        print(table.read_text("utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
