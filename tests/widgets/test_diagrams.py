"""Diagrams: text inside its box, boxes apart, arrows around them, numbers of the model."""

import re
from itertools import combinations, pairwise
from xml.etree import ElementTree

import pytest

import tlseg_lite as tl
from tlseg_lite.widgets.drawing import NARROW, PAD, WIDE, Arrow, Box, Diagram, route, text_width

SAM = tl.load_sam("sam_mini")
DIAGRAMS = {
    "sam": tl.widgets.sam_diagram(SAM),
    "atl": tl.widgets.atl_diagram(SAM),
    "generator": tl.widgets.generator_diagram(SAM),
    "training": tl.widgets.training_diagram(),
    "map": tl.widgets.map_diagram(),
}
LAYOUTS = pytest.mark.parametrize("layout", [WIDE, NARROW], ids=lambda layout: layout.which)
EACH = pytest.mark.parametrize("name", DIAGRAMS)


def rectangles(diagram, layout):
    return {
        name: (x, y, x + layout.box, y + diagram.boxes[name].height)
        for name, (x, y) in diagram.places(layout).items()
    }


@EACH
@LAYOUTS
def test_text_is_inside_and_boxes_are_apart(name, layout):
    diagram = DIAGRAMS[name]
    for box in diagram.boxes.values():
        assert text_width(box.title, bold=True) <= layout.box - PAD, box.title
        for line in box.lines:
            assert text_width(line) <= layout.box - PAD, line
    for (_, a), (_, b) in combinations(rectangles(diagram, layout).items(), 2):
        beside = a[2] + 10 <= b[0] or b[2] + 10 <= a[0]
        above = a[3] + 10 <= b[1] or b[3] + 10 <= a[1]
        assert beside or above


@EACH
@LAYOUTS
def test_no_arrow_crosses_a_box(name, layout):
    diagram = DIAGRAMS[name]
    places, boxes = diagram.places(layout), rectangles(diagram, layout)
    for arrow in diagram.arrows:
        ends = [(*places[end], diagram.boxes[end].height) for end in (arrow.start, arrow.end)]
        for (x0, y0), (x1, y1) in pairwise(route(*ends, layout)):
            assert x0 == x1 or abs(y0 - y1) < 1, "arrows run along rows and columns"
            for left, top, right, bottom in boxes.values():
                inside = max(x0, x1) > left + 1 and min(x0, x1) < right - 1
                inside = inside and max(y0, y1) > top + 1 and min(y0, y1) < bottom - 1
                assert not inside, f"{arrow} crosses a box"


@EACH
@LAYOUTS
def test_it_is_svg_with_a_description_and_fits_its_page(name, layout):
    diagram = DIAGRAMS[name]
    svg = ElementTree.fromstring(diagram.svg(layout))
    assert svg.get("role") == "img"
    assert svg.get("aria-label") == diagram.label
    assert float(svg.get("width")) <= {"wide": 860, "narrow": 350}[layout.which]
    texts = [e.text for e in svg.iter() if e.tag.endswith("text")]
    assert [t for t in texts if t] == texts
    assert not re.search(r"#000|black|#fff", diagram.html()), "colours of the page, light or dark"


@EACH
def test_both_layouts_are_in_the_page_and_show_the_same(name):
    html = DIAGRAMS[name].html()
    assert html.count("<svg") == 2
    wide, narrow = (
        sorted(re.findall(r">([^<>]+)</text>", part)) for part in html.split("<svg")[1:]
    )
    assert wide == narrow


def test_numbers_are_the_models():
    texts = DIAGRAMS["sam"].svg()
    assert "3 × 256 × 256" in texts
    assert "128 × 16 × 16" in texts
    assert "logits, 64 × 64" in texts
    assert "linear 192 → 6" in DIAGRAMS["atl"].svg()
    assert "one of 8, trained" in DIAGRAMS["generator"].svg()
    wider = tl.widgets.atl_diagram(SAM, tl.ATLConfig(bottleneck=24))
    assert "linear 192 → 24" in wider.svg()
    larger = tl.widgets.sam_diagram(tl.load_sam("sam_mini", image_size=384))
    assert "128 × 24 × 24" in larger.svg()


@pytest.mark.parametrize("name", ["TransLandSeg-7", "TransLandSeg-8", "LandslideNet"])
def test_a_design_with_another_picture_is_refused(name):
    with pytest.raises(ValueError, match="is not drawn here; expected an adapter for each block"):
        tl.widgets.atl_diagram(SAM, tl.DESIGNS[name])


def test_a_generator_is_shared():
    with pytest.raises(ValueError, match="has an adapter for each block; expected source='shared'"):
        tl.widgets.generator_diagram(SAM, tl.DESIGNS["TransLandSeg"])


def test_an_arrow_needs_its_boxes():
    box = Box("a", (), "step", (0, 0), (0, 0))
    with pytest.raises(ValueError, match="names 'b'; the boxes are a"):
        Diagram("A box.", {"a": box}, [Arrow("a", "b")])
    with pytest.raises(ValueError, match="kind is 'red'; expected one of frozen"):
        Box("a", (), "red", (0, 0), (0, 0))
