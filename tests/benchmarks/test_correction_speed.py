"""The benchmark of clicks' seconds, at the smallest size: rows that say what was compared."""

import correction_speed
import pytest

from tlseg_lite.experiments.results import Rows


def test_rows_of_a_click_and_of_a_step(tmp_path, monkeypatch, capsys):
    out = tmp_path / "speed.csv"
    monkeypatch.setattr("sys.argv", f"correction_speed.py --quick --threads 1 --out {out}".split())
    correction_speed.main()
    rows = {row["what"]: row for row in Rows(out, correction_speed.COLUMNS).read()}
    assert list(rows) == ["first answer", "correction", "step", "step with clicks"]
    for row in rows.values():
        assert 0 < float(row["best_seconds"]) <= float(row["median_seconds"])
        assert float(row["median_seconds"]) <= float(row["worst_seconds"])
        assert row["repeats"] == "2"
        assert row["threads"] == "1"
    for name, other in (("correction", "first answer"), ("step with clicks", "step")):
        assert rows[name]["against"] == other
        expected = float(rows[name]["median_seconds"]) / float(rows[other]["median_seconds"])
        assert float(rows[name]["ratio"]) == pytest.approx(expected, rel=0.01)
    assert rows["step with clicks"]["clicks"] == "2"
    assert float(rows["step with clicks"]["ratio"]) > 1  # it does the same, and more
    correction_speed.main()
    assert "already" in capsys.readouterr().out
    assert len(Rows(out, correction_speed.COLUMNS).read()) == 4
