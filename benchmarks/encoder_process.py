"""One adapted encoder in a process of its own, which is asked to measure itself.

For `encoder_speed.py`. Orders come as lines of JSON on stdin, answers go to stdout.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

import tlseg_lite as tl


@dataclass(frozen=True)
class Case:
    """What is measured; with a mode, a batch and a limit, the key of a row."""

    device: str
    variant: str
    image_size: int
    precision: str = "no"
    encoder: str = "ours"
    attention: str = "auto"
    compile: bool = False
    checkpoint: bool = False


def build(case: Case) -> tl.TransLandSeg:
    """The adapted model, with random weights and positions; the reference's loop if asked for."""
    sam = tl.load_sam(case.variant, weights=None, image_size=case.image_size)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in sam.image_encoder.named_parameters():
            if "rel_pos" in name or "pos_embed" in name:
                value.copy_(0.1 * torch.randn(value.shape, generator=generator))
    options = tl.EncoderOptions(case.attention, case.compile, case.checkpoint)
    model = tl.TransLandSeg(sam, tl.DESIGNS["TransLandSeg"], encoder_options=options)
    if case.encoder == "reference":
        model.encode = lambda images: reference_encode(model, images)
    return model.to(case.device).train()


def reference_encode(model: tl.TransLandSeg, images: torch.Tensor) -> torch.Tensor:
    """segment_anything's own blocks, with the same adapters before them."""
    encoder, adapters = model.image_encoder, model.adapters
    image = model.normalise(images)
    tokens = encoder.patch_embed(image)
    state = adapters.start(tokens, image)
    x = tokens + encoder.pos_embed
    for index, block in enumerate(encoder.blocks):
        x = block(adapters.before_block(index, x, state))
    return encoder.neck(x.permute(0, 3, 1, 2))


class Worker:
    """Measures one model; orders come as lines of JSON on stdin, answers go to stdout."""

    def __init__(self, case: Case):
        self.case, self.cuda = case, case.device == "cuda"
        self.model = build(case)
        trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, 2e-4)
        self.batch = 0
        parameters = self.model.parameters()
        self.model_bytes = sum(p.numel() * p.element_size() for p in parameters)
        self.base = torch.cuda.memory_allocated() if self.cuda else resident()

    def measure(self, mode: str, batch: int, repeats: int, warm: int, limit_gb: float) -> dict:
        try:
            return self._measure(mode, batch, repeats, warm, limit_gb)
        except torch.cuda.OutOfMemoryError:
            self.model.zero_grad(set_to_none=True)
            return {"status": "out of memory"}
        finally:
            if self.cuda:
                torch.cuda.empty_cache()

    def _measure(self, mode, batch, repeats, warm, limit_gb) -> dict:
        if self.cuda:
            whole = torch.cuda.get_device_properties(0).total_memory
            torch.cuda.set_per_process_memory_fraction(
                min(1.0, (limit_gb - 1) * 1e9 / whole) if limit_gb else 1.0
            )
        if self.case.compile and batch != self.batch:
            torch.compiler.reset()  # one batch, one shape
        if batch != self.batch:
            self._make_batch(batch)
        for _ in range(warm):
            self._run(mode)
        self._reset_peak()
        walls, cpus = [], []
        for _ in range(repeats):
            self._wait()
            wall, cpu = time.perf_counter(), time.process_time()
            out = self._run(mode)
            self._wait()
            walls.append(time.perf_counter() - wall)
            cpus.append(time.process_time() - cpu)
        sample = out.flatten()[:: max(1, out.numel() // 256)].float().tolist()
        peak = torch.cuda.max_memory_allocated() if self.cuda else peak_resident()
        return {
            "status": "done",
            "walls": walls,
            "cpus": cpus,
            "peak": max(0, peak - self.base),
            "model": self.model_bytes,
            "sample": sample,
        }

    def _make_batch(self, batch: int) -> None:
        self.batch, size = batch, self.case.image_size
        generator = torch.Generator().manual_seed(0)
        self.images = torch.rand(batch, 3, size, size, generator=generator).to(self.case.device)
        self.masks = (torch.rand(batch, 1, size, size, generator=generator) > 0.8).float()
        self.masks = self.masks.to(self.case.device)

    def _run(self, mode: str) -> torch.Tensor:
        """One pass; returns the embedding, or in a step the loss."""
        kind = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
        autocast = torch.autocast(
            self.case.device, kind[self.case.precision], enabled=self.case.precision != "no"
        )
        if mode == "forward":
            with torch.no_grad(), autocast:
                return self.model.encode(self.images)
        self.optimizer.zero_grad(set_to_none=True)
        if mode == "forward_backward":
            with autocast:
                out = self.model.encode(self.images)
            out.float().square().mean().backward()
            return out.detach()
        with autocast:
            logits = self.model(self.images)
        loss = tl.losses.bce_dice(logits.float(), self.masks)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def _wait(self) -> None:
        if self.cuda:
            torch.cuda.synchronize()

    def _reset_peak(self) -> None:
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()
        elif sys.platform == "linux":
            Path("/proc/self/clear_refs").write_text("5")

    def matmul(self) -> float:
        """TFLOP/s of a large matrix product in the case's precision: what a kernel can reach."""
        kind = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
        n = 8192 if self.cuda else 1024
        a, b = (
            torch.randn(n, n, device=self.case.device).to(kind[self.case.precision]) for _ in "ab"
        )
        best = float("inf")
        for _ in range(20 if self.cuda else 5):
            self._wait()
            began = time.perf_counter()
            a @ b
            self._wait()
            best = min(best, time.perf_counter() - began)
        return 2 * n**3 / best / 1e12


def resident() -> int:
    """Bytes that this process holds now."""
    if sys.platform != "linux":
        return peak_resident()
    return _status("VmRSS")


def peak_resident() -> int:
    """Bytes that this process held at most (on Linux: since the last reset)."""
    if sys.platform == "linux":
        return _status("VmHWM")
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(name)


def serve(case: Case) -> None:
    answers, sys.stdout = sys.stdout, sys.stderr  # nothing else may get between the answers
    worker = Worker(case)
    print(json.dumps({"status": "ready"}), file=answers, flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        answer = {"tflops": worker.matmul()} if "matmul" in order else worker.measure(**order)
        print(json.dumps(answer), file=answers, flush=True)


class Process:
    """A `Worker` in a process of its own."""

    def __init__(self, case: Case, threads: int):
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}
        order = [sys.executable, __file__, json.dumps(asdict(case))]
        pipe = subprocess.PIPE
        self.child = subprocess.Popen(order, stdin=pipe, stdout=pipe, text=True, env=environment)
        self._answer()

    def ask(self, **order: Any) -> dict[str, Any]:
        self.child.stdin.write(json.dumps(order) + "\n")
        self.child.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        line = self.child.stdout.readline()
        if not line:
            raise RuntimeError(f"the measuring process ended with code {self.child.wait()}")
        return json.loads(line)

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.child.stdin.close()
        self.child.wait()


if __name__ == "__main__":
    serve(Case(**json.loads(sys.argv[1])))
