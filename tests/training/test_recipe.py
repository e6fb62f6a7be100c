"""Recipes: what they hold, what they refuse, which one fits a machine, how long it takes."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest
from training_helpers import Blobs

import tlseg_lite as tl
from tlseg_lite.training.recipe import named_recipe

machine = tl.machine  # the module training.preflight, whose name is that of its function too


@pytest.fixture
def model():
    sam = tl.load_sam("sam_mini", None, image_size=64)
    return tl.TransLandSeg(sam, tl.DESIGNS["TransLandSeg"])


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
            ("keep", "worst"),
            ("ema", 1),
            ("ema", -0.1),
            ("augment", "flips"), ("augment", 1),
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
            "workers": 4, "micro_batch": 1, "checkpointing": True, "compile": False, "cache": "no",
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

    def test_the_laptop_s_recipe_goes_by_the_number_of_images(self, monkeypatch, slow_machine):
        few, many = tl.Recipe.laptop(20), tl.Recipe.laptop(378)
        assert few == tl.Recipe.laptop()
        assert few.learning_rate == 5e-4
        assert many.learning_rate == 2e-3
        assert few.augment is True
        assert many.augment == "turns"
        assert many.epochs == few.epochs
        assert many.why.startswith("378 images")
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
        assert tl.Recipe.for_this_machine(378) == many == tl.recipes.named_recipe("laptop", 378)
        assert "no CUDA device" in (why := tl.Recipe.for_this_machine(378).why)
        assert "recipe for hundreds" in why
        assert "minutes for 378 images" in why
        monkeypatch.setenv("TLSEG_RECIPE", "laptop")
        assert tl.Recipe.for_this_machine(378) == many

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
        assert twice == pytest.approx(3 / 2 * minutes)  # the forward pass is computed again

    @pytest.mark.parametrize(
        ("name", "giga"), [("sam_mini", 1.12), ("vit_b", 486), ("vit_l", 1493), ("vit_h", 2981)]
    )
    def test_the_work_is_what_is_known_of_the_encoders(self, name, giga):
        """SAM's encoders are known by these multiplications with addition at 1024 px."""
        assert machine.encoder_flop(name) / 2e9 == pytest.approx(giga, rel=0.005)
        assert machine.training_flop(name) == 2 * machine.encoder_flop(name)

    def test_recorded_speeds_agree_with_themselves(self):
        rows = machine.recorded()
        assert {"sam_mini", "vit_b"} <= {row["sam"] for row in rows}
        for row in rows:
            work = machine.training_flop(row["sam"], int(row["image_size"]))
            rate = float(row["matrix_tflops"]) * 1e12
            share = work / float(row["seconds_per_image"]) / rate
            assert float(row["share"]) == pytest.approx(share, rel=0.01)
            assert 0.05 < share < 1
            assert row["commit"]
            assert row["device"]

    def test_recorded_loading_agrees_with_itself(self):
        rows = tl.records.read("data_loading.csv")
        if rows is None:
            pytest.skip("an installed package has no records beside it")
        places = rows.pivot_table(
            "images_per_second", ["images", "image_size"], "cache", sort=False
        )
        for place in set(rows["cache"]) - {"no"}:
            told = rows[rows["cache"] == place].set_index(["images", "image_size"])
            ratio = places[place] / places["no"]
            assert told["against_no_cache"].to_numpy() == pytest.approx(ratio, rel=0.03, abs=0.02)
        need = rows["images_per_second"] / rows["step_needs"]
        assert rows["throughput_over_demand"].to_numpy() == pytest.approx(need, rel=0.1, abs=0.1)

    def test_the_matrix_rate_is_a_rate(self):
        assert 1e8 < machine.matrix_rate("cpu", "no", 256) < 1e14

    def test_by_name(self):
        assert named_recipe("t4") == tl.Recipe.t4()
        with pytest.raises(ValueError, match="laptop"):
            named_recipe("as_dict")


def test_who_has_a_recipe_has_its_choice_by_machine():
    """`for_this_machine` is bound by the preflight, which the package imports first."""
    code = (
        "from tlseg_lite.training.recipe import Recipe; "
        "print(Recipe.for_this_machine().why.split(';')[0])"
    )
    environment = {**os.environ, "TLSEG_RECIPE": "laptop"}
    told = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == "TLSEG_RECIPE=laptop"
