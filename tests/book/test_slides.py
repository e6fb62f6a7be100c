"""Slides: made from the notebooks as they are, complete, and without the network."""

import json
import re
import shutil
import subprocess

import nbformat
import pytest
from bs4 import BeautifulSoup
from course import NOTEBOOKS

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
chapters = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)


@pytest.fixture
def slides():
    import slides

    return slides


@pytest.fixture
def deck():
    import deck

    return deck


def read(path):
    return nbformat.read(path, as_version=nbformat.NO_CONVERT)


def kinds(made):
    return [cell.metadata.slideshow.slide_type for cell in made.cells]


def small_chapter():
    """A notebook with one of everything, its results in it."""
    markdown, code = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell
    picture = {"image/png": "iVBORw0KGgo=", "text/plain": "<Figure>"}
    widget = {"application/vnd.jupyter.widget-view+json": {"model_id": "x"}, "text/plain": "Box()"}
    drawn = [nbformat.v4.new_output("display_data", picture)]
    cells = [
        markdown(
            "# Small\n\n[Open this chapter in Colab](https://x)\n\nFirst words. More words.\n\n"
            "After this chapter you can\n\n- do $x^2$.\n\n| a | read |\n|---|---|\n| b | 1 |"
        ),
        code("import sys", metadata={"tags": ["setup"]}),
        code("import numpy as np"),
        markdown(
            "## Idea\n\nA {term}`tokens <token>` is `a. B`, see Eq. 5 {cite:p}`sam2023`. Unsaid."
            "\n\n$$\ny = 1. X\n$$\n\n### Deeper\n\n"
            "[Chapter 2](02_atl_design.ipynb) by {cite:t}`sam2023`.\n\n"
            "```{admonition} A box\n:class: note\nInside. Hidden.\n```\n\n```{other}\nlost\n```"
        ),
        code("x = 1\nx", outputs=[nbformat.v4.new_output("execute_result", {"text/plain": "1"})]),
        code("\n".join(f"y = {i}" for i in range(60)), outputs=drawn),
        code("slider", outputs=[nbformat.v4.new_output("display_data", widget)]),
        code("secret", metadata={"slideshow": {"slide_type": "skip"}}),
        markdown("Only for teachers.", metadata={"tags": ["remove-cell"]}),
        markdown(
            '## Quiz\n\nThink.\n\n<div class="quiz">\n<p>Q1?</p>\n</div>\n\n'
            '<div class="quiz">\n<p>Q2?</p>\n</div>'
        ),
        markdown("## Exercises\n\nTry."),
        markdown("**1.1 Task.** Do it. And this.\n\n```{dropdown} Hint\nThe hint.\n```"),
        code("answer = ...", metadata={"tags": ["exercise"]}),
        markdown("````{dropdown} Solution\n```python\nanswer = 1\n```\n````"),
        markdown("## Sources\n\nBooks."),
    ]
    return nbformat.v4.new_notebook(cells=cells)


def test_headings_begin_slides_and_the_rest_follows(deck):
    made = deck.deck(small_chapter())
    shown = list(zip(kinds(made), [cell.source for cell in made.cells], strict=True))
    assert shown[0] == ("slide", "# Small\n\nFirst words.")
    assert shown[1][0] == "notes"
    assert "More words." in shown[1][1]
    assert shown[2] == ("slide", "## After this chapter you can\n\n- do $x^2$.")
    assert shown[3] == (
        "slide",
        "## Idea\n\n- A tokens is `a. B`, see Eq. 5 (Kirillov et al., 2023).\n\n$$\ny = 1. X\n$$",
    )
    assert shown[4] == (
        "notes",
        "A tokens is `a. B`, see Eq. 5 (Kirillov et al., 2023). Unsaid.",
    )
    assert shown[5][0] == "subslide"
    assert shown[5][1] == (
        "### Deeper\n\n- Chapter 2 by Kirillov et al. 2023.\n\n- **A box.** Inside."
    )
    text = "\n".join(source for _, source in shown)
    for absent in ("import", "secret", "teachers", "Hint", "answer", "Books", "minutes", "lost"):
        assert absent not in text
    questions = [kind for kind, source in shown if source.startswith("## Question")]
    assert questions == ["slide", "subslide"]
    assert ("subslide", "**1.1 Task.** Do it. And this.") in shown, "a task is shown in full"


def test_short_code_is_shown_and_pictures_come_without_their_code(deck):
    code = [cell for cell in deck.deck(small_chapter()).cells if cell.cell_type == "code"]
    short, picture, live = code
    assert "no-code" not in short.metadata.tags
    assert short.metadata.slideshow.slide_type == "-", "beside the short text before it"
    assert picture.metadata.slideshow.slide_type == "subslide", "one result on a slide"
    assert "no-code" in picture.metadata.tags
    assert live.outputs == [], "a widget needs a kernel"


@chapters
def test_every_chapter_makes_a_deck_that_a_lecture_can_use(path, deck):
    made = deck.deck(read(path))
    nbformat.validate(made)
    assert 20 <= sum(kind in ("slide", "subslide") for kind in kinds(made)) <= 90
    assert kinds(made)[0] == "slide"
    text = "\n".join(cell.source for cell in made.cells if cell.cell_type == "markdown")
    assert not re.findall(r"\{(?:cite:?\w*|term|abbr|dropdown)\}", text), "MyST is left"
    shown = [c for c in read(path).cells if "remove-cell" not in c.metadata.get("tags", [])]
    headings = [line for c in shown for line in re.findall(r"^## .*", c.source, re.M)]
    wanted = {h for h in headings if h not in ("## Quiz", "## Sources")}
    assert wanted <= set(re.findall(r"^## .*", text, re.M)), "a section has no slide"


@chapters
def test_no_slide_is_a_wall_of_text(path, deck):
    for cell, kind in zip(deck.deck(read(path)).cells, kinds(deck.deck(read(path))), strict=True):
        if cell.cell_type == "markdown" and kind in ("slide", "subslide"):
            plain = re.sub(r"<img[^>]*>|<details.*?</details>", "", cell.source, flags=re.S)
            assert len(plain.split()) <= 330, cell.source[:80]


def test_first_sentence(deck):
    for text, first in {
        "One. Two.": "One.",
        "See `a. B` first. Then.": "See `a. B` first.",
        "With $d = 1. X$ and 0.5 points. Next.": "With $d = 1. X$ and 0.5 points.",
        "By Eq. 5 it is. Yes.": "By Eq. 5 it is.",
        "**Title.** First. Second.": "**Title.** First.",
        "Is **bold. Still** one. Next.": "Is **bold. Still** one.",
        "No end": "No end",
    }.items():
        assert deck.first_sentence(text) == first


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The slides of a small chapter with results, and of chapter 2 without."""
    import slides

    out = tmp_path_factory.mktemp("slides")
    small = tmp_path_factory.mktemp("notebook") / "00_small.ipynb"
    nbformat.write(small_chapter(), small)
    chapter = next(path for path in NOTEBOOKS if path.name.startswith("02"))
    made = slides.make(out, [chapter, small], reveal=None)
    assert set(made) == {chapter.with_suffix(".html").name, "00_small.html"}
    return out


def test_a_folder_of_slides_needs_nothing_from_outside(folder):
    for page in folder.glob("*.html"):
        soup = BeautifulSoup(page.read_text("utf-8"), "html.parser")
        for tag in soup.find_all(["script", "link", "img", "iframe"]):
            address = tag.get("src") or tag.get("href") or ""
            assert not re.match(r"(https?:)?//", address), f"{page.name} loads {address}"
            if address and not address.startswith("data:"):
                assert (folder / address).is_file(), f"{page.name}: {address} is not there"
        assert not re.search(r"""(import|url)\s*\(?['"]?https?://""", str(soup)), page.name
    listed = BeautifulSoup((folder / "index.html").read_text("utf-8"), "html.parser")
    assert {a["href"] for a in listed.find_all("a")} == {"02_atl_design.html", "00_small.html"}


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_reveal_and_mathematics_work_in_a_browser_without_network(folder, tmp_path):
    page = folder / "02_atl_design.html"
    probe = """<script>addEventListener("load", () => setTimeout(() => {
      const box = document.createElement("pre"); box.id = "probe";
      box.textContent = JSON.stringify({ready: Reveal.isReady(), slides: Reveal.getTotalSlides(),
        formulas: document.querySelectorAll(".slides mjx-container").length,
        failed: document.querySelectorAll("mjx-merror").length,
        raw: [...document.querySelectorAll(".slides p")].filter(p => /\\$.+\\$/.test(p.textContent))
             .length}); document.body.append(box);}, 2500));</script></body>"""
    tried = folder / "tried.html"
    tried.write_text(page.read_text("utf-8").replace("</body>", probe, 1), "utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    command += ["--proxy-server=127.0.0.1:9", "--proxy-bypass-list=<-loopback>"]
    command += ["--disable-background-networking", "--disable-component-update"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=12000"]
    command += ["--enable-logging=stderr", "--v=0", "--dump-dom", tried.as_uri()]
    run = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=True)
    tried.unlink()
    found = BeautifulSoup(run.stdout, "html.parser").find(id="probe")
    assert found, run.stderr[-1500:]
    told = json.loads(found.get_text())
    assert told["ready"] is True
    assert told["slides"] >= 20
    assert told["formulas"] >= 10
    assert told["failed"] == told["raw"] == 0
    errors = re.findall(r"CONSOLE.*(?:Uncaught|ERR_|[Ff]ailed|not defined).*", run.stderr)
    assert not errors, "\n".join(errors[:5])


def test_results_come_from_the_built_book_where_its_code_is_the_same(slides, tmp_path, monkeypatch):
    from jupyter_cache import get_cache

    path = tmp_path / "chapter.ipynb"
    notebook = small_chapter()
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, path)
    cache = get_cache(tmp_path / "cache")
    cache.cache_notebook_file(path, check_validity=False)
    bare = read(path)
    for cell in bare.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    monkeypatch.setattr(slides, "CACHE", tmp_path / "cache")
    filled = slides.from_book(bare)
    assert next(o.data["text/plain"] for c in filled.cells for o in c.get("outputs", [])) == "1"
    bare.cells[4].source = "x = 2\nx"
    assert slides.from_book(bare) is None, "other code, other results"
    monkeypatch.setattr(slides, "CACHE", tmp_path / "nothing")
    assert slides.from_book(bare) is None


def test_run_gives_results(slides):
    markdown, code = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell
    notebook = nbformat.v4.new_notebook(cells=[markdown("# A"), code("print(6 * 7)")])
    done = slides.run(notebook)
    assert done.cells[1].outputs[0].text.strip() == "42"
    assert notebook.cells[1].outputs == [], "the notebook itself stays as it is"


def test_command_names_an_unknown_chapter(slides, tmp_path, capsys):
    assert slides.main([str(tmp_path / "x"), "--chapters", "02", "55"]) == 2
    assert "there are 01, 02" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
