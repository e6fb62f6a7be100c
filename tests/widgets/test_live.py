"""The model in a page: the same masks as PyTorch's, by mouse, touch and keyboard, offline."""

import json
import os
import shutil
import time

import numpy as np
import pytest
import torch
from browser import needs_chromium
from course import ROOT
from devtools import opened, served
from PIL import Image

import tlseg_lite as tl
from tlseg_lite.core.errors import DownloadError, OfflineError
from tlseg_lite.data.transforms import fit_image
from tlseg_lite.sam.prompting import segment
from tlseg_lite.widgets import live

pytest.importorskip("websocket", reason="websocket-client is not installed")


@pytest.fixture(scope="module")
def sam():
    return tl.load_sam("sam_mini")


@pytest.fixture(scope="module")
def adapted():
    return tl.TransLandSeg.load(ROOT / "book" / "try_it.safetensors")


@pytest.fixture(scope="module")
def folder(sam, adapted, tmp_path_factory):
    out = tmp_path_factory.mktemp("page")
    try:  # npm's registry is the one network that a test may ask; the cache is asked first
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("tlseg_lite.export.runtime.offline", lambda: False)
            tl.widgets.live_page(out, sam=sam, model=adapted)
    except (OfflineError, DownloadError) as error:
        pytest.skip(f"no onnxruntime-web: {error}")
    return out


@pytest.fixture(scope="module")
def page(folder, tmp_path_factory):
    with served(folder) as address, opened(tmp_path_factory.mktemp("b"), address) as page:
        page.address = address
        page.size(1400)
        before = list(page.requests)
        assert not any("onnx" in url or "wasm" in url for url in before)  # loads on request
        page.js("document.querySelector('.load').click()")
        page.until("document.querySelector('.tlseg-live').dataset.ready")
        yield page


def live_js(page, expression):
    return page.js(f"(() => {{ const live = document.querySelector('.tlseg-live').live;"
                   f" return {expression}; }})()")  # fmt: skip


def place(page, x, y):
    """The window's coordinates of a pixel of the image."""
    page.js("document.querySelector('canvas').scrollIntoView()")
    box = json.loads(page.js("JSON.stringify(document.querySelector('canvas')"
                             ".getBoundingClientRect())"))  # fmt: skip
    w, h = live_js(page, "[live.size.w, live.size.h]")
    return box["left"] + (x + 0.5) * box["width"] / w, box["top"] + (y + 0.5) * box["height"] / h


def answered(page, then):
    """Do something and wait for the answer to it: the three masks and their predicted IoU."""
    count = live_js(page, "Number(live.root.dataset.answers || 0)")
    then()
    page.until(f"Number(document.querySelector('.tlseg-live').dataset.answers) > {count}")
    three = live_js(page, "live.three.map(m => [m.iou, Array.from(m.mask)])")
    return [iou for iou, _ in three], np.array([mask for _, mask in three]) > 0


def fresh(page):
    page.js("document.querySelector('.clear').click()")
    page.js("document.querySelector('.mode').click()")


def same(found, wanted):
    """Masks on all but 0.1 % of the pixels, predicted IoU within a hundredth."""
    ious, masks = found
    assert np.allclose(ious, wanted.scores.numpy(), atol=0.01)
    differ = (masks.reshape(wanted.masks.shape) != wanted.masks.numpy()).mean((1, 2))
    assert differ.max() <= 0.001


@pytest.fixture
def scene(folder):
    return np.array(Image.open(folder / "scene-1.png"))


@needs_chromium
def test_clicks_box_and_undo_give_pytorchs_masks(page, sam, scene):
    fresh(page)
    begin = answered(page, lambda: page.mouse(place(page, 100, 90)))
    same(begin, segment(sam, scene, [(100, 90)]))
    page.js("document.querySelector('.mode[value=\"0\"]').click()")
    both = answered(page, lambda: page.mouse(place(page, 30, 200)))
    same(both, segment(sam, scene, [(100, 90), (30, 200)], labels=[1, 0]))
    same(answered(page, lambda: page.js("document.querySelector('.undo').click()")),
         segment(sam, scene, [(100, 90)]))  # fmt: skip
    fresh(page)
    page.js("document.querySelector('.mode[value=\"box\"]').click()")
    corners = [(40, 50), (99, 99), (150, 140)]  # dragged over the middle
    boxed = answered(page, lambda: page.mouse(*(place(page, *p) for p in corners)))
    same(boxed, segment(sam, scene, box=(40, 50, 150, 140)))
    fresh(page)
    touched = answered(page, lambda: page.touch(*place(page, 60, 60)))
    same(touched, segment(sam, scene, [(60, 60)]))


@needs_chromium
def test_keyboard_alone(page, sam, scene):
    fresh(page)
    page.js("document.querySelector('canvas').focus()")
    live_js(page, "live.cross = null")
    for name in ("ArrowLeft", "ArrowLeft", "ArrowUp"):
        page.key(name)
    found = answered(page, lambda: page.key("Enter"))
    same(found, segment(sam, scene, [(128 - 16, 128 - 8)]))
    page.key("Backspace")
    assert live_js(page, "live.points.length") == 0


@needs_chromium
def test_map_and_automatic_masks(page, adapted, scene):
    fresh(page)
    page.js("document.querySelector('.map').click()")
    page.until("!document.querySelector('.cut').hidden")
    found = np.array(live_js(page, "Array.from(live.logits)")).reshape(scene.shape[:2])
    image = torch.from_numpy(scene).permute(2, 0, 1) / 255
    with torch.no_grad():
        wanted = adapted.eval()(fit_image(image, 256)[None])[0, 0].numpy()
    assert np.abs(found - wanted).max() <= 2e-3 * np.abs(wanted).max()
    page.js("(() => { const e = document.querySelector('.cut input'); e.value = 80;"
            " e.dispatchEvent(new Event('input')); })()")  # fmt: skip
    page.until("document.querySelector('.state').textContent.includes('0.80')")
    share = live_js(page, "live.shown[0].mask.reduce((a, b) => a + b) / live.shown[0].mask.length")
    assert share == pytest.approx((wanted > np.log(4)).mean(), abs=0.001)
    page.js("document.querySelector('.auto').click()")
    page.until("document.querySelector('.tlseg-live').dataset.masks")
    assert live_js(page, "live.shown.length") >= 3


@needs_chromium
def test_what_comes_late_does_not_speak_over_what_came_after(page):
    fresh(page)
    said = page.js("""(async () => {
      const live = document.querySelector('.tlseg-live').live, ask = live.models.ask;
      const state = () => document.querySelector('.state').textContent;
      let release;
      const gate = new Promise(done => { release = done; });
      live.models.ask = async (...given) => {
        const answer = await ask.apply(live.models, given);
        if (given[0] === "map") await gate;
        return answer;
      };
      try {
        live.logits = null;
        const map = live.landslides();
        await live.openFile(new Blob(["no picture"]));
        const before = state();
        release();
        await map;
        return [before, state(), live.shown.length];
      } finally { delete live.models.ask; }
    })()""")
    assert said[0].startswith("This file is no picture")
    assert said[1] == said[0]
    assert said[2] == 1  # the map itself is there


@needs_chromium
def test_own_image_and_outlines(page, sam, tmp_path):
    wide = np.zeros((60, 120, 3), np.uint8) + np.array([40, 90, 40], np.uint8)
    wide[15:45, 30:80] = [200, 150, 90]
    Image.fromarray(wide).save(tmp_path / "mine.png")
    count = len(page.requests)
    page.upload(".file", tmp_path / "mine.png")
    page.until("document.querySelector('.tlseg-live').live.size.w === 120"
               " && document.querySelector('.state').textContent.startsWith('Ready')")  # fmt: skip
    ious, masks = answered(page, lambda: page.mouse(place(page, 55, 30)))
    wanted = segment(sam, wide, [(55, 30)])  # another way of resampling: close, not the same
    assert np.allclose(ious, wanted.scores.numpy(), atol=0.05)
    best = masks[int(np.argmax(ious))].reshape(60, 120)
    assert tl.zero_shot.iou(best, wanted.masks[int(wanted.scores.argmax())].numpy()) > 0.95
    assert all(url.startswith(("blob:", "data:")) for url in page.requests[count:])
    # a ring, a dot in it and a neighbour that it touches at a corner: area and holes of GeoJSON
    made = json.loads(
        page.js("""import("./live_masks.js").then(m => {
      const rows = ["11111.", "1...1.", "1.1.1.", "1...1.", "11111.", ".....1"];
      const mask = Uint8Array.from(rows.join(""), Number);
      return JSON.stringify(m.geojson([{mask, iou: 0.5}], 6, 6, {x: 2, y: 1}));
    })""")
    )
    from shapely.geometry import shape

    feature = made["features"][0]
    outline = shape(feature["geometry"])
    assert outline.is_valid
    assert outline.area == 2 * 18  # pixels are two wide here
    assert len(outline.geoms) == 3
    assert feature["properties"] == {"predicted_iou": 0.5}
    page.js("document.querySelector('.scene').dispatchEvent(new Event('change'))")
    page.until("document.querySelector('.tlseg-live').live.size.w === 256")


@needs_chromium
def test_a_dropped_image_and_what_is_saved_of_it(page, sam, tmp_path):
    wide = np.zeros((600, 1400, 3), np.uint8) + np.array([40, 90, 40], np.uint8)
    wide[150:450, 300:800] = [200, 150, 90]
    Image.fromarray(wide).save(tmp_path / "mine.png")
    (tmp_path / "notes.png").write_text("no picture")
    page.drop(place(page, 100, 100), tmp_path / "notes.png")
    page.until("document.querySelector('.state').textContent.includes('no picture')")
    page.drop(place(page, 100, 100), tmp_path / "mine.png")
    page.until("document.querySelector('.tlseg-live').live.size.w === 1024"
               " && document.querySelector('.state').textContent.startsWith('Ready')")  # fmt: skip
    page.downloads(tmp_path)
    page.js("document.querySelector('.png').click()")
    page.until("document.querySelector('.state').textContent === 'There is no mask to save.'")
    answered(page, lambda: page.mouse(place(page, 400, 220)))
    page.js("document.querySelector('.png').click()")
    page.js("document.querySelector('.json').click()")
    saved = np.array(Image.open(come(tmp_path / "mask.png")).convert("L"))
    assert saved.shape == wide.shape[:2]  # of the file, not of the smaller copy worked on
    assert set(np.unique(saved)) == {0, 255}
    wanted = segment(sam, wide, [(547, 301)])
    best = wanted.masks[int(wanted.scores.argmax())].numpy()
    assert tl.zero_shot.iou(saved > 0, best) > 0.95
    from rasterio.features import rasterize

    found = json.loads(come(tmp_path / "masks.geojson").read_text())
    shapes = [(feature["geometry"], 1) for feature in found["features"]]
    outlined = rasterize(shapes, wide.shape[:2]) > 0
    assert (outlined != (saved > 0)).mean() < 0.002  # a pixel of the copy is 1.4 of the file
    page.js("document.querySelector('.scene').dispatchEvent(new Event('change'))")
    page.until("document.querySelector('.tlseg-live').live.size.w === 256")


def come(file, seconds=20):
    """A file that the browser saves, once it is whole."""
    end = time.monotonic() + seconds
    while not file.is_file() or not file.stat().st_size:
        assert time.monotonic() < end, f"{file.name} was not saved: {list(file.parent.iterdir())}"
        time.sleep(0.05)
    return file


@needs_chromium
def test_from_the_button_to_the_file_by_keyboard(folder, sam, scene, tmp_path):
    with served(folder) as address, opened(tmp_path, address) as page:
        page.size(1400)
        page.downloads(tmp_path)
        tab_to(page, ".load")
        page.key("Enter")
        page.until("document.querySelector('.tlseg-live').dataset.ready")
        assert page.js("document.activeElement.className") == "view"  # no focus is lost
        found = answered(page, lambda: page.key("Enter"))
        same(found, segment(sam, scene, [(128, 128)]))
        tab_to(page, ".masks input:checked")
        chosen = page.js("document.activeElement.value")
        page.key("ArrowRight")
        assert page.js("document.querySelector('.masks input:checked').value") != chosen
        tab_to(page, ".png")
        page.key("Enter")
        saved = np.array(Image.open(come(tmp_path / "mask.png")).convert("L")) > 0
        which = int(page.js("document.querySelector('.masks input:checked').value"))
        assert (saved != found[1][which].reshape(256, 256)).mean() == 0
        seen = tab_to(page, ".scene", back=True)
        assert {"map", "auto", "clear", "undo", "file"} <= set(seen), seen
        assert not page.errors, page.errors


def tab_to(page, selector, back=False):
    """Press Tab until an element has the focus; the classes of those on the way."""
    seen = []
    for _ in range(40):
        page.key("Tab", shift=back)
        seen.append(page.js("document.activeElement.className"))
        if page.js(f"document.activeElement.matches({json.dumps(selector)})"):
            return seen
    raise AssertionError(f"Tab does not lead to {selector}, only to {seen}")


NO_DEVICE = """({ features: new Set(), limits: {}, info: {},
  requestDevice: async () => { throw new Error("no device"); } })"""
GPUS = {
    "no WebGPU": "undefined",
    "no adapter": "{ requestAdapter: async () => null }",
    "an error": "{ requestAdapter: async () => { throw new Error('no'); } }",
    "no device": f"{{ requestAdapter: async () => {NO_DEVICE} }}",
    "it hangs": "{ requestAdapter: async () => ({}) }",
}


@needs_chromium
@pytest.mark.parametrize("gpu", GPUS)
def test_without_a_working_webgpu_the_processor_answers(gpu, folder, sam, scene, tmp_path):
    site = shutil.copytree(folder, tmp_path / "site")
    worker = site / "live_worker.js"
    stub = f'Object.defineProperty(navigator, "gpu", {{ value: {GPUS[gpu]} }});\n'
    worker.write_text(stub + worker.read_text("utf-8"), "utf-8")
    about = json.loads((site / "page.json").read_text())
    (site / "page.json").write_text(json.dumps(about | {"patience": 4000}))
    with served(site) as address, opened(tmp_path, address) as page:
        page.js("document.querySelector('.load').click()")
        page.until("document.querySelector('.tlseg-live').dataset.ready")
        assert page.js("document.querySelector('.tlseg-live').dataset.device") == "wasm"
        found = answered(page, lambda: page.mouse(place(page, 100, 90)))
        same(found, segment(sam, scene, [(100, 90)]))
        assert not page.errors, page.errors


SOFTWARE = (
    *("--enable-unsafe-webgpu", "--enable-unsafe-swiftshader", "--enable-features=Vulkan"),
    *("--use-webgpu-adapter=swiftshader", "--use-vulkan=swiftshader"),
)


@needs_chromium
@pytest.mark.parametrize("used", [False, True], ids=["is left alone", "answers as PyTorch"])
def test_webgpu_that_chromium_imitates(used, folder, sam, adapted, scene, tmp_path):
    """Slower than the processor, so pages do not take it; here it stands in for a real one."""
    if used and not os.environ.get("TLSEG_WEBGPU_TEST"):
        pytest.skip("minutes; TLSEG_WEBGPU_TEST=1 runs it")
    site = shutil.copytree(folder, tmp_path / "site")
    about = json.loads((site / "page.json").read_text())
    (site / "page.json").write_text(json.dumps(about | {"imitated": used, "patience": 300_000}))
    with served(site) as address, opened(tmp_path, address, arguments=SOFTWARE) as page:
        if not page.js("(async () => Boolean(await navigator.gpu?.requestAdapter()))()"):
            pytest.skip("this Chromium has no software WebGPU")
        page.js("document.querySelector('.load').click()")
        page.until("document.querySelector('.tlseg-live').dataset.ready", 400)
        device = page.js("document.querySelector('.tlseg-live').dataset.device")
        assert device == ("webgpu" if used else "wasm")
        found = answered(page, lambda: page.mouse(place(page, 100, 90)))
        same(found, segment(sam, scene, [(100, 90)]))
        if used:
            page.js("document.querySelector('.map').click()")
            page.until("!document.querySelector('.cut').hidden", 200)
            mapped = np.array(live_js(page, "Array.from(live.logits)")).reshape(256, 256)
            image = torch.from_numpy(scene).permute(2, 0, 1) / 255
            with torch.no_grad():
                wanted = adapted.eval()(fit_image(image, 256)[None])[0, 0].numpy()
            assert ((mapped > 0) != (wanted > 0)).mean() <= 0.001
        assert not page.errors, page.errors


@needs_chromium
def test_fast_quiet_and_narrow(page, tmp_path):
    page.until("document.querySelector('.state').textContent.startsWith('Ready')")
    times = []
    for x in (50, 90, 130, 170, 210):
        answered(page, lambda x=x: page.mouse(place(page, x, 120)))
        times.append(float(page.js("document.querySelector('.tlseg-live').dataset.clickMs")))
    data = page.js("({...document.querySelector('.tlseg-live').dataset})")
    click = float(np.median(times))
    print(f"\nloaded in {float(data['loadMs']) / 1e3:.2f} s, encoder "
          f"{float(data['embedMs']):.0f} ms, click {click:.0f} ms ({data['device']})")  # fmt: skip
    assert float(data["embedMs"]) + click < 3000 * 4  # goals 3 s and 150 ms, on a busy machine
    assert click < 150 * 4
    for width in (390, 1400):
        for dark in (False, True):
            page.size(width, 1000, dark)
            assert page.js("document.documentElement.scrollWidth") <= width
            page.picture(tmp_path / f"live-{width}-{'dark' if dark else 'light'}.png")
    page.size(1400)
    assert not page.errors, page.errors
    foreign = [u for u in page.requests if not u.startswith((page.address, "blob:", "data:"))]
    assert foreign in ([], ["about:blank"])


def test_weight(folder):
    about = json.loads((folder / "page.json").read_text())
    assert about["megabytes"] <= about["megabytes_webgpu"] <= 30
    assert "MIT License" in (folder / "onnxruntime-web.LICENSE.txt").read_text()


def test_without_a_model():
    with pytest.raises(ValueError, match="neither sam nor model"):
        live.live_files("nowhere")
