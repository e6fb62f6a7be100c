"""fit and evaluate: reproducible, resumable, counted at native size, clear about bad input."""

import math
from dataclasses import replace

import pandas as pd
import pytest
import torch
from torch.utils.data import Dataset

import tlseg_lite as tl
from tlseg_lite import machine
from tlseg_lite.batches import EpochOrder, SharedBatches
from tlseg_lite.recipes import named_recipe
from tlseg_lite.sam import CheckpointError
from tlseg_lite.steps import learning_rate
from tlseg_lite.training import preflight


class Blobs(Dataset):
    """Small pictures of several shapes; landslides are the bright rectangles."""

    source = "bright rectangles"

    def __init__(self, n, prefix="blob"):
        self.ids = [f"{prefix}{i}" for i in range(n)]

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, i):
        generator = torch.Generator().manual_seed(i)
        h, w = 40 + 7 * (i % 3), 60 - 9 * (i % 4)
        mask = torch.zeros(1, h, w)
        mask[:, 8 : 20 + i % 5, 10 : 30 - i % 5] = 1
        noise = 0.15 * torch.rand(3, h, w, generator=generator)
        return {"image": 0.2 + 0.5 * mask + noise, "mask": mask, "id": self.ids[i]}


class Threshold(torch.nn.Module):
    """A model that needs no training: bright is landslide."""

    image_size = 64

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(20.0))

    def forward(self, images):
        return self.scale * (images.mean(1, keepdim=True) - 0.5)


@pytest.fixture(scope="module")
def sam():
    return tl.load_sam("sam_mini", None, image_size=64)


@pytest.fixture
def model(sam):
    return tl.TransLandSeg(sam, tl.DESIGNS["TransLandSeg"])


RECIPE = tl.Recipe(epochs=3, batch_size=3)


def weights(model):
    return {k: v.clone() for k, v in model.trained_state().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_one_seed_one_result(sam, tmp_path):
    results = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.manual_seed(hash(name) % 1000)  # the global state must not matter
        model = tl.TransLandSeg(sam, tl.ATLConfig())
        recipe = replace(RECIPE, seed=seed)
        tl.fit(model, Blobs(7), Blobs(3, "val"), recipe, tmp_path / name, progress=False)
        results.append(weights(model))
    assert same(results[0], results[1])
    assert not same(results[0], results[2])


def test_it_learns_and_leaves_its_files(model, tmp_path):
    recipe = replace(RECIPE, epochs=12, learning_rate=2e-3)
    run = tl.fit(model, Blobs(9), Blobs(4, "val"), recipe, tmp_path / "run", progress=False)
    assert run.history["loss"].iloc[-1] < 0.6 * run.history["loss"].iloc[0]
    assert run.best_miou == run.history["miou"].max() > 0.75
    on_disk = pd.read_csv(tmp_path / "run" / "history.csv")
    assert list(on_disk["epoch"]) == list(range(12))
    torch.testing.assert_close(torch.tensor(on_disk["loss"]), torch.tensor(run.history["loss"]))
    # the model holds the best epoch's weights, and so does the file
    assert tl.evaluate(model, Blobs(4, "val")).miou == pytest.approx(run.best_miou)
    saved = type(model).load_tensors(run.best)
    assert same(saved, weights(model))


class Interrupted(Blobs):
    """Raises as a killed process stops: in the middle of an epoch."""

    def __init__(self, n, after):
        super().__init__(n)
        self.left = after

    def __getitem__(self, i):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return super().__getitem__(i)


@pytest.mark.parametrize("after", [1, 10, 17])
def test_an_interrupted_run_ends_as_if_it_had_not_been(sam, tmp_path, after):
    straight = tl.TransLandSeg(sam, tl.ATLConfig())
    tl.fit(straight, Blobs(7), Blobs(3, "val"), RECIPE, tmp_path / "straight", progress=False)
    broken = tl.TransLandSeg(sam, tl.ATLConfig())
    with pytest.raises(KeyboardInterrupt):
        tl.fit(
            broken, Interrupted(7, after), Blobs(3, "val"), RECIPE, tmp_path / "r", progress=False
        )
    again = tl.TransLandSeg(sam, tl.ATLConfig())
    run = tl.fit(again, Blobs(7), Blobs(3, "val"), RECIPE, tmp_path / "r", progress=False)
    assert same(weights(straight), weights(again))
    assert len(run.history) == RECIPE.epochs


def test_a_finished_run_is_not_run_again(model, sam, tmp_path):
    args = (Blobs(4), Blobs(2, "val"), replace(RECIPE, epochs=1), tmp_path)
    tl.fit(model, *args, progress=False)
    before = (tmp_path / "state.pt").read_bytes()
    fresh = tl.TransLandSeg(sam, tl.DESIGNS["TransLandSeg"])
    tl.fit(fresh, *args, progress=False)
    assert (tmp_path / "state.pt").read_bytes() == before
    assert same(weights(fresh), weights(model))


def test_other_settings_in_the_same_folder_are_refused(model, tmp_path):
    train, val = Blobs(4), Blobs(2, "val")
    short = replace(RECIPE, epochs=1)
    tl.fit(model, train, val, short, tmp_path, progress=False)
    with pytest.raises(ValueError, match=r"learning_rate was 0\.0005, now 0\.001"):
        tl.fit(model, train, val, replace(short, learning_rate=1e-3), tmp_path, progress=False)
    run = tl.fit(
        model,
        train,
        val,
        replace(short, learning_rate=1e-3),
        tmp_path,
        resume=False,
        progress=False,
    )
    assert len(run.history) == 1


def test_an_unreadable_state_is_said(model, tmp_path):
    (tmp_path / "state.pt").write_bytes(b"half a file")
    with pytest.raises(CheckpointError, match="delete it to start anew"):
        tl.fit(model, Blobs(4), Blobs(2, "val"), RECIPE, tmp_path, progress=False)


def test_bad_datasets(model, tmp_path):
    with pytest.raises(ValueError, match="training dataset is empty"):
        tl.fit(model, Blobs(0), Blobs(2), RECIPE, tmp_path)
    with pytest.raises(ValueError, match="validation dataset is empty"):
        tl.fit(model, Blobs(2), Blobs(0), RECIPE, tmp_path)
    with pytest.raises(ValueError, match="empty"):
        tl.evaluate(model, Blobs(0))
    with pytest.warns(UserWarning, match="2 images are in the training and in the validation set"):
        tl.fit(model, Blobs(3), Blobs(2), replace(RECIPE, epochs=1), tmp_path, progress=False)


def test_a_diverging_loss_is_said(model, tmp_path):
    with torch.no_grad():
        model.no_mask_embed.weight.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="lower learning_rate"):
        tl.fit(model, Blobs(3), Blobs(2, "val"), RECIPE, tmp_path, progress=False)


def test_mixed_precision_keeps_adapters_in_float32(sam, tmp_path):
    model = tl.TransLandSeg(sam, tl.ATLConfig())
    recipe = replace(RECIPE, epochs=1, precision="bf16")
    run = tl.fit(model, Blobs(4), Blobs(2, "val"), recipe, tmp_path, progress=False)
    assert math.isfinite(run.history["loss"][0])
    assert {p.dtype for p in model.trained_state().values()} == {torch.float32}


def test_evaluation_counts_every_native_pixel_once():
    data = Blobs(5)
    scores = tl.evaluate(Threshold(), data, batch_size=2)
    total = sum(data[i]["mask"].numel() for i in range(5))
    assert sum(scores.confusion.counts()) == total
    positive = sum(data[i]["mask"].sum().item() for i in range(5))
    tp, _, fn, _ = scores.confusion.counts()
    assert tp + fn == positive
    assert scores.miou > 0.9  # the rule is right but for the blur of resampling
    for batch_size in (1, 5):
        assert tl.evaluate(Threshold(), data, batch_size=batch_size).confusion == scores.confusion


def test_predictions_have_the_picture_s_size(model):
    assert tl.predict(model, torch.rand(3, 50, 33)).shape == (1, 50, 33)
    assert tl.predict(model, torch.rand(3, 200, 64)).shape == (1, 200, 64)
    with pytest.raises(ValueError, match=r"expected \(3, height, width\)"):
        tl.predict(model, torch.rand(1, 3, 50, 33))


def test_learning_rate_warms_up_and_ends_at_zero():
    recipe = replace(RECIPE, learning_rate=1.0, warmup=0.1)
    rates = [learning_rate(recipe, step, 100) for step in range(100)]
    assert rates[:10] == pytest.approx([(i + 1) / 11 for i in range(10)])
    assert rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)  # half way down the cosine
    assert rates == sorted(rates[:11]) + sorted(rates[11:], reverse=True)
    assert 0 < rates[-1] < 0.001


def test_the_order_depends_on_seed_and_epoch_only():
    order = EpochOrder(20, seed=1)
    first = list(order)
    assert sorted(first) == list(range(20))
    order.set_epoch(1)
    assert list(order) != first
    order.set_epoch(0)
    assert list(order) == first


def test_every_image_is_in_one_batch_of_one_process():
    order = EpochOrder(9, seed=3)
    alone = list(SharedBatches(order, 4))
    assert [len(batch) for batch in alone] == [4, 4, 1]
    assert [i for batch in alone for i in batch] == list(order)
    shares = [SharedBatches(order, 4, process, 3) for process in range(3)]
    for step, (batch, *parts) in enumerate(zip(alone, *shares, strict=True)):
        assert sorted(i for part in parts for i in part) == sorted(batch)
        assert shares[0].images(step) == len(batch)
    assert list(shares[2])[-1] == []  # one image, three processes


def test_preflight_changes_nothing(model):
    before = weights(model)
    told = preflight(model, Blobs(5), RECIPE)
    assert same(before, weights(model))
    assert all(p.grad is None for p in model.parameters())
    assert told.waiting == pytest.approx(3 * told.loading)  # no workers: each image is waited for
    steps = 2 * 3
    assert told.minutes == pytest.approx(steps * (told.seconds_per_step + told.waiting) / 60)
    assert "3 epochs of 5 images" in str(told)
    assert "3 images at once" in str(told)


def test_preflight_counts_waiting_for_loaders():
    told = tl.training.Preflight(
        device="cuda", recipe=replace(RECIPE, batch_size=8, workers=2), images=5,
        seconds_per_step=1.0, minutes=1.0, trainable=1, micro_batch=8, processes=1, loading=0.2,
        peak_gb=3.14,
    )  # fmt: skip
    assert told.waiting == 0  # two workers prepare 8 images in 0.8 s, a step takes 1 s
    assert replace(told, loading=0.5).waiting == pytest.approx(1.0)
    assert replace(told, loading=0.5, processes=2).waiting == 0
    assert "3.1 GB at most" in str(told)


class TestRecipe:
    def test_they_are_what_the_papers_and_the_machines_need(self):
        paper = tl.Recipe.paper()
        assert (paper.sam, paper.epochs, paper.learning_rate) == ("vit_l", 50, 2e-4)
        assert paper.dice_weight == 0.5
        assert tl.Recipe.laptop().sam == "sam_mini"
        assert tl.Recipe.t4().sam == "vit_b"

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("sam", "vit_x"), ("epochs", 0), ("epochs", 1.5), ("batch_size", True),
            ("learning_rate", -1), ("learning_rate", "fast"), ("warmup", 2), ("precision", "fp8"),
            ("dice_weight", 1.5), ("seed", -1), ("workers", -1), ("clip", float("nan")),
            ("micro_batch", -1), ("cache", "tape"), ("checkpointing", 1), ("compile", "yes"),
        ],
    )  # fmt: skip
    def test_impossible_values(self, field, value):
        with pytest.raises(ValueError, match=field):
            tl.Recipe(**{field: value})

    def test_an_unknown_setting_raises(self):
        with pytest.raises(TypeError, match="learning_rat"):
            tl.Recipe(learning_rat=1)

    def test_it_says_what_decides_the_result_apart_from_how(self):
        quick = replace(tl.Recipe.paper(), micro_batch=1, checkpointing=True, cache="no")
        assert quick.as_dict() == tl.Recipe.paper().as_dict()
        assert quick.how() == {
            "micro_batch": 1, "checkpointing": True, "compile": False, "cache": "no",
        }  # fmt: skip
        assert tl.Recipe(**quick.as_dict(), **quick.how()) == quick

    @pytest.fixture
    def slow_machine(self, monkeypatch):
        """A machine whose matrix rate is known: 10^12 operations a second."""
        monkeypatch.delenv("TLSEG_RECIPE", raising=False)
        monkeypatch.setattr(machine, "matrix_rate", lambda *_: 1e12)

    def test_for_this_machine(self, monkeypatch, slow_machine):
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
        chosen = tl.Recipe.for_this_machine()
        assert chosen == tl.Recipe.laptop()
        assert "no CUDA device" in chosen.why
        assert "minutes for 539 images, an estimate" in chosen.why
        monkeypatch.setenv("TLSEG_RECIPE", "paper")
        chosen = tl.Recipe.for_this_machine()
        assert chosen == tl.Recipe.paper()
        assert chosen.why.startswith("TLSEG_RECIPE=paper; about ")
        monkeypatch.setenv("TLSEG_RECIPE", "nope")
        with pytest.raises(ValueError, match="laptop, t4, paper"):
            tl.Recipe.for_this_machine()

    def test_for_this_machine_measures_a_model(self, model, monkeypatch):
        monkeypatch.delenv("TLSEG_RECIPE", raising=False)
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
        chosen = tl.Recipe.for_this_machine(Blobs(5), model)
        assert chosen == tl.Recipe.laptop()
        assert "for 5 images, from steps measured just now" in chosen.why
        with pytest.raises(ValueError, match="give train"):
            tl.Recipe.for_this_machine(model=model)

    @pytest.mark.parametrize(
        ("name", "gib", "capability", "sam", "precision"),
        [
            ("Tesla T4", 14.6, (7, 5), "vit_b", "fp16"),
            ("NVIDIA L4", 22.2, (8, 9), "vit_b", "bf16"),
            ("NVIDIA A100-SXM4-40GB", 39.4, (8, 0), "vit_l", "bf16"),
            ("NVIDIA H200", 139.0, (9, 0), "vit_l", "bf16"),
        ],
    )
    def test_by_the_memory_of_the_gpu(
        self, monkeypatch, slow_machine, name, gib, capability, sam, precision
    ):
        from types import SimpleNamespace

        properties = SimpleNamespace(name=name, total_memory=int(gib * 2**30))
        monkeypatch.setattr("torch.cuda.is_available", lambda: True)
        monkeypatch.setattr("torch.cuda.get_device_properties", lambda _: properties)
        monkeypatch.setattr("torch.cuda.get_device_capability", lambda _: capability)
        chosen = tl.Recipe.for_this_machine(train=Blobs(100))
        assert (chosen.sam, chosen.precision) == (sam, precision)
        assert chosen.checkpointing == (gib < 30)
        assert name in chosen.why
        assert "100 images" in chosen.why

    def test_the_estimate_follows_work_rate_and_share(self, monkeypatch, slow_machine):
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
        row = {"kind": "cpu", "sam": "vit_b", "share": "0.5", "device": "a known machine"}
        monkeypatch.setattr(machine, "recorded", lambda: (row,))
        recipe = replace(tl.Recipe.paper(), sam="vit_b", epochs=3)
        minutes, basis = machine.estimated_minutes(recipe, 10)
        assert minutes == pytest.approx(30 * machine.training_flop("vit_b") / 0.5e12 / 60)
        assert "50% of the measured matrix rate, as recorded on a known machine" in basis
        again, basis = machine.estimated_minutes(replace(recipe, sam="vit_l"), 10)
        assert again == pytest.approx(30 * machine.training_flop("vit_l") * 3 / 1e12 / 60)
        assert "assumed" in basis
        twice, _ = machine.estimated_minutes(replace(recipe, checkpointing=True), 10)
        assert twice == pytest.approx(4 / 3 * minutes)  # the forward pass is computed again

    @pytest.mark.parametrize("name", ["sam_mini", "vit_b", "vit_l"])
    def test_the_work_is_that_which_torch_counts(self, name):
        """Twice the encoder's forward pass, as PyTorch's own counter sees it."""
        from torch.utils.flop_counter import FlopCounterMode

        from tlseg_lite.sam import build_sam

        with torch.device("meta"):
            encoder = build_sam(name).image_encoder
            image = torch.empty(1, 3, encoder.img_size, encoder.img_size)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            encoder(image)
        assert machine.training_flop(name) == pytest.approx(2 * counter.get_total_flops(), rel=0.03)

    def test_the_matrix_rate_is_a_rate(self):
        assert 1e8 < machine.matrix_rate("cpu", "no", 256) < 1e14

    def test_by_name(self):
        assert named_recipe("t4") == tl.Recipe.t4()
        with pytest.raises(ValueError, match="laptop"):
            named_recipe("as_dict")
