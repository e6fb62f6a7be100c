"""The command: the first main job, and bad usage that ends in a sentence, not a traceback."""

import json
import subprocess
import sys

import pytest
from matplotlib import pyplot

import tlseg_lite as tl
from tlseg_lite.cli.commands import main


def test_train_then_evaluate_on_synthetic_scenes(tmp_path, capsys):
    out = tmp_path / "run"
    arguments = [
        *("train", "--data", "synthetic", "--n", "8", "--recipe", "laptop", "--epochs", "2"),
        *("--weights", "random", "--out", str(out), "--quiet"),
    ]
    assert main(arguments) == 0
    told = capsys.readouterr().out
    assert "8" in told
    assert "trainable" in told
    names = {path.name for path in out.iterdir()}
    assert {
        "best.safetensors", "history.csv", "curve.png", "predictions.png", "scores.json"
    } <= names  # fmt: skip
    report = json.loads((out / "scores.json").read_text())
    assert 0 <= report["test"]["miou"] <= 1
    assert len(report["test_ids"]) == 1
    assert report["how"]["cache"] == "memory"
    again = ["evaluate", str(out / "best.safetensors"), "--data", "synthetic", "--n", "8", "--json"]
    assert main(again) == 0
    scores = json.loads(capsys.readouterr().out)["scores"]
    assert scores["miou"] == pytest.approx(report["test"]["miou"])
    assert main([*again, "--views", "8"]) == 0
    told = json.loads(capsys.readouterr().out)
    parts = tl.data.split(tl.data.SyntheticLandslides(8, size=256), seed=0)
    averaged = tl.evaluate(tl.load_model(out / "best.safetensors"), parts[2], views=8)
    assert told["views"] == 8
    assert told["scores"]["miou"] == pytest.approx(averaged.miou)
    open_figures = pyplot.get_fignums()
    assert main(arguments) == 0  # a finished run is only reported again
    assert pyplot.get_fignums() == open_figures


def test_train_averages_with_another_run_or_goes_on_from_it(tmp_path, capsys):
    from tlseg_lite.adapters.translandseg import load_model

    arguments = ["train", "--data", "synthetic", "--n", "8", "--recipe", "laptop", "--quiet"]
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    assert main([*arguments, "--epochs", "1", "--out", str(first)]) == 0
    other = first / "best.safetensors"
    more = [*arguments, "--epochs", "2", "--keep", "last", "--average-with", str(other)]
    assert main([*more, "--out", str(second)]) == 0
    one, two, average = (
        load_model(path).trained_state()
        for path in (other, second / "best.safetensors", second / "averaged.safetensors")
    )
    assert any((one[name] != two[name]).any() for name in one)
    for name in one:
        assert (average[name] - (one[name] + two[name]) / 2).abs().max() < 1e-6
    report = json.loads((second / "scores.json").read_text())
    assert report["average_with"] == str(other)
    capsys.readouterr()
    of_it = ["evaluate", str(second / "averaged.safetensors"), "--data", "synthetic", "--n", "8"]
    assert main([*of_it, "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)["scores"]
    assert scores["miou"] == pytest.approx(report["test"]["miou"])

    on = [*arguments, "--epochs", "1", "--learning-rate", "1e-9", "--start", str(other)]
    assert main([*on, "--out", str(third)]) == 0
    assert f"as in {other}" in capsys.readouterr().out
    went_on = load_model(third / "best.safetensors").trained_state()
    assert all((one[name] - went_on[name]).abs().max() < 1e-6 for name in one)

    with pytest.raises(SystemExit):
        main([*more, "--model", "LandslideNet", "--out", str(tmp_path / "fourth")])
    assert "another kind of model" in capsys.readouterr().err


def test_the_first_main_job_on_real_samples(real_data, tmp_path, capsys):
    out = tmp_path / "first"
    arguments = ["train", "--data", "bijie-samples", "--recipe", "laptop", "--out", str(out)]
    assert main([*arguments, "--epochs", "2", "--quiet"]) == 0
    assert "20 real Bijie samples: 14, 3, 3" in capsys.readouterr().out
    assert (out / "predictions.png").stat().st_size > 20_000


@pytest.mark.parametrize(
    ("style", "model"),
    [
        ("bijie", "TransLandSeg"),
        ("landslide4sense", "TransLandSeg"),
        ("bijie", "segformer"),
        ("landslide4sense", "transunet"),
    ],
)
def test_train_on_a_full_data_set_of_the_user(style, model, tmp_path, capsys):
    from tlseg_lite.scenes.export import synthesize

    size = 64 if style == "bijie" else None
    synthesize(tmp_path / "data", style=style, n=8, size=size, seed=0, progress=False)
    arguments = ["train", "--data", style, "--root", str(tmp_path / "data"), "--epochs", "1"]
    arguments += ["--recipe", "laptop", "--model", model, "--weights", "random", "--quiet"]
    assert main([*arguments, "--out", str(tmp_path / "run")]) == 0
    report = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert len(report["test_ids"]) == 1
    assert 0 <= report["test"]["miou"] <= 1


def test_the_publisher_s_parts_of_landslide4sense(tmp_path, capsys):
    from tlseg_lite.scenes.export import synthesize

    root = tmp_path / "data"
    synthesize(root, style="landslide4sense", n=4, seed=1, progress=False)
    synthesize(tmp_path / "more", style="landslide4sense", n=6, seed=0, progress=False)
    (tmp_path / "more" / "TrainData").rename(root / "TestData")
    data = ["--data", "landslide4sense", "--root", str(root)]
    model = ["--recipe", "laptop", "--model", "unet", "--epochs", "1", "--quiet"]
    assert main(["train", *data, *model, "--out", str(tmp_path / "run")]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(tmp_path / "run"), *data, "--official-part", "test"]) == 0
    assert "6 Landslide4Sense test patches, 6 images" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["evaluate", str(tmp_path / "run"), *data[:1], "synthetic", "--official-part", "test"])
    assert "goes with --data landslide4sense" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("recipe", "encoder", "size"), [("laptop", None, 256), ("paper", "paper", 1024)]
)
def test_the_papers_recipe_takes_the_papers_encoders(recipe, encoder, size, monkeypatch):
    import tlseg_lite as tl
    from tlseg_lite.cli import commands as cli
    from tlseg_lite.cli import options as cli_options

    asked = {}
    monkeypatch.setattr(tl, "build_baseline", lambda name, **given: asked.update(given, name=name))
    arguments = ["train", "--data", "bijie", "--root", "x", "--model", "unet", "--out", "x"]
    parser = cli.build_parser()
    options = parser.parse_args([*arguments, "--recipe", recipe])
    cli_options.model_from(options, parser, cli_options.recipe_from(options))
    assert asked == {"name": "unet", "encoder": encoder, "image_size": size, "seed": 0}


def test_the_augmentation_by_its_name():
    from tlseg_lite.cli import commands as cli
    from tlseg_lite.cli import options as cli_options

    arguments = ["train", "--data", "bijie", "--root", "x", "--out", "x", "--recipe", "laptop"]

    def augment(*more):
        options = cli.build_parser().parse_args([*arguments, *more])
        return cli_options.recipe_from(options, 20).augment

    assert augment() is True
    assert augment("--augment", "all") is True
    assert augment("--augment", "turns") == "turns"
    assert augment("--augment", "none") is False


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "required: COMMAND"),
        (["nonsense"], "invalid choice"),
        (["train"], "required: --data, --out"),
        (["train", "--data", "mars", "--out", "x"], "invalid choice: 'mars'"),
        (["train", "--data", "bijie", "--out", "x"], "needs --root"),
        (["train", "--data", "synthetic", "--root", ".", "--out", "x"], "--root goes with"),
        (["train", "--data", "synthetic", "--out", "x", "--epochs", "0"], "0 is less than 1"),
        (["train", "--data", "synthetic", "--out", "x", "--epochs", "many"], "not a whole number"),
        (["train", "--data", "synthetic", "--out", "x", "--learning-rate", "-1"], "positive"),
        (["train", "--data", "synthetic", "--out", "x", "--model", "resnet"], "TransLandSeg-1"),
        (["train", "--data", "synthetic", "--out", "x", "--sam", "vit_x"], "vit_b"),
        (["train", "--data", "synthetic", "--out", "x", "--recipe", "mine"], "invalid choice"),
        (
            ["train", "--data", "synthetic", "--out", "x", "--start", "x", "--model", "unet"],
            "leave out --model",
        ),
        (["synthesize", "out", "--style", "mars"], "invalid choice"),
        (["pretrain", "--out", "x", "--minutes", "0"], "positive"),
        (["fetch", "vit_x"], "invalid choice"),
    ],
)
def test_bad_usage(arguments, told, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["evaluate", "nothing.safetensors", "--data", "synthetic"], "no saved model at"),
        (["train", "--data", "bijie", "--root", "nowhere", "--out", "x"], "nowhere"),
        (["train", "--data", "synthetic", "--out", "x", "--weights", "no.pth"], "no weights file"),
        (["pretrain", "--out", "OUT", "--minutes", "1", "--start", "no.pth"], "no weights file"),
    ],
)
def test_bad_files_are_one_line(arguments, told, capsys):
    arguments += ["--recipe", "laptop"] if arguments[0] == "train" else []
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("tlseg-lite: error: ")
    assert told in error
    assert "Traceback" not in error


@pytest.mark.parametrize("style", ["bijie", "landslide4sense"])
def test_synthesize_writes_what_the_readers_read(style, tmp_path, capsys):
    import tlseg_lite as tl

    out = tmp_path / "scenes"
    size = ["--size", "64"] if style == "bijie" else []
    assert main(["synthesize", str(out), "--style", style, "--n", "3", *size]) == 0
    data = tl.data.Bijie(out) if style == "bijie" else tl.data.Landslide4Sense(out)
    assert len(data) == 3
    assert "3 scenes" in capsys.readouterr().out
    assert main(["synthesize", str(out), "--n", "3"]) == 1  # nothing is overwritten
    assert "Traceback" not in capsys.readouterr().err


def test_fetch_offline_says_which_file_to_put_where(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TLSEG_OFFLINE", "1")
    monkeypatch.setenv("TLSEG_CACHE", str(tmp_path))
    assert main(["fetch", "vit_b"]) == 1
    told = capsys.readouterr().err
    assert "sam_vit_b_01ec64.pth" in told
    assert str(tmp_path) in told


def test_ablate_runs_and_summarises(tmp_path, monkeypatch, capsys):
    from tlseg_lite.experiments import ablation

    asked = {}

    def run(**options):
        asked.update(options)
        return "rows"

    monkeypatch.setattr(ablation, "run", run)
    monkeypatch.setattr(ablation, "summary", lambda rows: __import__("pandas").DataFrame([rows]))
    arguments = ["ablate", "--designs", "table4", "LoRA-4", "--seeds", "2", "--epochs", "3"]
    assert main([*arguments, "--out", str(tmp_path / "a.csv"), "--data", "bijie"]) == 0
    assert (asked["designs"], list(asked["seeds"])) == (["table4", "LoRA-4"], [0, 1])
    assert (asked["recipe"].epochs, asked["data"]) == (3, ["bijie"])
    assert "rows" in capsys.readouterr().out


def test_as_a_module():
    told = subprocess.run(
        [sys.executable, "-m", "tlseg_lite", "--help"], capture_output=True, text=True, check=True
    )
    assert "synthesize" in told.stdout


def test_pretraining_has_a_seed_and_continues_with_its_own_plan(monkeypatch, tmp_path):
    import tlseg_lite.pretraining as pretraining

    asked = []
    monkeypatch.setattr(pretraining, "pretrain", lambda out, **settings: asked.append(settings))
    call = ["pretrain", "--out", str(tmp_path), "--minutes", "1"]
    assert main([*call, "--seed", "3"]) == 0
    assert main([*call, "--seed", "4", "--start", "shipped"]) == 0
    assert main(call) == 0
    assert asked[0]["plan"] == pretraining.Plan(seed=3)
    assert asked[1]["plan"] == pretraining.Plan.continued(4)
    assert asked[1]["start"].is_file()
    assert asked[2]["plan"] is None
