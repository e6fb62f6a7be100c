"""Can a single threshold find the landslides? Real samples against synthetic scenes.

Writes book/results/separability.csv: one row per set, with the best of all colours, brightness
and indices, and the best of brightness alone. The real sets need TLSEG_DATA (or the download).

    python benchmarks/separability.py [--n 200] [--seed 5]
"""

from __future__ import annotations

import argparse
import csv
import datetime
from pathlib import Path

import numpy as np

import tlseg_lite as tl
from tlseg_lite.core.downloads import DownloadError
from tlseg_lite.scenes.separability import separation

OUT = Path(__file__).resolve().parent.parent / "book" / "results" / "separability.csv"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=200, help="synthetic scenes of each style")
    parser.add_argument("--seed", type=int, default=5)
    options = parser.parse_args()
    rows = []
    for style in ("bijie", "landslide4sense"):
        sets = {}
        try:
            sets["real samples"] = tl.data.samples(style, progress=False)
        except DownloadError as error:
            print(f"{style}: no real samples ({error}); their row is left out")
        sets["synthetic"] = tl.data.SyntheticLandslides(options.n, None, options.seed, style)
        for kind, dataset in sets.items():
            rows.append(measure(style, kind, dataset, options.seed))
            print(rows[-1])
    OUT.parent.mkdir(parents=True, exist_ok=True)
    with OUT.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def measure(style: str, kind: str, dataset, seed: int) -> dict:
    items = [dataset[i] for i in range(len(dataset))]
    found = separation(items)
    brightness = next(s for s in found if s.index == "brightness")
    shares = [float(item["mask"].mean()) for item in items]
    pixels = sum(item["mask"].numel() for item in items)
    best = found[0]
    return {
        "style": style,
        "data": kind,
        "pictures": len(items),
        "landslide_share": round(sum(float(item["mask"].sum()) for item in items) / pixels, 4),
        "pictures_without": sum(share == 0 for share in shares),
        "best_index": best.index,
        "direction": best.direction,
        "threshold": round(best.threshold, 4),
        "best_iou": round(best.iou, 4),
        "brightness_iou": round(brightness.iou, 4),
        "seed": seed if kind == "synthetic" else "",
        "size": "native",
        "script": "benchmarks/separability.py",
        "package": tl.__version__,
        "numpy": np.__version__,
        "date": datetime.date.today().isoformat(),
    }


if __name__ == "__main__":
    main()
