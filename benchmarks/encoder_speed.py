"""How fast SAM's adapted encoder is, ours against segment_anything's.

Fills book/results/encoder_speed.csv:

    python benchmarks/encoder_speed.py                  # on the GPU if there is one, else the CPU
    python benchmarks/encoder_speed.py --device cpu --threads 2 --busy     # beside other work
    python benchmarks/encoder_speed.py --device cpu --instructions avx2    # as an older processor
    python benchmarks/encoder_speed.py --quick --out speed.csv    # does it run? a minute, sam_mini

Reference and ours have the same weights, adapters and precision; the reference calls
segment_anything's own blocks. On a CPU the two take turns, each in its own process; with --busy
another process multiplies matrices on one thread all the time. On a GPU the forms of attention,
compiling, checkpointing and the batch are swept, one process at a time; then the fastest that
trains in 16, 24, 40 and 80 GB is looked for with the allocator limited to that, and the fastest of
all trains for 200 steps. Finished rows are kept and not measured again.

Modes: "forward" (encoder, no gradient), "forward_backward" (encoder and the adapters' gradients),
"step" (whole model, loss, gradients, AdamW). Memory is the peak above that of the built model.
On a machine that does other work too, `cpu_seconds`, the processor's own time, is what to compare.
"""

from __future__ import annotations

import argparse
import os
import shlex
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from encoder_process import Case, Process

import tlseg_lite as tl
from tlseg_lite.core.provenance import provenance
from tlseg_lite.experiments.results import Rows

OUT = Path(__file__).resolve().parent.parent / "book" / "results" / "encoder_speed.csv"
MODES = ("forward", "forward_backward", "step")
PAPER_IMAGES = 539 * 50
"""Images in the paper's Bijie schedule: 70 % of 770 landslide images, 50 epochs."""
LIMITS_GB = (16, 24, 40, 80)
"""Memory of GPUs that one meets; a gigabyte of each is left to the driver."""


KEY = [*Case.__dataclass_fields__, "mode", "batch", "limit_gb", "purpose"]
KEY += ["threads", "busy", "instructions"]
VALUES = ["status", "repeats", "seconds", "best_seconds", "cpu_seconds"]
VALUES += ["images_per_second", "peak_gb"]
VALUES += ["model_gb", "difference", "model_flop_utilisation", "matmul_tflops"]
VALUES += ["paper_schedule_minutes", "load", "seed", "note", "command"]
COLUMNS = [*KEY, *VALUES, "commit", "version", "torch", "hardware", "finished"]

Measure = Callable[..., dict[str, Any]]


# ---- what is measured ------------------------------------------------------------------------


def pair_on_cpu(
    case: Case, batch: int, repeats: int, threads: int, modes: Sequence[str] = MODES
) -> Iterator[tuple]:
    """(case, mode, batch, answer) of reference and ours, in turns within each mode."""
    cases = [replace(case, encoder="reference", attention="eager"), case]
    with Process(cases[0], threads) as one, Process(cases[1], threads) as two:
        tflops = two.ask(matmul=True)["tflops"]
        for mode in modes:
            found: list[list[dict]] = [[], []]
            for turn in range(repeats):
                for process, answers in zip((one, two), found, strict=True):
                    warm = int(turn == 0 and mode == modes[0] and repeats > 1)
                    answers.append(
                        process.ask(mode=mode, batch=batch, repeats=1, warm=warm, limit_gb=0)
                    )
            for which, answers in zip(cases, found, strict=True):
                merged = dict(answers[-1])
                for name in ("walls", "cpus"):
                    merged[name] = [value for answer in answers for value in answer[name]]
                merged["peak"] = max(answer["peak"] for answer in answers)
                merged["tflops"] = tflops
                merged["difference"] = difference(answers[-1], found[0][-1])
                yield which, mode, batch, merged


def difference(ours: dict, theirs: dict) -> float:
    """Largest difference of the compared values, relative to the largest value."""
    pairs = list(zip(ours["sample"], theirs["sample"], strict=True))
    return max(abs(a - b) for a, b in pairs) / max(abs(b) for _, b in pairs)


def sweep(case: Case, measure: Measure, limits: tuple[float, ...] = LIMITS_GB, steps: int = 200):
    """All of a GPU's measurements of one variant, each next one chosen by what was found so far.

    `measure(case, mode, batch, limit_gb, purpose, steps)` measures or looks up one row.
    """
    reference = replace(case, encoder="reference", attention="eager")

    def grow(which: Case) -> list[dict]:
        """Steps at doubled batches, until memory is full or a larger batch is no faster."""
        found, batch = [], 1
        while True:
            row = measure(which, "step", batch, 0, "sweep", 0)
            if row["status"] != "done":
                return found
            found.append(row)
            if len(found) > 1 and rate(row) < 1.02 * rate(found[-2]):
                return found
            batch *= 2

    rows = grow(reference)
    measure(reference, "forward", int(rows[-1]["batch"]) if rows else 1, 0, "sweep", 0)
    forms = [
        replace(case, attention=form, compile=compiled)
        for form in ("concat", "flex", "bias", "tiled")
        for compiled in (False, True)
        if not (form == "tiled" and compiled)
    ]
    trials = []
    for batch, checkpointing in ((4, False), (1, False), (1, True)):  # what fits a small card
        for form in forms:
            which = replace(form, checkpoint=checkpointing)
            trials.append((form, measure(which, "step", batch, 0, "sweep", 0)))
        trials = [(form, row) for form, row in trials if row["status"] == "done"]
        if trials:
            break
    trials.sort(key=lambda trial: -rate(trial[1]))
    if not trials:
        return
    fastest = trials[0][0]
    for form in dict.fromkeys((fastest, replace(fastest, compile=False))):
        for checkpointing in (False, True):
            which = replace(form, checkpoint=checkpointing)
            rows += [{**row, "case": which} for row in grow(which)]
    candidates = sorted((row for row in rows if "case" in row), key=lambda row: -rate(row))
    measure(fastest, "forward", int(candidates[0]["batch"]), 0, "sweep", 0)
    for limit in limits:
        for row in candidates:
            if float(row["peak_gb"]) + float(row["model_gb"]) > limit - 1:
                continue
            tried = measure(row["case"], "step", int(row["batch"]), limit, "limit", 0)
            if tried["status"] == "done":
                break
    best = candidates[0]
    measure(best["case"], "step", int(best["batch"]), 0, "long", steps)


def rate(row: dict) -> float:
    return float(row["images_per_second"])


# ---- rows ------------------------------------------------------------------------------------


def row_of(case: Case, mode: str, batch: int, limit: float, purpose: str, answer: dict, options):
    """The CSV row of one answer."""
    row = dict.fromkeys(COLUMNS, "")
    row |= asdict(case) | {"mode": mode, "batch": batch, "limit_gb": limit, "purpose": purpose}
    row |= {"status": answer["status"], "seed": 0, "note": options.note, **conditions(options)}
    about = provenance()
    row |= {name: about[name] for name in ("commit", "version", "torch", "finished")}
    # the machine's name, also where the GPU is left alone
    row["hardware"] = about["device"] if case.device == "cuda" else processor()
    row["command"] = options.command
    row["load"] = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    if answer["status"] == "done":
        middle = statistics.median(answer["walls"])
        passes = 1 if mode == "forward" else 2  # the weights are frozen: inputs' gradients alone
        flops = passes * tl.machine.encoder_flop(case.variant, case.image_size) * batch
        row |= {
            "repeats": len(answer["walls"]),
            "seconds": f"{middle:.4g}",
            "best_seconds": f"{min(answer['walls']):.4g}",
            "cpu_seconds": f"{statistics.median(answer['cpus']):.4g}",
            "images_per_second": f"{batch / middle:.4g}",
            "peak_gb": f"{answer['peak'] / 1e9:.3f}",
            "model_gb": f"{answer['model'] / 1e9:.3f}",
        }
        if "difference" in answer:
            row["difference"] = f"{answer['difference']:.1e}"
        if tflops := answer.get("tflops"):
            row["matmul_tflops"] = f"{tflops:.4g}"
            row["model_flop_utilisation"] = f"{flops / middle / 1e12 / tflops:.3f}"
        if purpose == "long":
            minutes = PAPER_IMAGES / (batch / statistics.mean(answer["walls"])) / 60
            row["paper_schedule_minutes"] = f"{minutes:.1f}"
    return row


def conditions(options) -> dict:
    """Of the machine, part of a row's key."""
    used = options.instructions if options.device == "cpu" else ""
    return {"threads": options.threads, "busy": options.busy, "instructions": used}


@contextmanager
def other_work(wanted: bool) -> Iterator[None]:
    """A process that keeps one thread busy with matrix products meanwhile."""
    if not wanted:
        yield
        return
    work = "import torch; torch.set_num_threads(1); a = torch.rand(512, 512)\nwhile True: a @ a"
    child = subprocess.Popen([sys.executable, "-c", work])
    try:
        yield
    finally:
        child.kill()
        child.wait()


def use_instructions(name: str) -> str:
    """Hold the libraries to older instructions, here and in processes to come; what is used."""
    if name == "avx2":
        os.environ["ATEN_CPU_CAPABILITY"] = "avx2"
        os.environ["MKL_ENABLE_INSTRUCTIONS"] = os.environ["ONEDNN_MAX_CPU_ISA"] = "AVX2"
        return "avx2"
    return torch.backends.cpu.get_cpu_capability().lower()


def processor() -> str:
    name = "CPU"
    info = Path("/proc/cpuinfo")
    if info.is_file():
        found = [x for x in info.read_text().splitlines() if x.startswith("model name")]
        name = found[0].split(":")[1].strip() if found else name
    return f"{name}, {os.cpu_count()} cores"


def key_of(row: dict) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in KEY)


def run_cpu(variants: list[str], rows: Rows, options) -> None:
    for variant in variants:
        case = Case("cpu", variant, options.image_size)
        known = {key_of(row) for row in rows.read()}
        ends = [
            (which, m)
            for which in (case, replace(case, encoder="reference", attention="eager"))
            for m in options.modes
        ]
        wanted = {
            key_of(
                asdict(which)
                | {"mode": m, "batch": options.batch, "limit_gb": 0, "purpose": "pair"}
                | conditions(options)
            )
            for which, m in ends
        }
        if wanted <= known:
            print(f"{variant}: measured already")
            continue
        found = pair_on_cpu(case, options.batch, options.repeats, options.threads, options.modes)
        for which, mode, batch, answer in found:
            row = row_of(which, mode, batch, 0, "pair", answer, options)
            rows.append(row)
            print(line_of(row), flush=True)


def run_cuda(variants: list[str], rows: Rows, options) -> None:
    precision = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    known = {key_of(row): row for row in rows.read()}
    held: dict[Case, Process] = {}
    tflops = 0.0

    def measure(case, mode, batch, limit, purpose, steps) -> dict:
        nonlocal tflops
        key = {"mode": mode, "batch": batch, "limit_gb": limit, "purpose": purpose}
        if (done := known.get(key_of(asdict(case) | key | conditions(options)))) is not None:
            return done
        if case not in held:
            for old in list(held):  # one process on the GPU at a time
                held.pop(old).__exit__()
            held[case] = Process(case, options.threads)
        try:
            tflops = tflops or held[case].ask(matmul=True)["tflops"]
            answer = held[case].ask(
                mode=mode, batch=batch, repeats=steps or options.repeats, warm=3, limit_gb=limit
            )
        except RuntimeError as error:  # a form that this GPU or this PyTorch does not run
            held.pop(case)
            answer = {"status": f"failed: {error}"}
        row = row_of(case, mode, batch, limit, purpose, answer | {"tflops": tflops}, options)
        rows.append(row)
        known[key_of(row)] = row
        print(line_of(row), flush=True)
        return row

    try:
        for variant in variants:
            sweep(
                Case("cuda", variant, options.image_size, precision),
                measure,
                LIMITS_GB,
                options.steps,
            )
    finally:
        for process in held.values():
            process.__exit__()


def line_of(row: dict) -> str:
    names = (
        "variant",
        "encoder",
        "attention",
        "compile",
        "checkpoint",
        "mode",
        "batch",
        "limit_gb",
    )
    values = ("status", "seconds", "cpu_seconds", "images_per_second", "peak_gb", "difference")
    return " ".join(f"{n}={row[n]}" for n in (*names, *values) if row[n] != "")


def ratios(rows: list[dict]) -> list[str]:
    """Ours against the reference of the same run, by mode: speed in three measures, and memory."""
    lines = []
    pairs = [row for row in rows if row["purpose"] == "pair"]
    for ours in (row for row in pairs if row["encoder"] == "ours"):
        same = [n for n in KEY if n not in ("encoder", "attention")] + ["command"]
        for theirs in pairs:
            if theirs["encoder"] == "reference" and all(theirs[n] == ours[n] for n in same):
                wall, best, cpu, memory = (
                    float(theirs[n]) / max(1e-9, float(ours[n]))
                    for n in ("seconds", "best_seconds", "cpu_seconds", "peak_gb")
                )
                lines.append(
                    f"{ours['variant']} {ours['mode']}, {ours['threads']} threads"
                    f"{' beside other work' if ours['busy'] == 'True' else ''}, "
                    f"{ours['instructions']}: {wall:.2f} x the speed "
                    f"({best:.2f} x best against best, {cpu:.2f} x by processor time), "
                    f"{1 / memory:.2f} x the memory"
                )
    return lines


def command_of(arguments: list[str]) -> str:
    """What was typed, without the name of the output file, which is a matter of one machine."""
    if "--out" in arguments:
        at = arguments.index("--out")
        arguments = arguments[:at] + arguments[at + 2 :]
    return shlex.join(["python", "benchmarks/encoder_speed.py", *map(str, arguments)])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", choices=["cpu", "cuda"])
    parser.add_argument("--variants", nargs="+", help="default: vit_b; on CUDA vit_b vit_l")
    parser.add_argument("--image-size", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=1, help="on a CPU")
    parser.add_argument("--repeats", type=int, help="default: 5 on a CPU, 10 on CUDA")
    parser.add_argument("--steps", type=int, default=200, help="of the long run on CUDA")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES, help="on a CPU")
    parser.add_argument("--busy", action="store_true", help="beside a process with one thread")
    parser.add_argument(
        "--instructions", choices=["all", "avx2"], default="all", help="of the processor"
    )
    parser.add_argument("--quick", action="store_true", help="sam_mini at 256 px, few repeats")
    parser.add_argument("--note", default="")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args(arguments)
    if options.quick and options.out == OUT:
        parser.error("--quick is a trial: give it another file with --out")
    options.command = command_of(sys.argv[1:] if arguments is None else arguments)
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    variants = options.variants or (["vit_b", "vit_l"] if device == "cuda" else ["vit_b"])
    if options.quick:
        variants, options.image_size, options.steps = ["sam_mini"], 256, 5
    options.repeats = options.repeats or (2 if options.quick else 10 if device == "cuda" else 5)
    options.device, options.instructions = device, use_instructions(options.instructions)
    rows = Rows(options.out, COLUMNS)
    with rows.alone(), other_work(options.busy):
        (run_cuda if device == "cuda" else run_cpu)(variants, rows, options)
    print("\n".join(ratios(rows.read())))


if __name__ == "__main__":
    main()
