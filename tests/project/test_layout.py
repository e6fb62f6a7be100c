"""The package can be read: short modules and functions, and chapters that use public names only."""

import ast
import json
from importlib import import_module
from types import ModuleType

import pytest
from course import NOTEBOOKS, ROOT

import tlseg_lite as tl

SOURCES = sorted(
    path for folder in ("tlseg_lite", "benchmarks") for path in (ROOT / folder).rglob("*.py")
)
MODULE, FUNCTION = 500, 60  # lines, the latter without docstrings


def test_modules_and_functions_are_short():
    long = set()
    for path in SOURCES:
        name, text = path.relative_to(ROOT).as_posix(), path.read_text("utf-8")
        if len(text.splitlines()) > MODULE:
            long.add(name)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                lines = node.end_lineno - node.lineno + 1
                if ast.get_docstring(node):
                    lines -= node.body[0].end_lineno - node.body[0].lineno + 1
                if lines > FUNCTION:
                    long.add(f"{name}: {node.name}")
    assert not long, f"split these: {sorted(long)}"


def imported_names(path):
    """(module, name) of each import from the package, and "tl.a.b" of each use, in a chapter."""
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        if cell["cell_type"] != "code":
            continue
        code = "\n".join(x for x in "".join(cell["source"]).splitlines() if x.lstrip()[:1] != "%")
        code = code.replace('if "google.colab" in sys.modules:', "")
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tlseg_lite"):
                for alias in node.names:
                    yield node.module, alias.name
            elif isinstance(node, ast.Attribute):
                chain = [node.attr]
                inner = node.value
                while isinstance(inner, ast.Attribute):
                    chain.append(inner.attr)
                    inner = inner.value
                if isinstance(inner, ast.Name) and inner.id == "tl":
                    yield "tl", ".".join(reversed(chain))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_chapters_use_public_names(path):
    unknown = set()
    for module, name in set(imported_names(path)):
        if module == "tl":
            place = tl
            for part in name.split("."):
                listed = getattr(place, "__all__", None) if isinstance(place, ModuleType) else None
                hidden = listed is not None and part not in listed
                if part.startswith("_") or hidden or not hasattr(place, part):
                    unknown.add(f"tl.{name}")
                    break
                place = getattr(place, part)
            continue
        folder = ".".join(module.split(".")[:2])  # a name of a module is public in its folder
        if name not in getattr(import_module(folder), "__all__", [name]):
            unknown.add(f"{module}.{name}")
    assert not unknown, "list these in the folder's __init__"
