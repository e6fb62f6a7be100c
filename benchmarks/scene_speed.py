"""What a map costs beside the model: time, memory, two workers; fills scene_speed.csv.

    python benchmarks/scene_speed.py                      # everything: an hour on two cores
    python benchmarks/scene_speed.py --sides 2048 --repeats 1
    python benchmarks/scene_speed.py --only workers

Each run is a process of its own, so that its largest memory is its own. The scene repeats a
synthetic valley of 1024 x 1024 pixels; the model is TransLandSeg on ``sam_mini`` at 256 px, half a
window overlaps. `overhead` is the time of `predict_scene` over the time that the model took for the
windows in the same run. Rows of one call are interleaved: all settings once, then again. Use an
idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from encoder_process import peak_resident

import tlseg_lite as tl
from tlseg_lite.core.provenance import provenance
from tlseg_lite.experiments.results import Rows

OUT = Path(__file__).resolve().parents[1] / "book" / "results" / "scene_speed.csv"
TILE = 1024
COLUMNS = (
    *("stage", "repeat", "side", "workers", "threads", "windows", "seconds", "model_seconds"),
    *("overhead", "peak_mb", "commit", "version", "torch", "device", "finished"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sides", type=int, nargs="+", default=[5120, 10240])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=("overhead", "workers"))
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--child", help="for this program itself")
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(**json.loads(options.child))))
        return
    rows = Rows(options.out, COLUMNS, COLUMNS[:5])
    with tempfile.TemporaryDirectory() as folder:
        scenes = {side: write_scene(Path(folder) / f"{side}.tif", side) for side in options.sides}
        for repeat in range(options.repeats):
            for stage, settings in plan(options.sides, options.only):
                done = run(scene=str(scenes[settings["side"]]), out=f"{folder}/map", **settings)
                row = {"stage": stage, "repeat": repeat, **done, **provenance()}
                rows.append(dict.fromkeys(COLUMNS, "") | row)
                print({name: row[name] for name in COLUMNS[:10]}, flush=True)


def plan(sides: list[int], only: list[str] | None) -> list[tuple[str, dict]]:
    """(stage, settings) of one round: this process at every size; one and two workers."""
    cores = os.cpu_count() or 1
    found = []
    if not only or "overhead" in only:
        found += [("overhead", {"side": s, "workers": 0, "threads": cores}) for s in sides]
    if not only or "workers" in only:
        small = {"side": min(sides), "threads": 1}
        found += [("workers", small | {"workers": number}) for number in (1, 2)]
    return found


def write_scene(path: Path, side: int) -> Path:
    """A GeoTIFF of `side` x `side` pixels, written a row of tiles at a time."""
    import numpy as np
    import rasterio
    from rasterio.transform import from_origin
    from rasterio.windows import Window

    from tlseg_lite.scenes import make_valley

    tile = make_valley(7, TILE).image
    about = {"driver": "GTiff", "count": 3, "dtype": "uint8", "height": side, "width": side}
    about |= {"crs": "EPSG:32648", "transform": from_origin(5e5, 3e6, 1.6, 1.6), "tiled": True}
    with rasterio.open(path, "w", compress="deflate", **about) as file:
        for top in range(0, side, TILE):
            height = min(TILE, side - top)
            strip = np.tile(tile[:, :height], (1, 1, -(-side // TILE)))[:, :, :side]
            file.write(strip, window=Window(0, top, side, height))
    return path


def run(**settings) -> dict:
    """`measure` in a process of its own."""
    threads = str(settings["threads"])
    environment = os.environ | {"OMP_NUM_THREADS": threads}
    command = [sys.executable, __file__, "--child", json.dumps(settings)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{settings} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def measure(scene: str, out: str, side: int, workers: int, threads: int) -> dict:
    """One map: its seconds, those of the model in this process, and the largest memory."""
    import torch

    torch.set_num_threads(threads)
    model = tl.TransLandSeg(tl.load_sam("sam_mini"), tl.DESIGNS["TransLandSeg"])
    spent, began = [0.0], [0.0]
    if not workers:  # hooks do not travel, and the time would be the workers'
        model.register_forward_pre_hook(lambda *_: began.__setitem__(0, time.perf_counter()))
        model.register_forward_hook(
            lambda *_: spent.__setitem__(0, spent[0] + time.perf_counter() - began[0])
        )
    start = time.perf_counter()
    found = tl.maps.predict_scene(
        model, scene, out, workers=workers or None, restart=True, progress=False
    )
    seconds = time.perf_counter() - start
    row = {"side": side, "workers": workers, "threads": threads, "windows": found.windows}
    row |= {"seconds": round(seconds, 2)}
    if not workers:
        row["model_seconds"] = round(spent[0], 2)
        row["overhead"] = round(seconds / spent[0], 3)
    return row | {"peak_mb": peak_resident() // 2**20}


if __name__ == "__main__":
    main()
