"""Audit, metrics and all of chapter 6 without torch: as in a browser, where there is none."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from course import ROOT

from tlseg_lite.core.tensors import is_bool, is_tensor, to_numpy, zero_where_not

ALONE = ROOT / "tests" / "support" / "chapter_alone.py"
CHAPTER = ROOT / "notebooks" / "06_reading_tables.ipynb"


def python(*arguments: str | Path, package: Path = ROOT) -> str:
    environment = {**os.environ, "PYTHONPATH": str(package), "MPLBACKEND": "agg"}
    result = subprocess.run(
        [sys.executable, *map(str, arguments)], env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


def test_audit_metrics_and_their_exercises_do_not_import_torch():
    code = (
        "import sys, tlseg_lite as tl; tl.audit, tl.metrics, tl.exercises;"
        "from tlseg_lite.metrics import boundary, calibration, intervals, objects, thresholds;"
        "tl.exercises.given('6.2'); tl.metrics.confusion([[1, 0]], [[1, 1]]);"
        "print(sorted({name.partition('.')[0] for name in sys.modules}"
        " & {'torch', 'torchvision', 'accelerate', 'segment_anything', 'safetensors'}))"
    )
    assert python("-c", code).strip() == "[]"


def test_chapter_6_and_its_solutions_run_where_no_heavy_package_is_installed():
    printed = python(ALONE, CHAPTER)
    assert "19 rows, 19 consistent" in printed  # the chapter's own finding
    assert "Solutions: 6.1, 6.2, 6.3, 6.4, 6.5" in printed


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float32])
def test_tensors_and_arrays_are_told_apart_and_treated_alike(dtype):
    array = np.array([[1, 0], [0, 1]], dtype=dtype)
    tensor = torch.from_numpy(array)
    valid = np.array([[True, True], [True, False]])
    assert [is_tensor(value) for value in (tensor, array, [1])] == [True, False, False]
    assert is_bool(array) == is_bool(tensor) == (dtype is bool)
    cut = zero_where_not(torch.from_numpy(valid), tensor)
    assert isinstance(cut, torch.Tensor)
    assert cut.tolist() == zero_where_not(valid, array).tolist() == [[1, 0], [0, 0]]
    assert isinstance(to_numpy(tensor.clone()), np.ndarray)
    assert to_numpy(array) is array
