"""The package as a whole: its public names, and that importing it does nothing heavy."""

import subprocess
import sys

import pytest

import tlseg_lite as tl


def test_every_public_name_can_be_had():
    for name in tl.__all__:
        assert getattr(tl, name) is not None
    assert set(tl.__all__) <= set(dir(tl))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = tl.nonsense


def test_import_is_light():
    heavy = ["torch", "torchvision", "segment_anything", "matplotlib", "h5py", "pandas"]
    heavy += ["accelerate", "scipy", "segmentation_models_pytorch", "PIL", "pooch"]
    code = f"import sys, tlseg_lite; print([m for m in {heavy} if m in sys.modules])"
    printed = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert printed.strip() == "[]"
