"""Recorded results are found from anywhere in a checkout; without one, a word and None."""

import pandas as pd

from tlseg_lite.core import records


def test_a_checkout_has_its_results(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    path = records.find("sam_mini_scores.csv")
    assert path.parts[-3:] == ("book", "results", "sam_mini_scores.csv")
    assert {"data", "method", "mean_iou"} <= set(records.read("sam_mini_scores.csv").columns)


def test_the_working_folder_counts_too(monkeypatch, tmp_path):
    folder = tmp_path / "clone" / "book" / "results"
    folder.mkdir(parents=True)
    pd.DataFrame({"a": [1]}).to_csv(folder / "only_here.csv", index=False)
    monkeypatch.chdir(tmp_path / "clone" / "book")
    assert records.find("only_here.csv") == folder / "only_here.csv"
    assert records.read("only_here.csv").a.tolist() == [1]


def test_nothing_is_nothing(capsys):
    assert records.find("no such table.csv") is None
    assert records.read("no such table.csv") is None
    assert "no such table.csv is not here" in capsys.readouterr().out
