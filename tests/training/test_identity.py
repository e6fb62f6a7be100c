"""A run knows its settings, images and model; what differs is named; old files load."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from course import ROOT
from training_helpers import Blobs

import tlseg_lite as tl
from tlseg_lite.core.files import read_tensors
from tlseg_lite.core.trainable import Trainable
from tlseg_lite.training.identity import differences, identity, images_known, images_of, seen

DATA = Path(__file__).parent / "data"
RECIPE = tl.Recipe(epochs=2, batch_size=2)


class Colour(Trainable):
    """One weight a colour: the smallest model that trains."""

    def __init__(self, image_size: int = 64):
        super().__init__(image_size)
        torch.manual_seed(0)
        self.weights = torch.nn.Conv2d(3, 1, kernel_size=1)

    def forward(self, images):
        return self.weights(images)


def fit(out, train=None, val=None, recipe=RECIPE, model=None, **options):
    model = Colour() if model is None else model
    train, val = train or Blobs(4), val or Blobs(2, "val")
    return tl.fit(model, train, val, recipe, out, progress=False, **options)


class Brighter(Blobs):
    """The same names, other pixels."""

    def __getitem__(self, index):
        item = super().__getitem__(index)
        return item | {"image": (item["image"] + 0.05).clamp(0, 1)}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"train": Blobs(6)}, "training images: 4 before, 6 now (0 gone, 2 new: blob4, blob5)"),
        ({"train": Blobs(2)}, "training images: 4 before, 2 now (2 gone: blob2, blob3, 0 new)"),
        ({"train": Blobs(4, "x")}, "(4 gone: blob0, blob1, blob2 ..., 4 new: x0, x1, x2 ...)"),
        ({"train": Brighter(4)}, "of the same names and with other content"),
        ({"val": Blobs(3, "val")}, "validation images: 2 before, 3 now"),
        ({"recipe": replace(RECIPE, epochs=1)}, "epochs was 2, now 1"),
        ({"recipe": replace(RECIPE, epochs=3)}, "epochs was 2, now 3"),
        ({"recipe": replace(RECIPE, augment=False)}, "augment was True, now False"),
        ({"model": Colour(32)}, "image_size was 64, now 32"),
    ],
)
def test_another_run_in_the_folder_is_refused_with_what_differs(change, words, tmp_path):
    fit(tmp_path)
    kept = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(ValueError, match="holds another run") as caught:
        fit(tmp_path, **change)
    assert words in str(caught.value)
    assert "resume=False (--restart)" in str(caught.value)
    assert ("extend=True" in str(caught.value)) == (words == "epochs was 2, now 3")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == kept


def test_another_order_is_another_run():
    there, back = images_of(Blobs(3)), images_of(Blobs(3))
    back["ids"].reverse()
    back["digest"] = "other"
    before, now = ({"recipe": {}, "model": {}, "images": {"train": x}} for x in (there, back))
    assert differences(before, now) == [
        "training images: 3 before, 3 now, the same in another order"
    ]


def test_what_changes_nothing_is_no_difference(tmp_path):
    """Processes that load images, where they are kept, and where a backbone's file lies."""
    fit(tmp_path)
    fit(tmp_path, recipe=replace(RECIPE, workers=1, cache="memory"))
    a, b = (
        {"recipe": {}, "model": {"backbone": {"weights": place, "fingerprint": "f"}}, "images": {}}
        for place in ("/here/w.pth", "/there/w.pth")
    )
    assert differences(a, b) == []
    b["model"]["backbone"]["fingerprint"] = "g"
    assert "backbone was" in differences(a, b)[0]


def test_a_longer_schedule_is_asked_for_and_says_what_becomes_of_the_rate(tmp_path, capsys):
    fit(tmp_path)
    longer = replace(RECIPE, epochs=4)
    run = fit(tmp_path, recipe=longer, extend=True)
    assert list(run.history.epoch) == [0, 1, 2, 3]
    told = capsys.readouterr().out
    assert "planned for 2 epochs, 2 of them done; now 4" in told
    assert "stretched over 4 epochs" in told
    straight = fit(tmp_path / "straight", recipe=longer)
    assert list(run.history.learning_rate[2:]) == list(straight.history.learning_rate[2:])
    assert run.history.learning_rate[1] < straight.history.learning_rate[1]
    fit(tmp_path, recipe=longer)  # now it is a run of four
    with pytest.raises(ValueError, match="epochs was 4, now 2"):
        fit(tmp_path, extend=True)


def test_a_saved_model_knows_its_images(tmp_path):
    run = fit(tmp_path, test=Blobs(3, "test"))
    model = tl.load_model(run.best)
    assert model.run == identity(RECIPE, Colour(), Blobs(4), Blobs(2, "val"), Blobs(3, "test"))
    assert model.run["images"]["test"]["ids"] == ["test0", "test1", "test2"]
    assert seen(model.run, ["blob1", "val0", "test0", "new"]) == {
        "train": ["blob1"],
        "val": ["val0"],
    }
    model.save(tmp_path / "again.safetensors")
    assert tl.load_model(tmp_path / "again.safetensors").run == model.run
    assert read_tensors(run.best)[1]["run"] == model.run


def test_files_say_it_where_their_content_changes(tmp_path):
    class OnDisk(Blobs):
        def files(self, index):
            return [tmp_path / f"{index}"]

    for i in range(3):
        (tmp_path / f"{i}").write_bytes(b"four")
    before = images_of(OnDisk(3))["digest"]
    (tmp_path / "2").write_bytes(b"seven")
    assert images_of(OnDisk(3))["digest"] != before


def test_a_model_of_version_0_1_0_gives_the_logits_of_its_time():
    model = tl.load_model(DATA / "version_0.1.0.safetensors")
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = model(images)[0, 0, ::16, ::16]
    then = torch.tensor(
        [
            [-3.16918, -2.85512, -2.32425, -2.52561],
            [-2.47959, -2.12196, -1.53814, -1.48579],
            [-1.16682, -1.17129, -1.43236, -1.99493],
            [-1.74346, -1.52223, -2.13749, -2.92418],
        ]
    )
    torch.testing.assert_close(logits, then, atol=1e-3, rtol=0)
    assert model.prompts is False
    assert model.run == {}
    assert not images_known(model.run)


def test_a_state_of_version_0_1_0_goes_on_with_a_warning(tmp_path):
    shutil.copy(DATA / "version_0.1.0_state.pt", tmp_path / "state.pt")
    shutil.copy(DATA / "version_0.1.0_best.safetensors", tmp_path / "best.safetensors")
    with pytest.warns(UserWarning, match=r"version 0\.1, which did not note its images"):
        run = fit(tmp_path, recipe=replace(RECIPE, epochs=3))
    assert list(run.history.epoch) == [0, 1, 2]
    shutil.copy(DATA / "version_0.1.0_state.pt", tmp_path / "state.pt")
    with (
        pytest.warns(UserWarning, match="version 0"),
        pytest.raises(ValueError, match=r"learning_rate was 0\.0005, now 0\.1"),
    ):
        fit(tmp_path, recipe=replace(RECIPE, learning_rate=0.1))


HOLDER = """
import sys
from tlseg_lite.core.locks import locked
with locked(sys.argv[1], purpose="run", wait=False):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no such lock there")
def test_two_processes_in_one_folder(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "state.pt")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as child:
        assert child.stdout.readline() == "held\n"
        with pytest.raises(RuntimeError, match=f"state.pt .process {child.pid} on "):
            fit(tmp_path)
        child.kill()  # also a killed process lets go
    fit(tmp_path)
    assert not list(tmp_path.glob(".*"))
