"""The contract of what can be trained: the example of its page, files, classes found by name."""

import doctest

import pytest
import torch
from training_helpers import Blobs

import tlseg_lite as tl
from tlseg_lite.core import trainable
from tlseg_lite.core.errors import CheckpointError
from tlseg_lite.core.trainable import Trainable, load_model


@pytest.fixture
def example():
    """The class that the module's docstring shows."""
    (test,) = (t for t in doctest.DocTestFinder().find(trainable) if t.examples)
    names = test.globs
    runner = doctest.DocTestRunner()
    assert runner.run(test, clear_globs=False).failed == 0
    return names["Colour"]


def test_the_example_of_the_page_is_trained_saved_and_found_again(example, tmp_path):
    with torch.no_grad():
        model = example(32)
        for parameter in model.parameters():
            parameter.fill_(0.1)
    recipe = tl.Recipe(epochs=4, batch_size=2, learning_rate=0.1, clip=0)
    run = tl.fit(model, Blobs(6), Blobs(2, "val"), recipe, tmp_path, progress=False)
    assert run.history.loss.iloc[-1] < run.history.loss.iloc[0]
    again = load_model(run.best)
    assert type(again) is example
    assert again.image_size == 32
    assert not again.training
    image = Blobs(1)[0]["image"]
    assert torch.equal(tl.predict(again, image), tl.predict(model, image))
    with pytest.raises(ValueError, match=r"expected \(B, 3, 32, 32\)"):
        model(torch.rand(1, 3, 64, 64))
    with pytest.raises(CheckpointError, match=r"does not fit.*image size"):
        model.load_trained_state({"weights.weight": torch.zeros(1)}, "a file")


def test_statistics_of_normalisation_are_saved_too(tmp_path):
    class Normed(Trainable):
        def __init__(self, image_size=32):
            super().__init__(image_size)
            self.norm = torch.nn.BatchNorm2d(3)

        def forward(self, images):
            return self.norm(images).mean(1, keepdim=True)

    model = Normed().train()
    model(torch.rand(4, 3, 32, 32))
    model.save(tmp_path / "m")
    assert torch.equal(load_model(tmp_path / "m").norm.running_mean, model.norm.running_mean)


def test_kinds_go_by_the_class_below_the_contract(tmp_path):
    class First(Trainable):
        pass

    class Derived(First):
        pass

    assert Derived.kind == First.kind == "First"
    assert tl.TransLandSeg.kind == "TransLandSeg"
    Derived(32).save(tmp_path / "m")
    assert type(load_model(tmp_path / "m")) is First

    class First(Trainable):  # as when a cell of a notebook is run again
        pass

    assert type(load_model(tmp_path / "m")) is First


def test_a_plain_network_is_told_what_it_lacks(tmp_path):
    words = "Conv2d without image_size, trained_state, .*tlseg_lite.Trainable"
    with pytest.raises(TypeError, match=words):
        tl.fit(torch.nn.Conv2d(3, 1, 1), Blobs(2), Blobs(1, "v"), tl.Recipe(), tmp_path)


def test_a_class_that_is_not_defined_here_is_named(tmp_path):
    from tlseg_lite.core.files import write_tensors

    write_tensors(tmp_path / "m", {"a": torch.zeros(1)}, {"model": "Elsewhere", "image_size": 8})
    with pytest.raises(CheckpointError, match=r"holds a Elsewhere.*import the module"):
        load_model(tmp_path / "m")
    with pytest.raises(CheckpointError, match="expected a saved TransLandSeg"):
        tl.TransLandSeg.load(tmp_path / "m")
