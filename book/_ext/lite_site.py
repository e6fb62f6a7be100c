"""Sphinx extension: chapter 6 as a JupyterLite notebook beside the pages, for a reader's browser.

The site is made by `jupyter lite build` when the pages are written, without the network. It holds
one notebook, JupyterLite's notebook application without source maps, and a wheel of the package
without weights that depends on numpy, scipy, pandas and matplotlib alone. What the browser has to
fetch when a reader opens it is Pyodide (Python and those four packages), from its own network
address; the page says so.

On request only, with ``TLSEG_LITE=1`` and ``pip install -e '.[book,lite]'``; ``.ci/run``, and with
it the published book, has it. Without a network it was tried with Pyodide 314.0.6 beside the site
instead of from its address (Python 3.14, headless Chromium): the kernel starts, `%pip install
tlseg-lite` takes the site's own wheel, and the package imports. NumPy, SciPy, pandas and Matplotlib
for Pyodide could not be had there, so the cells after that have been run without a browser only
(``tests/support/chapter_alone.py``).

Not through jupyterlite-sphinx: that puts a font from the network, a style sheet and a script into
every page of the book, and builds six applications.
"""

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from docutils import nodes
from sphinx.errors import ExtensionError
from sphinx.util import logging

CHAPTER = "notebooks/06_reading_tables"
SITE = "lite"  # below the pages
NEEDS = ("numpy", "scipy", "pandas", "matplotlib")
ADDRESS = f"{SITE}/notebooks/index.html?path={Path(CHAPTER).name}.ipynb"
TEXT = (
    "Run this chapter in your browser</a>, without an installation. The notebook and the package "
    "come from this book's server; Python itself (Pyodide, with NumPy, SciPy, pandas and "
    "Matplotlib) is fetched from cdn.jsdelivr.net, and one small package from Python's package "
    "index, when you open it, so this one link needs the network. The page that you read does not, "
    "and has all results."
)
LOG = logging.getLogger(__name__)


def write_wheel(root: Path, folder: Path) -> Path:
    """A wheel of the package in `folder`: code and tables, no weights, few dependencies."""
    text = (root / "pyproject.toml").read_text("utf-8")  # Python 3.10 has no tomllib
    version = re.search(r'^version = "([^"]+)"', text, re.M)[1]
    info = f"tlseg_lite-{version}.dist-info"
    metadata = ["Metadata-Version: 2.1", "Name: tlseg-lite", f"Version: {version}"]
    metadata += [f"Requires-Dist: {name}" for name in NEEDS]
    tag = "Wheel-Version: 1.0\nGenerator: tlseg_lite\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files = {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted((root / "tlseg_lite").rglob("*"))
        if path.suffix in {".py", ".csv", ".txt"}
    }
    files |= {
        f"{info}/METADATA": ("\n".join(metadata) + "\n").encode(),
        f"{info}/WHEEL": tag.encode(),
    }
    record = [f"{name},sha256={_digest(data)},{len(data)}" for name, data in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,"]).encode()
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"tlseg_lite-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return wheel


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def for_the_browser(notebook: dict) -> dict:
    """The notebook with a set-up cell that installs the wheel of the site."""
    for cell in notebook["cells"]:
        if "setup" in cell["metadata"].get("tags", []):
            text = "# The package, from this book's own server.\n%pip install -q tlseg-lite"
            cell["source"] = text.splitlines(keepends=True)
    return notebook


def build_site(root: Path, work: Path, out: Path) -> None:
    """Build the site into `out`; `work` is a folder of its own for what goes into it.

    Raises:
        ExtensionError: JupyterLite is not installed, or its build fails; the message has its end.
    """
    for folder in (work, out):
        shutil.rmtree(folder, ignore_errors=True)
    (work / "files").mkdir(parents=True)
    write_wheel(root, work / "pypi")
    source = root / f"{CHAPTER}.ipynb"
    notebook = for_the_browser(json.loads(source.read_text("utf-8")))
    (work / "files" / source.name).write_text(json.dumps(notebook), "utf-8")
    settings = {
        "contents": ["files"],
        "output_dir": str(out),
        "apps": ["notebooks"],
        "no_sourcemaps": True,
        "no_unused_shared_packages": True,
        "federated_extensions": [],
    }
    config = work / "jupyter_lite_config.json"
    config.write_text(json.dumps({"LiteBuildConfig": settings}), "utf-8")
    # `jupyter lite` as a module: the command would be looked for on PATH.
    command = [sys.executable, "-c", "from jupyterlite_core.app import main; main()", "build"]
    result = subprocess.run(command, cwd=work, capture_output=True, text=True)
    if result.returncode:
        raise ExtensionError(
            f"chapter 6 in the browser: `jupyter lite build` failed; pip install -e '.[book,lite]' "
            f"brings what it needs. {result.stderr[-2000:]}"
        )


def build_with_the_pages(app, exception):
    if exception is None and app.builder.name == "html" and CHAPTER in app.env.found_docs:
        out = Path(app.outdir)
        build_site(Path(app.srcdir), out.parent / "jupyterlite", out / SITE)
        size = sum(path.stat().st_size for path in (out / SITE).rglob("*") if path.is_file())
        LOG.info(f"chapter 6 for the browser: {size / 1e6:.1f} MB in {SITE}/")


def add_link(app, doctree, docname):
    """The link below the chapter's title; only in pages, since a notebook elsewhere has no site."""
    if docname != CHAPTER or app.builder.name != "html":
        return
    title = next(doctree.findall(nodes.title), None)
    address = "../" * docname.count("/") + ADDRESS
    html = f'<p class="in-the-browser"><a href="{address}">{TEXT}</p>'
    title.parent.insert(title.parent.index(title) + 1, nodes.raw("", html, format="html"))


def setup(app):
    if os.environ.get("TLSEG_LITE") == "1":
        app.connect("doctree-resolved", add_link)
        app.connect("build-finished", build_with_the_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
