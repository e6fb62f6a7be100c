"""The map to pan and zoom: keyboard, buttons, layers, words; and what a scene's map becomes."""

import numpy as np
import pytest
from browser import needs_chromium, play
from map_helpers import Red, two_slides, write_scene

import tlseg_lite as tl
from tlseg_lite.core.errors import DataError

SQUARE = np.array([[20.0, 10], [40, 10], [40, 30], [20, 30], [20, 10]])
ALT = "A plain grey map with two outlines for a test."


def widget(**changes):
    pictures = {"scene": np.full((80, 160, 3), 90, np.uint8)}
    outlines = {
        "hits": [([SQUARE], "hit, 400 m²")],
        "misses": [([SQUARE + 60], "miss, 1,600 m²")],
    }
    colours = {"hits": "#56B4E9", "misses": "#E69F00"}
    given = {"pictures": pictures, "outlines": outlines, "colours": colours}
    return tl.widgets.map_layers(**given | changes, alt=ALT, metres=2.0)


def test_without_scripts_everything_is_drawn():
    html = widget().html()
    assert html.count("<image ") == 1
    assert html.count("<path ") == 2
    assert ALT in html
    assert "http" not in html.replace("http://www.w3.org", "")


@needs_chromium
def test_keys_buttons_and_layers(tmp_path):
    script = """
      const svg = root.querySelector("svg"), state = () => root.querySelector(".state").textContent;
      const key = name => { svg.dispatchEvent(new KeyboardEvent("keydown", { key: name }));
        return [svg.getAttribute("viewBox"), state()]; };
      const press = name => { root.querySelector(`[data-do=${name}]`).click();
        return [svg.getAttribute("viewBox"), state()]; };
      const start = [svg.getAttribute("viewBox"), state()];
      const zoomed = key("+"), moved = key("ArrowRight"), back = key("0"), next = key("n");
      const second = press("next"), whole = press("all");
      const box = root.querySelectorAll("[data-switch]")[1];
      box.click();
      const hidden = svg.querySelectorAll("[data-layer]")[1].getAttribute("visibility");
      const only = press("next");
      return { start, zoomed, moved, back, next, second, whole, hidden, only };"""
    found = play(tmp_path, widget().html(), script)
    assert found["start"] == ["0 0 160 80", f"{ALT} Zoom 1.0, 320 m across."]
    left, _, width, height = map(float, found["zoomed"][0].split())
    assert (width, height) == pytest.approx((160 / 1.5, 80 / 1.5))
    assert found["zoomed"][1] == "Zoom 1.5, 213 m across."
    assert float(found["moved"][0].split()[0]) == pytest.approx(left + width / 8)
    assert found["back"][0] == found["whole"][0] == "0 0 160 80"
    assert found["next"][1].startswith("Landslide 1 of 2: hit, 400 m².")
    assert found["second"][1].startswith("Landslide 2 of 2: miss, 1,600 m².")
    assert found["hidden"] == "hidden"
    assert found["only"][1].startswith("Landslide 2 of 2"), "the hidden layer is left out"


@needs_chromium
def test_it_fits_a_phone_and_is_never_left(tmp_path):
    script = """
      document.documentElement.style.width = "360px";
      const svg = root.querySelector("svg");
      for (let i = 0; i < 30; i++) {
        svg.dispatchEvent(new KeyboardEvent("keydown", { key: i % 2 ? "ArrowUp" : "-" }));
      }
      return [root.scrollWidth - root.clientWidth, svg.getAttribute("viewBox")];"""
    wider, view = play(tmp_path, widget().html(), script)
    assert wider <= 1
    assert view == "0 0 160 80"


def test_a_scene_s_map_with_its_comparison(tmp_path):
    scene = write_scene(tmp_path / "scene.tif", two_slides())
    found = tl.maps.predict_scene(Red(), scene, tmp_path / "map", progress=False)
    plain = tl.widgets.landslide_map(found, alt=ALT)
    assert plain.html().count("<path ") == found.polygons == 2
    assert plain.data["metres"] == pytest.approx(found.resolution)
    result = tl.maps.compare(found, found.landslides)
    compared = tl.widgets.landslide_map(found, result, side=110, alt=ALT)
    assert ">hits<" in compared.html()
    assert compared.data["width"] == 110
    assert [words.split(",")[0] for *_, words in compared.data["shapes"]] == ["hit", "hit"]
    large = max(compared.data["shapes"], key=lambda s: s[2])
    assert large[:4] == pytest.approx([45, 30, 30, 20], abs=1.5)  # 90, 60, 60, 40 at half size
    (found.folder / "quicklook.png").unlink()
    with pytest.raises(DataError, match=r"quicklook\.png"):
        tl.widgets.landslide_map(found, alt=ALT)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="no colour for"):
        widget(colours={"hits": "#000000"})
    with pytest.raises(ValueError, match="expected one and a sentence"):
        widget(pictures={})
