"""Old module paths give the same module, and say where it is now; old short names stay."""

import importlib
import subprocess
import sys
import warnings

import pytest

import tlseg_lite as tl
from tlseg_lite.core.moved import MOVED, SHORT


@pytest.mark.parametrize(("old", "new"), MOVED.items())
def test_old_path_is_the_new_module_with_a_warning(old, new):
    sys.modules.pop(f"tlseg_lite.{old}", None)
    module = importlib.import_module(f"tlseg_lite.{new}")
    spec = module.__spec__
    with pytest.warns(FutureWarning, match=f"tlseg_lite.{old} is now tlseg_lite.{new}"):
        assert importlib.import_module(f"tlseg_lite.{old}") is module
    assert module.__spec__ is spec
    assert module.__name__ == f"tlseg_lite.{new}"


@pytest.mark.parametrize("name", SHORT)
def test_short_names_stay_without_a_warning(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert getattr(tl, name).__name__ == f"tlseg_lite.{SHORT[name]}"


def test_the_warning_names_the_line_that_imports(tmp_path):
    script = tmp_path / "coursework.py"
    script.write_text("x = 1\nfrom tlseg_lite.model import TransLandSeg\n")
    shown = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert "coursework.py:2: FutureWarning: tlseg_lite.model is now" in shown.stderr


def test_an_old_module_does_not_hide_the_function_of_its_name():
    sys.modules.pop("tlseg_lite.data.samples", None)
    with pytest.warns(FutureWarning, match="data.samples is now"):
        importlib.import_module("tlseg_lite.data.samples")
    assert callable(tl.data.samples)


def test_what_never_was_is_still_missing():
    with pytest.raises(ModuleNotFoundError, match="nonsense"):
        importlib.import_module("tlseg_lite.nonsense")
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = tl.data.nonsense


@pytest.mark.parametrize("folder", [n for n in tl.__all__ if hasattr(getattr(tl, n), "__path__")])
def test_a_folder_hands_on_its_public_names(folder):
    package = getattr(tl, folder)
    assert package.__all__
    for name in package.__all__:
        assert getattr(package, name) is not None
        assert name in dir(package)
    assert "may import" in package.__doc__.lower().replace("\n", " "), "says what it may import"
