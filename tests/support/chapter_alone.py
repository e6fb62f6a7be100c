"""Run the code cells of a notebook, then its solutions, where only small packages may be imported.

What a browser does (Pyodide with the package's wheel), without the browser. Needs no IPython:

    python tests/support/chapter_alone.py notebooks/06_reading_tables.ipynb
"""

import importlib.abc
import json
import re
import sys
from pathlib import Path

HEAVY = {
    *("torch", "torchvision", "segment_anything", "accelerate", "safetensors", "peft", "onnx"),
    *("segmentation_models_pytorch", "pooch", "h5py", "ipywidgets", "tqdm", "IPython"),
    *("rasterio", "geopandas", "shapely", "dask", "sklearn", "skimage"),
}
"""What Pyodide does not have, or what a page should not load for a chapter about numbers."""


class NotInstalled(importlib.abc.MetaPathFinder):
    """Refuses the packages that Pyodide does not have."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HEAVY:
            raise ModuleNotFoundError(f"No module named {name!r} (a heavy package)", name=name)
        return None


def code_cells(notebook: dict) -> list[str]:
    """The sources of the code cells, those of the set-up (an IPython magic) left out."""
    return [
        "".join(cell["source"])
        for cell in notebook["cells"]
        if cell["cell_type"] == "code" and "setup" not in cell["metadata"].get("tags", [])
    ]


def solutions(notebook: dict) -> dict[str, str]:
    """Number of an exercise -> the code of its solution."""
    found = {}
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown" and "{dropdown} Solution" in text:
            code = re.search(r"^~~~python\n(.*?)^~~~$", text, re.M | re.S)
            name = code and re.search(r"answer_(\w+?)_(\d+)\b", code[1])
            if name:
                found[f"{name[1]}.{name[2]}"] = code[1]
    return found


def main(path: str) -> None:
    sys.meta_path.insert(0, NotInstalled())
    notebook = json.loads(Path(path).read_text("utf-8"))
    names: dict = {"__name__": "__main__"}
    for number, source in enumerate(code_cells(notebook)):
        exec(compile(source, f"cell {number}", "exec"), names)
    import tlseg_lite as tl

    right = []
    for number, source in solutions(notebook).items():
        exec(compile(source, f"solution {number}", "exec"), names)
        if not tl.exercises.check(number, names[f"answer_{number.replace('.', '_')}"]):
            raise SystemExit(f"the solution of {number} is not right")
        right.append(number)
    print(f"Solutions: {', '.join(right)}")
    print(f"tlseg_lite {tl.__version__} from {Path(tl.__file__).parent}")


if __name__ == "__main__":
    main(sys.argv[1])
