"""The controls say in the browser what the package says; without JavaScript they say it once."""

import json
import re

import numpy as np
import pytest
import torch
from adapter_helpers import prompted_model
from browser import needs_chromium, play
from bs4 import BeautifulSoup

import tlseg_lite as tl
from tlseg_lite.adapters import Correction
from tlseg_lite.metrics import confusion as counted
from tlseg_lite.sam import prompting as zero_shot
from tlseg_lite.widgets import budget, confusion, page


@pytest.fixture(scope="module")
def sam():
    return tl.load_sam("sam_mini")


@pytest.fixture(scope="module")
def picture():
    """A bright blob on a gradient, 96 x 128, and its mask."""
    y, x = torch.meshgrid(torch.arange(96), torch.arange(128), indexing="ij")
    mask = (x - 80) ** 2 / 30**2 + (y - 40) ** 2 / 22**2 < 1
    image = torch.stack([0.2 + 0.001 * x, 0.3 + 0.002 * y, 0.25 + 0 * x])
    return torch.where(mask, torch.tensor([0.8, 0.6, 0.3])[:, None, None], image), mask


@pytest.fixture(scope="module")
def scored():
    """Logits and samples of two sizes, with every threshold used and logits right on one."""
    generator = torch.Generator().manual_seed(3)
    samples, logits = [], []
    for i, (height, width) in enumerate(((40, 56), (64, 32))):
        mask = (torch.rand(1, height, width, generator=generator) < 0.3).float()
        values = 2 * torch.randn(1, height, width, generator=generator) + 2 * mask - 1
        values[0, 0, :3] = 0.0  # exactly the threshold of 50 %
        image = torch.rand(3, height, width, generator=generator)
        samples.append({"image": image, "mask": mask, "id": f"image {i}"})
        logits.append(values)
    return logits, samples


def numbers(text):
    return [float(n) for n in re.findall(r"\d+(?:\.\d+)?", text)]


def static_page(widget):
    """What stays of a control without JavaScript."""
    soup = BeautifulSoup(widget.html(), "html.parser")
    for hidden in soup.select("[data-live], script, style"):
        hidden.decompose()
    return soup


def all_widgets(sam, picture, scored):
    image, mask = picture
    red = np.zeros((20, 30, 3), np.uint8) + np.array([200, 30, 30], np.uint8)
    alts = {"a": "a plain red rectangle", "b": "a plain black rectangle"}
    return [
        tl.widgets.click_to_segment(sam, image, mask, alt="A bright blob on a slope", clicks=3),
        tl.widgets.click_to_correct(
            prompted_model(), image, mask, alt="A bright blob on a slope", clicks=3
        ),
        tl.widgets.confusion_sliders(),
        tl.widgets.threshold_slider(*scored),
        tl.widgets.budget_explorer(),
        tl.widgets.picture_slider({"a": red, "b": red * 0}, alts),
        tl.widgets.picture_slider({"a": red, "b": red * 0}, alts, play=True),
        tl.widgets.before_after(red, red * 0, alts),
    ]


# ---- packing -----------------------------------------------------------------------------------


def test_run_lengths_of_a_known_mask():
    assert page.run_lengths(np.array([[0, 0, 1], [1, 0, 1]])) == bytes([2, 2, 1, 1])
    assert page.run_lengths(np.ones((1, 3))) == bytes([0, 3])
    assert page.run_lengths(np.zeros((2, 150))) == bytes([128 | 300 & 127, 300 >> 7])


@needs_chromium
def test_masks_come_back_in_the_browser(tmp_path):
    rng = np.random.default_rng(0)
    masks = [rng.random((23, 61)) < p for p in (0, 0.01, 0.3, 0.5, 0.99, 1)]
    packed = page.pack_masks(masks)
    common = page._static("common.js")
    html = f'<div class="tlseg-widget"></div><script>{common}</script>'
    script = f"""
      const packed = {json.dumps(packed)}, bytes = unpack(packed.runs);
      return packed.starts.slice(1).map((end, i) => {{
        const mask = unrun(bytes, packed.starts[i], end, 23 * 61);
        return [Array.from(mask), Array.from(border(mask, 61))];
      }});"""
    found = play(tmp_path, html, script)
    assert len(found) == len(masks)
    for mask, (flat, edge) in zip(masks, found, strict=True):
        assert np.array_equal(np.reshape(flat, mask.shape), mask)
        assert np.array_equal(np.reshape(edge, mask.shape), page.border(mask))


def test_pictures_of_other_kinds_are_refused():
    with pytest.raises(ValueError, match="no PNG or JPEG"):
        page.picture_uri(b"GIF89a")
    with pytest.raises(ValueError, match="expected uint8"):
        page.picture_uri(np.zeros((4, 4, 3)))


# ---- every control -----------------------------------------------------------------------------


def test_nothing_comes_from_outside_and_one_state_remains_without_scripts(sam, picture, scored):
    for widget in all_widgets(sam, picture, scored):
        html = widget.html()
        soup = BeautifulSoup(html, "html.parser")
        for tag in soup.find_all(["img", "script", "link", "iframe"]):
            assert (tag.get("src") or "data:").startswith("data:")
        assert not re.search(r"(?<!w3\.org)https?://", html)
        rest = static_page(widget)
        assert rest.select_one(".state").get_text(strip=True)
        assert all(len(image["alt"]) >= 15 for image in rest.select("img"))
        assert not rest.select("input, button, select"), "a control that does nothing"
        state = soup.select_one(".state")
        assert state["aria-live"] == "polite"
        for control in soup.select("input, select"):
            assert control.find_parent("label"), "a control without a name"


def test_ids_differ_each_time_and_labels_stay(sam, picture):
    widget = tl.widgets.confusion_sliders()
    first, second = widget.html(), widget._repr_html_()
    ids = [re.search(r'id="(tlseg-[^"]+)"', html)[1] for html in (first, second)]
    assert ids[0] != ids[1]
    assert first.replace(ids[0], ids[1]) == second
    assert "{NAME}" not in first
    assert "confusion" in repr(widget)
    assert " at 0x" not in repr(widget)


@needs_chromium
def test_controls_show_in_a_browser_without_errors(sam, picture, scored, tmp_path):
    widgets = all_widgets(sam, picture, scored)
    html = "".join(widget.html() for widget in widgets)
    script = """
      document.documentElement.style.width = "360px";
      return [...document.querySelectorAll(".tlseg-widget")].map(e => [e.className,
        e.dataset.ready, e.scrollWidth - e.clientWidth, e.getBoundingClientRect().height,
        [...e.querySelectorAll("input, select, canvas, button")].every(c => c.offsetWidth > 0),
        [...e.querySelectorAll(".still")].every(s => s.offsetWidth === 0)]);"""
    found = play(tmp_path, html, script)
    assert len(found) == len(widgets)
    for name, ready, wider, height, visible, still_hidden in found:
        assert ready == "yes", name
        assert wider <= 1, f"{name} is {wider} px too wide for a phone"
        assert height > 100, name
        assert visible, name
        assert still_hidden, name


# ---- click to segment --------------------------------------------------------------------------


@needs_chromium
def test_clicks_show_what_segment_answers(sam, picture, tmp_path):
    image, mask = picture
    widget = tl.widgets.click_to_segment(sam, image, mask, alt="A bright blob on a slope", clicks=4)
    script = """
      const canvas = root.querySelector("canvas"), box = canvas.getBoundingClientRect();
      const seen = [];
      const pixels = () => {  // the mask's fill and border, without the click's mark
        const all = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        return Array.from({length: all.length / 4}, (_, i) => all[4 * i + 3] > 0 ? 1 : 0);
      };
      root.querySelector(".known").click();
      for (const [x, y, which] of [[80, 40, 0], [80, 40, 1], [80, 40, 2], [16, 80, 3]]) {
        root.querySelectorAll("input[type=radio]")[which].click();
        const at = {clientX: box.left + (x + 0.5) / 128 * box.width,
          clientY: box.top + (y + 0.5) / 96 * box.height, buttons: 1};
        canvas.dispatchEvent(new PointerEvent("pointerdown", at));
        seen.push([root.querySelector(".state").textContent, pixels()]);
      }
      const keys = [];
      for (const key of ["ArrowRight", "ArrowUp", "ArrowUp", "ArrowUp", "ArrowUp", "ArrowLeft"]) {
        canvas.dispatchEvent(new KeyboardEvent("keydown", {key}));
        keys.push(root.querySelector(".state").textContent.match(/x (\\d+), y (\\d+)/).slice(1));
      }
      return [seen, keys];"""
    seen, keys = play(tmp_path, widget.html(), script)
    for (text, flat), (point, which) in zip(
        seen, [((80, 48), 0), ((80, 48), 1), ((80, 48), 2), ((16, 80), None)], strict=True
    ):
        answer = zero_shot.segment(sam, image, point)
        fit = zero_shot.overlap(answer, mask)
        which = int(answer.scores.argmax()) if which is None else which
        assert f"x {point[0]}, y {point[1]}. Mask {which + 1} of 3" in text
        score, *three, share, iou, best = numbers(text)[4:]
        assert score == pytest.approx(float(answer.scores[which]), abs=0.0051)
        assert three == pytest.approx(answer.scores.tolist(), abs=0.0051)
        assert share == pytest.approx(100 * float(answer.masks[which].float().mean()), abs=0.051)
        assert iou == pytest.approx(float(fit.every[which]), abs=0.0051)
        assert best == pytest.approx(fit.best, abs=0.0051)
        drawn, expected = np.reshape(flat, mask.shape), answer.masks[which].numpy()
        y, x = np.ogrid[:96, :128]
        away = (x - point[0]) ** 2 + (y - point[1]) ** 2 > 6**2  # the mark covers what is under it
        assert np.array_equal(drawn[away], expected[away])
    # four columns and three rows, 32 pixels apart; the border of the picture stops the click
    assert keys == [["48", "80"], ["48", "48"], ["48", "16"], ["48", "16"], ["48", "16"],
                    ["16", "16"]]  # fmt: skip


@needs_chromium
def test_first_state_of_the_clicks_is_the_same_without_scripts(sam, picture, tmp_path):
    image, mask = picture
    for target in (mask, 0 * mask, None):
        widget = tl.widgets.click_to_segment(
            sam, image, target, alt="A bright blob on a slope", clicks=4, side=64
        )
        before = static_page(widget).select_one(".state").get_text()
        after = play(tmp_path, widget.html(), 'return root.querySelector(".state").textContent;')
        assert before == after
    assert widget.data["step"] == 2


# ---- correct with a click ----------------------------------------------------------------------


@needs_chromium
def test_a_click_shows_what_the_correction_answers(picture, tmp_path):
    image, mask = picture
    model = prompted_model()
    widget = tl.widgets.click_to_correct(
        model, image, mask, alt="A bright blob on a slope", clicks=4
    )
    script = """
      const canvas = root.querySelector("canvas"), box = canvas.getBoundingClientRect();
      const seen = [];
      const look = () => {
        const all = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        const kind = root.querySelector("input[type=radio]:checked").value;
        seen.push([root.querySelector(".state").textContent, kind,
          Array.from({length: all.length / 4}, (_, i) => all[4 * i + 3] > 0 ? 1 : 0)]);
      };
      const click = (x, y, more) => {
        const at = {clientX: box.left + (x + 0.5) / 128 * box.width,
          clientY: box.top + (y + 0.5) / 96 * box.height, buttons: 1, ...more};
        canvas.dispatchEvent(new PointerEvent("pointerdown", at));
        look();
      };
      const key = name => {
        canvas.dispatchEvent(new KeyboardEvent("keydown", {key: name}));
        look();
      };
      root.querySelector(".known").click();
      root.querySelectorAll("input[type=radio]")[0].click();
      click(80, 40);
      click(16, 80, {button: 2});
      click(16, 16);
      click(16, 16, {shiftKey: true});
      key("u");
      key("Enter");
      key("ArrowRight");
      key("Delete");
      return seen;"""
    seen = play(tmp_path, widget.html(), script)
    correction = Correction(model, image)
    before = counted(correction.mask, mask).scores().landslide_iou
    expected = [((80, 48), 1), ((16, 80), 0), ((16, 16), 1), ((16, 16), 0), ((16, 16), -1)]
    expected += [((16, 16), 1), ((48, 16), 1), ((48, 16), 0)]
    assert [int(kind) for _, kind, _ in seen] == [kind for _, kind in expected]
    for (text, _, flat), (point, kind) in zip(seen, expected, strict=True):
        answer = correction.mask if kind < 0 else correction.click(*point, on=kind > 0)[0] > 0
        if kind < 0:
            assert text.startswith("No click: ")
        else:
            correction.undo()
            what = "landslide" if kind else "no landslide"
            assert text.startswith(f"Click at x {point[0]}, y {point[1]} ({what}): ")
        found = numbers(text)[0 if kind < 0 else 2 :]
        iou = counted(answer, mask).scores().landslide_iou
        share = 100 * float(answer.float().mean())
        assert found[0] == pytest.approx(share, abs=0.051)
        assert found[-1 if kind < 0 else -2] == pytest.approx(iou, abs=0.0051)
        assert found[-1] == pytest.approx(before, abs=0.0051)
        drawn = np.reshape(flat, mask.shape)
        y, x = np.ogrid[:96, :128]
        away = (x - point[0]) ** 2 + (y - point[1]) ** 2 > 6**2  # the mark covers what is under it
        assert np.array_equal(drawn[away], answer.numpy()[away])


@needs_chromium
def test_first_state_of_a_correction_is_the_same_without_scripts(picture, tmp_path):
    image, mask = picture
    model = prompted_model()
    for target in (mask, Correction(model, image).mask, None):
        widget = tl.widgets.click_to_correct(
            model, image, target, alt="A bright blob on a slope", clicks=4, side=64
        )
        before = static_page(widget).select_one(".state").get_text()
        after = play(tmp_path, widget.html(), 'return root.querySelector(".state").textContent;')
        assert before == after
    assert widget.data["step"] == 2
    assert widget.data["ious"] is None


def test_what_cannot_be_corrected_with_a_click(sam, picture):
    image, mask = picture
    with pytest.raises(ValueError, match="takes no clicks"):
        tl.widgets.click_to_correct(tl.TransLandSeg(sam, None), image, alt="A blob on a slope")
    with pytest.raises(ValueError, match=r"the target has shape \(5, 128\)"):
        tl.widgets.click_to_correct(prompted_model(), image, mask[:5], alt="A blob on a slope")


# ---- confusion matrix --------------------------------------------------------------------------

STATES = [(2.4, 60, 60), (0.1, 1, 1), (50, 100, 100), (50, 100, 1), (10, 85, 85), (33.3, 7, 93)]


@needs_chromium
def test_sliders_show_the_scores_of_the_package(tmp_path):
    script = f"""
      const out = [];
      for (const state of {json.dumps(STATES)}) {{
        ["share", "recall", "precision"].forEach((n, i) => set(root.querySelector("." + n), state[i]));
        out.push([root.querySelector(".state").textContent, Object.fromEntries(
          [...root.querySelectorAll("[data-score]")].map(row => [row.dataset.score,
            [row.querySelector(".number").textContent, row.querySelector("span").style.width]])),
          Array.from(root.querySelector("canvas").getContext("2d")
            .getImageData(0, 0, 100, 100).data).filter((_, i) => i % 4 === 1)]);
      }}
      return out;"""  # noqa: E501
    widget = tl.widgets.confusion_sliders()
    found = play(tmp_path, widget.html(), script)
    green = {kind: int(colour[3:5], 16) for kind, colour in confusion.KINDS.items()}
    for state, (text, rows, greens) in zip(STATES, found, strict=True):
        counts = confusion.matrix(*(value / 100 for value in state))
        assert numbers(text) == pytest.approx([100 * v for v in counts], abs=0.0051)
        scores = counts.scores().as_dict()
        assert set(rows) == set(confusion.ROWS)
        for name, (number, width) in rows.items():
            assert numbers(number)[0] == pytest.approx(100 * scores[name], abs=0.051)
            assert numbers(width)[0] == pytest.approx(100 * scores[name], abs=0.051)
        for kind, value in zip(("TP", "FP", "FN"), counts, strict=False):
            assert greens.count(green[kind]) == pytest.approx(1e4 * value, abs=1)
    start = static_page(widget).select_one(".state").get_text()
    assert start == found[0][0]


def test_sliders_keep_what_was_asked_for():
    counts = confusion.matrix(0.024, 0.6, 0.4)
    scores = counts.scores()
    assert scores.landslide_share == pytest.approx(0.024)
    assert scores.landslide_recall == pytest.approx(0.6)
    assert scores.landslide_precision == pytest.approx(0.4)
    with pytest.raises(ValueError, match="precision is 0"):
        tl.widgets.confusion_sliders(precision=0)


# ---- threshold ---------------------------------------------------------------------------------


@needs_chromium
def test_threshold_shows_the_counts_of_the_package(scored, tmp_path):
    logits, samples = scored
    widget = tl.widgets.threshold_slider(logits, samples, metric="landslide_iou")
    script = """
      const slider = root.querySelector("input"), select = root.querySelector("select"), out = [];
      const read = () => [root.querySelector(".state").textContent, Object.fromEntries(
          [...root.querySelectorAll("[data-score]")].map(row => [row.dataset.score,
            row.querySelector(".number").textContent]))];
      for (const [k, i] of [[0, 0], [49, 0], [98, 0], [49, 1], [30, 1]]) {
        set(select, i); set(slider, k); out.push(read());
      }
      root.querySelector("button").click();
      out.push(read());
      const canvas = root.querySelector("canvas");
      const last = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
      return [out, [canvas.width, canvas.height], Array.from(last)];"""
    seen, size, last = play(tmp_path, widget.html(), script)
    masks = [sample["mask"] for sample in samples]
    best = tl.curves.choose_threshold(logits, masks, metric="landslide_iou")
    cuts = [np.log((k + 1) / (99 - k)) for k in (0, 49, 98, 49, 30)] + [best]
    for (text, rows), cut, i in zip(seen, cuts, [0, 0, 0, 1, 1, 1], strict=True):
        single = tl.metrics.confusion(logits[i], masks[i], threshold=cut)
        tp, fp, fn, _ = (int(v) for v in single.counts())
        assert f"In the image image {i}: {tp} pixels found, {fn} missed, {fp} false" in text
        assert numbers(text)[-1] == pytest.approx(100 * single.scores().landslide_iou, abs=0.051)
        pooled = sum(
            tl.metrics.confusion(v, m, threshold=cut) for v, m in zip(logits, masks, strict=True)
        ).scores()
        for name, number in rows.items():
            assert numbers(number)[0] == pytest.approx(100 * getattr(pooled, name), abs=0.051)
    # the last state's pixels, counted by colour, are its counts
    assert size == [32, 64]
    rgba = np.reshape(last, (-1, 4))
    for kind, count in zip(("TP", "FP", "FN"), (tp, fp, fn), strict=True):
        colour = np.array([int(confusion.KINDS[kind][i : i + 2], 16) for i in (1, 3, 5)])
        close = (np.abs(rgba[:, :3] - colour) <= 2).all(1) & (rgba[:, 3] > 0)
        assert close.sum() == count, kind  # half-transparent colours come back rounded


def test_threshold_refuses_what_does_not_fit(scored):
    logits, samples = scored
    with pytest.raises(ValueError, match="1 logits for 2 samples"):
        tl.widgets.threshold_slider(logits[:1], samples)


def test_threshold_begins_at_the_best(scored):
    logits, samples = scored
    widget = tl.widgets.threshold_slider(logits, samples)
    best = tl.curves.choose_threshold(logits, [sample["mask"] for sample in samples])
    shown = numbers(static_page(widget).select_one(".state").get_text())[0] / 100
    assert np.log(shown / (1 - shown)) == pytest.approx(best)


# ---- budget ------------------------------------------------------------------------------------


@pytest.mark.parametrize("middle", budget.MIDDLES)
@pytest.mark.parametrize("source", budget.SOURCES)
def test_closed_form_is_the_count_of_the_built_adapters(middle, source):
    for name, d in (("sam_mini", 6), ("vit_l", 32), ("vit_b", 5)):
        shape = tl.sam.VARIANTS[name]
        with torch.device("meta"):
            config = tl.ATLConfig(middle, source=source, bottleneck=d)
            built = tl.atl.build_adapters(shape.width, shape.depth, config)
        number = budget.adapter_parameters(shape.width, shape.depth, d, middle, source)
        assert number == sum(p.numel() for p in built.parameters())


@needs_chromium
def test_budget_shows_the_counts_of_the_package(tmp_path):
    states = [
        ("vit_l", 32, "m", "shared"),
        ("vit_l", 32, "mm", "shared"),
        ("vit_b", 3, "c", "block"),
        ("vit_h", 128, "mmccc", "block"),
        ("sam_mini", 6, "m", "block"),
    ]
    script = f"""
      return {json.dumps(states)}.map(state => {{
        ["sam", "d", "middle", "source"].forEach((n, i) => set(root.querySelector("." + n), state[i]));
        return [root.querySelector(".state").textContent, Object.fromEntries(
          [...root.querySelectorAll("[data-row]")].map(c => [c.dataset.row, c.textContent]))];
      }});"""  # noqa: E501
    found = play(tmp_path, tl.widgets.budget_explorer().html(), script)
    for (sam_name, d, middle, source), (text, rows) in zip(states, found, strict=True):
        config = tl.ATLConfig(middle, source=source, bottleneck=d)
        counts = tl.model.budget(sam_name, config)
        whole = {name: int(rows[name].replace(",", "")) for name in rows if name != "share"}
        assert whole == {
            "adapters": counts.adapters,
            "decoder": counts.trainable - counts.adapters,
            "trainable": counts.trainable,
            "total": counts.total,
        }
        share = 100 * counts.trainable / counts.total
        assert numbers(rows["share"])[0] == pytest.approx(share, abs=0.0051)
        shape = {"decoder": counts.trainable - counts.adapters,
                 "frozen": counts.total - counts.trainable}  # fmt: skip
        assert text == budget.describe(sam_name, shape, counts.adapters)
    assert "the budget that the TransLandSeg paper prints" in found[0][0]
    assert "the budget that the LandslideNet paper prints" in found[1][0]
    assert "no printed budget" in found[2][0]


def test_budget_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match="unknown SAM variant"):
        tl.widgets.budget_explorer("vit_x")
    with pytest.raises(ValueError, match="middle is 'x'"):
        tl.widgets.budget_explorer(middle="x")
    with pytest.raises(ValueError, match="d is 0"):
        tl.widgets.budget_explorer(d=0)


# ---- pictures ----------------------------------------------------------------------------------


@needs_chromium
def test_picture_slider_changes_picture_and_words(tmp_path):
    pictures = {f"step {i}": np.full((30, 40, 3), 80 * i, dtype=np.uint8) for i in range(3)}
    alts = {title: f"a plain grey area, number {title}" for title in pictures}
    widget = tl.widgets.picture_slider(pictures, alts, start=1)
    script = """
      const image = root.querySelector("img"), slider = root.querySelector("input");
      return [1, 0, 2].map(i => { set(slider, i); return [image.src, image.alt,
        root.querySelector(".state").textContent, root.querySelector("output").textContent,
        slider.getAttribute("aria-valuetext")]; });"""
    found = play(tmp_path, widget.html(), script)
    for i, (src, alt, text, output, spoken) in zip((1, 0, 2), found, strict=True):
        title = f"step {i}"
        assert src == page.picture_uri(pictures[title])
        assert alt == alts[title]
        assert text == f"{title}. {alt}"
        assert output == f"{i + 1} of 3"
        assert spoken == f"{i + 1}: {title}"
    assert static_page(widget).select_one("img")["alt"] == alts["step 1"]


@needs_chromium
def test_pictures_play_to_the_last_one_and_stop(tmp_path):
    pictures = {f"step {i}": np.full((30, 40, 3), 80 * i, dtype=np.uint8) for i in range(3)}
    alts = {title: f"a plain grey area, number {title}" for title in pictures}
    widget = tl.widgets.picture_slider(pictures, alts, play=True, pause=0.05)
    script = """
      const button = root.querySelector("button"), slider = root.querySelector("input");
      const state = () => [slider.value, button.textContent,
        root.querySelector(".state").getAttribute("aria-live")];
      const before = state();
      button.click();
      const begun = state();
      await new Promise(go => setTimeout(go, 800));
      const ended = state();
      button.click();  // from the last one: again from the first
      const again = state();
      button.click();
      return [before, begun, ended, again, state()];"""
    found = play(tmp_path, widget.html(), script)
    assert found[0] == ["0", "Play", "polite"]
    assert found[1] == ["1", "Stop", "off"]
    assert found[2] == ["2", "Play", "polite"]
    assert found[3] == ["0", "Stop", "off"]
    assert found[4] == ["0", "Play", "polite"]


@needs_chromium
def test_before_and_after_share_the_place(tmp_path):
    pictures = [np.full((30, 40, 3), value, dtype=np.uint8) for value in (60, 200)]
    alts = {"without adapter": "a plain dark grey area", "adapted": "a plain light grey area"}
    widget = tl.widgets.before_after(*pictures, alts)
    script = """
      const slider = root.querySelector("input"), after = root.querySelector(".after");
      return [50, 0, 80].map(i => { set(slider, i); return [getComputedStyle(after).clipPath,
        root.querySelector("output").textContent]; });"""
    found = play(tmp_path, widget.html(), script)
    for share, (clip, text) in zip((50, 0, 80), found, strict=True):
        assert clip.endswith(f" {share}%)") or (share == 0 and clip.startswith("inset(0"))
        assert text == f"{share} % without adapter, {100 - share} % adapted"
    still = static_page(widget)
    assert [image["alt"] for image in still.select("img")] == list(alts.values())


def test_before_and_after_want_words_and_one_size():
    picture = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(ValueError, match="expected two titles, each with a sentence"):
        tl.widgets.before_after(picture, picture, {"a": "a plain black square"})
    alts = {"a": "a plain black square", "b": "another plain black square"}
    with pytest.raises(ValueError, match="expected two of one size"):
        tl.widgets.before_after(picture, np.zeros((4, 5, 3), np.uint8), alts)


def test_picture_slider_wants_words():
    picture = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(ValueError, match="no words for"):
        tl.widgets.picture_slider({"a": picture}, {})
    with pytest.raises(ValueError, match="pause is 0; expected seconds above 0"):
        tl.widgets.picture_slider({"a": picture}, {"a": "a plain black square"}, pause=0)
    with pytest.raises(ValueError, match="start is 3"):
        tl.widgets.picture_slider({"a": picture}, {"a": "a plain black square"}, start=3)
