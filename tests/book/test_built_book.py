"""The pages in _build/html, as a reader gets them. Skipped where the book is not built."""

import json
import re
from functools import cache
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from browser import chromium, console_errors, needs_chromium, results
from bs4 import BeautifulSoup
from course import NOTEBOOKS, REPOSITORY, ROOT, TAG, colab_link, toc_pages

HTML = ROOT / "_build" / "html"
PAGES = toc_pages()
OTHERS = ["genindex", "search"]  # pages that Sphinx adds
ARTEFACTS = ROOT / "ci-artefacts"  # for the eye; git leaves it out


@pytest.fixture(scope="module", autouse=True)
def built(request: pytest.FixtureRequest) -> None:
    """Skip without a fresh book; with --strict-book (as in CI) fail instead."""
    reason = ""
    for page in PAGES:
        html = HTML / f"{page}.html"
        sources = [s for s in (ROOT / f"{page}.md", ROOT / f"{page}.ipynb") if s.is_file()]
        if not html.is_file():
            reason = f"{html.relative_to(ROOT)} is not built; run: jupyter-book build ."
        elif any(s.stat().st_mtime > html.stat().st_mtime for s in sources):
            reason = f"{html.relative_to(ROOT)} is older than its source; run: jupyter-book build ."
    if reason:
        (pytest.fail if request.config.getoption("--strict-book", False) else pytest.skip)(reason)


@cache
def soup(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text("utf-8"), "html.parser")


@cache
def anchors(path: Path) -> frozenset[str]:
    return frozenset(tag["id"] for tag in soup(path).find_all(id=True))


pages = pytest.mark.parametrize("page", PAGES)


@pages
def test_links_and_images_lead_somewhere(page):
    path = HTML / f"{page}.html"
    for tag in soup(path).find_all(["a", "img", "script", "link", "source"]):
        address = tag.get("href") or tag.get("src")
        if not address or urlsplit(address).scheme or address.startswith("//"):
            continue
        parts = urlsplit(address)
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        assert target.exists(), f"{address} leads nowhere"
        if parts.fragment and target.suffix == ".html":
            assert unquote(parts.fragment) in anchors(target), f"{address}: no such place there"


def wide_figures(page: str) -> dict[str, set[str]]:
    """Name -> classes of the figures that a chapter's metadata asks to fold."""
    notebook = ROOT / f"{page}.ipynb"
    cells = json.loads(notebook.read_text("utf-8"))["cells"] if notebook.is_file() else []
    figures = [cell["metadata"].get("mystnb", {}).get("figure", {}) for cell in cells]
    classes = {f.get("name"): set(f.get("classes", "").split()) for f in figures}
    return {name: of for name, of in classes.items() if "four-columns" in of}


def test_chapters_have_wide_figures():
    """Else the next test would compare nothing with nothing."""
    assert sum(len(wide_figures(page)) for page in PAGES) >= 5
    assert any("two-rows" in of for page in PAGES for of in wide_figures(page).values())


@pages
def test_wide_figures_fold_on_a_phone(page):
    """Each that the notebook names has one copy for each part: the same file, and silent."""
    figures = soup(HTML / f"{page}.html").select("figure.four-columns")
    assert {f["id"]: {"four-columns", "two-rows"} & set(f["class"]) for f in figures} == (
        wide_figures(page)
    )
    for figure in figures:
        first, *copies = figure.select("img")
        assert len(copies) == (3 if "two-rows" in figure["class"] else 1)
        assert "again" not in first["class"]
        for copy in copies:
            assert copy["src"] == first["src"]
            assert copy["alt"] == ""
            assert "again" in copy["class"]
        parts = [{"upper", "lower", "left-half", "right-half"} & set(i["class"])
                 for i in (first, *copies)]  # fmt: skip
        assert all(parts[i] != parts[j] for i in range(len(parts)) for j in range(i)), parts


@pages
def test_images_say_what_they_show(page):
    for image in soup(HTML / f"{page}.html").select("article img:not(.again)"):
        alt = image.get("alt", "")
        assert len(alt) >= 15, f"{image.get('src')} has the alternative text {alt!r}"
        assert "_images/" not in alt, f"{image.get('src')} has its file name for a text"


@pages
def test_outputs_hold_no_debris(page):
    for output in soup(HTML / f"{page}.html").select(".cell_output"):
        text = output.get_text()
        for debris in ("Traceback (most recent call last)", "Warning:", "it/s]", "<Figure size"):
            assert debris not in text, f"an output holds {debris!r}: {text[:300]}"
        assert not re.search(r"\d+%\|", text), f"a progress bar: {text[:300]}"
        assert not re.search(r"<function .*>|<\S+ at 0x[0-9a-f]+>", text), (
            f"a bare repr: {text[:300]}"
        )
        assert "/site-packages/" not in text, f"a path of the machine: {text[:300]}"


@pages
def test_no_page_names_the_folder_that_it_was_built_in(page):
    text = soup(HTML / f"{page}.html").get_text()
    at = text.find(f"{ROOT}/")
    assert at < 0, f"a path of the machine: {text[max(0, at - 80) : at + 80]}"


def test_the_api_page_has_the_projects_own_words():
    """None inherited from PyTorch or Python; no sentence is torn at its colon."""
    page = soup(HTML / "book" / "api.html")
    for words in ("Define the computation performed", "Alias for field number"):
        assert words not in page.get_text()
    constants = page.select("dl.py.data > dd")
    assert len(constants) > 20
    assert not [c.get_text()[:80] for c in constants if c.select("dl.field-list")]
    properties = page.select("dl.py.property > dd")
    torn = [p.get_text()[:80] for p in properties for t in p.select("dt") if "Type" in t.get_text()]
    assert len(properties) > 10
    assert not torn, f"a property's sentence is torn at its colon: {torn}"


@pages
def test_nothing_is_loaded_from_the_network(page):
    for tag in soup(HTML / f"{page}.html").find_all(["script", "link", "img", "iframe"]):
        if tag.name == "link" and set(tag.get("rel", [])) & {"canonical", "alternate"}:
            continue
        address = tag.get("src") or tag.get("href") or ""
        assert not re.match(r"(https?:)?//", address), f"<{tag.name}> loads {address}"


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda p: p.stem)
def test_chapters_open_in_colab(notebook):
    page = soup(HTML / "notebooks" / f"{notebook.stem}.html")
    links = {a["href"] for a in page.find_all("a", href=re.compile("colab.research.google"))}
    assert links == {colab_link(notebook)}  # the one below the title and the one in the menu


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda p: p.stem)
def test_chapters_show_their_results(notebook):
    """A chapter that was not executed has no outputs at all."""
    page = soup(HTML / "notebooks" / f"{notebook.stem}.html")
    assert page.select(".cell_output")


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda p: p.stem)
def test_chapters_open_in_binder(notebook):
    page = soup(HTML / "notebooks" / f"{notebook.stem}.html")
    links = {a["href"] for a in page.find_all("a", href=re.compile("mybinder"))}
    owner_and_name = REPOSITORY.removeprefix("https://github.com/")
    assert links == {
        f"https://mybinder.org/v2/gh/{owner_and_name}/{TAG}?urlpath=lab/tree/notebooks/{notebook.name}"
    }


@pytest.mark.skipif(not (HTML / "lite").is_dir(), reason="built without TLSEG_LITE=1")
def test_chapter_6_has_its_site_for_the_browser():
    """The link below its title, the notebook and the wheel that its set-up cell installs."""
    page = HTML / "notebooks" / "06_reading_tables.html"
    link = soup(page).select_one("p.in-the-browser a")["href"]
    site = (page.parent / urlsplit(link).path).resolve().parents[1]
    assert site == (HTML / "lite").resolve()
    (name,) = parse_qs(urlsplit(link).query)["path"]
    assert "%pip install -q tlseg-lite" in (site / "files" / name).read_text("utf-8")
    index = json.loads((site / "pypi" / "all.json").read_text("utf-8"))
    (release,) = index["tlseg-lite"]["releases"].values()
    assert (site / "pypi" / release[0]["filename"]).is_file()
    files = [path for path in site.rglob("*") if path.is_file()]
    assert not [path for path in files if path.suffix == ".map"]
    assert sum(path.stat().st_size for path in files) < 30e6


def test_all_pages_together_are_light():
    files = [
        path for path in HTML.rglob("*") if path.is_file() and HTML / "lite" not in path.parents
    ]
    sizes = {str(path.relative_to(HTML)): path.stat().st_size for path in files}
    largest = sorted(sizes, key=sizes.get)[-10:]
    assert sum(sizes.values()) < 60e6, [(name, sizes[name]) for name in largest]
    assert not [name for name in sizes if name.endswith(".map")]


LIVE = HTML / "_static" / "live"
needs_live = pytest.mark.skipif(
    not (LIVE / "page.json").is_file(), reason="built without npm: no model in the pages"
)


def test_the_model_is_on_two_pages_or_its_absence_is_said():
    shown = [page for page in PAGES if soup(HTML / f"{page}.html").select(".tlseg-live")]
    if (LIVE / "page.json").is_file():
        assert shown == ["book/try_it", "notebooks/01_zero_shot"]
        about = json.loads((LIVE / "page.json").read_text("utf-8"))
        assert about["megabytes"] <= about["megabytes_webgpu"] <= 30
        return
    assert not shown
    page = soup(HTML / "book" / "try_it.html")
    assert "What was missing when these pages were built" in page.get_text()
    assert page.select_one("img.live-still")


@needs_live
@needs_chromium
@pytest.mark.parametrize("page", ["book/try_it", "notebooks/01_zero_shot"])
def test_the_model_loads_on_request_and_answers(page, tmp_path):
    """From a server that knows nothing but files, with the network blocked."""
    pytest.importorskip("websocket", reason="websocket-client is not installed")
    from devtools import opened, served

    with served(HTML) as address, opened(tmp_path, f"{address}{page}.html") as tab:
        tab.size(1280)
        before = [url for url in tab.requests if "/live/" in url]
        assert {Path(urlsplit(url).path).name for url in before} <= {"live.css", "still.png"}
        tab.js("document.querySelector('.tlseg-live .load').click()")
        tab.until("document.querySelector('.tlseg-live').dataset.ready")
        tab.js("document.querySelector('.tlseg-live canvas').focus()")
        tab.key("Enter")
        tab.until("document.querySelector('.tlseg-live').dataset.answers")
        tab.js("document.querySelector('.tlseg-live .map').click()")
        tab.until("document.querySelector('.tlseg-live .state').textContent.includes('threshold')")
        options = tab.js("[...document.querySelectorAll('.tlseg-live .scene option')]"
                         ".map(o => o.textContent)")  # fmt: skip
        assert ("this image" in options) == page.startswith("notebooks")
        for width in (390, 1280):
            for dark in (False, True):
                tab.size(width, 1000, dark)
                assert tab.js("document.documentElement.scrollWidth") <= width
        others = ("favicon.ico", "invalid theme mode")  # the browser's and the theme's own
        assert not [e for e in tab.errors if not any(name in e for name in others)], tab.errors
        tab.picture(tmp_path / "live.png")
        local = (address, "data:", "blob:", "about:")
        assert not [url for url in tab.requests if not url.startswith(local)]
        loaded = {Path(urlsplit(url).path).name for url in tab.requests if "/live/" in url}
        assert sum((LIVE / name).stat().st_size for name in loaded) < 30e6


@pages
def test_buttons_lead_to_files_of_the_repository(page):
    """Colab, Binder and source links: the file behind each exists; a chapter has some."""
    found = 0
    for link in soup(HTML / f"{page}.html").find_all("a", href=True):
        address = urlsplit(link["href"])
        path = None
        if address.netloc == "mybinder.org":
            path = parse_qs(address.query)["urlpath"][0].removeprefix("lab/tree/")
        elif address.netloc == "colab.research.google.com":
            path = address.path.split(f"/blob/{TAG}/")[1]
        elif link["href"].startswith(REPOSITORY):
            parts = re.split(rf"/(?:blob|tree|raw)/{re.escape(TAG)}/?", address.path)
            path = parts[1] if len(parts) > 1 else None
        if path is not None:
            found += 1
            assert (ROOT / path).exists(), f"{link['href']}: no {path} in the repository"
    assert found or not page.startswith("notebooks/"), "no button at all"


@pages
def test_no_output_needs_a_server(page):
    """ipywidgets leave a piece of JSON behind that nothing draws."""
    html = (HTML / f"{page}.html").read_text("utf-8")
    assert "application/vnd.jupyter.widget" not in html
    assert "interactive(children=" not in html


_PROBE = """<!doctype html><meta charset="utf-8"><body><script>
const pages = %s, widths = [390, 1400], results = [];
const wait = ms => new Promise(done => setTimeout(done, ms));
async function look(page, width) {
  const frame = document.createElement("iframe");
  frame.style.width = width + "px"; frame.style.height = "900px";
  const loaded = new Promise(done => frame.onload = done);
  frame.src = page; document.body.append(frame);
  await loaded; await wait(1500);
  const w = frame.contentWindow, d = frame.contentDocument, root = d.documentElement;
  const all = selector => [...d.querySelectorAll(selector)];
  w.requestAnimationFrame = then => w.setTimeout(then, 16);  // nothing is painted in virtual time
  if (w.FontAwesome) w.FontAwesome.dom.i2svg();
  for (let i = 0; i < 20 && all("i[class*=fa-]").length; i++) await wait(100);
  const blank = e => !e.innerText.trim()
    && ![...e.querySelectorAll("img, canvas, svg, table")].some(i => i.clientHeight);
  results.push({page, width, height: root.scrollHeight,
    overflow: root.scrollWidth - root.clientWidth,
    broken: [...d.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src.slice(0, 200)),
    foreign: w.performance.getEntriesByType("resource").map(e => e.name)
      .filter(name => !/^(file|data|blob):/.test(name)),
    fonts: [...d.fonts].filter(f => f.status === "error").map(f => f.family),
    icons: all("i[class*=fa-]").map(i => i.className),
    formulas: all("article .math").length,
    rendered: all("article mjx-container").length,
    failed: all("article mjx-merror").length,
    controls: all(".tlseg-widget").map(e => [e.className, e.dataset.ready || "no",
      e.scrollWidth - e.clientWidth]),
    silent: all("article :is(table, figure)").filter(e => e.scrollWidth > e.clientWidth + 8
      && /auto|scroll/.test(w.getComputedStyle(e).overflowX)
      && !w.getComputedStyle(e, "::before").content.includes("scrolls")).length,
    blank: all("article .cell_output").filter(e => e.offsetParent && blank(e)).length,
    text: (d.querySelector("article") || d.querySelector("main") || d.body).innerText.length});
  frame.remove();
}
(async () => {
  for (const page of pages) for (const width of widths) await look(page, width);
  document.body.innerHTML = "<pre id=results></pre>";
  document.getElementById("results").textContent = JSON.stringify(results);
})();
</script></body>"""


@pytest.fixture(scope="module")
def looked_at(built, tmp_path_factory) -> tuple[list[dict], list[str]]:
    """What the browser found on each page at phone and desktop width, and its console's errors."""
    addresses = [(HTML / f"{page}.html").as_uri() for page in PAGES + OTHERS]
    probe = _PROBE % json.dumps(addresses)
    budget = len(addresses) * 2 * 2500 + 5000
    return results(tmp_path_factory.mktemp("browser"), probe, budget_ms=budget)


@needs_chromium
def test_pages_work_in_a_browser_without_network(looked_at):
    """Phone and desktop width: nothing wider than the page, nothing missing, nothing blank."""
    found, console = looked_at
    assert len(found) == 2 * len(PAGES + OTHERS)
    for result in found:
        where = f"{Path(urlsplit(result['page']).path).name} at {result['width']} px"
        if not result["page"].endswith("search.html"):  # empty without a question
            assert result["text"] > 200, f"{where}: an empty page"
        assert result["overflow"] <= 1, f"{where}: {result['overflow']} px wider than the page"
        assert not result["broken"], f"{where}: images missing {result['broken']}"
        assert not result["foreign"], f"{where}: asked the network for {result['foreign']}"
        assert not result["fonts"], f"{where}: fonts missing {result['fonts']}"
        assert not result["icons"], f"{where}: icons not drawn {result['icons'][:5]}"
        assert result["rendered"] == result["formulas"], f"{where}: mathematics not drawn"
        assert result["failed"] == 0, f"{where}: formulas with errors"
        assert result["silent"] == 0, f"{where}: {result['silent']} parts scroll and do not say so"
        assert result["blank"] == 0, f"{where}: {result['blank']} outputs show nothing"
        for name, ready, wider in result["controls"]:
            assert ready == "yes", f"{where}: {name} did not start"
            assert wider <= 1, f"{where}: {name} is {wider} px too wide"
    assert not console, "messages on the browser's console:\n" + "\n".join(console[:10])


@needs_chromium
def test_chapters_have_their_controls(looked_at):
    kinds = {"01_zero_shot": {"clicks"}, "02_atl_design": {"budget"}, "03_training": {"pictures"},
             "05_metrics": {"confusion", "threshold"}, "08_map": {"before", "layers"},
             "09_clicks": {"oneclick"}, "91_synthetic_scenes": {"pictures"}}  # fmt: skip
    for result in looked_at[0]:
        stem = Path(urlsplit(result["page"]).path).stem
        shown = {name.split("tlseg-")[-1] for name, *_ in result["controls"]}
        assert shown >= kinds.get(stem, set()), f"{stem} shows {shown}"


@needs_chromium
def test_search_works_from_the_folder(tmp_path):
    """Opened as a file, without a server and without special rights."""
    address = (HTML / "search.html").as_uri() + "?q=bottleneck"
    run = chromium(tmp_path, "--virtual-time-budget=8000", "--dump-dom", address, file_access=False)
    page = BeautifulSoup(run.stdout, "html.parser")
    links = [a["href"] for a in page.select("#search-results ul.search li a")]
    targets = {Path(urlsplit(link).path).name for link in links}
    assert "02_atl_design.html" in targets, f"found {sorted(targets)}"
    for link in links:
        path = urlsplit(link).path
        assert (HTML / unquote(path)).is_file() or Path(unquote(path)).is_file(), link
    assert not console_errors(run), "\n".join(console_errors(run)[:5])


_SHEET = """<!doctype html><meta charset="utf-8"><style>body {{ margin: 0; overflow: hidden }}
iframe {{ border: 0; width: {width}px; height: {height}px }}</style>
<iframe src="{page}"></iframe>"""


@needs_chromium
def test_pictures_of_the_pages_for_the_eye(looked_at, tmp_path, request):
    """Each page at both widths as a picture in ci-artefacts/; in CI (--strict-book) only."""
    from PIL import Image

    if not request.config.getoption("--strict-book", False):
        pytest.skip("pictures of all pages are made with --strict-book")
    ARTEFACTS.mkdir(exist_ok=True)
    for old in ARTEFACTS.glob("page-*.jpg"):
        old.unlink()
    for result in looked_at[0]:
        width, scale = result["width"], 1.0 if result["width"] < 600 else 0.6
        height = min(result["height"], int(15_000 / scale))  # no larger picture is drawn
        sheet, shot = tmp_path / "sheet.html", tmp_path / "shot.png"
        sheet.write_text(
            _SHEET.format(width=width, height=height, page=result["page"]), encoding="utf-8"
        )
        chromium(
            tmp_path,
            *("--virtual-time-budget=4000", f"--screenshot={shot}"),
            *(f"--window-size={width},{height}", f"--force-device-scale-factor={scale}"),
            sheet.as_uri(),
        )
        name = Path(urlsplit(result["page"]).path).stem
        kind = "phone" if width < 600 else "desktop"
        with Image.open(shot) as picture:
            colours = picture.convert("RGB").resize((64, 64)).getcolors(4096)
            assert len(colours) > 20, f"{name}, {kind}: the picture shows almost nothing"
            picture = picture.crop((0, 0, round(width * scale), picture.height)).convert("RGB")
            picture.save(ARTEFACTS / f"page-{name}-{kind}.jpg", quality=80)
    assert len(list(ARTEFACTS.glob("page-*.jpg"))) == len(looked_at[0])
