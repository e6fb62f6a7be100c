"""The live model in the book: where it is, it is loaded on request; where not, the page says so."""

import json
from pathlib import Path

import pytest
import try_it
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace, patch_docutils

import tlseg_lite as tl
from tlseg_lite.core.errors import OfflineError

CONF = """
extensions = ["myst_parser", "try_it"]
"""
PAGES = {
    "index": "# Index\n\n```{toctree}\nbook/try_it\nbook/chapter\nbook/other\n```\n",
    "book/try_it": "# Try\n\n```{live-model}\nNot in this copy.\n```\n",
    "book/chapter": "# One\n\n```{live-model}\n:beside: .tlseg-clicks img\nIn the book.\n```\n",
    "book/other": "# Other\n\nText.\n",
}
ABOUT = {"models": ["encoder", "decoder", "model"], "megabytes": 15.9, "megabytes_webgpu": 18.9}


def files(folder: Path, **_) -> dict:
    """What `live_files` does, without the minute that it takes."""
    folder.mkdir(parents=True)
    (folder / "page.json").write_text(json.dumps(ABOUT))
    (folder / "live.js").write_text("export const start = 0;")
    return ABOUT


@pytest.fixture
def build(tmp_path, monkeypatch):
    monkeypatch.delenv("TLSEG_OFFLINE", raising=False)
    monkeypatch.setattr(try_it, "models", dict)
    monkeypatch.setattr(tl.widgets, "live_picture", _picture)
    source = tmp_path / "source"
    for name, text in PAGES.items():
        path = source / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (source / "conf.py").write_text(CONF)

    def once(live_files) -> dict[str, str]:
        monkeypatch.setattr(tl.widgets, "live_files", live_files)
        out = tmp_path / "build" / "html"
        with patch_docutils(str(source)), docutils_namespace():
            app = Sphinx(
                *(str(source), str(source), str(out), str(tmp_path / "doctrees"), "html"),
                status=None,
                warning=None,
                freshenv=True,
            )
            app.build(force_all=True)
            assert app._warncount == 0
        return {name: (out / f"{name}.html").read_text("utf-8") for name in PAGES}

    once.out = tmp_path / "build" / "html"
    return once


def _picture(file: Path, **_) -> str:
    file.write_bytes(b"png")
    return "A hillside"


def test_pages_with_the_model_share_its_files(build):
    calls = []

    def counted(folder, **options):
        calls.append(options)
        return files(folder, **options)

    for _ in range(2):  # the second build finds the files of the first
        pages = build(counted)
    assert calls == [{"fetch": True}]
    assert "Load the models (16 MB, with WebGPU 19 MB)" in pages["book/try_it"]
    assert "../_static/live/still.png" in pages["book/try_it"]
    assert "still.png" not in pages["book/chapter"]
    assert 'document.querySelector(".tlseg-clicks img")' in pages["book/chapter"]
    for name in ("book/try_it", "book/chapter"):
        assert "Not in this copy" not in pages[name]
        assert "In the book" not in pages[name]
    for name in ("index", "book/other"):
        assert "live" not in pages[name].replace("live-", "")
    assert (build.out / "_static" / "live" / "live.js").is_file()


def test_pages_without_the_model_say_so(build, monkeypatch):
    build(files)  # files of an earlier build do not stay

    def none(*_, **__):
        raise OfflineError("no package\nBy hand: ...", "npm is not installed")

    monkeypatch.setattr(try_it, "key", lambda: "other code")
    pages = build(none)
    assert "Not in this copy." in pages["book/try_it"]
    assert "npm is not installed" in pages["book/try_it"]
    assert (
        '<img class="live-still" src="../_static/live/still.png" alt="A hillside">'
        in (pages["book/try_it"])
    )
    assert "In the book." in pages["book/chapter"]
    assert "still.png" not in pages["book/chapter"]
    assert not any("<script>(() =>" in page for page in pages.values())
    assert [p.name for p in (build.out / "_static" / "live").iterdir()] == ["still.png"]


def test_a_build_that_forbids_the_network_fetches_nothing(build, monkeypatch):
    asked = []

    def note(folder, **options):
        asked.append(options["fetch"])
        return files(folder)

    monkeypatch.setenv("TLSEG_OFFLINE", "1")
    build(note)
    assert asked == [False]


def test_the_score_is_computed_on_scenes_that_the_model_has_not_seen(monkeypatch):
    seen = {}

    def evaluate(model, dataset):
        seen["ids"] = set(dataset.ids)
        return tl.ConfusionMatrix(30, 10, 10, 50).scores()

    monkeypatch.setattr(tl, "evaluate", evaluate)
    text = try_it.score_in_words()
    images = tl.TransLandSeg.load(try_it.MODEL).run["images"]
    assert seen["ids"] == set(images["test"]["ids"])
    assert not seen["ids"] & set(images["train"]["ids"] + images["val"]["ids"])
    assert "18 synthetic test scenes" in text
    assert "landslide IoU of 60.0 %" in text
