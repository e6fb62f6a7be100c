"""What a map costs beside the model: time, memory, two workers; fills scene_speed.csv.

    python benchmarks/scene_speed.py                              # everything: an hour on two cores
    python benchmarks/scene_speed.py --sides 2048 --repeats 1     # tried small
    python benchmarks/scene_speed.py --only workers
    pip install --no-deps --target FOLDER terratorch              # for the stage terratorch
    python benchmarks/scene_speed.py --terratorch FOLDER

The scene repeats a synthetic valley of 1024 x 1024 pixels, so that there are landslides all over
it; the model is TransLandSeg on ``sam_mini`` at 256 px, trained on synthetic scenes, and half a
window overlaps. Each run is a process of its own, so that its largest memory is its own. Stages:

* map: ``predict_scene``, all of it: polygons, mask, quick look. Before it and after it the model
  alone runs the same windows in the same groups, held in memory, reading and writing nothing, and
  with the memory that ``core.allocator`` keeps for it as for the map: of
  every few rows of windows all (``--share``), and its time is scaled to all rows. ``overhead`` is
  the map's time over the model's.
* memory: a map of ``--large``, for its memory; no time is compared, and windows lie side by side,
  which saves three quarters of them.
* workers: one Dask worker, and two, of one thread each.
* terratorch: the same model and windows through ``terratorch.tasks.tiled_inference``, from the
  GeoTIFF to a GeoTIFF of probabilities, without polygons. Of TerraTorch that module alone is
  loaded, not what it imports otherwise: in its favour. Not installed, it is left out, and it says
  so.

Stages of one round follow each other, and then the next round begins. Use an idle machine: the
model's time before and after a map says how far it varied meanwhile. The recorded rows are two
rounds of the maps and one of the rest, on a machine that did nothing else.
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

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "book" / "results" / "scene_speed.csv"
MODEL = ROOT / "book" / "try_it.safetensors"
TILE = 1024
STAGES = ("map", "memory", "workers", "terratorch")
COLUMNS = (
    *("stage", "repeat", "side", "workers", "threads", "windows", "seconds", "model_seconds"),
    *("overhead", "overlap", "model_before", "model_after", "model_windows", "peak_mb", "polygons"),
    *("commit", "version", "torch", "device", "finished"),
)


def main() -> None:
    options = parsed()
    if options.child:
        name, settings = json.loads(options.child)
        print(json.dumps(CHILDREN[name](**settings)))
        return
    rows = Rows(options.out, COLUMNS, COLUMNS[:5])
    stages = [stage for stage in options.only if stage != "terratorch" or options.terratorch]
    if len(stages) < len(options.only):
        print("terratorch is left out: --terratorch FOLDER says where it is installed", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        scenes = {
            side: write_scene(Path(folder) / f"{side}.tif", side)
            for side in {*options.sides, *([options.large] if "memory" in stages else [])}
        }
        for repeat in range(options.repeats):
            for stage, settings in plan(stages, options, repeat):
                scene = str(scenes[settings["side"]])
                done = RUNS[stage](scene=scene, out=f"{folder}/map", **settings)
                shown = {key: settings[key] for key in ("side", "workers", "threads")}
                row = {"stage": stage, "repeat": repeat, **shown, **done}
                rows.append(dict.fromkeys(COLUMNS, "") | row | provenance())
                print(row, flush=True)
    for line in summary(rows.frame()):
        print(line)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sides", type=int, nargs="+", default=[5120, 10240])
    parser.add_argument("--large", type=int, default=20480, help="side of the scene for memory")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--share", type=int, default=4, help="the model's rows: each so many-th")
    parser.add_argument("--only", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--terratorch", help="folder that holds the package terratorch")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--child", help="for this program itself")
    return parser.parse_args()


def plan(stages: list[str], options: argparse.Namespace, repeat: int) -> list[tuple[str, dict]]:
    """(stage, settings) of one round."""
    both = {"workers": 0, "threads": os.cpu_count() or 1}
    found = []
    for side in options.sides:
        if "map" in stages:
            found.append(("map", both | {"side": side, "share": options.share}))
        if "terratorch" in stages:
            found.append(("terratorch", both | {"side": side, "package": options.terratorch}))
    if "workers" in stages:
        small = {"side": min(options.sides), "threads": 1}
        found += [("workers", small | {"workers": number}) for number in (1, 2)]
    if "memory" in stages and repeat == 0:
        found.append(("memory", both | {"side": options.large, "overlap": 0.0}))
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


# ---- the stages ----------------------------------------------------------------------------------


def child(name: str, threads: int, **settings) -> dict:
    """A function of `CHILDREN` in a process of its own."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "TLSEG_PROGRESS": "0"}
    order = json.dumps([name, settings | {"threads": threads}])
    command = [sys.executable, __file__, "--child", order]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name} of {settings} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def run_map(scene: str, out: str, share: int, threads: int, **settings) -> dict:
    """A map between two runs of the model alone."""
    alone = {"scene": scene, "share": share, "threads": threads}
    before = child("model", first=0, **alone)
    done = child("map", scene=scene, out=out, threads=threads, **settings)
    after = child("model", first=share // 2, **alone)
    each = [part["seconds"] / part["windows"] * done["windows"] for part in (before, after)]
    model = sum(each) / 2
    return done | {
        "model_seconds": round(model, 2),
        "overhead": round(done["seconds"] / model, 3),
        "model_before": round(each[0], 2),
        "model_after": round(each[1], 2),
        "model_windows": before["windows"] + after["windows"],
    }


RUNS = {
    "map": run_map,
    "memory": lambda **settings: child("map", **settings),
    "workers": lambda **settings: child("map", **settings),
    "terratorch": lambda **settings: child("terratorch", **settings),
}


# ---- in a process of its own ---------------------------------------------------------------------


def the_model(threads: int):
    import torch

    torch.set_num_threads(threads)
    return tl.load_model(MODEL)


def measure_map(
    scene: str, out: str, side: int, workers: int, threads: int, overlap: float = 0.5
) -> dict:
    """One map: its seconds, from the loaded model to the last file, and the largest memory."""
    model = the_model(threads)
    start = time.perf_counter()
    found = tl.maps.predict_scene(
        model, scene, out, overlap, workers or None, restart=True, progress=False
    )
    seconds = time.perf_counter() - start
    row = {"windows": found.windows, "seconds": round(seconds, 2), "polygons": found.polygons}
    return row | {"overlap": overlap, "peak_mb": peak_resident() // 2**20}


def measure_model(scene: str, share: int, first: int, threads: int) -> dict:
    """The model's seconds for every `share`-th row of windows, from `first` on."""
    import numpy as np
    import torch

    from tlseg_lite.core.allocator import memory_kept
    from tlseg_lite.maps.job import GROUP, Job, read_windows, tasks
    from tlseg_lite.maps.predict_scene import plan as planned
    from tlseg_lite.maps.windows import Windows

    model = the_model(threads).eval()
    raster, scaling, side, _ = planned(model, scene, None, None, None, None, None)
    windows = Windows.of(raster.height, raster.width, side, 0.5)
    job, spent, count = Job(raster, scaling, windows), 0.0, 0
    with raster, torch.no_grad(), memory_kept():
        model(torch.rand(GROUP, 3, side, side))  # the first call prepares much
        for row in range(first % len(windows.rows), len(windows.rows), share):
            held = [
                torch.from_numpy(np.stack(read_windows(job, task)[0]))
                for task in tasks(windows, row, GROUP)
            ]
            start = time.perf_counter()
            for images in held:
                model(images)
            spent += time.perf_counter() - start
            count += sum(map(len, held))
    return {"seconds": spent, "windows": count}


def measure_terratorch(
    scene: str, out: str, side: int, workers: int, threads: int, package: str
) -> dict:
    """The same model and windows through TerraTorch's tiled inference, to a GeoTIFF."""
    import rasterio
    import torch

    from tlseg_lite.maps.job import GROUP

    tiled_inference = the_function(package)
    model = the_model(threads).eval()
    size = model.image_size
    start = time.perf_counter()
    with rasterio.open(scene) as file:
        image, about = file.read(), file.profile
    image = torch.from_numpy(image)[None].float().div_(255)
    same = {"crop": size, "stride": size // 2, "delta": 0, "padding": False, "batch_size": GROUP}
    logits = tiled_inference(model, image, **same)
    levels = logits[0, 0].sigmoid_().mul_(254).round_().to(torch.uint8).numpy()
    about |= {"count": 1, "nodata": 255, "compress": "deflate"}
    with rasterio.open(f"{out}-terratorch.tif", "w", **about) as file:
        file.write(levels, 1)
    seconds = time.perf_counter() - start
    count = len(range(0, side - size - 1, size // 2)) + 1
    return {
        "windows": count**2,
        "seconds": round(seconds, 2),
        "overlap": 0.5,
        "peak_mb": peak_resident() // 2**20,
    }


def the_function(package: str):
    """``terratorch.tasks.tiled_inference.tiled_inference``, without importing the rest."""
    import importlib.util
    import types

    path = Path(package) / "terratorch" / "tasks" / "tiled_inference.py"
    if not path.is_file():
        raise FileNotFoundError(f"no TerraTorch in {package}: pip install --no-deps --target ...")
    stub = types.ModuleType("terratorch.models.utils")
    stub.pad_images = None  # imported there, and not used
    for name in ("terratorch", "terratorch.models"):
        sys.modules.setdefault(name, types.ModuleType(name))
    sys.modules["terratorch.models.utils"] = stub
    about = importlib.util.spec_from_file_location("tiled_inference", path)
    module = importlib.util.module_from_spec(about)
    sys.modules[about.name] = module  # its dataclasses look themselves up
    about.loader.exec_module(module)
    return module.tiled_inference


CHILDREN = {"map": measure_map, "model": measure_model, "terratorch": measure_terratorch}


# ---- what the rows say ---------------------------------------------------------------------------


def summary(frame) -> list[str]:
    """The rows in sentences: overhead, memory, workers, and beside TerraTorch."""
    import pandas as pd

    for name in ("side", "workers", "seconds", "model_seconds", "overhead", "peak_mb"):
        frame[name] = pd.to_numeric(frame[name])
    lines, maps = [], frame[frame.stage == "map"]
    for side, rows in maps.groupby("side"):
        lines.append(
            f"{side} px: {rows.seconds.median():.0f} s, {rows.overhead.median():.2f} x the "
            f"model's ({rows.overhead.min():.2f} to {rows.overhead.max():.2f}, "
            f"{len(rows)} runs), at most {rows.peak_mb.max():.0f} MB"
        )
        theirs = frame[(frame.stage == "terratorch") & (frame.side == side)]
        if len(theirs):
            times = rows.seconds.median() / theirs.seconds.median()
            memory = rows.peak_mb.max() / theirs.peak_mb.min()
            lines.append(f"{side} px, beside TerraTorch: {times:.2f} of its time, "
                         f"{memory:.2f} of its memory")  # fmt: skip
    if maps.side.nunique() > 1:
        first, last = (
            maps[maps.side == side].peak_mb.max() for side in maps.side.agg(["min", "max"])
        )
        lines.append(f"memory of {maps.side.max()} px: {last / first:.2f} x that of "
                     f"{maps.side.min()} px")  # fmt: skip
    large = frame[frame.stage == "memory"]
    if len(large) and len(maps):
        largest = maps[maps.side == maps.side.max()].peak_mb.max()
        lines.append(
            f"{large.side.max()} px: {large.peak_mb.max():.0f} MB, "
            f"{large.peak_mb.max() / largest:.2f} x that of {maps.side.max()} px"
        )
    for side, rows in frame[frame.stage == "workers"].groupby("side"):
        seconds = rows.groupby("workers").seconds.median()
        if {1, 2} <= set(seconds.index):
            lines.append(f"{side} px, two workers: {seconds[1] / seconds[2]:.2f} x as fast as one")
    return lines


if __name__ == "__main__":
    main()
