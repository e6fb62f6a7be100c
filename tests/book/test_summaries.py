"""The one-page summaries: each chapter has one, no longer than a page, and its calls exist."""

import re

import pytest
from course import ROOT, toc_pages

import tlseg_lite as tl

TEXT = (ROOT / "book" / "summaries.md").read_text("utf-8")
PARTS = {part.splitlines()[0]: part for part in TEXT.split("\n## ")[1:]}
CHAPTERS = [page for page in toc_pages() if re.match(r"notebooks/0\d_", page)]


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_each_chapter_has_its_summary(chapter):
    number = int(chapter.split("/")[1][:2])
    (part,) = [part for title, part in PARTS.items() if title.startswith(f"Chapter {number}:")]
    assert f"({'../' + chapter}.ipynb)" in part
    for heading in ("Question", "Idea", "Formula", "Calls", "Ask of any such result"):
        assert f"**{heading}" in part
    assert 80 < len(part.split()) < 260, "a page when printed"


def test_calls_are_names_of_the_package():
    calls = re.findall(r"`(tl\.[\w.]+)`", TEXT)
    assert len(calls) > 20
    for call in calls:
        thing = tl
        for name in call.split(".")[1:]:
            thing = getattr(thing, name)


def test_the_count_of_parameters_is_right():
    """Formula of chapter 2."""
    from tlseg_lite.adapters.atl import ATL

    w, d = 192, 6
    made = sum(p.numel() for p in ATL(w, d, "m", zero_init=True).parameters())
    assert made == 2 * w * d + d**2 + 2 * d + w
