"""The pages in _build/html, as a reader gets them. Skipped where the book is not built."""

import json
import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from bs4 import BeautifulSoup
from course import NOTEBOOKS, ROOT, colab_link, toc_pages

HTML = ROOT / "_build" / "html"
PAGES = toc_pages()
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


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


@pages
def test_images_say_what_they_show(page):
    for image in soup(HTML / f"{page}.html").select("article img"):
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


_PROBE = """<!doctype html><meta charset="utf-8"><body><script>
const pages = %s, widths = [390, 1280], results = [];
const wait = ms => new Promise(done => setTimeout(done, ms));
async function look(page, width) {
  const frame = document.createElement("iframe");
  frame.style.width = width + "px"; frame.style.height = "900px";
  const loaded = new Promise(done => frame.onload = done);
  frame.src = page; document.body.append(frame);
  await loaded; await wait(1500);
  const d = frame.contentDocument, root = d.documentElement;
  results.push({page, width, overflow: root.scrollWidth - root.clientWidth,
    broken: [...d.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src),
    formulas: d.querySelectorAll("article .math").length,
    rendered: d.querySelectorAll("article mjx-container").length,
    failed: d.querySelectorAll("article mjx-merror").length,
    text: d.querySelector("article").innerText.length});
  frame.remove();
}
(async () => {
  for (const page of pages) for (const width of widths) await look(page, width);
  document.body.innerHTML = "<pre id=results></pre>";
  document.getElementById("results").textContent = JSON.stringify(results);
})();
</script></body>"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_pages_work_in_a_browser_without_network(tmp_path):
    """Phone and desktop width: nothing wider than the page, images and mathematics drawn."""
    probe = tmp_path / "probe.html"
    addresses = [(HTML / f"{page}.html").as_uri() for page in PAGES]
    probe.write_text(_PROBE % json.dumps(addresses), "utf-8")
    command = [
        *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update"),
        *("--proxy-server=127.0.0.1:9", "--proxy-bypass-list=<-loopback>"),  # nobody answers there
        *("--allow-file-access-from-files", f"--user-data-dir={tmp_path / 'profile'}"),
        *("--enable-logging=stderr", "--v=0"),
        *(f"--virtual-time-budget={len(PAGES) * 2 * 2500 + 5000}", "--dump-dom", probe.as_uri()),
    ]
    environment = {**os.environ, "HOME": str(tmp_path)}
    run = subprocess.run(
        command, capture_output=True, text=True, timeout=400, check=True, env=environment
    )
    found = BeautifulSoup(run.stdout, "html.parser").find(id="results")
    assert found, f"the browser did not finish: {run.stdout[-500:]} {run.stderr[-2000:]}"
    results = json.loads(found.get_text())
    assert len(results) == 2 * len(PAGES)
    for result in results:
        where = f"{Path(urlsplit(result['page']).path).name} at {result['width']} px"
        assert result["text"] > 200, f"{where}: an empty page"
        assert result["overflow"] <= 1, f"{where}: {result['overflow']} px wider than the page"
        assert not result["broken"], f"{where}: images missing {result['broken']}"
        assert result["rendered"] == result["formulas"], f"{where}: mathematics not drawn"
        assert result["failed"] == 0, f"{where}: formulas with errors"
    trouble = re.compile(r"CONSOLE.*(Uncaught|[Ee]rror|[Ff]ailed|ERR_|Refused|not defined)")
    console = [line for line in run.stderr.splitlines() if trouble.search(line)]
    assert not console, "messages on the browser's console:\n" + "\n".join(console[:10])
