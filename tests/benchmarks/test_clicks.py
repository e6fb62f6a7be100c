"""The benchmark of clicks, at the smallest size: rows with what they promise, done once."""

import clicks
import pytest
from experiment_helpers import SpotSplits

from tlseg_lite.experiments.results import Rows


@pytest.fixture
def rows(tmp_path, monkeypatch):
    monkeypatch.setattr(clicks, "named_data", lambda *given: [SpotSplits()])
    monkeypatch.setattr(clicks.interactive.click_through, "__defaults__", (3,))
    out = tmp_path / "clicks.csv"
    given = f"clicks.py --seeds 1 --epochs 1 --image-size 64 --out {out} --models {out.parent}/kept"
    monkeypatch.setattr("sys.argv", given.split())
    clicks.main()
    return Rows(out, clicks.COLUMNS, clicks.KEY)


def test_rows_of_sam_and_of_both_ways_of_training(rows, tmp_path):
    found = rows.read()
    names = [(row["model"], row["trained_clicks"], row["prompt"]) for row in found]
    assert names == [
        ("sam_mini", "0", "clicks"),
        ("sam_mini", "0", "held clicks"),
        ("sam_mini", "0", "boxes"),
        *[("TransLandSeg", k, how) for k in "20" for how in ("clicks", "held clicks")],
    ]
    assert all(row["images"] == "3" and row["part"] == "test" for row in found)
    assert float(found[0]["landslide_iou_0"]) == 0  # SAM says nothing before the first click
    assert found[2]["miou_1"]
    assert not found[2]["miou_2"]
    assert all(0 <= float(row["noc_80"]) <= 3 for row in (*found[:2], *found[3:]))
    for hint, order in (found[3:5], found[5:]):
        assert hint["miou_0"] == order["miou_0"]
        assert hint["seconds"]
        assert not order["seconds"]  # the same model
    assert len(list((tmp_path / "kept").iterdir())) == 2
    clicks.main()
    assert rows.read() == found
