"""The built book as one PDF: `python book/_ext/book_pdf.py OUT.pdf`, after `jupyter-book build .`.

Each page is printed by Chromium (headless, without a network), in the order of the table of
contents; pypdf joins them, with a bookmark for each. Controls show the state that they have
without a reader.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WAIT_MS = 20_000  # virtual time for the formulas


def pages(root: Path = ROOT) -> list[tuple[str, str]]:
    """(part, page) in reading order; the part is "" for the first page."""
    import yaml

    toc = yaml.safe_load((root / "_toc.yml").read_text("utf-8"))
    found = [("", toc["root"])]
    for part in toc["parts"]:
        found += [(part["caption"], chapter["file"]) for chapter in part["chapters"]]
    return found


def browser() -> str:
    """Raises: SystemExit: there is none."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        sys.exit(f"no browser to print with; expected one of {', '.join(BROWSERS)} on the path")
    return found


def print_page(program: str, page: Path, out: Path, profile: Path) -> None:
    """One HTML page as PDF.

    Raises:
        RuntimeError: the browser printed nothing; the message has what it said.
    """
    command = [
        *(program, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
        *("--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={profile}"),
        *("--allow-file-access-from-files", "--no-pdf-header-footer"),
        *(f"--virtual-time-budget={WAIT_MS}", f"--print-to-pdf={out}", page.as_uri()),
    ]
    environment = {**os.environ, "HOME": str(profile)}
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    if run.returncode or not out.is_file():
        raise RuntimeError(f"{page.name} was not printed: {run.stderr[-1000:]}")


def title_of(page: Path) -> str:
    """The page's first heading."""
    from bs4 import BeautifulSoup

    heading = BeautifulSoup(page.read_text("utf-8"), "html.parser").find("h1")
    for link in heading.select("a.headerlink"):
        link.decompose()
    return " ".join(heading.get_text().split())


def make(html: Path, out: Path, wanted: list[tuple[str, str]]) -> int:
    """Print `wanted` pages of the built book `html` and join them in `out`; the number of sheets.

    Raises:
        SystemExit: a page was not built.
    """
    from pypdf import PdfReader, PdfWriter

    for _, name in wanted:
        if not (html / f"{name}.html").is_file():
            sys.exit(f"{html / name}.html is missing; run `jupyter-book build .` first")
    program, writer, part_mark, part_now = browser(), PdfWriter(), None, ""
    with tempfile.TemporaryDirectory() as folder:
        for number, (part, name) in enumerate(wanted):
            page, printed = html / f"{name}.html", Path(folder) / f"{number}.pdf"
            print_page(program, page.resolve(), printed, Path(folder) / "profile")
            first = len(writer.pages)
            writer.append(PdfReader(printed), import_outline=False)
            if part and part != part_now:
                part_mark, part_now = writer.add_outline_item(title=part, page_number=first), part
            writer.add_outline_item(
                title=title_of(page), page_number=first, parent=part_mark if part else None
            )
    writer.add_metadata({"/Title": "Landslides with Segment Anything"})
    out.parent.mkdir(parents=True, exist_ok=True)
    writer.compress_identical_objects()
    with open(out, "wb") as file:
        writer.write(file)
    return len(writer.pages)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--html", type=Path, default=ROOT / "_build" / "html")
    parser.add_argument("--pages", nargs="+", help="default: all of _toc.yml")
    options = parser.parse_args(arguments)
    wanted = [(part, name) for part, name in pages() if not options.pages or name in options.pages]
    sheets = make(options.html, options.out, wanted)
    print(f"{options.out}: {len(wanted)} pages of the book on {sheets} sheets")


if __name__ == "__main__":
    main()
