"""The stages of `gpu_day.py`: what is measured on a GPU. Each writes its rows as it goes."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from encoder_process import Case, build, reference_encode
from gpu_day import COLUMNS

import tlseg_lite as tl
from tlseg_lite.adapters.attention import FORMS
from tlseg_lite.core.provenance import provenance
from tlseg_lite.experiments.results import Rows
from tlseg_lite.training.loader import TrainingBatches
from tlseg_lite.training.preflight import matrix_rate
from tlseg_lite.training.step import TrainingStep, accelerator_for, optimizer_for, use_options

PAPER_IMAGES = 539 * 50
"""Images in the paper's Bijie schedule: 70 % of 770 landslide images, 50 epochs."""
LIMITS_GB = (15, 24, 40)
KINDS = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Stage:
    """One stage: its options, its clock and its rows."""

    def __init__(self, name: str, options: argparse.Namespace):
        self.name, self.out, self.dry, self.options = name, options.out, options.dry, options
        self.ends = time.monotonic() + options.seconds
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.rows = Rows(options.out / "gpu_day.csv", COLUMNS)

    @property
    def left(self) -> float:
        return self.ends - time.monotonic()

    def write(self, name: str, status: str = "done", **measured: Any) -> None:
        short = {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in measured.items()}
        row = {"stage": self.name, "name": name, "status": status, "measured": json.dumps(short)}
        self.rows.append(row | provenance())
        print(name, status, short, flush=True)

    @contextmanager
    def attempt(self, name: str) -> Iterator[None]:
        """One measurement: what it raises becomes its row, and the stage goes on."""
        try:
            yield
        except Exception as error:
            self.write(
                name, f"failed: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
            )
        if self.device == "cuda":
            torch.cuda.empty_cache()


def wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def timed(run: Callable[[], Any], warm: int, repeats: int) -> float:
    """Seconds of one run, the mean of `repeats` in a row: launches may run ahead."""
    for _ in range(warm):
        run()
    wait()
    began = time.perf_counter()
    for _ in range(repeats):
        run()
    wait()
    return (time.perf_counter() - began) / repeats


def peak_gb() -> float:
    return torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_available() else 0.0


# ---- parity ------------------------------------------------------------------------------------


def parity(stage: Stage) -> None:
    """Embedding and adapters' gradients of every form of attention against segment_anything's."""
    variant, size = ("sam_mini", 256) if stage.dry else ("vit_b", 1024)
    model = build(Case(stage.device, variant, size))
    for atl in model.adapters:
        torch.nn.init.normal_(atl.up.weight, std=0.02)
    images = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(1))
    images = images.to(stage.device)
    grid, channels = size // 16, model.mask_decoder.transformer_dim
    g = torch.Generator().manual_seed(2)
    weights = torch.randn(1, channels, grid, grid, generator=g).to(stage.device)

    def found(encode, precision) -> tuple[torch.Tensor, torch.Tensor]:
        model.zero_grad(set_to_none=True)
        kind = KINDS[precision]
        with torch.autocast(stage.device, kind, enabled=precision != "no"):
            out = encode(images)
        (out.float() * weights).sum().backward()
        gradients = [p.grad.flatten() for p in model.adapters.parameters()]
        return out.detach().double(), torch.cat(gradients).double()

    exact = found(lambda x: reference_encode(model, x), "no")
    forms = [form for form in FORMS if form != "auto"]
    for precision in ("no", "bf16"):
        for form in ("reference", *forms):
            if stage.left < 5:
                return
            name = f"{form}, {precision}"

            def encode(x, form=form):
                if form == "reference":
                    return reference_encode(model, x)
                model.encoder_options = tl.EncoderOptions(attention=form)
                return model.encode(x)

            with stage.attempt(name):
                away = [
                    float((a - b).norm() / b.norm())
                    for a, b in zip(found(encode, precision), exact, strict=True)
                ]
                stage.write(name, output=away[0], gradient=away[1], variant=variant, size=size)


# ---- memory ------------------------------------------------------------------------------------


def batch_for(recipe: tl.Recipe, size: int, device: str) -> dict[str, torch.Tensor]:
    shape, g = (recipe.batch_size, 1, size, size), torch.Generator().manual_seed(0)
    masks = (torch.rand(shape, generator=g) > 0.8).float()
    batch = {"image": torch.rand(shape[0], 3, size, size, generator=g), "mask": masks}
    batch |= {"valid": torch.ones(shape)}
    return {name: value.to(device) for name, value in batch.items()}


def memory(stage: Stage) -> None:
    """One training step of each recipe where the allocator has so much and no more."""
    recipes = {"t4": tl.Recipe.t4(), "paper": tl.Recipe.paper()}
    if stage.dry:
        recipes = {"laptop": tl.Recipe.laptop()}
    for name, recipe in recipes.items():
        size = 128 if stage.dry else None
        sam = tl.load_sam(recipe.sam, weights=None, image_size=size)
        accelerator = accelerator_for(recipe)
        model = tl.TransLandSeg(sam, tl.DESIGNS["TransLandSeg"]).to(stage.device).train()
        batch = batch_for(recipe, model.image_size, stage.device)
        for limit in LIMITS_GB[: 1 if stage.dry else None]:
            if stage.left < 5:
                return
            with stage.attempt(f"{name}, {limit} GB"):
                if stage.device == "cuda":
                    whole = torch.cuda.get_device_properties(0).total_memory
                    torch.cuda.set_per_process_memory_fraction(min(1.0, (limit - 1) * 1e9 / whole))
                    torch.cuda.reset_peak_memory_stats()
                optimizer = accelerator.prepare(optimizer_for(model, recipe))
                step = TrainingStep(model, optimizer, recipe, accelerator)
                with use_options(model, recipe, accelerator.device):
                    seconds = timed(partial(step, batch, recipe.batch_size, 0), 2, 2)
                    loss = float(step(batch, recipe.batch_size, 0)) / recipe.batch_size
                stage.write(
                    f"{name}, {limit} GB", sam=recipe.sam, precision=recipe.precision,
                    batch=recipe.batch_size, at_once=step.micro_batch, seconds=seconds,
                    peak_gb=peak_gb(), loss=loss,
                )  # fmt: skip
            del optimizer, step


# ---- speed -------------------------------------------------------------------------------------


def speed(stage: Stage) -> None:
    """Images a second of ours and of segment_anything with the same adapters, and the share of
    the rate of a large matrix product."""
    cuda = stage.device == "cuda"
    precision = "bf16" if cuda and torch.cuda.get_device_capability() >= (8, 0) else "fp16"
    precision = precision if cuda else "no"
    rate = matrix_rate(stage.device, precision)
    stage.write("matrix product", tflops=rate / 1e12, precision=precision)
    variants = ["sam_mini"] if stage.dry else ["vit_b", "vit_l"]
    for number, variant in enumerate(variants):
        until = stage.left / (len(variants) - number)
        one_variant(stage, variant, precision, rate, stage.left - until)


def one_variant(stage: Stage, variant: str, precision: str, rate: float, spare: float) -> None:
    size, batches = (256, (1,)) if stage.dry else (1024, (4, 8, 16))
    model = build(Case(stage.device, variant, size))
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad], 2e-4,
        fused=True if stage.device == "cuda" else None,
    )  # fmt: skip
    flop, kind = tl.machine.encoder_flop(variant, size), KINDS[precision]

    def run(batch: dict[str, torch.Tensor], training: bool) -> None:
        with torch.autocast(stage.device, kind, enabled=precision != "no"):
            if not training:
                with torch.no_grad():
                    model.encode(batch["image"])
                return
            logits = model(batch["image"])
        optimizer.zero_grad(set_to_none=True)
        tl.losses.bce_dice(logits.float(), batch["mask"], batch["valid"]).backward()
        optimizer.step()

    cases = [("reference", False), *((form, False) for form in ("concat", "auto", "bias", "flex"))]
    cases += [("concat", True), ("flex", True)]
    for form, compiled in cases[: 2 if stage.dry else None]:
        vars(model).pop("encode", None)
        if form == "reference":
            model.encode = lambda images: reference_encode(model, images)
        else:
            model.encoder_options = tl.EncoderOptions(attention=form, compile=compiled)
        best = 0.0
        for images in batches:
            if stage.left - spare < 10 and not stage.dry:
                return
            name = f"{variant}, {form}{', compiled' * compiled}, batch {images}"
            failed = True
            with stage.attempt(name):
                batch = batch_for(replace(tl.Recipe(), batch_size=images), size, stage.device)
                if stage.device == "cuda":
                    torch.cuda.reset_peak_memory_stats()
                few = (1, 1) if stage.dry else (2, 5)
                forward = timed(lambda b=batch: run(b, False), *few)
                training = timed(lambda b=batch: run(b, True), *few)
                work = flop * images / rate
                stage.write(
                    name, forward_images_per_second=images / forward,
                    training_images_per_second=images / training, forward_share=work / forward,
                    training_share=2 * work / training, peak_gb=peak_gb(), precision=precision,
                )  # fmt: skip
                failed = False
            if failed or images / training < 1.05 * best:
                break
            best = images / training


# ---- steps with the loader -----------------------------------------------------------------------


def steps(stage: Stage) -> None:
    """The paper's schedule on synthetic images with the loader running: does the GPU wait?"""
    recipe, number, size = tl.Recipe.paper(), 200, None
    if stage.dry:
        recipe, number, size = replace(tl.Recipe.laptop(), workers=1), 3, 128
    sam = tl.load_sam(recipe.sam, weights=None, image_size=size)
    model = tl.TransLandSeg(sam, tl.DESIGNS["TransLandSeg"])
    data = tl.data.SyntheticLandslides(8 if stage.dry else 80, size=64 if stage.dry else 256)
    accelerator = accelerator_for(recipe)
    model.to(accelerator.device).train()
    batches = TrainingBatches(data, model.image_size, recipe, accelerator)
    optimizer = accelerator.prepare(optimizer_for(model, recipe))
    step = TrainingStep(model, optimizer, recipe, accelerator)
    with use_options(model, recipe, accelerator.device):
        batch = batch_for(recipe, model.image_size, stage.device)
        alone = timed(lambda: step(batch, recipe.batch_size, 0), 2, 2 if stage.dry else 10)
        images, wall, busy = with_loader(stage, step, batches, number)
    done = number if wall else 0
    stage.write(
        f"{recipe.sam}, {recipe.precision}", steps=done, images=images, seconds=wall,
        seconds_a_step_without_loader=alone, gpu_waits=max(0.0, 1 - busy / wall),
        paper_schedule_minutes=PAPER_IMAGES * wall / images / 60, at_once=step.micro_batch,
        workers=recipe.workers, cpus=os.cpu_count(),
    )  # fmt: skip


def with_loader(stage: Stage, step: TrainingStep, batches: TrainingBatches, number: int):
    """Images, seconds, and of these the seconds between the first and last kernel of each step."""
    from accelerate.utils import send_to_device

    cuda, marks, images, done, epoch = stage.device == "cuda", [], 0, 0, 0
    wall = 0.0
    while done < number and stage.left > 5:
        for batch, count in batches.epoch(epoch):
            if wall == 0.0:  # the workers have started
                wait()
                wall = -time.perf_counter()
            batch = send_to_device(batch, step.accelerator.device, non_blocking=True)
            ends = [torch.cuda.Event(enable_timing=True) for _ in "ab"] if cuda else [0.0, 0.0]
            began = time.perf_counter()
            if cuda:
                ends[0].record()
            step(batch, count, done)
            if cuda:
                ends[1].record()
            else:
                ends = [began, time.perf_counter()]
            marks.append(ends)
            images, done = images + count, done + 1
            if done == number:
                break
        epoch += 1
    wait()
    wall += time.perf_counter()
    busy = sum(a.elapsed_time(b) / 1000 if cuda else b - a for a, b in marks)
    return images, wall, busy


# ---- pre-training --------------------------------------------------------------------------------


def pretrain(stage: Stage) -> None:
    """`sam_mini` from nothing in the time that is left; weights and curve every minute."""
    from tlseg_lite.pretraining import Plan, pretrain

    batch = 2 if stage.dry else 128
    plan = Plan(batch=batch, textures=16 if stage.dry else 320, held_out=1 if stage.dry else 12)
    scratch = Path(tempfile.mkdtemp(prefix="pretrain-"))
    stop = threading.Event()
    keeper = threading.Thread(target=keep_saving, args=(scratch, stage.out, stop), daemon=True)
    keeper.start()
    ready = 15 if stage.dry else 45  # for the bank of textures, held-out images and the last export
    seconds = 2.0 if stage.dry else max(5.0, stage.left - ready)
    pretrain(
        scratch, minutes=seconds / 60, device=stage.device, plan=plan, save_every=1.0,
        evaluate_every=1.0, on_device=True, compile=stage.options.compile and not stage.dry,
    )  # fmt: skip
    stop.set()
    keeper.join()
    saved(scratch, stage.out)
    state = torch.load(scratch / "state.pt", map_location="cpu", weights_only=True)
    last = state["curve"][-1]
    measured = {k: last[k] for k in ("click_best_of_3", "click_own_choice", "box_single")}
    stage.write(
        "sam_mini", pictures=state["pictures"], steps=state["steps"], seconds=state["seconds"],
        pictures_per_second=state["pictures"] / state["seconds"], batch=batch, **measured,
    )  # fmt: skip
    shutil.rmtree(scratch, ignore_errors=True)


def keep_saving(scratch: Path, out: Path, stop: threading.Event) -> None:
    """Bring each new state's weights and curve to `out`, where a cut-off machine leaves them."""
    before = 0.0
    while not stop.wait(5):
        state = scratch / "state.pt"
        if state.is_file() and state.stat().st_mtime > before:
            before = state.stat().st_mtime
            saved(scratch, out)


def saved(scratch: Path, out: Path) -> None:
    from tlseg_lite.pretraining import export

    export(scratch / "state.pt", out / "sam_mini.safetensors", device=provenance()["device"])
    shutil.copyfile(scratch / "curve.csv", out / "curve.csv")


# ---- real images ---------------------------------------------------------------------------------


def real(stage: Stage) -> None:
    """Rows of the comparison on full Bijie, as many as fit: `comparison.py` is resumable."""
    here = Path(__file__).parent
    command = [sys.executable, str(here / "comparison.py"), "--data", "bijie-blocks"]
    command += ["--root", str(stage.options.real), "--training-data", "real", "--seeds", "0"]
    command += ["--models", "TransLandSeg", "decoder-only", "unet", "--precision", "bf16"]
    command += ["--minutes", f"{max(0.1, stage.left / 60 - 1):.1f}"]
    command += ["--out", str(stage.out / "comparison.csv")]
    done = subprocess.run(command, check=False, timeout=max(5, stage.left))
    stage.write("comparison on bijie-blocks", f"code {done.returncode}")


STAGES = {f.__name__: f for f in (parity, memory, speed, steps, pretrain, real)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--dry", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--real", type=Path)
    options = parser.parse_args()
    if options.dry:
        torch.set_num_threads(1)
    STAGES[options.stage](Stage(options.stage, options))


if __name__ == "__main__":
    main()
