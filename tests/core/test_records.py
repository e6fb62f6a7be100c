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


def test_older_records_are_read_under_todays_names():
    old = pd.DataFrame(
        {"method": ["click, best of 3", "click, own choice", "box"], "own_choice": 1, "pictures": 2}
    )
    now = records.renamed(old)
    assert list(now) == ["method", "highest_predicted_iou", "images"]
    assert now.method.tolist() == [
        "click, oracle (best of 3)",
        "click, highest predicted IoU",
        "box",
    ]
    assert records.renamed(now).equals(now)
    both = pd.DataFrame({"pictures": [1], "images": [2]})
    assert records.renamed(both).equals(both), "a name that is taken is not given twice"


def test_nothing_is_nothing(capsys):
    assert records.find("no such table.csv") is None
    assert records.read("no such table.csv") is None
    assert "no such table.csv is not here" in capsys.readouterr().out
