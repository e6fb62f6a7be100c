"""What the tests of the chapters, the project and the built book share."""

import re
import subprocess
from pathlib import Path

import yaml

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
REPOSITORY = PYPROJECT["project"]["urls"]["Repository"]  # the one place of the address
TAG = f"v{PYPROJECT['project']['version']}"  # of the release; the one place of the version
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

COLAB = REPOSITORY.replace("https://github.com/", "https://colab.research.google.com/github/")

SETUP_CELL = f'''\
# In Colab this installs the course; anywhere else it does nothing.
import sys

if "google.colab" in sys.modules:
    %pip install -q "tlseg-lite @ git+{REPOSITORY}@{TAG}"'''


def setup_cell(notebook: Path) -> str:
    """The set-up cell of a chapter; chapters on maps install their libraries, too."""
    extra = "[maps]" if notebook.name.startswith(("08", "80")) else ""
    return SETUP_CELL.replace("tlseg-lite @", f"tlseg-lite{extra} @")


def colab_link(notebook: Path) -> str:
    """The address of the notebook's Colab button."""
    return f"{COLAB}/blob/{TAG}/notebooks/{notebook.name}"


def toc_pages() -> list[str]:
    """Pages of _toc.yml in reading order, the root first, without suffixes."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))
    pages = [toc["root"]]

    def walk(node):
        if isinstance(node, dict):
            if "file" in node:
                pages.append(node["file"])
            for key in ("parts", "chapters", "sections"):
                walk(node.get(key, []))
        else:
            for child in node:
                walk(child)

    walk({key: value for key, value in toc.items() if key != "root"})
    return pages


def readme_blocks() -> list[str]:
    """The fenced code blocks of the README, in their order."""
    text = (ROOT / "README.md").read_text("utf-8")
    return [b.strip() for b in re.findall(r"^```[a-z]*\n(.*?)^```$", text, re.M | re.S)]


def tracked_files() -> list[Path]:
    """Files that git tracks, or (in a copy without git) all but caches and builds."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        skip = {"_build", ".venv", "venv", "runs", "build", "dist", "__pycache__"}
        return [
            p for p in ROOT.rglob("*") if p.is_file() and not skip & set(p.relative_to(ROOT).parts)
        ]
    return [ROOT / name for name in listed if name and (ROOT / name).is_file()]


def cited_keys(text: str) -> list[str]:
    """BibTeX keys that MyST text cites."""
    lists = re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", text)
    return [key.strip() for group in lists for key in group.split(",")]


def bibliography_keys() -> set[str]:
    """Keys of book/references.bib."""
    text = (ROOT / "book" / "references.bib").read_text("utf-8")
    return set(re.findall(r"^@\w+\{([^,\s]+),", text, re.M))
