"""Runs on the command line: scored on their own test images, stopped and taken up, looked at."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from course import ROOT
from PIL import Image

import tlseg_lite as tl
from tlseg_lite.cli.commands import main
from tlseg_lite.data.transforms import PAD_COLOUR
from tlseg_lite.scenes.export import synthesize

TRAIN = ["train", "--data", "synthetic", "--n", "8", "--recipe", "laptop", "--quiet"]
FAST = ["--epochs", "1", "--seed", "3"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with seed 3 on eight scenes, five of them for training."""
    out = tmp_path_factory.mktemp("run") / "a"
    assert main([*TRAIN, *FAST, "--out", str(out)]) == 0
    return out


def scored(capsys, *arguments):
    """What ``evaluate --json`` prints, and its warnings."""
    assert main(["evaluate", *map(str, arguments), "--json"]) == 0
    told = capsys.readouterr()
    return json.loads(told.out), told.err


def test_a_run_is_scored_on_its_own_test_images(run, capsys):
    report = json.loads((run / "scores.json").read_text())
    data = ["--data", "synthetic", "--n", "8"]
    for model in (run, run / "best.safetensors"):
        found, warnings = scored(capsys, model, *data)
        assert found["scores"]["miou"] == pytest.approx(report["test"]["miou"])
        assert found["trained_on"] == found["chosen_on"] == 0
        assert warnings == ""
    same, _ = scored(capsys, run, *data, "--seed", 3)
    assert same["scores"] == found["scores"]
    more, _ = scored(capsys, run, "--data", "synthetic")  # sixty scenes, the run's among them
    assert more["scores"] == found["scores"]


def test_a_run_without_a_test_uses_all_images_and_is_tested_on_others(tmp_path, capsys):
    synthesize(tmp_path / "here", style="bijie", n=20, size=64, seed=3, progress=False)
    here = ["--data", "bijie", "--root", str(tmp_path / "here")]
    model = ["--epochs", "1", "--model", "unet", "--recipe", "laptop", "--quiet"]
    out = tmp_path / "run"
    assert main(["train", *here, "--blocks", "5", "--no-test", *model, "--out", str(out)]) == 0
    told = capsys.readouterr().out
    assert ": 15, 4, 0 for training, validation, test" in told
    assert "no images were kept for a test" in told
    report = json.loads((out / "scores.json").read_text())
    assert report["test"] is None
    assert report["test_ids"] == []
    assert (out / "predictions.png").is_file()
    with pytest.raises(SystemExit):
        main(["evaluate", str(out), *here])
    assert "kept no test images (train --no-test); give other images" in capsys.readouterr().err
    other = ["--data", "synthetic", "--n", "4"]
    found, warnings = scored(capsys, out, *other, "--part", "all")
    assert warnings == ""
    assert 0 <= found["scores"]["miou"] <= 1
    _, warnings = scored(capsys, out, *here, "--part", "all")
    assert "was trained on 15 of these 19 images" in warnings


def test_a_test_by_regions_and_no_test_contradict_each_other(tmp_path, capsys):
    given = ["--data", "sen12landslides", "--root", str(tmp_path), "--no-test"]
    with pytest.raises(SystemExit):
        main(["train", *given, "--test-regions", "Japan", "--out", str(tmp_path / "a")])
    assert "--no-test: --test-regions names a test" in capsys.readouterr().err


def test_images_that_were_trained_or_chosen_on_are_named(run, capsys):
    data = ["--data", "synthetic", "--n", "8"]
    found, warnings = scored(capsys, run, *data, "--part", "all")
    assert (found["trained_on"], found["chosen_on"]) == (6, 1)
    assert "was trained on 6 of these 8 images" in warnings
    assert "has its epoch chosen on 1 of these 8 images" in warnings
    _, warnings = scored(capsys, run, *data, "--part", "train")
    assert "trained on 6 of these 6 images" in warnings


def test_data_without_the_run_s_images_is_refused(run, tmp_path, capsys):
    synthesize(tmp_path / "other", style="bijie", n=8, size=64, seed=0, progress=False)
    other = ["--data", "bijie", "--root", str(tmp_path / "other")]
    assert main(["evaluate", str(run), *other]) == 1
    told = capsys.readouterr().err
    assert "1 of the run's 1 test images are not among the 8 Bijie images" in told
    assert "--part all" in told
    _, warnings = scored(capsys, run, *other, "--part", "all")
    assert warnings == ""  # it has seen none of them


def test_a_model_of_version_0_1_0_says_that_its_images_are_not_known(capsys):
    model = ROOT / "tests" / "training" / "data" / "version_0.1.0.safetensors"
    _, warnings = scored(capsys, model, "--data", "synthetic", "--n", "8")
    assert "does not say which images it was trained on" in warnings


def test_weights_that_moved_are_found_where_they_are(tmp_path, capsys):
    here, there = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    shutil.copy(tl.sam.MINI_WEIGHTS, here)
    out = tmp_path / "run"
    assert main([*TRAIN, *FAST, "--weights", str(here), "--out", str(out)]) == 0
    here.rename(there)
    capsys.readouterr()
    arguments = ["evaluate", str(out), "--data", "synthetic", "--n", "8"]
    assert main(arguments) == 1
    told = capsys.readouterr().err
    assert "--weights FILE" in told
    assert "sam=" in told
    assert main([*arguments, "--weights", str(there)]) == 0
    capsys.readouterr()
    assert main([*arguments, "--weights", "random"]) == 1
    assert "other weights" in capsys.readouterr().err
    again = [*TRAIN, *FAST, "--weights", str(there), "--out", str(out)]  # fingerprints, not paths
    assert main(again) == 0


def test_a_longer_run_is_asked_for(run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "b")
    longer = [*TRAIN, "--seed", "3", "--epochs", "2", "--out", str(tmp_path / "b")]
    assert main(longer) == 1
    assert "epochs was 1, now 2" in capsys.readouterr().err
    assert main([*longer, "--extend"]) == 0
    assert "stretched over 2 epochs" in capsys.readouterr().out
    other = [*TRAIN[:3], "--n", "12", *TRAIN[5:], *FAST, "--out", str(tmp_path / "b")]
    assert main([*other, "--epochs", "2"]) == 1
    assert "training images: 6 before, 8 now" in capsys.readouterr().err


@pytest.fixture
def pictures(tmp_path):
    """Two images of different size and kind."""
    for name, size in (("a.png", (60, 40)), ("b.jpg", (33, 90))):
        values = np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)
        Image.fromarray(values).save(tmp_path / name)
    return [str(tmp_path / "a.png"), str(tmp_path / "b.jpg")]


def test_predict_writes_masks_of_the_images_sizes(run, pictures, tmp_path, capsys):
    out = tmp_path / "out"
    call = ["predict", str(run), *pictures, "--out", str(out), "--probability", "png"]
    assert main(call) == 0
    model = tl.load_model(run / "best.safetensors")
    for name in ("a", "b"):
        mask = np.asarray(Image.open(out / f"{name}_mask.png"))
        image = next(p for p in pictures if f"{name}." in p)
        wanted = tl.predict(model, tl.data.read_image(image)).sigmoid()[0].numpy()
        assert mask.shape == wanted.shape
        assert set(np.unique(mask)) <= {0, 255}
        np.testing.assert_array_equal(mask > 0, wanted > 0.5)
        stored = np.asarray(Image.open(out / f"{name}_probability.png")).astype(float) / 65535
        np.testing.assert_allclose(stored, wanted, atol=1e-5)
    before = (out / "a_mask.png").read_bytes()
    assert main(call) == 1
    assert "nothing is overwritten" in capsys.readouterr().err
    assert (out / "a_mask.png").read_bytes() == before


def test_predict_takes_the_model_by_name_or_first(run, pictures, tmp_path, capsys):
    def masks(folder):
        return {p.name: p.read_bytes() for p in (tmp_path / folder).iterdir()}

    model = str(run / "best.safetensors")
    assert main(["predict", str(run), *pictures, "--out", str(tmp_path / "first")]) == 0
    assert main(["predict", *pictures, "--model", model, "--out", str(tmp_path / "named")]) == 0
    assert main(["predict", "--out", str(tmp_path / "c"), "--model", str(run), *pictures]) == 0
    assert masks("first") == masks("named") == masks("c")
    assert set(masks("c")) == {"a_mask.png", "b_mask.png"}
    capsys.readouterr()
    for files in (pictures, pictures[:1], [str(run)]):
        with pytest.raises(SystemExit, match="2"):
            main(["predict", *files, "--out", str(tmp_path / "d")])
        assert f"no model for {files[0]}: give --model" in capsys.readouterr().err
    assert not (tmp_path / "d").exists()


def test_predict_takes_a_threshold_or_the_model_s_own(run, pictures, tmp_path, capsys):
    model = tl.load_model(run / "best.safetensors")
    wanted = tl.predict(model, tl.data.read_image(pictures[0])).sigmoid()[0].numpy()
    middle = float(np.median(wanted))
    model.trained_on = model.trained_on | {"threshold": float(np.log(middle / (1 - middle)))}
    model.save(tmp_path / "own.safetensors")
    call = ["predict", pictures[0], "--model", str(tmp_path / "own.safetensors"), "--threshold"]
    for given in ("own", repr(middle)):
        out = tmp_path / given
        assert main([*call, given, "--out", str(out)]) == 0
        assert f"above {middle:.2f}" in capsys.readouterr().out
        mask = np.asarray(Image.open(out / "a_mask.png")) > 0
        unsure = np.abs(wanted - middle) < 1e-6
        np.testing.assert_array_equal(mask[~unsure], (wanted > middle)[~unsure])
        assert 0.4 < mask.mean() < 0.6
    for given in ("2", "0", "half"):
        with pytest.raises(SystemExit, match="2"):
            main([*call, given, "--out", str(tmp_path / "bad")])
        assert "no probability between 0 and 1, nor 'own'" in capsys.readouterr().err


def test_predict_reads_images_as_in_the_training(run, pictures, tmp_path, capsys):
    """Bands and limits are the model's; a pixel without data is no landslide."""
    rasterio = pytest.importorskip("rasterio")
    low, high = (100.0, 0.0, 50.0), (3000.0, 2000.0, 2500.0)
    scaling = tl.data.Scaling((4, 2, 1), low, high)
    model = tl.load_model(run / "best.safetensors")
    model.trained_on = model.trained_on | {"scaling": scaling.as_dict()}
    model.save(tmp_path / "own.safetensors")
    values = np.random.default_rng(1).integers(1, 3000, (4, 40, 50), dtype=np.uint16)
    values[:, 10:20, 10:20] = 0
    about = {"driver": "GTiff", "count": 4, "dtype": "uint16", "height": 40, "width": 50}
    with rasterio.open(tmp_path / "bands.tif", "w", nodata=0, crs="EPSG:32648",
                       transform=rasterio.Affine(2, 0, 9, 0, -2, 9), **about) as file:  # fmt: skip
        file.write(values)
    call = ["predict", "--model", str(tmp_path / "own.safetensors"), "--out", str(tmp_path / "out")]
    call += ["--threshold", "1e-9", "--probability", "npy"]
    assert main([*call, str(tmp_path / "bands.tif")]) == 0
    there = values[0] > 0
    image = torch.from_numpy(scaling(values[[3, 1, 0]]))
    image[:, torch.from_numpy(~there)] = torch.tensor(PAD_COLOUR)[:, None]
    wanted = tl.predict(model, image).sigmoid()[0].numpy()
    found = np.load(tmp_path / "out" / "bands_probability.npy")
    np.testing.assert_allclose(found[there], wanted[there], atol=1e-6)
    mask = np.asarray(Image.open(tmp_path / "out" / "bands_mask.png"))
    np.testing.assert_array_equal(mask > 0, there)
    assert main([*call, pictures[0]]) == 1
    assert "has 3 bands, numbered from 1, and bands are (4, 2, 1)" in capsys.readouterr().err
    Image.fromarray(np.zeros((9, 9, 4), np.uint8)).save(tmp_path / "eight.png")
    assert main([*call, str(tmp_path / "eight.png")]) == 1
    assert "has 8 bits, and the model learned from values up to 3000" in capsys.readouterr().err


def test_predict_refuses_by_name_and_writes_nothing(run, pictures, tmp_path, capsys):
    (tmp_path / "notes.png").write_text("no image")
    out = tmp_path / "out"
    for bad, words in (
        (tmp_path / "notes.png", "notes.png cannot be read"),
        (tmp_path / "none.png", "no image"),
        (tmp_path, "is a folder"),
    ):
        assert main(["predict", str(run), *pictures, str(bad), "--out", str(out)]) == 1
        assert words in capsys.readouterr().err
        assert not out.exists()
    Image.open(pictures[0]).save(tmp_path / "a.tif")
    twice = [pictures[0], str(tmp_path / "a.tif")]
    assert main(["predict", str(run), *twice, "--out", str(out)]) == 1
    assert "the same mask, a_mask.png" in capsys.readouterr().err


def test_check_lists_every_problem_at_once(tmp_path, capsys):
    data = tmp_path / "data"
    synthesize(data, style="bijie", n=6, size=64, seed=0, progress=False)
    assert main(["check", str(data)]) == 0
    told = capsys.readouterr().out
    for words in ("6, 6 can be used", "64 to 64 pixels", "3 bands of 8 bits", "problems    0"):
        assert words in told
    images, masks = (sorted(data.rglob(f"landslide/{kind}/*.png")) for kind in ("image", "mask"))
    images[0].write_bytes(images[0].read_bytes()[:200])
    values = np.asarray(Image.open(masks[1])).copy()
    values[:4] = 7
    Image.fromarray(values).save(masks[1])
    assert main(["check", "--data", "bijie", "--root", str(data)]) == 1
    told = capsys.readouterr().out
    assert "6, 4 can be used" in told
    assert images[0].name in told
    assert f"{masks[1]} has values 0, 7" in told
    out = tmp_path / "run"
    call = ["train", "--data", "bijie", "--root", str(data), "--recipe", "laptop", *FAST]
    assert main([*call, "--out", str(out)]) == 1  # the quick form, before the training
    assert "2 of 6 items cannot be used" in capsys.readouterr().err
    assert not out.exists()


def test_check_s_bad_usage(tmp_path, capsys):
    for arguments in (["check"], ["check", str(tmp_path), "--data", "synthetic"]):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 2
    assert main(["check", str(tmp_path)]) == 1
    assert str(tmp_path) in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals there")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_training_says_how_to_go_on_and_does(number, status, tmp_path):
    """Stopped after the first epoch's state is there; the same command ends as if it had not."""
    arguments = [*TRAIN, "--epochs", "60", "--out", str(tmp_path / "it's here")]
    command = [sys.executable, "-m", "tlseg_lite", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        # whoever runs the tests in the background may ignore Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as child:
        while not (tmp_path / "it's here" / "state.pt").exists() and child.poll() is None:
            time.sleep(0.02)
        child.send_signal(number)
        _, told = child.communicate()
    assert child.returncode == status, told
    assert "what was finished is saved. To go on:" in told
    assert "tlseg-lite train --data synthetic" in told
    assert """'it'"'"'s here'""" in told.replace(str(tmp_path) + "/", "'").replace("''", "'")
    assert "Traceback" not in told
    names = {p.name for p in (tmp_path / "it's here").iterdir()}
    assert "state.pt" in names
    assert not [name for name in names if name.endswith((".part", ".lock"))]


def test_a_terminal_without_the_letters(tmp_path):
    out = tmp_path / "场景"
    done = subprocess.run(
        [sys.executable, "-m", "tlseg_lite", "synthesize", str(out), "--n", "2", "--size", "32"],
        capture_output=True,
        env={**os.environ, "PYTHONUTF8": "0", "PYTHONIOENCODING": "cp1252"},
    )
    assert done.returncode == 0, done.stderr
    assert b"\\u573a\\u666f" in done.stdout
    assert out.is_dir()


def test_a_home_that_cannot_be_written(tmp_path):
    """Commands that need no cache make none."""
    home = tmp_path / "home"
    home.write_text("no folder at all")
    done = subprocess.run(
        [sys.executable, "-m", "tlseg_lite", "check", "--data", "synthetic", "--n", "3"],
        capture_output=True,
        text=True,
        env={**os.environ, "HOME": str(home), "TLSEG_CACHE": str(home / "cache")},
    )
    assert done.returncode == 0, done.stderr
    assert "3, 3 can be used" in done.stdout


def test_images_are_divided_by_blocks_of_neighbours(tmp_path, capsys):
    synthesize(tmp_path / "bijie", style="bijie", n=20, size=64, seed=3, progress=False)
    data = ["--data", "bijie", "--root", str(tmp_path / "bijie"), "--blocks", "5"]
    model = ["--epochs", "1", "--model", "unet", "--recipe", "laptop"]
    main(["train", *data, *model, "--out", str(tmp_path / "run"), "--quiet"])
    assert ": 10, 5, 4 for training, validation, test" in capsys.readouterr().out
    run = tl.load_model(tmp_path / "run" / "best.safetensors").run
    every = [sorted(run["images"][part]["ids"]) for part in ("train", "val", "test")]
    line = sorted(name for part in every for name in part)
    blocks = [set(line[start : start + 5]) for start in range(0, 20, 5)]
    assert all(any(block <= set(part) for part in every) for block in blocks)
    main(["evaluate", str(tmp_path / "run"), *data, "--seed", "0", "--json"])
    assert json.loads(capsys.readouterr().out)["trained_on"] == 0
