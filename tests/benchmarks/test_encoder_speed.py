"""The benchmark of the encoder: that it measures what it says, and chooses well on a GPU."""

import csv
import subprocess
import sys

import encoder_process
import pytest
import torch
from course import ROOT

SCRIPT = ROOT / "benchmarks" / "encoder_speed.py"


@pytest.fixture(scope="module")
def bench():
    import encoder_speed

    return encoder_speed


def run(*arguments):
    order = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(order, capture_output=True, text=True, check=True, timeout=1800).stdout


def test_a_quick_run_writes_pairs_and_is_not_done_twice(tmp_path):
    out = tmp_path / "speed.csv"
    order = ["--device", "cpu", "--quick", "--repeats", 1, "--threads", 1, "--out", out]
    printed = run(*order, "--note", "a trial")
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["encoder"] for row in rows] == ["reference", "ours"] * 3
    assert [row["mode"] for row in rows[::2]] == ["forward", "forward_backward", "step"]
    for row in rows:
        assert row["status"] == "done"
        assert row["note"] == "a trial"
        assert float(row["images_per_second"]) == pytest.approx(1 / float(row["seconds"]), rel=0.01)
        assert float(row["cpu_seconds"]) > 0
        assert float(row["model_gb"]) == pytest.approx(4 * 4_675_892 / 1e9, abs=1e-3)
        assert float(row["difference"]) == 0  # sam_mini stays with segment_anything's form
        assert row["torch"] == torch.__version__
    assert printed.count("x the speed") == 3
    before = out.read_bytes()
    assert "measured already" in run(*order)
    assert out.read_bytes() == before
    printed = run(*order, "--busy", "--instructions", "avx2")  # other conditions, other rows
    assert "1 threads beside other work, avx2" in printed
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["busy"], row["instructions"]) for row in rows[6:]] == [("True", "avx2")] * 6


def test_the_recorded_file_is_not_touched_by_a_trial(bench):
    with pytest.raises(SystemExit):
        bench.main(["--quick"])


def test_reference_is_segment_anything_with_the_same_adapters(bench):
    """Same embedding and gradients; without adapters' effect it is SAM's encoder to the bit."""
    made = {
        e: encoder_process.build(bench.Case("cpu", "sam_mini", 96, encoder=e))
        for e in ("reference", "ours")
    }
    images = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    out = {}
    for name, model in made.items():
        model.encode(images).square().mean().backward()
        out[name] = model.adapters[0].up.weight.grad
    assert out["ours"].abs().max() > 0
    assert torch.allclose(out["ours"], out["reference"], rtol=1e-4, atol=1e-9)
    plain = made["reference"]
    with torch.no_grad():
        exact = plain.image_encoder(plain.normalise(images))
        assert torch.equal(plain.encode(images), exact)


SPEED = {"eager": 1.0, "concat": 3.0, "flex": 3.5, "bias": 1.2, "tiled": 1.5}
MEMORY = {"eager": 20.0, "concat": 5.0, "flex": 5.0, "bias": 9.0, "tiled": 4.0}


class Machine:
    """A GPU on paper: seconds and memory by form of attention, compiling and checkpointing."""

    def __init__(self, memory: float, without: tuple[str, ...] = ()):
        self.memory, self.without, self.log = memory, without, []

    def measure(self, case, mode, batch, limit, purpose, steps):
        self.log.append((case, mode, batch, limit, purpose, steps))
        each = MEMORY[case.attention] * (0.2 if case.checkpoint else 1)
        if case.attention in self.without:
            return {"status": "failed: no such kernel", "batch": batch}
        if 1 + each * batch > min(self.memory, limit - 1 if limit else self.memory):
            return {"status": "out of memory", "batch": batch}
        speed = SPEED[case.attention] * (1.4 if case.compile else 1)
        speed *= 0.75 if case.checkpoint else 1
        full = speed * batch / (batch + 1)  # small batches leave the GPU idle
        return {
            "status": "done",
            "batch": str(batch),
            "images_per_second": f"{full:.4g}",
            "peak_gb": f"{each * batch:.3f}",
            "model_gb": "1.000",
        }

    def of(self, purpose):
        return [entry for entry in self.log if entry[-2] == purpose]


def test_the_sweep_finds_the_fastest_that_fits(bench):
    gpu = Machine(140)
    bench.sweep(bench.Case("cuda", "vit_l", 1024, "bf16"), gpu.measure, steps=200)
    [(case, mode, batch, limit, _, steps)] = gpu.of("long")
    assert (case.attention, case.compile, case.checkpoint) == ("flex", True, False)
    assert (mode, batch, limit, steps) == ("step", 16, 0, 200)
    last = {entry[3]: entry for entry in gpu.of("limit")}
    assert set(last) == {16, 24, 40, 80}
    for limit, (case, _, batch, *_) in last.items():
        assert 1 + 5.0 * (0.2 if case.checkpoint else 1) * batch <= limit - 1
    assert last[80][0].checkpoint is False
    assert last[80][2] == 8
    assert {entry[0].encoder for entry in gpu.of("sweep")} == {"ours", "reference"}


def test_the_sweep_goes_on_where_a_form_does_not_run(bench):
    gpu = Machine(15, without=("flex", "concat"))
    bench.sweep(bench.Case("cuda", "vit_l", 1024, "fp16"), gpu.measure)
    [(case, *_)] = gpu.of("long")
    assert (case.attention, case.compile) == ("bias", True)  # 1.2 x 1.4 beats 1.5


def test_nothing_fits(bench):
    gpu = Machine(0.5)
    bench.sweep(bench.Case("cuda", "vit_l", 1024, "fp16"), gpu.measure)
    assert gpu.of("long") == gpu.of("limit") == []


def test_the_paper_s_schedule_is_extrapolated_from_the_long_run(bench):
    class Options:
        threads, note, command, device, busy, instructions = 1, "", "", "cuda", False, "avx2"

    case = bench.Case("cuda", "vit_l", 1024, "bf16")
    answer = {"status": "done", "walls": [0.5] * 200, "cpus": [0.5] * 200, "peak": 3e9}
    answer |= {"model": 1.2e9, "tflops": 600.0}
    row = bench.row_of(case, "step", 16, 0, "long", answer, Options)
    assert float(row["paper_schedule_minutes"]) == pytest.approx(539 * 50 / 32 / 60, abs=0.05)
    used = 2 * bench.tl.machine.encoder_flop("vit_l", 1024) * 16 / 0.5 / 1e12
    assert float(row["model_flop_utilisation"]) == pytest.approx(used / 600, abs=1e-3)
    assert set(row) == set(bench.COLUMNS)
