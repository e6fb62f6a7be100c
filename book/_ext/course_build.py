"""Sphinx extension of this book: offline and quiet kernels, a build that fails on warnings.

It is loaded through ``sphinx.local_extensions`` in ``_config.yml``, so that the plain command
``jupyter-book build .`` needs no flags. Notebook kernels inherit the environment set here.
"""

import os
import platform
from importlib.metadata import version
from pathlib import Path

from two_at_once import cores

# Only defaults: whatever the caller has set stays.
KERNEL_ENVIRONMENT = {
    "TLSEG_OFFLINE": "1",  # no chapter touches the network
    "TLSEG_PROGRESS": "0",  # no progress bars of the course in the pages ...
    "TQDM_DISABLE": "1",  # ... and none of libraries
    "OMP_WAIT_POLICY": "PASSIVE",  # threads that wait let others work, on a busy machine
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # no debugger remark when a kernel starts
}


def fail_on_warnings(app, exception):
    """Turn a build with warnings into one with a non-zero exit status."""
    if exception is None and app._warncount:
        app.statuscode = 1


def describe_machine(app, config):
    """Give the pages ``{{ build_machine }}``: what the chapters were executed on."""
    config.myst_substitutions = {
        **config.myst_substitutions,
        "build_machine": f"{cores()} CPU cores ({platform.machine()}) with "
        f"Python {platform.python_version()} and PyTorch {version('torch').split('+')[0]}",
    }


def drop_dead_scripts(app, pagename, templatename, context, doctree):
    """Leave out what nothing in a static page uses.

    That is sphinx-thebe (the book has no live cells, and its scripts load twice) and the state of
    ipywidgets, which only a server could draw.
    """

    def dead(script):
        attributes = getattr(script, "attributes", None) or {}
        text = f"{getattr(script, 'filename', '')} {attributes.get('body') or ''}".lower()
        return "thebe" in text or "jupyter.widget-state" in str(attributes.get("type"))

    context["script_files"] = [s for s in context.get("script_files", []) if not dead(s)]


def leave_out_what_no_page_loads(app, exception):
    """A third of the book's bytes: MathJax's other bundles, and source maps of minified scripts.

    A page loads the one bundle of ``mathjax_path``. What that fetches later, for its menu and for
    speech and braille in English, lies in folders beside it and stays. The first picture is among
    the pages' pictures; its file beside the style sheet is for the README.
    """
    static = Path(app.outdir) / "_static"
    if exception is None and app.builder.name == "html" and static.is_dir():
        used = Path(app.config.mathjax_path).name
        bundles = [path for path in static.glob("mathjax/*.js") if path.name != used]
        spoken = [
            path
            for path in static.glob("mathjax/sre/mathmaps/*.json")
            if path.stem not in ("base", "en", "nemeth")
        ]
        maps = [*static.rglob("*.js.map"), *static.rglob("*.css.map")]
        for path in [*bundles, *spoken, *maps, static / "result.png"]:
            path.unlink(missing_ok=True)


def bars_are_bars(app, what, name, obj, options, lines):
    """Docstrings may write ``|x|``, which reStructuredText takes for a substitution."""
    lines[:] = [line if "``" in line else line.replace("|", "\\|") for line in lines]


OTHERS_WORDS = ("Define the computation performed at every call.", "Alias for field number")
"""Beginnings of docstrings that PyTorch and `NamedTuple` give to what has none."""


def only_own_words(app, what, name, obj, options, lines):
    """A name that inherits a docstring from outside the project has a signature only."""
    if lines and lines[0].startswith(OTHERS_WORDS):
        lines.clear()


def sentences_stay_whole(app, what, name, obj, options, lines):
    """Napoleon takes what stands before a constant's first colon for its type: put it back."""
    places = [i for i, line in enumerate(lines) if line.startswith(":type: ")]
    if what in ("data", "attribute") and len(places) == 1:
        before = lines.pop(places[0]).removeprefix(":type: ")
        lines[0] = f"{before}: {lines[0]}"


def setup(app):
    app.setup_extension("try_it")  # first: it asks whether the caller forbids the network
    for name, value in KERNEL_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    app.connect("config-inited", describe_machine, priority=100)
    app.connect("autodoc-process-docstring", bars_are_bars, priority=100)
    app.connect("autodoc-process-docstring", only_own_words, priority=100)
    app.connect("autodoc-process-docstring", sentences_stay_whole, priority=900)  # after Napoleon
    app.connect("html-page-context", drop_dead_scripts, priority=900)
    app.connect("build-finished", fail_on_warnings)
    app.setup_extension("captions")  # numbers of the tables that cells print
    app.connect("build-finished", leave_out_what_no_page_loads)
    app.setup_extension("two_at_once")  # execution of the chapters
    app.setup_extension("results_page")  # the tables of the results page
    app.setup_extension("lite_site")  # chapter 6 in the reader's browser
    return {"parallel_read_safe": True, "parallel_write_safe": True}
