"""The quizzes of the chapters: complete, unambiguous, and plain HTML that works anywhere."""

import html
import re
from html.parser import HTMLParser

import nbformat
import pytest
from bs4 import BeautifulSoup
from course import NOTEBOOKS, ROOT

chapters = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)


def cells(path):
    return nbformat.read(path, as_version=nbformat.NO_CONVERT).cells


def quiz(path):
    """The chapter's quiz cell."""
    found = [c for c in cells(path) if re.match(r"## Quiz$", c.source, re.M)]
    assert len(found) == 1, f"{path.name}: {len(found)} cells begin with '## Quiz'"
    assert found[0].cell_type == "markdown"
    return found[0]


def questions(path):
    return BeautifulSoup(quiz(path).source, "html.parser").select("div.quiz")


class Balanced(HTMLParser):
    """Raises where a tag is closed that is not the last one opened."""

    def __init__(self, text):
        super().__init__(convert_charrefs=False)
        self.open = []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> closes another tag"

    def handle_entityref(self, name):
        assert f"{name};" in html.entities.html5, f"unknown entity &{name};"


def test_balanced_finds_broken_html():
    Balanced("<div><p>a &lt; b</p></div>")
    for broken in ("<div><p></div></p>", "<div>", "</p>", "<p>&nonsense;</p>"):
        with pytest.raises(AssertionError):
            Balanced(broken)


@chapters
def test_stands_just_before_the_exercises(path):
    order = [c.id for c in cells(path)]
    place = order.index(quiz(path).id)
    assert cells(path)[place + 1].source.startswith("## Exercises")


@chapters
def test_has_three_to_five_questions_with_one_right_option_each(path):
    found = questions(path)
    assert 3 <= len(found) <= 5
    for question in found:
        options = question.select("details")
        assert 3 <= len(options) <= 5
        right = [o for o in options if o.p.get_text().startswith("Right. ")]
        wrong = [o for o in options if o.p.get_text().startswith("Not quite. ")]
        assert len(right) == 1, f"{len(right)} right options: {question.p.get_text()}"
        assert len(wrong) == len(options) - 1
        # the class, which colours the opened option, says the same as the word
        assert [o["class"] for o in right] == [["right"]]
        assert {o["class"][0] for o in wrong} == {"wrong"}


@chapters
def test_every_option_is_explained_and_none_is_there_twice(path):
    for question in questions(path):
        texts = [o.summary.get_text() for o in question.select("details")]
        assert len(set(texts)) == len(texts)
        for option in question.select("details"):
            explanation = option.p.get_text().split(". ", 1)[1]
            assert len(explanation.split()) >= 5, f"hardly explained: {option.summary.get_text()}"
            assert not option.has_attr("open"), "an answer is open from the start"


def test_the_right_option_has_no_favourite_place_and_is_not_always_the_longest():
    places, longest = [], 0
    for path in NOTEBOOKS:
        for question in questions(path):
            options = question.select("details")
            right = [o["class"] == ["right"] for o in options].index(True)
            places.append(right)
            lengths = [len(o.summary.get_text()) for o in options]
            longest += lengths[right] == max(lengths)
    assert {0, 1, 2} <= set(places)
    assert max(places.count(place) for place in set(places)) < 0.6 * len(places)
    assert longest < 0.75 * len(places)


@chapters
def test_is_valid_html_without_scripts_for_mouse_keyboard_and_screen_reader(path):
    source = quiz(path).source
    blocks = re.findall(r"^<div.*?^</div>$", source, re.M | re.S)
    assert len(blocks) == len(questions(path))
    for number, block in enumerate(blocks, 1):
        Balanced(block)
        assert "\n\n" not in block, "an empty line would end the HTML for Markdown"
        div = BeautifulSoup(block, "html.parser").div
        assert div["role"] == "group"
        assert div["aria-label"] == f"Question {number} of {len(blocks)}"
        assert div.p.get_text().startswith(f"Question {number}. ")
        for option in div.select("details"):  # the browser gives <summary> focus and Enter
            children = [child.name for child in option.children]
            assert children == ["summary", "p"]
    assert not re.search(r"<script|<style|\son\w+=|https?://", source)


def test_style_sheet_knows_the_quiz():
    css = (ROOT / "book" / "_static" / "custom.css").read_text("utf-8")
    for selector in (".quiz details.right[open]", ".quiz details.wrong[open]", ".quiz summary"):
        assert selector in css
