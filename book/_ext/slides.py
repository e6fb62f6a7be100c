"""Slides of the chapters, for a lecture: ``python book/_ext/slides.py OUT``.

nbconvert and reveal.js make them from the notebooks as they are; no cell needs to be marked. What
becomes a slide is read from the text: a heading begins one, and of a paragraph the first sentence
stands on the slide and the whole of it in the speaker's notes (key S). The results are those of
the built book, if there is one, or of a run with ``--run``. The folder OUT needs no network.
"""

from __future__ import annotations

import argparse
import copy
import html
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import nbformat
from deck import deck

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CACHE = ROOT / "_build" / ".jupyter_cache"

# nbconvert's reveal template, without the scripts that it fetches from the network
TEMPLATE = """
{%- extends 'reveal/index.html.j2' -%}
{%- block html_head_js -%}{%- endblock -%}
{%- block jupyter_widgets -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}
<script>
MathJax = {tex: {inlineMath: [["$", "$"], ["\\\\(", "\\\\)"]]}, options: {enableMenu: false}};
</script>
<script src="mathjax/tex-chtml.js" defer></script>
{%- endblock -%}
{%- block html_head_css -%}<style>STYLE</style>{%- endblock -%}
{%- block footer_js -%}
<script src="{{ resources.reveal.url_prefix }}/dist/reveal.js"></script>
<script src="{{ resources.reveal.url_prefix }}/plugin/notes/notes.js"></script>
<script>
Reveal.initialize({hash: true, slideNumber: "c/t", transition: "none", width: 1100, height: 700,
                   center: false, margin: 0.04, plugins: [RevealNotes]});
</script>
{%- endblock -%}
"""
STYLE = """
.reveal { font-size: 26px; }
.reveal .slides { text-align: left; }
.reveal .slides section { height: 100%; overflow-y: auto; }
.reveal .slides h1 { font-size: 1.8em; text-transform: none; }
.reveal .slides h2 { font-size: 1.4em; text-transform: none; }
.reveal .slides h3 { font-size: 1.15em; text-transform: none; }
.reveal .jp-Cell { padding: 0; }
.reveal .jp-InputPrompt, .reveal .jp-OutputPrompt { display: none; }
.reveal .jp-RenderedHTMLCommon { font-size: 24px; }
.reveal .jp-RenderedHTMLCommon table { font-size: 18px; margin-left: 0; }
.reveal .highlight pre { font-size: 15px; line-height: 1.35; width: 100%; box-shadow: none; }
.reveal .jp-OutputArea-output pre { font-size: 15px; line-height: 1.3; max-height: 300px;
  overflow-y: auto; box-shadow: none; width: 100%; }
.reveal .jp-RenderedImage img { max-height: 430px; max-width: 100%; width: auto; margin: 0; }
.reveal img.way { margin: 0; }
.reveal details { margin: 0.3em 0; }
.reveal summary { cursor: pointer; }
"""


def run(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook with the results of a run, here and now."""
    from nbclient import NotebookClient

    return NotebookClient(copy.deepcopy(notebook), timeout=180).execute()


def from_book(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode | None:
    """The notebook with the results of the book's build; None where there are none that fit."""
    if not CACHE.is_dir():
        return None
    from jupyter_cache import get_cache

    try:
        return get_cache(CACHE).merge_match_into_notebook(copy.deepcopy(notebook))[1]
    except KeyError:  # its code has changed since
        return None


def to_html(slides: nbformat.NotebookNode, name: str, reveal: str) -> str:
    """The page of a deck, with reveal.js from the folder or address `reveal`."""
    from nbconvert import SlidesExporter
    from traitlets.config import Config

    config = Config()
    config.TagRemovePreprocessor.enabled = True
    config.TagRemovePreprocessor.remove_input_tags = {"no-code"}
    exporter = SlidesExporter(config=config, reveal_url_prefix=reveal, reveal_theme="white")
    exporter.raw_template = TEMPLATE.replace("STYLE", STYLE)
    return exporter.from_notebook_node(slides, {"metadata": {"name": name}})[0]


def _package_folder(package: str, folder: str) -> Path:
    spec = find_spec(package)
    if spec is None:
        raise SystemExit(f'slides: {package} is missing; run: pip install -e ".[book]"')
    return Path(spec.origin).parent / folder


def copy_libraries(out: Path) -> None:
    """reveal.js and MathJax, from the installed packages, into `out`."""
    reveal = _package_folder("sphinx_revealjs", "_static/revealjs")
    for part in ("dist", "plugin/notes"):
        shutil.copytree(
            *(reveal / part, out / "reveal.js" / part),
            ignore=shutil.ignore_patterns("*.map"),
            dirs_exist_ok=True,
        )
    shutil.copy(reveal / "LICENSE", out / "reveal.js")
    mathjax = _package_folder("sphinx-mathjax-offline", "static/mathjax")
    (out / "mathjax").mkdir(exist_ok=True)
    shutil.copy(mathjax / "tex-chtml.js", out / "mathjax")
    fonts = Path("output", "chtml", "fonts")
    shutil.copytree(mathjax / fonts, out / "mathjax" / fonts, dirs_exist_ok=True)


def make(
    out: Path, paths=NOTEBOOKS, *, fresh: bool = False, reveal: str | None = None
) -> dict[str, bool]:
    """Write the slides of `paths` and an index into `out`; file name -> whether it has results."""
    out.mkdir(parents=True, exist_ok=True)
    copy_libraries(out)
    made = {}
    for path in paths:
        notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
        filled = run(notebook) if fresh else from_book(notebook)
        page = to_html(deck(filled or notebook), path.stem, reveal or "reveal.js")
        (out / f"{path.stem}.html").write_text(page, "utf-8")
        made[f"{path.stem}.html"] = filled is not None
    titles = {p.stem: nbformat.read(p, as_version=4).cells[0].source.splitlines()[0] for p in paths}
    items = "\n".join(
        f'<li><a href="{stem}.html">{html.escape(title.removeprefix("# "))}</a></li>'
        for stem, title in titles.items()
    )
    head = '<!doctype html><html lang="en"><meta charset="utf-8"><title>Slides</title>'
    how = "<p>Arrow keys lead through a deck; S opens the speaker's notes, O an overview.</p>"
    (out / "index.html").write_text(f"{head}<h1>Slides</h1>{how}<ol>{items}</ol>", "utf-8")
    return made


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="slides.py", description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the slides")
    parser.add_argument("--chapters", nargs="+", metavar="NN", help="such as 02 05; else all")
    parser.add_argument("--run", action="store_true", help="execute the notebooks first")
    parser.add_argument("--reveal", help="folder or address of another reveal.js")
    options = parser.parse_args(arguments)
    paths = [p for p in NOTEBOOKS if not options.chapters or p.name[:2] in options.chapters]
    known = ", ".join(p.name[:2] for p in NOTEBOOKS)
    if not paths or len(paths) < len(set(options.chapters or [])):
        print(f"slides: no such chapter in {options.chapters}; there are {known}", file=sys.stderr)
        return 2
    made = make(options.out, paths, fresh=options.run, reveal=options.reveal)
    for name, filled in made.items():
        without = ": no results; build the book first (jupyter-book build .), or add --run"
        print(f"{options.out / name}{'' if filled else without}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
