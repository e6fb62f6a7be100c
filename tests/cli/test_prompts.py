"""``train --prompts``: a model that takes clicks, stopped and taken up, and what is refused."""

import json

import pytest
import torch

import tlseg_lite as tl
from tlseg_lite.cli.commands import main

TRAIN = ["train", "--data", "synthetic", "--n", "8", "--recipe", "laptop", "--quiet"]
PROMPTED = [*TRAIN, "--epochs", "2", "--prompts", "--clicks", "1"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("prompts") / "whole"
    assert main([*PROMPTED, "--out", str(out)]) == 0
    return out


def test_its_model_takes_prompts(run):
    model = tl.load_model(run / "best.safetensors")
    assert model.prompts
    assert model.run["recipe"]["clicks"] == 1
    assert json.loads((run / "scores.json").read_text())["recipe"]["clicks"] == 1
    images = torch.rand(2, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        answers = model(
            images, prompts=[{"points": [(20, 30), (200, 100)], "labels": [1, 0]}, None]
        )
        assert not torch.equal(answers[0], model(images)[0])
        assert torch.allclose(answers[1], model(images)[1], atol=1e-4)
    corrector = tl.widgets.Corrector(model, images[0])
    assert corrector.click(20, 30)[30, 20]


def test_stopped_after_an_epoch_it_ends_with_the_same_weights(run, tmp_path, monkeypatch, capsys):
    whole, stopped = tl.fit, [*PROMPTED, "--out", str(tmp_path / "halves")]

    def interrupt(history):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tl, "fit", lambda *given, **more: whole(*given, **more, watch=interrupt))
        assert main(stopped) == 130
    assert "--prompts" in capsys.readouterr().err  # how to go on
    assert main(stopped) == 0
    one, other = (
        tl.load_model(folder / "best.safetensors").trained_state()
        for folder in (run, tmp_path / "halves")
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_another_number_of_rounds_is_another_run(run, capsys):
    assert main([*TRAIN, "--epochs", "2", "--prompts", "--out", str(run)]) == 1
    assert "clicks was 1, now 2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--clicks", "2"], "--clicks: goes with --prompts"),
        (["--prompts", "--clicks", "0"], "--clicks"),
        (["--prompts", "--model", "unet"], "unet takes none"),
    ],
)
def test_what_does_not_go_with_it(more, says, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([*TRAIN, *more, "--out", str(tmp_path)])
    assert says in capsys.readouterr().err


def test_a_start_without_prompts_is_refused(tmp_path, capsys):
    plain = tl.TransLandSeg(tl.load_sam("sam_mini"), tl.DESIGNS["TransLandSeg"])
    plain.save(tmp_path / "plain.safetensors")
    given = ["--prompts", "--start", str(tmp_path / "plain.safetensors")]
    with pytest.raises(SystemExit):
        main([*TRAIN, *given, "--out", str(tmp_path / "run")])
    assert "takes none" in capsys.readouterr().err
