"""Audit, metrics and the exercises of chapter 6 import no torch (test_lite_site runs them all)."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from tlseg_lite.core.tensors import is_bool, is_tensor, to_numpy, zero_where_not


def test_audit_metrics_and_their_exercises_do_not_import_torch():
    code = (
        "import sys, tlseg_lite as tl; tl.audit, tl.metrics, tl.exercises;"
        "from tlseg_lite.metrics import boundary, calibration, intervals, objects, thresholds;"
        "tl.exercises.given('6.2'); tl.metrics.confusion([[1, 0]], [[1, 1]]);"
        "print(sorted({name.partition('.')[0] for name in sys.modules}"
        " & {'torch', 'torchvision', 'accelerate', 'segment_anything', 'safetensors'}))"
    )
    printed = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert printed.strip() == "[]"


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
