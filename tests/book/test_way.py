"""The picture of the whole way: the same in every chapter, with the present one marked."""

import base64
import re
import xml.etree.ElementTree as ET

import nbformat
import pytest
from course import NOTEBOOKS, ROOT


@pytest.fixture
def way():
    import way

    return way


def pictures(text):
    return re.findall(r'^<img class="way".*$', text, re.M)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_each_chapter_opens_with_the_present_picture(path, way):
    first = nbformat.read(path, as_version=nbformat.NO_CONVERT).cells[0].source
    found = pictures(first)
    assert found == [way.line(way.station_of(path))], "run: python book/_ext/way.py"
    assert first.index(found[0]) < first.index("After this chapter you can")


def test_introduction_shows_the_way_without_a_mark(way):
    assert pictures((ROOT / "book" / "intro.md").read_text("utf-8")) == [way.line("")]
    assert way.ORANGE not in way.drawing("")


def test_every_station_has_a_chapter_and_no_file_is_without_one(way):
    stations = [way.station_of(path) for path in NOTEBOOKS]
    assert len(stations) == len(set(stations)), "two chapters at one station"
    names = [number for number, *_ in (*way.STATIONS, *way.APPENDICES)]
    assert sorted(stations) == sorted(names)
    with pytest.raises(ValueError, match="10_other"):
        way.station_of(ROOT / "notebooks" / "10_other.ipynb")


@pytest.mark.parametrize("here", ["1", "4", "7", "C", "A1", "A2"])
def test_picture_is_valid_and_marks_one_station_by_more_than_colour(way, here):
    data = re.search(r"base64,([^\"]+)", way.line(here)).group(1)
    root = ET.fromstring(base64.b64decode(data))
    texts = [t for t in root.iter() if t.tag.endswith("text")]
    assert len(texts) == len(way.STATIONS) + len(way.APPENDICES)
    bold = [t.text for t in texts if t.get("font-weight") == "bold"]
    assert len(bold) == 1
    assert bold[0].split()[0] == here
    boxes = [r for r in root.iter() if r.tag.endswith("rect") and r.get("fill") == way.ORANGE]
    assert len(boxes) == 1
    assert here in way.description(here).rsplit("Marked", 1)[1]


def test_insert_replaces_an_old_picture_and_keeps_the_rest(way):
    old = "# Title\n\n[Open](x)\n\nText.\n\nAfter this chapter you can"
    once = way.insert(old, "2")
    assert once.splitlines()[0] == "# Title"
    assert once.count("<img") == 1
    moved = way.insert(once, "5")
    assert moved == way.insert(old, "5")
    assert moved.replace(way.line("5") + "\n\n", "") == old
