"""What a GPU would have to do, counted on a CPU: fills book/results/gpu_counts.csv.

    python benchmarks/gpu_counts.py            # two minutes on one core

Pre-training of `sam_mini` on a GPU: operations and bytes of an image (operations as PyTorch counts
matrix products and convolutions; bytes as every operation's inputs and outputs, each read or
written once, nothing fused), launches of a step, and images a second that follow from 3.0 TB/s and
a third of 790 TFLOP/s, or from 5 microseconds a launch where that is longer. No measurement.
And the loss on the decoder's grid of 256 x 256 against that on the image's 1024 x 1024.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

import tlseg_lite as tl
from tlseg_lite.core.provenance import provenance
from tlseg_lite.experiments.results import Rows
from tlseg_lite.pretraining import DeviceLeaves, Plan
from tlseg_lite.pretraining.loop import PictureStream, _Run
from tlseg_lite.pretraining.on_device import mixed

OUT = Path(__file__).resolve().parent.parent / "book" / "results" / "gpu_counts.csv"
COLUMNS = ["what", "quantity", "value", "unit", "how"]
COLUMNS += ["commit", "version", "torch", "device", "finished"]
BANDWIDTH, PRODUCTS, LAUNCH = 3.0e12, 790e12 / 3, 5e-6
BATCH = 128
"""Images a step on a GPU."""


class Traffic(TorchDispatchMode):
    """Bytes that every operation reads and writes, views apart, and how many operations."""

    def __init__(self):
        super().__init__()
        self.bytes = self.operations = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        known = {x.untyped_storage()._cdata for x in given}
        out = [x for x in tree_leaves(made) if isinstance(x, torch.Tensor)]
        view = out and all(x.untyped_storage()._cdata in known for x in out)
        in_place = str(function).split(".")[1].endswith("_")
        if not view or in_place:
            self.operations += 1
            self.bytes += sum(x.numel() * x.element_size() for x in (*given, *out))
        return made


def counted(run) -> tuple[float, float, int]:
    """Operations, bytes and launches of a call."""
    with FlopCounterMode(display=False) as flop:
        run()
    with Traffic() as traffic:
        run()
    return float(flop.get_total_flops()), float(traffic.bytes), traffic.operations


def pretraining(write) -> None:
    """An image and a step of each phase on the device's path: the part that grows with the images
    and the part that does not, from counts with two and with six of them."""
    few, many = (phases_with(batch) for batch in (2, 6))
    images, steps = {}, {}
    for name in few:
        each = [(b - a) / 4 for a, b in zip(few[name], many[name], strict=True)]
        images[name] = each
        steps[name] = [a - 2 * slope for a, slope in zip(few[name], each, strict=True)]
        how = "counted with 2 and 6 images on a CPU"
        write(name, "matrix operations", each[0] / 1e9, "GFLOP an image", how)
        write(name, "bytes, unfused", each[1] / 1e6, "MB an image", how)
        write(name, "bytes of weights and optimizers", steps[name][1] / 1e6, "MB a step", how)
        write(name, "launches", many[name][2], "a step", how)
    both = ("drawing images", "a step with prompts")
    flop, moved, launches = (
        sum(images[name][i] * BATCH + steps[name][i] for name in both) for i in range(3)
    )
    launches = sum(many[name][2] for name in both)
    how = f"estimate with {BATCH} images a step: 3.0 TB/s, a third of 790 TFLOP/s, 5 us a launch"
    unfused = max(flop / PRODUCTS + moved / BANDWIDTH, launches * LAUNCH)
    fused = max(flop / PRODUCTS + moved / 3 / BANDWIDTH, launches / 3 * LAUNCH)
    what = "pre-training on an H100"
    write(what, "images, as it is", BATCH / unfused, "images a second", how)
    more = f"{how}; if a compiler saves two thirds of bytes and launches"
    write(what, "images, fused", BATCH / fused, "images a second", more)


def phases_with(batch: int) -> dict[str, tuple[float, float, int]]:
    """`counted` for drawing the images of a step, and for a step without and with prompts."""
    leaves = DeviceLeaves(device="cpu", textures=32)

    def draw():
        leaves.common.manual_seed(0)
        return list(mixed(leaves, batch, groups=1, size=batch, difficulty=0.8, details=0.0))

    (pictures,) = draw()
    plan = Plan(batch=batch, textures=32, corrections=0.0)
    run = _Run(Path(tempfile.mkdtemp()), plan, "cpu", on_device=True)
    adam, muon = run.optimizers  # as on a GPU: fused, and matrices of a shape together
    for group in adam.param_groups:
        group["fused"] = True
    muon.step = torch.no_grad()(
        lambda: muon._together(
            [p for p in muon.param_groups[0]["params"] if p.grad is not None],
            muon.param_groups[0],
        )
    )
    found = {"drawing images": counted(draw)}
    for name, t in (("a step without prompts", 0.05), ("a step with prompts", 0.6)):
        run.step(pictures, t)
        found[name] = counted(lambda t=t: run.step(pictures, t))
    return found


def on_this_cpu(write) -> None:
    """Steps a second of the default plan with prompts, images drawn by the same process."""
    plan = Plan(textures=32)
    for name, on_device in (("the CPU's own path", False), ("the GPU's path", True)):
        run = _Run(Path(tempfile.mkdtemp()), plan, "cpu", on_device=on_device)
        level = SimpleNamespace(value=0.8)
        stream = iter(PictureStream(plan, 0, level, "cpu", on_device))
        run.step(next(stream), 0.6)
        began, steps = time.perf_counter(), 4
        for _ in range(steps):
            run.step(next(stream), 0.6)
        rate = steps / (time.perf_counter() - began)
        threads = f"{torch.get_num_threads()} thread(s), measured beside other work"
        write(f"pre-training on a CPU, {name}", "steps", rate, "steps a second", threads)


def grids(write) -> None:
    """The same logits and masks: the loss on 256 x 256 cells against 1024 x 1024 pixels."""
    data = tl.data.SyntheticLandslides(4, size=256, seed=3)
    masks = torch.stack([tl.data.fit_square(data[i], 1024)["mask"] for i in range(4)])
    start = F.interpolate(F.avg_pool2d(masks, 32), (256, 256), mode="bilinear") * 8 - 4
    noise = torch.randn(start.shape, generator=torch.Generator().manual_seed(0))
    for kind, given in (("smooth", start), ("noisy", start + noise)):
        found = {}
        for side in (256, 1024):
            logits = given.clone().requires_grad_()
            large = F.interpolate(logits, (side, side), mode="bilinear", align_corners=False)
            loss = tl.losses.bce_dice(large, F.avg_pool2d(masks, 1024 // side))
            (gradient,) = torch.autograd.grad(loss, logits)
            found[side] = loss.item(), gradient
        (coarse, one), (fine, other) = found[256], found[1024]
        what = f"loss on 256 x 256, {kind} logits"
        how = "against 1024 x 1024; four synthetic masks, BCE + Dice"
        write(what, "difference of the loss", coarse / fine - 1, "share", how)
        away = float((one - other).norm() / other.norm())
        write(what, "difference of the gradient", away, "share of its norm", how)
    milliseconds = 40 * 4 * 1024**2 * 4 / BANDWIDTH * 1e3
    how = "estimate: 40 passes over 4 images in float32 at 3.0 TB/s"
    write("loss on 1024 x 1024", "time on an H100", milliseconds, "ms a step", how)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    rows = Rows(options.out, COLUMNS)

    def write(what: str, quantity: str, value: float, unit: str, how: str) -> None:
        row = {
            "what": what,
            "quantity": quantity,
            "value": f"{value:.4g}",
            "unit": unit,
            "how": how,
        }
        rows.append(row | provenance())
        print(f"{what}: {quantity} {value:.4g} {unit} ({how})", flush=True)

    grids(write)
    pretraining(write)
    on_this_cpu(write)


if __name__ == "__main__":
    main()
