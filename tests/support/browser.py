"""Chromium without a network, for the tests of the controls and of the built pages."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

# what the browser prints by itself, and what a page has to answer for
TROUBLE = re.compile(r"CONSOLE.*(Uncaught|[Ee]rror|[Ff]ailed|ERR_|Refused|not defined)")


def chromium(
    folder: Path, *arguments: str, timeout: float = 1800, file_access: bool = True
) -> subprocess.CompletedProcess:
    """Run it headless with an empty profile in `folder` and no way to any server.

    With `file_access` a page may look into other files; a reader's browser does not allow that.
    """
    command = [
        *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        "--host-resolver-rules=MAP * ~NOTFOUND",
        *("--proxy-server=127.0.0.1:9", "--proxy-bypass-list=<-loopback>"),  # nobody answers there
        *(["--allow-file-access-from-files"] if file_access else []),
        f"--user-data-dir={folder / 'profile'}",
        *("--enable-logging=stderr", "--v=0", "--hide-scrollbars", "--force-color-profile=srgb"),
        *arguments,
    ]
    environment = {**os.environ, "HOME": str(folder)}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, check=True, env=environment
    )


def console_errors(run: subprocess.CompletedProcess) -> list[str]:
    """Errors on the browser's console."""
    return [line for line in run.stderr.splitlines() if TROUBLE.search(line)]


def results(folder: Path, page: str, *, budget_ms: int = 10_000, arguments: tuple[str, ...] = ()):
    """Open a page that writes JSON into ``<pre id=results>``: that JSON, and the console's errors.

    Args:
        folder: for the page and the profile.
        page: the HTML of the page.
        budget_ms: virtual time, which passes as fast as the machine allows.
        arguments: more of Chromium's.
    """
    file = folder / "page.html"
    file.write_text(page, "utf-8")
    run = chromium(
        folder, *arguments, f"--virtual-time-budget={budget_ms}", "--dump-dom", file.as_uri()
    )
    found = BeautifulSoup(run.stdout, "html.parser").find(id="results")
    assert found, f"the browser did not finish: {run.stdout[-500:]} {run.stderr[-2000:]}"
    return json.loads(found.get_text()), console_errors(run)


def play(folder: Path, html: str, script: str, **options):
    """Open a piece of HTML, run `script` in it once it is ready, and return what it gives.

    The script sees ``root``, the control, may wait, and returns anything that JSON can hold.
    """
    page = f"""<!doctype html><meta charset="utf-8"><body>{html}<script>
window.addEventListener("load", () => setTimeout(async () => {{
  const root = document.querySelector(".tlseg-widget");
  const set = (element, value) => {{
    element.value = value;
    for (const name of ["input", "change"]) element.dispatchEvent(new Event(name));
  }};
  const out = await (async () => {{ {script} }})();
  const pre = document.createElement("pre");
  pre.id = "results";
  pre.textContent = JSON.stringify(out);
  document.body.replaceChildren(pre);
}}, 200));
</script></body>"""
    found, errors = results(folder, page, **options)
    assert not errors, "\n".join(errors)
    return found
