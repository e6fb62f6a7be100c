"""What a click costs: fills book/results/correction_speed.csv.

    python benchmarks/correction_speed.py                # two threads, sam_mini at 256 pixels
    python benchmarks/correction_speed.py --quick --out speed.csv    # does it run?

Two numbers of an adapted model with prompts, each measured in turns with what it is compared with,
in one run: one correction (`Correction.click`: a pass of the decoder and the mask at the image's
size) beside the first answer (encoder and decoder); and a training step with rounds of clicks
beside the same step without. `load` is the machine's load when the run began: the measurement
itself keeps its threads busy.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import tlseg_lite as tl
from tlseg_lite.adapters.correction import Correction
from tlseg_lite.core.provenance import provenance
from tlseg_lite.experiments.results import Rows
from tlseg_lite.training.step import TrainingStep, accelerator_for, optimizer_for

OUT = Path(__file__).resolve().parent.parent / "book" / "results" / "correction_speed.csv"

KEY = ("what", "variant", "image_size", "batch", "clicks", "threads")
COLUMNS = (
    *(*KEY, "repeats", "median_seconds", "best_seconds", "worst_seconds", "against", "ratio"),
    *("load", "seed", "commit", "version", "torch", "device", "finished"),
)
"""ratio: median seconds over those of the row that `against` names, of the same run."""


def timed(action: Callable[[], Any]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def in_turns(actions: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each action; all of them in each turn, and one turn before that warms up."""
    turns = [{name: timed(action) for name, action in actions.items()} for _ in range(repeats + 1)]
    return {name: [turn[name] for turn in turns[1:]] for name in actions}


def correction(sam, scene: dict[str, Any], repeats: int) -> dict[str, list[float]]:
    """Seconds of the first answer to an image, and of a click on it (the tenth each time)."""
    model = tl.TransLandSeg(sam, tl.DESIGNS["TransLandSeg"], prompts=True)
    session = Correction(model, scene["image"])
    height, width = session.size
    for i in range(9):
        session.click((31 * i) % width, (17 * i) % height, on=i % 2 == 0)

    def click() -> None:
        session.click(width // 2, height // 2)
        session.undo()

    return in_turns({"first answer": lambda: Correction(model, scene["image"]).mask,
                     "correction": click}, repeats)  # fmt: skip


def training(sam, scenes, recipe: tl.Recipe, clicks: int, repeats: int) -> dict[str, list[float]]:
    """Seconds of a training step without and with rounds of clicks on the same batch."""
    batch = {
        key: torch.stack([tl.data.fit_square(scene, sam.image_encoder.img_size)[key]
                          for scene in scenes])
        for key in ("image", "mask", "valid")
    }  # fmt: skip
    actions = {}
    for name, rounds in (("step", 0), ("step with clicks", clicks)):
        own = replace(recipe, clicks=rounds, batch_size=len(scenes))
        model = tl.TransLandSeg(sam, tl.DESIGNS["TransLandSeg"], prompts=True).train()
        step = TrainingStep(model, optimizer_for(model, own), own, accelerator_for(own))
        seeds = iter(range(1_000_000))
        actions[name] = lambda step=step, seeds=seeds: step(batch, len(scenes), next(seeds))
    return in_turns(actions, repeats)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--image-size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--clicks", type=int, default=2, help="rounds in a training step")
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--quick", action="store_true", help="64 px, two repeats")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.image_size, chosen.repeats, chosen.batch = 64, 2, 2
    return chosen


def main() -> None:
    chosen = options()
    load = os.getloadavg()[0]
    torch.set_num_threads(chosen.threads)
    sam = tl.load_sam("sam_mini", image_size=chosen.image_size)
    scenes = tl.data.SyntheticLandslides(chosen.batch, size=chosen.image_size, seed=0)
    scenes = [scenes[i] for i in range(chosen.batch)]
    recipe = tl.Recipe.laptop()
    found = correction(sam, scenes[0], chosen.repeats)
    found |= training(sam, scenes, recipe, chosen.clicks, chosen.repeats)
    against = {"correction": "first answer", "step with clicks": "step"}
    rows = Rows(chosen.out, COLUMNS, KEY)
    done = {rows.key(row) for row in rows.read()}
    about = {"variant": sam.variant, "image_size": chosen.image_size, "threads": chosen.threads}
    about |= {"repeats": chosen.repeats, "load": f"{load:.2f}", "seed": 0} | provenance()
    for name, seconds in found.items():
        median, other = statistics.median(seconds), against.get(name, "")
        row = about | {
            "what": name,
            "batch": chosen.batch if name.startswith("step") else 1,
            "clicks": chosen.clicks if name == "step with clicks" else 0,
            "median_seconds": f"{median:.5f}",
            "best_seconds": f"{min(seconds):.5f}",
            "worst_seconds": f"{max(seconds):.5f}",
            "against": other,
            "ratio": f"{median / statistics.median(found[other]):.3f}" if other else "",
        }
        if rows.key(row) in done:
            print(f"{name}: in {chosen.out} already; the new measurement is not kept")
        else:
            rows.append(row)
        print(f"{name}: {1000 * median:.1f} ms (median of {len(seconds)}) {row['ratio']}")


if __name__ == "__main__":
    main()
