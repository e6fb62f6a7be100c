"""Out of memory: smaller pieces, the same batch, the same result, and a word about it."""

from dataclasses import replace

import pytest
import torch
from training_helpers import Blobs, Threshold

import tlseg_lite as tl
from tlseg_lite.training.memory import NotEnoughMemory, PeakMemory, is_out_of_memory

RECIPE = tl.Recipe(epochs=2, batch_size=5)


def no_cuda_memory():
    raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def no_cpu_memory():
    torch.empty(2**60)  # what the allocator itself says


class InBackward(torch.autograd.Function):
    """Passes its input on, and runs out of memory on the way back."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        no_cpu_memory()


class Limited(tl.TransLandSeg):
    """A model on a machine that holds `most` images at once."""

    most = 2
    backward_too = False

    def forward(self, images):
        logits = super().forward(images)
        if len(images) > self.most and self.training:
            if self.backward_too:
                return InBackward.apply(logits)
            self.run_out()
        return logits

    run_out = staticmethod(no_cuda_memory)


@pytest.fixture(scope="module")
def sam():
    return tl.load_sam("sam_mini", None, image_size=64)


def train(model, folder, recipe=RECIPE, n=7, **options):
    return tl.fit(model, Blobs(n), Blobs(3, "val"), recipe, folder, progress=False, **options)


def weights(model):
    return {k: v.clone() for k, v in model.trained_state().items()}


def test_what_is_out_of_memory():
    for run_out in (no_cuda_memory, no_cpu_memory):
        with pytest.raises(RuntimeError) as caught:
            run_out()
        assert is_out_of_memory(caught.value)
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"))
    for other in (RuntimeError("shapes do not fit"), KeyError("image"), NotEnoughMemory("x")):
        assert not is_out_of_memory(other)


@pytest.mark.parametrize(
    ("most", "run_out", "backward_too"),
    [(2, no_cuda_memory, False), (1, no_cpu_memory, False), (2, no_cpu_memory, True)],
    ids=["GPU", "CPU", "backward"],
)
def test_smaller_pieces_give_the_same_result(sam, tmp_path, capsys, most, run_out, backward_too):
    whole = tl.TransLandSeg(sam, tl.ATLConfig())
    expected = train(whole, tmp_path / "whole")
    assert list(expected.history["micro_batch"]) == [5, 5]
    assert "out of memory" not in capsys.readouterr().out

    model = Limited(sam, tl.ATLConfig())
    model.most, model.run_out, model.backward_too = most, run_out, backward_too
    run = train(model, tmp_path / "pieces")
    told = capsys.readouterr().out
    assert f"images at a time: going on with {most}, adding up the gradients" in told
    assert "the batch stays 5 and the result the same" in told
    assert list(run.history["micro_batch"]) == [most, most]
    torch.testing.assert_close(
        torch.tensor(run.history["loss"]), torch.tensor(expected.history["loss"]), rtol=1e-5, atol=0
    )
    ours, theirs = weights(model), weights(whole)
    for name in theirs:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-3, atol=2e-5)

    # as if the size had been known from the start: then not even rounding differs
    known = tl.TransLandSeg(sam, tl.ATLConfig())
    train(known, tmp_path / "known", replace(RECIPE, micro_batch=most))
    assert all(torch.equal(ours[name], value) for name, value in weights(known).items())


def test_gradients_in_pieces_are_those_of_the_batch(sam):
    """Without the optimizer: AdamW divides small rounding by small gradients."""
    from tlseg_lite.training.loader import collate, prepared
    from tlseg_lite.training.step import TrainingStep, accelerator_for, optimizer_for

    data = prepared(Blobs(5), 64, RECIPE)
    batch = collate([data[i] for i in range(5)])
    found = []
    for pieces in (5, 2, 1):
        model = tl.TransLandSeg(sam, tl.ATLConfig()).train()
        recipe = replace(RECIPE, micro_batch=pieces, clip=0.0)
        accelerator = accelerator_for(recipe)
        step = TrainingStep(
            model, accelerator.prepare(optimizer_for(model, recipe)), recipe, accelerator
        )
        total = step(batch, 5, 0)
        found.append((total, {n: p.grad for n, p in model.named_parameters() if p.requires_grad}))
    for total, gradients in found[1:]:
        torch.testing.assert_close(total, found[0][0], rtol=1e-6, atol=0)
        scale = max(g.abs().max() for g in found[0][1].values() if g is not None)
        for name, gradient in gradients.items():
            if gradient is not None:
                torch.testing.assert_close(
                    gradient, found[0][1][name], rtol=1e-4, atol=1e-6 * float(scale)
                )


def test_what_was_found_is_kept_for_the_next_call(sam, tmp_path, capsys):
    model = Limited(sam, tl.ATLConfig())
    train(model, tmp_path, replace(RECIPE, epochs=1))
    assert "going on with 2" in capsys.readouterr().out
    again = Limited(sam, tl.ATLConfig())
    run = train(again, tmp_path, extend=True)
    assert "out of memory" not in capsys.readouterr().out
    assert list(run.history["micro_batch"]) == [2, 2]


def test_not_even_one_image(sam, tmp_path):
    model = Limited(sam, tl.ATLConfig())
    model.most = 0
    with pytest.raises(NotEnoughMemory, match="one image of 64 px at a time") as caught:
        train(model, tmp_path)
    for remedy in ("checkpointing=True", "sam='vit_b'", "image_size=512"):
        assert remedy in str(caught.value)


def test_another_error_is_not_taken_for_it(sam, tmp_path):
    def broken():
        raise RuntimeError("shapes do not fit")

    model = Limited(sam, tl.ATLConfig())
    model.run_out = broken
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        train(model, tmp_path)


class Normalised(torch.nn.Module):
    """A model whose batch normalisation sees the size of a piece."""

    image_size = 64
    most = 99

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(3, 4, 3, padding=1),
            torch.nn.BatchNorm2d(4),
            torch.nn.Dropout(0.5),
            torch.nn.Conv2d(4, 1, 1),
        )
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)

    def forward(self, images):
        logits = self.layers(images)
        if len(images) > self.most and self.training:
            no_cuda_memory()  # the statistics have seen these images already
        return logits


def test_batch_normalisation_is_said_and_its_statistics_see_no_image_twice(capsys):
    from tlseg_lite.training.loader import collate, prepared
    from tlseg_lite.training.step import TrainingStep, accelerator_for, optimizer_for

    data = prepared(Blobs(4), 64, RECIPE)
    batch = collate([data[i] for i in range(4)])
    states = []
    for most, known in ((2, 0), (99, 2)):
        model = Normalised().train()
        model.most = most
        recipe = replace(RECIPE, batch_size=4, micro_batch=known)
        accelerator = accelerator_for(recipe)
        step = TrainingStep(
            model, accelerator.prepare(optimizer_for(model, recipe)), recipe, accelerator
        )
        step(batch, 4, seed=1)
        states.append(model.state_dict())
    told = capsys.readouterr().out
    assert "batch normalisation now sees 2 at a time: the result changes" in told
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])  # dropout included


def test_preflight_finds_what_fits(sam, capsys):
    model = Limited(sam, tl.ATLConfig())
    told = tl.preflight(model, Blobs(6), RECIPE)
    assert told.micro_batch == told.recipe.micro_batch == 2
    assert told.recipe == replace(RECIPE, micro_batch=2)
    assert "2 images at once" in str(told)
    assert "going on with 2" in capsys.readouterr().out


def test_evaluation_in_halves():
    class Tight(Threshold):
        largest = 0

        def forward(self, images):
            if len(images) > 2:
                no_cuda_memory()
            self.largest = max(self.largest, len(images))
            return super().forward(images)

    tight = Tight()
    expected = tl.evaluate(Threshold(), Blobs(5), batch_size=5)
    assert tl.evaluate(tight, Blobs(5), batch_size=5).confusion == expected.confusion
    assert tight.largest == 2

    class TooTight(Threshold):
        def forward(self, images):
            no_cpu_memory()

    with pytest.raises(NotEnoughMemory, match="one image"):
        tl.evaluate(TooTight(), Blobs(2))


class TestPeakMemory:
    def test_it_counts_what_is_alive_at_once(self):
        with PeakMemory() as peak:
            a = torch.zeros(1000)  # 4000 bytes
            b = a + 1  # and 4000
            del a
            c = b.view(10, 100)  # the same bytes
            d = c.double()  # and 8000
        assert peak.most == 4000 + 8000
        assert peak.alive == 12000
        del b, c
        assert peak.alive == 8000
        assert d.sum() == 1000

    def test_a_gradient_keeps_what_it_needs(self):
        """A chain of n sigmoids keeps n outputs for the way back; checkpointing keeps the input."""
        from torch.utils.checkpoint import checkpoint

        x = torch.zeros(1000, requires_grad=True)

        def chain(x):
            for _ in range(10):
                x = x.sigmoid()
            return x

        peaks = []
        for run in (chain, lambda x: checkpoint(chain, x, use_reentrant=False)):
            with PeakMemory() as peak:
                y = run(x)
                kept = peak.alive
                y.backward(torch.ones_like(y))
            peaks.append((kept, peak.most))
        assert peaks[0][0] == 10 * 4000
        assert peaks[1][0] <= 2 * 4000
        assert peaks[0][1] >= 11 * 4000

    def test_checkpointing_takes_less(self):
        found = {}
        images = torch.rand(1, 3, 256, 256)
        large = tl.load_sam("sam_mini", None, image_size=256)
        for name, options in {
            "eager": tl.encoder.EncoderOptions("eager"),
            "checkpoint": tl.encoder.EncoderOptions("eager", checkpoint=True),
        }.items():
            model = tl.TransLandSeg(large, tl.ATLConfig(), encoder_options=options).train()
            with PeakMemory() as peak:
                model(images).mean().backward()
            found[name] = peak.most
        assert found["checkpoint"] < 0.6 * found["eager"]
