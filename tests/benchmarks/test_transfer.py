"""The benchmark of another place and sensor, at the smallest size: every way once."""

import transfer
from experiment_helpers import Spots, SpotSplits

from tlseg_lite.experiments.results import Rows
from tlseg_lite.experiments.splits import BLOCKS


class Named(SpotSplits):
    def __init__(self, name):
        self.name = name

    def parts(self, seed, fold):
        start = 50 * BLOCKS.index(self.name)
        return tuple(Spots(n, start + 3 * seed + i) for i, n in enumerate((5, 2, 3)))


def test_rows_of_all_ways(tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "named_data", lambda name, root=None: [Named(name)])
    monkeypatch.setattr(transfer, "STEPS", 2)
    monkeypatch.setattr(transfer, "SCENES", 4)
    monkeypatch.setattr(transfer, "SCENE_EPOCHS", 1)
    out = tmp_path / "transfer.csv"
    given = (
        "transfer.py --models decoder-only --seeds 0 --labelled 2 --epochs 1 --image-size 64 "
        f"--windows 0 16 --out {out}"
    )
    monkeypatch.setattr("sys.argv", given.split())
    transfer.main()
    rows = Rows(out, transfer.COLUMNS).read()
    found = {(r["source_data"], r["data"], r["window"], r["adaptation"]): r for r in rows}
    assert len(found) == len(rows)
    bijie, sense = BLOCKS
    for source, target in ((bijie, sense), (sense, bijie), ("scenes", sense)):
        for window in ("0", "16"):
            for adaptation in list(transfer.ADAPTATIONS)[:4]:
                assert (source, target, window, adaptation) in found
    assert ("scenes", bijie, "0", "as it is") in found
    assert ("scenes", bijie, "16", "as it is") not in found  # nothing of it would be cut
    only = [key for key in found if key[3] == "only the ten"]
    assert sorted(only) == sorted(
        ("nothing", target, window, "only the ten")
        for target, window in ((bijie, "0"), (sense, "0"), (sense, "16"))
    )
    assert found["nothing", bijie, "0", "only the ten"]["train_images"] == "2"
    assert found["nothing", sense, "16", "only the ten"]["train_images"] == "8"  # windows
    # a test in windows counts the same pixels
    counts = ("test_tp", "test_fp", "test_fn", "test_tn")
    assert {sum(int(r[c]) for c in counts) for r in rows} == {3 * 32 * 32}
    versions = {r["data_version"] for r in rows if r["data"] == bijie}
    assert len(versions) == 3  # after the other set, after scenes, and after nothing
    assert found["nothing", bijie, "0", "only the ten"]["data_version"].count("+") == 0
    again = out.read_bytes()
    transfer.main()
    assert out.read_bytes() == again
