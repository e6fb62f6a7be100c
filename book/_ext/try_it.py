"""Sphinx extension: the model itself in a page, loaded when a reader asks for it.

``{live-model}`` is the control of `tlseg_lite.widgets.live_html`; ``:beside:`` names, as a CSS
selector, a picture of the page that it begins with. Its text is what stands there where the model
is not. ``{live-score}`` says what the adapted model reaches, computed when the page is read.

All pages share one folder of files, ``_static/live``. They are made once and kept in
``_build/live`` until the weights or the code change. ONNX Runtime for browsers comes from npm;
where that is not to be had (no npm, no network, TLSEG_OFFLINE=1), the page has a picture of an
answer and says what is missing.
"""

import hashlib
import json
import math
import shutil
from pathlib import Path

from docutils import nodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "book" / "try_it.safetensors"
SCENES = 120  # the model was trained on a part of them: --data synthetic --n 120
FOLDER = "_static/live"
MADE_FROM = (
    *("book/try_it.safetensors", "tlseg_lite/weights/sam_mini.safetensors"),
    *("tlseg_lite/export/*.py", "tlseg_lite/widgets/live*.py", "tlseg_lite/widgets/static/live*"),
    *("tlseg_lite/sam/*.py", "tlseg_lite/adapters/*.py", "tlseg_lite/scenes/*.py"),
)
LOG = logging.getLogger(__name__)


class live_model(nodes.General, nodes.Element):  # docutils' own way of writing names
    """Stands for the control until the page is written; its children are the text without it."""


class LiveModel(SphinxDirective):
    """``{live-model}``."""

    has_content = True
    option_spec = {"beside": str}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        node = live_model(beside=self.options.get("beside", ""))
        self.state.nested_parse(self.content, self.content_offset, node)
        return [node]


class LiveScore(SphinxDirective):
    """``{live-score}``."""

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(str(MODEL))
        return [nodes.paragraph("", score_in_words())]


def key() -> str:
    """A digest of all that the files are made from."""
    digest = hashlib.sha256()
    for pattern in MADE_FROM:
        for path in sorted(ROOT.glob(pattern)):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def models() -> dict:
    """SAM and the adapted model, and the probability from which on that says landslide."""
    import tlseg_lite as tl

    model = tl.TransLandSeg.load(MODEL)
    logit = model.trained_on.get("threshold", 0.0)
    return {
        "sam": tl.load_sam("sam_mini"),
        "model": model,
        "threshold": 1 / (1 + math.exp(-logit)),
    }


def score_in_words() -> str:
    """What the adapted model reaches on the test scenes of its own run."""
    import tlseg_lite as tl

    model = tl.TransLandSeg.load(MODEL)
    run = model.run
    scenes = tl.data.SyntheticLandslides(SCENES, seed=run["recipe"]["seed"])
    where = {name: i for i, name in enumerate(scenes.ids)}
    own = run["images"]["test"]["ids"]
    scores = tl.evaluate(model, tl.data.Subset(scenes, [where[name] for name in own]))
    return (
        f"On its {len(own)} synthetic test scenes the adapted model reaches a landslide IoU of "
        f"{100 * scores.landslide_iou:.1f} % (precision {100 * scores.precision:.1f} %, recall "
        f"{100 * scores.recall:.1f} %, both as means over the two classes; threshold 0.5). It was "
        f"trained on {run['images']['train']['number']} synthetic scenes; the epoch was chosen on "
        f"{run['images']['val']['number']} others."
    )


def make(kept: Path, fetch: bool) -> dict:
    """The files in `kept`, made anew if they are not of this code: what ``page.json`` holds.

    Raises:
        OfflineError, DownloadError, ImportError: what they are made with is not to be had.
    """
    from tlseg_lite.widgets import live_files

    mark = kept / "made-from.txt"
    if not (mark.is_file() and mark.read_text() == key()):
        shutil.rmtree(kept, ignore_errors=True)
        LOG.info("the live model: exporting it for the pages (about a minute, once)")
        live_files(kept, **models(), fetch=fetch)
        mark.write_text(key())
    return json.loads((kept / "page.json").read_text("utf-8"))


def files_of(app) -> dict | None:
    """Put the files below the pages, once a build; None where there are none."""
    from tlseg_lite.core.errors import DownloadError, OfflineError
    from tlseg_lite.widgets import live_picture

    if not hasattr(app, "live_model"):
        out = Path(app.outdir) / FOLDER
        shutil.rmtree(out, ignore_errors=True)
        kept = Path(app.outdir).parent / "live"
        try:
            app.live_model = make(kept, app.live_fetch)
            shutil.copytree(kept, out, ignore=shutil.ignore_patterns("made-from.txt"))
            app.live_missing = ""
        except (OfflineError, DownloadError, ImportError) as error:
            app.live_model = None
            app.live_missing = str(getattr(error, "reason", "") or error).splitlines()[0]
            LOG.info(f"the live model: left out, {app.live_missing}")
            out.mkdir(parents=True)
            app.live_alt = live_picture(out / "still.png", **models())
    return app.live_model


def put_in(app, doctree, docname):
    """The control, or what stands there without it."""
    from tlseg_lite.widgets import live_html

    for node in list(doctree.findall(live_model)):
        about = files_of(app) if app.builder.name == "html" else None
        base = f"{'../' * docname.count('/')}{FOLDER}/"
        if about is not None:
            html = live_html(base, about, beside=node["beside"])
            node.replace_self(nodes.raw("", html, format="html"))
            continue
        without = list(node.children)
        if not node["beside"] and app.builder.name == "html":
            picture = f'<img class="live-still" src="{base}still.png" alt="{app.live_alt}">'
            without.append(nodes.raw("", picture, format="html"))
            reason = f"What was missing when these pages were built: {app.live_missing}."
            without.append(nodes.paragraph("", reason))
        node.replace_self(without)


def keep_up(app, exception):
    """The files also where no page was written anew."""
    pages = {"book/try_it", "notebooks/01_zero_shot"}
    if exception is None and app.builder.name == "html" and pages & set(app.env.found_docs):
        files_of(app)


def setup(app):
    from tlseg_lite.core.downloads import offline

    app.live_fetch = not offline()  # as the caller of the build has set it
    app.add_node(live_model)
    app.add_directive("live-model", LiveModel)
    app.add_directive("live-score", LiveScore)
    app.connect("doctree-resolved", put_in)
    app.connect("build-finished", keep_up)
    return {"parallel_read_safe": True, "parallel_write_safe": False}
