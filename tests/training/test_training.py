"""fit and evaluate: reproducible, resumable, counted at native size, clear about bad input."""

import math
from dataclasses import replace

import pandas as pd
import pytest
import torch
from training_helpers import Blobs, Threshold

import tlseg_lite as tl
from tlseg_lite.core.errors import CheckpointError
from tlseg_lite.training import evaluation
from tlseg_lite.training.loader import EpochOrder, SharedBatches
from tlseg_lite.training.loop import preflight
from tlseg_lite.training.step import learning_rate


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


def test_the_last_epoch_can_be_kept_whatever_validation_says(sam, tmp_path):
    class Inverted(Blobs):  # the better the model gets, the worse it looks
        def __getitem__(self, i):
            item = super().__getitem__(i)
            return item | {"mask": 1 - item["mask"]}

    found = {}
    for keep in ("best", "last"):
        model = tl.TransLandSeg(sam, tl.ATLConfig())
        recipe = replace(RECIPE, epochs=6, learning_rate=2e-3, keep=keep)
        run = tl.fit(model, Blobs(9), Inverted(4, "val"), recipe, tmp_path / keep, progress=False)
        found[keep] = run
        assert same(type(model).load_tensors(run.best), weights(model))
    best, last = found["best"], found["last"]
    pd.testing.assert_series_equal(best.history["loss"], last.history["loss"])
    assert last.best_epoch == 5 > best.best_epoch
    assert last.best_miou == last.history["miou"].iloc[-1] < best.best_miou


def test_the_moving_average_is_what_is_validated_and_kept(sam, tmp_path):
    own, averaged = (tl.TransLandSeg(sam, tl.ATLConfig()) for _ in range(2))
    args = (Blobs(7), Blobs(4, "val"))
    plain = tl.fit(own, *args, replace(RECIPE, keep="last"), tmp_path / "own", progress=False)
    recipe = replace(RECIPE, keep="last", ema=0.9)
    run = tl.fit(averaged, *args, recipe, tmp_path / "averaged", progress=False)
    pd.testing.assert_series_equal(plain.history["loss"], run.history["loss"])  # the same path
    assert not same(weights(own), weights(averaged))
    assert tl.evaluate(averaged, args[1]).miou == pytest.approx(run.best_miou)
    assert same(type(averaged).load_tensors(run.best), weights(averaged))
    state = torch.load(tmp_path / "averaged" / "state.pt", weights_only=True)
    assert same(state["model"], weights(own))  # it goes on from its own weights
    with pytest.raises(ValueError, match=r"ema was 0\.9, now None"):
        tl.fit(averaged, *args, replace(recipe, ema=0), tmp_path / "averaged", progress=False)


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


@pytest.mark.parametrize(("after", "ema"), [(1, 0), (10, 0), (17, 0), (17, 0.9)])
def test_an_interrupted_run_ends_as_if_it_had_not_been(sam, tmp_path, after, ema):
    recipe = replace(RECIPE, ema=ema)
    straight = tl.TransLandSeg(sam, tl.ATLConfig())
    tl.fit(straight, Blobs(7), Blobs(3, "val"), recipe, tmp_path / "straight", progress=False)
    broken = tl.TransLandSeg(sam, tl.ATLConfig())
    with pytest.raises(KeyboardInterrupt):
        tl.fit(
            broken, Interrupted(7, after), Blobs(3, "val"), recipe, tmp_path / "r", progress=False
        )
    again = tl.TransLandSeg(sam, tl.ATLConfig())
    run = tl.fit(again, Blobs(7), Blobs(3, "val"), recipe, tmp_path / "r", progress=False)
    assert same(weights(straight), weights(again))
    assert len(run.history) == RECIPE.epochs


def test_a_watcher_sees_each_epoch(model, tmp_path):
    seen = []
    args = (Blobs(4), Blobs(2, "val"), replace(RECIPE, epochs=2), tmp_path)
    run = tl.fit(model, *args, progress=False, watch=lambda history: seen.append(history))
    assert [len(history) for history in seen] == [1, 2]
    pd.testing.assert_frame_equal(seen[-1], run.history)
    assert (run.history["waiting"] <= run.history["seconds"]).all()


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
    with pytest.raises(CheckpointError, match="Move it to another folder to start anew"):
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


def test_images_that_are_none_are_refused_at_every_entrance(model, tmp_path):
    class Spoilt(Blobs):
        def __init__(self, value):
            super().__init__(4)
            self.value = value

        def __getitem__(self, i):
            item = super().__getitem__(i)
            if i == 2:
                item["image"][0, 3, 4] = self.value
            return item

    for value, words in ((float("nan"), "blob2 .*finite"), (255.0, r"blob2 .*\[0, 1\]")):
        with pytest.raises(ValueError, match=words.replace("blob2", "the image given")):
            tl.predict(model, Spoilt(value)[2]["image"])
        with pytest.raises(ValueError, match=words):
            tl.evaluate(model, Spoilt(value))
        with pytest.raises(ValueError, match=words):
            tl.fit(model, Spoilt(value), Blobs(2, "val"), RECIPE, tmp_path / "a", progress=False)
        with pytest.raises(ValueError, match=words):
            tl.fit(model, Blobs(2, "t"), Spoilt(value), RECIPE, tmp_path / "b", progress=False)


def test_a_model_of_nans_is_not_scored_as_all_background(model, monkeypatch):
    with torch.no_grad():
        model.no_mask_embed.weight.fill_(float("nan"))
    words = "logits are not finite .* on blob0, blob1, blob2 and 1 more; .*no_mask_embed.weight"
    with pytest.raises(FloatingPointError, match=words):
        tl.evaluate(model, Blobs(4))
    with pytest.raises(FloatingPointError, match="not finite"):
        tl.predict(model, Blobs(1)[0]["image"])


def test_logits_that_overflow_on_one_image_name_it():
    class Overflow(Threshold):
        def forward(self, images):
            bright = (images > 0.9).flatten(1).any(1)
            return super().forward(images) / (~bright).float()[:, None, None, None]

    data = [Blobs(3)[i] for i in range(3)]
    data[1]["image"][:, :20] = 0.95
    with pytest.raises(FloatingPointError, match=r"on blob1; its weights are finite.*precision"):
        tl.evaluate(Overflow(), data)


def test_counting_asks_the_device_once(monkeypatch):
    """The counts of all images, and whether their logits are finite: a transfer each."""
    asked = []
    tolist, item, truth = torch.Tensor.tolist, torch.Tensor.item, torch.Tensor.__bool__
    model, data = Threshold().to("cpu"), [Blobs(6)[i] for i in range(6)]
    batches = list(evaluation._batches(model, data, 2))  # what the workers do
    monkeypatch.setattr(torch.Tensor, "tolist", lambda t: asked.append("tolist") or tolist(t))
    monkeypatch.setattr(torch.Tensor, "item", lambda t: asked.append("item") or item(t))
    monkeypatch.setattr(torch.Tensor, "__bool__", lambda t: asked.append("bool") or truth(t))
    counts = sum(evaluation._counted(*pair) for pair in evaluation.answered(model, batches))
    assert asked == ["tolist"]
    assert sum(counts.counts()) == sum(item["mask"].numel() for item in data)


def test_the_augmentation_is_the_recipe_s():
    from tlseg_lite.training.loader import prepared

    def augment(value):
        return prepared(Blobs(2), 64, replace(RECIPE, augment=value)).augment

    assert augment(False) is None
    assert augment(True) == tl.data.Augment()
    image = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    sample = {"image": image, "mask": image[:1].round()}
    ways = [turned.rot90(k, (1, 2)) for turned in (image, image.flip(2)) for k in range(4)]
    seen = set()
    for seed in range(40):
        after = augment("turns")(sample, torch.Generator().manual_seed(seed))
        same = [torch.equal(way, after["image"]) for way in ways]
        assert sum(same) == 1  # one of the eight, and the mask goes with it
        assert torch.equal(after["mask"], after["image"][:1].round())
        seen.add(same.index(True))
    assert len(seen) == 8


def test_validation_images_are_prepared_by_the_workers(model, tmp_path):
    """The squares come out of the loader; the main process never sees the native image."""
    (samples, squares), *_ = evaluation._batches(model, Blobs(4), 3, workers=1)
    assert squares.shape == (1, 3, 3, 64, 64)
    assert all(set(sample) == {"id", "mask", "native_size"} for sample in samples)
    expected = tl.data.fit_square(Blobs(4)[1], 64)["image"]
    assert torch.equal(squares[0, 1], expected)
    one = tl.fit(model, Blobs(3), Blobs(3, "v"), replace(RECIPE, epochs=1), tmp_path / "0")
    again = tl.TransLandSeg(
        tl.load_sam("sam_mini", None, image_size=64), tl.DESIGNS["TransLandSeg"]
    )
    two = tl.fit(
        again, Blobs(3), Blobs(3, "v"), replace(RECIPE, epochs=1, workers=1), tmp_path / "1"
    )
    scores = ["loss", "miou", "landslide_iou", "oa"]
    pd.testing.assert_frame_equal(one.history[scores], two.history[scores], check_exact=True)


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
    options = model.encoder_options
    preflight(model, Blobs(5), replace(RECIPE, checkpointing=True))
    assert model.encoder_options is options
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


def test_what_a_recipe_asks_of_the_encoder_ends_with_the_training(model, tmp_path):
    seen, options = [], model.encoder_options
    recipe = replace(RECIPE, epochs=1, checkpointing=True)
    look = lambda _: seen.append(model.encoder_options.checkpoint)  # noqa: E731
    tl.fit(model, Blobs(2), Blobs(1, "v"), recipe, tmp_path / "a", progress=False, watch=look)
    assert seen == [True]
    assert model.encoder_options is options

    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tl.fit(model, Blobs(2), Blobs(1, "v"), recipe, tmp_path / "b", progress=False, watch=stop)
    assert model.encoder_options is options


def test_a_gpu_is_not_waited_for_in_each_step_and_divergence_is_said_all_the_same(
    model, tmp_path, monkeypatch
):
    """On a GPU `_agree` must not ask for the loss; here the CPU plays one."""
    from types import SimpleNamespace

    from tlseg_lite.training.step import TrainingStep, accelerator_for, optimizer_for

    step = TrainingStep(model, optimizer_for(model, RECIPE), RECIPE, accelerator_for(RECIPE))
    gpu = SimpleNamespace(num_processes=1, device=torch.device("cuda"))
    monkeypatch.setattr(step, "accelerator", gpu)
    assert step._agree(torch.tensor(float("nan"), device="meta")) == [0.0, 0.0]  # meta: no value
    assert step._agree(None) == [1.0, 0.0]

    monkeypatch.setattr(TrainingStep, "_agree", lambda self, total: [float(total is None), 0.0])
    with torch.no_grad():
        model.no_mask_embed.weight.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="epoch 0: the loss is nan; lower learning_rate"):
        tl.fit(model, Blobs(3), Blobs(2, "val"), RECIPE, tmp_path, progress=False)
    assert not (tmp_path / "state.pt").exists()


class Pointwise(torch.nn.Module):
    """Logits that depend on each pixel's colour, and with `slope` on its column."""

    def __init__(self, slope=0.0):
        super().__init__()
        self.image_size, self.slope = 32, torch.nn.Parameter(torch.tensor(slope))

    def forward(self, images):
        columns = torch.linspace(-1, 1, images.shape[-1], device=images.device)
        return images[:, :1] - 0.5 + self.slope * columns


def test_eight_views_cancel_what_depends_on_the_direction():
    image = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
    plain = tl.predict(Pointwise(), image)
    assert (plain - (image[:1] - 0.5)).abs().max() < 1e-6
    assert (tl.predict(Pointwise(), image, views=8) - plain).abs().max() < 1e-6
    assert (tl.predict(Pointwise(3.0), image) - plain).abs().max() > 1
    assert (tl.predict(Pointwise(3.0), image, views=8) - plain).abs().max() < 1e-5


def test_eight_views_of_pictures_that_are_not_square():
    image = torch.rand(3, 20, 32, generator=torch.Generator().manual_seed(0))
    sample = {"image": image, "mask": (image[:1] > 0.5).float(), "id": "a"}
    assert tl.predict(Pointwise(2.0), image, views=8).shape == (1, 20, 32)
    assert tl.evaluate(Pointwise(), [sample], views=8).miou == 1
    assert tl.evaluate(Pointwise(3.0), [sample]).miou < 0.8
    with pytest.raises(ValueError, match="views is 4; expected 1, or 8"):
        tl.evaluate(Pointwise(), [sample], views=4)
