"""The benchmark of labels, at the smallest size: every way once, from one first model."""

import labelling
from experiment_helpers import Spots, SpotSplits

from tlseg_lite.experiments.results import Rows


class More(SpotSplits):
    def parts(self, seed, fold):
        return tuple(Spots(n, 3 * seed + i) for i, n in enumerate((12, 4, 3)))


def test_rows_of_all_ways(tmp_path, monkeypatch):
    monkeypatch.setattr(labelling, "named_data", lambda *given: [More()])
    out = tmp_path / "labelling.csv"
    given = f"labelling.py --seeds 1 --known 2 --unlabelled 3 --steps 2 --image-size 64 --out {out}"
    monkeypatch.setattr("sys.argv", given.split())
    labelling.main()
    rows = {(r["labels"], r["clicks"]): r for r in Rows(out, labelling.COLUMNS).read()}
    assert list(rows) == [(labels, str(clicks)) for labels, clicks in labelling.ARMS]
    assert rows["known", "0"]["train_images"] == "2"
    assert rows["clicks", "3"]["train_images"] == rows["true", "0"]["train_images"] == "5"
    assert rows["clicks", "0"]["spent"] == "0"
    spent, corners = float(rows["random", "3"]["spent"]), 4.0  # a square has four corners
    assert float(rows["random", "3"]["outline_points"]) == corners
    assert int(rows["random", "3"]["train_images"]) == 2 + max(1, round(spent / corners))
    assert rows["clicks", "3"]["train_ids"] == rows["true", "0"]["train_ids"]
    assert all(r["status"] == "done" and r["test_images"] == "3" for r in rows.values())
