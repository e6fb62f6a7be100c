"""Environment variables of Accelerate and PyTorch cannot change what a training gives."""

import os
import subprocess
import sys

import pytest

import tlseg_lite as tl
from tlseg_lite.training.step import accelerator_for

SCRIPT = """
import sys
import tlseg_lite as tl

sam = tl.load_sam("sam_mini", None, image_size=64)
model = tl.TransLandSeg(sam, tl.ATLConfig())
train, val = tl.data.SyntheticLandslides(5, size=64), tl.data.SyntheticLandslides(2, 64, seed=1)
recipe = tl.Recipe(epochs=1, batch_size=2)
tl.preflight(model, train, recipe)
tl.fit(model, train, val, recipe, sys.argv[1], progress=False)
"""

OTHER = {
    "ACCELERATE_DEBUG_MODE": "true",
    "ACCELERATE_DOWNCAST_BF16": "1",
    "ACCELERATE_DYNAMO_BACKEND": "EAGER",
    "ACCELERATE_DYNAMO_MODE": "max-autotune",
    "ACCELERATE_DYNAMO_USE_DYNAMIC": "true",
    "ACCELERATE_DYNAMO_USE_FULLGRAPH": "true",
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4",
    "ACCELERATE_GRADIENT_CLIPPING": "0.001",
    "ACCELERATE_LOG_LEVEL": "ERROR",
    "ACCELERATE_MIXED_PRECISION": "bf16",
    "ACCELERATE_USE_FSDP": "false",
    "PYTHONHASHSEED": "7",
    "TORCHDYNAMO_DISABLE": "1",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "0",
}


def test_the_same_weights_under_other_variables(tmp_path):
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("ACCELERATE_", "TORCH"))}
    plain |= {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    found = []
    for name, more in (("plain", {}), ("other", OTHER)):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(tmp_path / name)],
            env=plain | more, capture_output=True, text=True, timeout=1800,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found.append((tmp_path / name / "best.safetensors").read_bytes())
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ACCELERATE_FP8_BACKEND", "AO"),
        ("ACCELERATE_USE_DEEPSPEED", "true"),
        ("ACCELERATE_USE_FSDP", "TRUE"),
        ("ACCELERATE_USE_MEGATRON_LM", "1"),
        ("ACCELERATE_USE_PARALLELISM_CONFIG", "true"),
        ("ACCELERATE_USE_SAGEMAKER", "true"),
        ("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "1"),
        ("NVIDIA_TF32_OVERRIDE", "0"),
        ("ONEDNN_DEFAULT_FPMATH_MODE", "BF16"),
        ("DNNL_DEFAULT_FPMATH_MODE", "any"),
    ],
)
def test_what_cannot_be_overruled_is_refused_by_name(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=f"{name}={value}.*unset it"):
        accelerator_for(tl.Recipe())


def test_values_that_change_nothing_are_taken(monkeypatch):
    for name, value in (("ACCELERATE_USE_FSDP", "false"), ("ONEDNN_DEFAULT_FPMATH_MODE", "STRICT")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "3")
    assert accelerator_for(tl.Recipe()).gradient_accumulation_steps == 1
