"""Correcting a mask in a notebook: what clicks do, where it is written, what the picture tells."""

import numpy as np
import pytest
import torch
from adapter_helpers import nowhere_zero_sam, prompted_model, upright_image
from browser import needs_chromium, results
from map_helpers import two_slides, write_scene

import tlseg_lite as tl
from tlseg_lite.core.errors import DataError, MissingDataError
from tlseg_lite.data import read_image, read_mask
from tlseg_lite.widgets import Corrector
from tlseg_lite.widgets.correct_view import picture


@pytest.fixture(scope="module")
def model():
    return prompted_model()


@pytest.fixture(scope="module")
def image():
    return upright_image()


@pytest.fixture
def scene(tmp_path):
    return write_scene(tmp_path / "scene.tif", two_slides())


@pytest.fixture
def made(model, scene, tmp_path):
    return tl.maps.predict_scene(model, scene, tmp_path / "map", progress=False)


class TestCorrector:
    def test_clicks_change_the_mask_and_undo_brings_it_back(self, model, image):
        corrector = Corrector(model, image)
        first = corrector.mask.copy()
        assert np.array_equal(first, (tl.predict(model, image)[0] > 0).numpy())
        assert corrector.state().startswith("No click yet: ")
        second = corrector.click(3, 4).copy()
        assert not np.array_equal(first, second)
        assert np.array_equal(corrector.changed, first != second)
        corrector.click(30, 40, on=False)
        assert corrector.state().startswith("2 clicks, the last at x 30, y 40 (no landslide): ")
        assert np.array_equal(corrector.undo(), second)
        assert corrector.state().startswith("1 click, the last at x 3, y 4 (landslide): ")
        assert np.array_equal(corrector.reset(), first)
        assert np.array_equal(corrector.undo(), first)

    def test_the_mask_is_written_and_read_again(self, model, image, tmp_path):
        corrector = Corrector(model, image, out=tmp_path / "new" / "mask.png")
        corrector.click(3, 4)
        assert not corrector.saved
        assert "mask.png" in corrector.save()
        assert corrector.saved
        assert np.array_equal(read_mask(tmp_path / "new" / "mask.png")[0].numpy(), corrector.mask)
        corrector.undo()
        assert not corrector.saved
        corrector.save(tmp_path / "other.png")
        assert np.array_equal(read_mask(tmp_path / "other.png")[0].numpy(), corrector.mask)

    def test_an_image_file(self, model, tmp_path):
        from PIL import Image

        pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype("uint8")
        Image.fromarray(pixels).save(tmp_path / "chip.png")
        corrector = Corrector(model, tmp_path / "chip.png")
        assert torch.equal(corrector.image, read_image(tmp_path / "chip.png"))

    def test_a_window_of_a_scene_without_a_map(self, model, scene):
        corrector = Corrector(model, str(scene), window=(20, 40))
        assert corrector.image.shape == (3, 64, 64)
        whole = read_image_of(scene)
        torch.testing.assert_close(corrector.image, whole[:, 20:84, 40:104])
        wide = Corrector(model, scene, window=(-5, 40, 25, 30))
        torch.testing.assert_close(wide.image, whole[:, :20, 40:70])

    def test_a_map_is_where_it_begins_and_where_it_goes(self, model, scene, made):
        before = mask_of(made)
        corrector = Corrector(model, scene, window=(20, 40), found=made)
        assert np.array_equal(corrector.mask, before[20:84, 40:104] == 1)
        corrector.click(10, 10, on=not corrector.mask[10, 10])
        assert corrector.changed.any()
        said = corrector.save()
        assert "corrected landslides in the map" in said
        after = mask_of(made)
        assert np.array_equal(after[20:84, 40:104] == 1, corrector.mask)
        after[20:84, 40:104] = before[20:84, 40:104]
        assert np.array_equal(after, before)
        again = Corrector(model, scene, window=(20, 40), found=made.folder)
        assert np.array_equal(again.mask, corrector.mask)

    def test_what_is_refused(self, model, image, scene, made, tmp_path):
        with pytest.raises(ValueError, match="takes no clicks; build it with"):
            Corrector(tl.TransLandSeg(nowhere_zero_sam(64), None), image)
        with pytest.raises(ValueError, match="divide by 255"):
            Corrector(model, image * 255)
        with pytest.raises(ValueError, match=r"expected a file with the ending \.png"):
            Corrector(model, image, out="mask.tif")
        with pytest.raises(ValueError, match=r"nowhere to write to: give out="):
            Corrector(model, image).save()
        with pytest.raises(ValueError, match=r"give window=\(row, column\)"):
            Corrector(model, scene, found=made)
        with pytest.raises(MissingDataError, match="no image"):
            Corrector(model, tmp_path / "none.png")
        with pytest.raises(MissingDataError, match="is no map"):
            Corrector(model, scene, window=(0, 0), found=tmp_path)
        other = write_scene(tmp_path / "other.tif", two_slides()[:, :100])
        with pytest.raises(DataError, match=r"the map was made of scene\.tif"):
            Corrector(model, other, window=(0, 0), found=made)

    @pytest.mark.parametrize("window", [3, (1,), (1.5, 2), (0, 0, 0, 5), (0, 0, 5), "ab"])
    def test_a_window_that_is_none(self, model, scene, window):
        with pytest.raises(ValueError, match="expected whole numbers of pixels"):
            Corrector(model, scene, window=window)

    def test_a_window_elsewhere(self, model, scene):
        with pytest.raises(ValueError, match="lies outside of the scene"):
            Corrector(model, scene, window=(10_000, 0))


def read_image_of(scene):
    import rasterio

    with rasterio.open(scene) as file:
        return torch.from_numpy(file.read().astype(np.float32) / 255)


def mask_of(made):
    import rasterio

    with rasterio.open(made.mask) as file:
        return file.read(1)


class TestView:
    def test_what_the_picture_tells_is_done(self, model, image, tmp_path):
        view = tl.correct(model, image, out=tmp_path / "mask.png")
        tells = iter(range(1, 20))

        def tell(words):
            view._field.value = f"{next(tells)} {words}"

        tell("on 3 4")
        assert view.corrector.clicks == [(3, 4, True)]
        assert "1 click, the last at x 3, y 4" in view._said.value
        assert view._picture.value.count("<path") == 2
        tell("off 30 40")
        assert view.corrector.clicks[1] == (30, 40, False)
        tell("undo 0 0")
        assert view.corrector.clicks == [(3, 4, True)]
        tell("on 99 4")  # outside: said, and nothing else
        assert "outside of the image" in view._said.value
        assert len(view.corrector.clicks) == 1
        tell("nonsense")
        again, anew, save = view.box.children[1].children
        save.click()
        assert "mask in" in view._said.value
        assert (tmp_path / "mask.png").exists()
        anew.click()
        assert view.corrector.clicks == []
        again.click()
        assert "No click yet" in view._said.value

    def test_nowhere_to_save_is_said(self, model, image):
        view = tl.correct(model, image)
        view.box.children[1].children[2].click()
        assert "nowhere to write to" in view._said.value

    def test_without_ipywidgets_it_says_what_to_install(self, model, image, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "ipywidgets", None)
        with pytest.raises(ImportError, match="pip install ipywidgets"):
            tl.correct(model, image)

    @needs_chromium
    def test_clicks_and_keys_in_a_browser(self, model, image, tmp_path):
        corrector = Corrector(model, image)
        corrector.click(3, 4)
        script = """
        const told = [], input = document.querySelector('.here input');
        input.addEventListener('input', () => told.push(input.value));
        setTimeout(() => {
          const aim = document.querySelector('.tlseg-aim'), box = aim.getBoundingClientRect();
          const at = (x, y) => ({ clientX: box.left + (x + 0.5) / 32 * box.width,
            clientY: box.top + (y + 0.5) / 48 * box.height, bubbles: true, cancelable: true });
          aim.dispatchEvent(new MouseEvent('click', at(7, 11)));
          aim.dispatchEvent(new MouseEvent('contextmenu', at(31, 47)));
          aim.dispatchEvent(new MouseEvent('click', { ...at(0, 0), shiftKey: true }));
          for (const [key, shiftKey] of [['ArrowRight', false], ['ArrowDown', true], ['Enter'],
            ['ArrowLeft'], ['ArrowLeft'], ['Delete'], ['u'], ['z']]) {
            aim.dispatchEvent(new KeyboardEvent('keydown', { key, shiftKey, bubbles: true }));
          }
          const text = JSON.stringify({ told, ratio: box.width / box.height });
          document.getElementById('results').textContent = text;
        }, 200);
        """
        page = (
            f'<!doctype html><meta charset="utf-8">{picture(corrector, "here")}'
            f'<div class="here"><input type="text"></div><pre id="results"></pre>'
            f"<script>{script}</script>"
        )
        found, errors = results(tmp_path, page)
        assert not errors
        assert found["ratio"] == pytest.approx(32 / 48, rel=0.01)
        assert found["told"] == [
            *("1 on 7 11", "2 off 31 47", "3 off 0 0"),
            *("4 on 1 10", "5 off 0 10", "6 undo 0 10"),
        ]
