"""How fast training images are read, with and without a cache, compared with what a step needs.

Writes book/results/data_loading.csv, one row for each size of image and of model, with and without
a cache: images a second of one process that reads, changes at random and fits them (one thread, as
a loader worker), how many times faster than without a cache, and how many times as many as the
training step of that model takes in one thread of this machine. Also training_speed.csv in
tlseg_lite/training/tables: the measured step as a share of the machine's matrix rate, which
`Recipe.for_this_machine` estimates with.

On a CPU a second is a second of processor time of one thread, so a busy machine does not change
what is measured. All cases take turns, and the best of the rounds counts. Files are in the
system's page cache after the first round.

    python benchmarks/data_loading.py [--rounds 4] [--pictures 8] [--steps sam_mini vit_b]
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from pathlib import Path

import torch
from accelerate.utils import send_to_device
from PIL import Image
from torch.utils.data import default_collate

import tlseg_lite as tl
from tlseg_lite.core.provenance import provenance
from tlseg_lite.data import Augment, Cached, Prepared
from tlseg_lite.data.images import ImagePairs
from tlseg_lite.training.step import TrainingStep, accelerator_for, optimizer_for

machine = tl.machine  # the module tlseg_lite.training.preflight
ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "book" / "results" / "data_loading.csv"
SIDES = {"Bijie, typical": 256, "aerial tile": 2048}
MODELS = {"sam_mini": 256, "vit_b": 1024}
PLACES = ("no", "memory")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--pictures", type=int, default=8, help="of each size")
    parser.add_argument("--steps", nargs="*", default=list(MODELS), choices=list(MODELS))
    options = parser.parse_args()
    torch.set_num_threads(1)  # as a loader worker
    speeds = [step_speed(name) for name in options.steps]
    need = {row["sam"]: 1 / float(row["seconds_per_image"]) for row in speeds}
    with tempfile.TemporaryDirectory() as folder:
        rows = loading(Path(folder), options, need)
    write(OUT, rows)
    if speeds:
        other = [row for row in machine.recorded() if not same_place(row, speeds)]
        write(machine.RECORDED, [*other, *speeds])


def loading(folder: Path, options, need: dict[str, float]) -> list[dict]:
    cases = {}
    for what, side in SIDES.items():
        pairs = pictures(folder / str(side), side, options.pictures)
        for sam, size in MODELS.items():
            for place in PLACES:
                kept = Cached(pairs, size) if place == "memory" else pairs
                cases[what, side, sam, size, place] = Prepared(kept, size, Augment())
    best = dict.fromkeys(cases, float("inf"))
    for number in range(options.rounds + 1):  # the first fills the caches
        for case, data in cases.items():
            began = time.process_time()
            for index in range(len(data)):
                data[index]
            if number:
                best[case] = min(best[case], (time.process_time() - began) / len(data))
    rows = []
    for what, side, sam, size, place in cases:
        rate = 1 / best[what, side, sam, size, place]
        rows.append(
            {
                "images": what,
                "native_side": side,
                "sam": sam,
                "image_size": size,
                "cache": place,
                "images_per_second": round(rate, 2),
                "against_no_cache": round(rate * best[what, side, sam, size, "no"], 2),
                "step_needs": round(need[sam], 3) if sam in need else "",
                "throughput_over_demand": round(rate / need[sam], 1) if sam in need else "",
                "n": options.pictures,
                "rounds": options.rounds,
                **provenance(),
            }
        )
        print(rows[-1], flush=True)
    return rows


def pictures(folder: Path, side: int, n: int) -> ImagePairs:
    """Generated scenes as PNG files of `side` pixels, masks beside them."""
    scenes = tl.data.SyntheticLandslides(n, size=256, seed=3)
    for name in ("image", "mask"):
        (folder / name).mkdir(parents=True)
    for index in range(n):
        scene = scenes[index]
        for name in ("image", "mask"):
            array = (scene[name] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
            picture = Image.fromarray(array.squeeze())
            kind = Image.BICUBIC if name == "image" else Image.NEAREST
            picture.resize((side, side), kind).save(folder / name / f"{index}.png")
    return ImagePairs(folder / "image", folder / "mask")


def step_speed(sam: str) -> dict:
    """Seconds of a training step for one image, and its share of the matrix rate."""
    cuda = torch.cuda.is_available()
    device, clock = ("cuda", time.perf_counter) if cuda else ("cpu", time.process_time)
    precision = "bf16" if cuda else "no"
    model = tl.TransLandSeg(tl.load_sam(sam, None), tl.DESIGNS["TransLandSeg"]).to(device).train()
    batch = 4 if sam == "sam_mini" or cuda else 1
    scenes = Prepared(tl.data.SyntheticLandslides(batch, size=256, seed=3), MODELS[sam])
    images = send_to_device(default_collate([scenes[i] for i in range(batch)]), device)
    recipe = tl.Recipe(sam=sam, batch_size=batch, precision=precision)
    accelerator = accelerator_for(recipe)
    optimizer = accelerator.prepare(optimizer_for(model, recipe))
    step = TrainingStep(model, optimizer, recipe, accelerator)
    seconds, rate = float("inf"), 0.0
    for _ in range(4 if sam == "sam_mini" or cuda else 1):  # step and matrices take turns
        rate = max(rate, matrix_rate(device, precision, clock))
        began = clock()
        step(images, batch, 0).item()
        seconds = min(seconds, (clock() - began) / batch)
    about = provenance()
    row = {
        "kind": device,
        "device": about["device"],
        "sam": sam,
        "image_size": model.image_size,
        "precision": recipe.precision,
        "checkpointing": False,
        "seconds_per_image": f"{seconds:.4f}",
        "matrix_tflops": f"{rate / 1e12:.4f}",
        "share": f"{machine.training_flop(sam) / seconds / rate:.3f}",
        "threads": torch.get_num_threads(),
        "commit": about["commit"],
        "finished": about["finished"],
    }
    print(row, flush=True)
    return row


def matrix_rate(device: str, precision: str, clock) -> float:
    """`machine.matrix_rate`, by `clock`."""
    if device == "cuda":
        machine.matrix_rate.cache_clear()
        return machine.matrix_rate(device, precision)
    a, best = torch.ones(1024, 1024), float("inf")
    for _ in range(5):
        began = clock()
        a @ a
        best = min(best, clock() - began)
    return 2 * 1024**3 / best


def same_place(row: dict, new: list[dict]) -> bool:
    return any((row["kind"], row["sam"]) == (other["kind"], other["sam"]) for other in new)


def write(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
