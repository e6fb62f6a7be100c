"""Trains in child processes and kills them: started once, forked for each training.

Usage: ``python interrupted_training.py FOLDER KILLS``. Trains undisturbed in FOLDER/straight, then
again in FOLDER/killed with KILLS kills (signal 9), and prints a report as JSON. A parent that has
imported everything forks the children, so that a training that is begun anew costs next to nothing.

Half of the kills come from outside after a random time, at any point of the work. The other half
come from inside, at a random place of the writing of the files: half of the bytes written, before
or after a file is made safe, before or after it is moved to its place.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
from training_helpers import Blobs

import tlseg_lite as tl

RECIPE = tl.Recipe(epochs=6, batch_size=3, cache="memory")
OUTSIDE, INSIDE, DONE = "outside", "inside", "done"


def train(sam, out: Path) -> None:
    model = tl.TransLandSeg(sam, tl.ATLConfig())
    tl.fit(model, Blobs(6), Blobs(2, "val"), RECIPE, out, progress=False)
    torch.save(model.trained_state(), out / "final.pt")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_while_writing(call: int) -> None:
    """Kill this process at the `call`-th of the calls that put a file on the disk."""
    left = [call]

    def deadly(function, half=None):
        def called(*arguments):
            left[0] -= 1
            before = left[0] % 2 == 0
            if left[0] <= 0:
                if half is not None:
                    half(*arguments)
                elif not before:
                    function(*arguments)
                die()
            return function(*arguments)

        return called

    def half_of_it(path, data):
        with open(path, "wb") as file:
            file.write(memoryview(data)[: len(data) // 2])
            file.flush()

    os.fsync, os.replace = deadly(os.fsync), deadly(os.replace)
    Path.write_bytes = deadly(Path.write_bytes, half_of_it)


def child(sam, out: Path, writing_call: int | None = None) -> int:
    """Fork a process that trains in `out`; its number."""
    number = os.fork()
    if number:
        return number
    status = 1
    try:
        if writing_call is not None:
            die_while_writing(writing_call)
        train(sam, out)
        status = 0
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    os._exit(status)


def wait(number: int) -> int:
    """Wait for a child; 0 when it ended well, the signal when it was killed."""
    _, status = os.waitpid(number, 0)
    if os.WIFSIGNALED(status):
        return os.WTERMSIG(status)
    if os.WEXITSTATUS(status):
        raise SystemExit("a training ended with an error")
    return 0


def with_little_memory(sam, folder: Path) -> int:
    """Images at once that fit where a process may have 900 MB more than it has now."""
    number = os.fork()
    if not number:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + 900_000_000
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        model = tl.TransLandSeg(sam, tl.ATLConfig())
        told = tl.preflight(model, Blobs(32), tl.Recipe(batch_size=32))
        (folder / "fits").write_text(str(told.micro_batch))
        sys.stdout.flush()
        os._exit(0)
    wait(number)
    return int((folder / "fits").read_text())


def main(folder: Path, kills: int) -> None:
    torch.set_num_threads(1)  # threads do not outlive a fork
    chance = random.Random(0)
    sam = tl.load_sam("sam_mini", None, image_size=64)
    told = {OUTSIDE: 0, INSIDE: 0, "left_over": 0, "epochs": []}
    if sys.platform == "linux":
        told["fits"] = with_little_memory(tl.load_sam("sam_mini", None), folder)
    train(sam, folder / "imports")  # what a training imports, imported before the forks
    began = time.perf_counter()
    wait(child(sam, folder / "straight"))
    epoch = (time.perf_counter() - began) / RECIPE.epochs
    out = folder / "killed"
    while told[OUTSIDE] + told[INSIDE] < kills:
        inside = told[INSIDE] < told[OUTSIDE]
        number = child(sam, out, chance.randint(1, 14) if inside else None)
        if not inside:
            time.sleep(chance.uniform(0.2, 1.6) * epoch)
            os.kill(number, signal.SIGKILL)
        if wait(number) == 0:  # it was done before it died: train anew
            for file in out.iterdir():
                file.unlink()
            continue
        told[INSIDE if inside else OUTSIDE] += 1
        told["left_over"] += len(list(out.glob(".*.part")))
        state = next((p for p in (out / "state.pt", out / "previous.pt") if p.exists()), None)
        told["epochs"].append(len(torch.load(state)["rows"]) if state else 0)
    wait(child(sam, out))
    first, second = (torch.load(folder / n / "final.pt") for n in ("straight", "killed"))
    told["identical"] = all(torch.equal(first[name], second[name]) for name in first)
    told["tensors"], told["seconds"] = len(first), time.perf_counter() - began
    told["files"] = sorted(path.name for path in out.iterdir())
    curves = [(folder / n / "history.csv").read_text() for n in ("straight", "killed")]
    losses = [[row.split(",")[1] for row in curve.splitlines()[1:]] for curve in curves]
    told["same_losses"] = losses[0] == losses[1] and len(losses[0]) == RECIPE.epochs
    print(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
