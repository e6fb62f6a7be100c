"""What `sam_mini` can do from one prompt, measured; writes book/results/sam_mini_scores.csv.

    python benchmarks/sam_mini_scores.py [--pictures 24] [--labelme FOLDER] [--run FOLDER]

On dead leaves from seeds that training never uses, on a few photographs of `skimage.data` with
regions drawn by hand (below; a first impression, too few for a verdict), on the real landslide
samples where TLSEG_DATA or the download cache has them, and on synthetic scenes. Each next to a
graph segmentation read at the click and a colour flood from it, both with the setting that suits
the whole set best. ``--labelme`` adds photographs that somebody has outlined with LabelMe: a folder
with a JSON file of polygons beside each image. With ``--run`` the learning curve of a
pre-training is copied to book/results/sam_mini_pretraining.csv; with ``--continues`` after the rows
that are there: the run began with their weights.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open

import tlseg_lite as tl
from tlseg_lite.pretraining.dead_leaves import DeadLeaves
from tlseg_lite.pretraining.held_out import HELD_OUT
from tlseg_lite.pretraining.prompts import boxes_of
from tlseg_lite.sam import prompting as zero_shot
from tlseg_lite.sam.variants import MINI_WEIGHTS

RESULTS = Path(__file__).resolve().parent.parent / "book" / "results"
FELZENSZWALB = (30, 100, 300, 1000)  # scales tried
FLOOD = (0.03, 0.06, 0.1, 0.15, 0.2, 0.3)  # tolerances tried, of values in 0..1


def ellipse(x: float, y: float, rx: float, ry: float) -> list[tuple[float, float]]:
    """The outline of an ellipse as a polygon."""
    t = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    return [(x + rx * c, y + ry * s) for c, s in zip(np.cos(t), np.sin(t), strict=True)]


# Outlines (x, y in pixels) drawn by eye for this script.
# fmt: off
PHOTOGRAPHS = {
    "astronaut": {
        "hair": [(163, 60), (180, 30), (210, 16), (245, 15), (275, 30), (295, 60), (298, 95),
                 (283, 118), (262, 130), (258, 95), (240, 75), (205, 78), (185, 95), (187, 130),
                 (170, 118), (155, 90)],
        "face": [(190, 95), (210, 78), (240, 75), (258, 95), (258, 130), (240, 165), (222, 172),
                 (205, 165), (190, 135)],
        "suit": [(110, 210), (130, 235), (150, 265), (200, 285), (260, 288), (298, 262),
                 (305, 240), (345, 265), (362, 310), (355, 345), (330, 355), (290, 395),
                 (278, 440), (275, 512), (200, 512), (180, 490), (150, 500), (130, 512),
                 (30, 512), (20, 470), (30, 400), (25, 340), (40, 290), (80, 240)],
        "badge": ellipse(172, 383, 38, 42),
        "helmet": [(300, 395), (330, 365), (380, 345), (430, 360), (470, 400), (490, 450),
                   (490, 512), (280, 512), (280, 440)],
        "flag": [(0, 0), (40, 0), (70, 110), (105, 205), (60, 250), (40, 290), (25, 340),
                 (10, 420), (0, 420)],
    },
    "chelsea": {
        "left eye": ellipse(170, 115, 35, 29),
        "right eye": ellipse(318, 135, 26, 26),
        "nose": [(230, 228), (262, 222), (290, 228), (275, 250), (258, 262), (245, 250)],
        "cat": [(0, 190), (25, 150), (40, 40), (50, 0), (330, 0), (350, 60), (365, 90), (360, 140),
                (350, 200), (330, 250), (290, 285), (230, 300), (0, 300)],
    },
    "coffee": {
        "cup": [(172, 100), (190, 60), (230, 28), (290, 18), (350, 28), (390, 60), (408, 105),
                (400, 150), (375, 210), (330, 250), (290, 262), (265, 270), (235, 305), (205, 300),
                (195, 280), (205, 245), (178, 180)],
        "coffee": ellipse(288, 155, 84, 50),
        "spoon": ellipse(365, 280, 40, 42),
        "cup and saucer": [*ellipse(278, 235, 200, 150)[:36], (172, 100), (190, 60), (230, 28),
                           (290, 18), (350, 28), (390, 60), (408, 105), (440, 155)],
    },
    "rocket": {
        "rocket": [(305, 140), (313, 128), (325, 125), (335, 140), (335, 405), (305, 405)],
    },
    "coins": {
        f"coin {i}": ellipse(x, y, r, r)
        for i, (x, y, r) in enumerate([
            (44, 55, 22), (155, 51, 23), (334, 44, 29), (103, 126, 19), (270, 120, 25),
            (212, 194, 23), (347, 187, 32), (172, 262, 28)])
    },
    "camera": {
        "man": [(20, 250), (60, 180), (80, 140), (125, 110), (160, 105), (165, 80), (190, 63),
                (230, 68), (265, 95), (272, 125), (258, 140), (262, 165), (245, 190), (300, 200),
                (320, 170), (330, 185), (320, 220), (300, 235), (285, 262), (240, 295), (210, 310),
                (165, 355), (140, 370), (150, 420), (150, 512), (35, 512), (35, 400), (20, 350),
                (0, 300)],
        "sky": [(0, 0), (512, 0), (512, 165), (430, 170), (320, 175), (305, 135), (275, 120),
                (268, 95), (230, 66), (190, 62), (163, 80), (158, 103), (120, 110), (80, 140),
                (40, 185), (0, 180)],
    },
}
# fmt: on

Case = tuple[torch.Tensor, list[tuple[torch.Tensor, tuple[int, int]]]]
"""An image (3, H, W) and its regions, each a mask (H, W) with the click x, y."""


def dead_leaves(n: int, difficulty: float) -> Iterator[Case]:
    """Held-out images; clicks at a random place of up to eight visible regions."""
    made = torch.Generator().manual_seed(HELD_OUT + 100 + int(10 * difficulty))
    pictures = DeadLeaves(seed=HELD_OUT + 7, textures=160).sample(
        n, difficulty=difficulty, generator=made
    )
    draw = np.random.default_rng(0)
    for image, labels in zip(pictures.images, pictures.labels, strict=True):
        present, counts = labels.unique(return_counts=True)
        chosen = draw.permutation(present[counts >= 100].numpy())[:8]
        regions = []
        for label in chosen:
            mask = labels == int(label)
            y, x = mask.nonzero()[draw.integers(int(mask.sum()))].tolist()
            regions.append((mask, (x, y)))
        yield image, regions


def at_256(image: np.ndarray, outlines: Iterable[Sequence[Sequence[float]]]) -> Case:
    """A photograph (H, W) or (H, W, 3) at 256 pixels; clicks in the middle of each outline (x, y).

    Outlines that are left with fewer than 100 pixels do not count.
    """
    from skimage import draw, transform

    image = image if image.ndim == 3 else np.stack([image] * 3, -1)
    height, width = image.shape[:2]
    scale = 256 / max(height, width)
    shape = (round(height * scale), round(width * scale))
    small = transform.resize(image, shape, anti_aliasing=True).astype(np.float32)
    regions = []
    for outline in outlines:
        corners = np.array(outline)[:, ::-1] * scale
        mask = torch.from_numpy(draw.polygon2mask(shape, corners))
        if mask.sum() >= 100:
            regions.append((mask, zero_shot.inner_point(mask)))
    return torch.from_numpy(small).permute(2, 0, 1), regions


def photographs() -> Iterator[Case]:
    """The photographs above."""
    from skimage import data

    for name, outlines in PHOTOGRAPHS.items():
        yield at_256(getattr(data, name)(), outlines.values())


def labelme(folder: Path) -> Iterator[Case]:
    """Photographs with LabelMe's polygons; shapes labelled ``__ignore__`` are left out."""
    from PIL import Image

    for path in sorted(folder.glob("*.json")):
        shapes = json.loads(path.read_text("utf-8"))["shapes"]
        outlines = [
            shape["points"]
            for shape in shapes
            if shape.get("shape_type", "polygon") == "polygon" and shape["label"] != "__ignore__"
        ]
        picture = next(p for p in sorted(folder.glob(path.stem + ".*")) if p.suffix != ".json")
        yield at_256(np.asarray(Image.open(picture).convert("RGB")), outlines)


def landslides(dataset) -> Iterator[Case]:
    """All landslides of an image are one region; the click is in the middle of the largest."""
    for i in range(len(dataset)):
        item = dataset[i]
        mask = item["mask"][0] > 0
        if mask.any():
            yield item["image"], [(mask, zero_shot.inner_point(mask))]


def graphs(image: np.ndarray) -> dict[int, np.ndarray]:
    """A graph segmentation of the image at each scale."""
    from skimage.segmentation import felzenszwalb

    return {
        scale: felzenszwalb(image, scale=scale, sigma=0.8, min_size=50) for scale in FELZENSZWALB
    }


def flood_at(image: np.ndarray, point: tuple[int, int], tolerance: float) -> np.ndarray:
    from scipy.ndimage import label

    near = np.abs(image - image[point[1], point[0]]).max(-1) <= tolerance
    parts, _ = label(near)
    return parts == parts[point[1], point[0]]


def box_around(mask: torch.Tensor) -> tuple[float, float, float, float] | None:
    """The smallest box around a mask (H, W) as x0, y0, x1, y1; None where it has no extent."""
    (x0, y0), (x1, y1) = boxes_of(mask[None])[0].tolist()
    box = (x0, y0, min(x1 + 1, mask.shape[1]), min(y1 + 1, mask.shape[0]))
    return box if box[0] < box[2] and box[1] < box[3] else None


ENLARGED = (384, 512)
"""Sides of the model's input, to which the images are enlarged beside the usual 256."""


def measure(sam, fine: dict, cases: list[Case], *, automatic: bool) -> dict[str, float]:
    """Mean IoU over all regions, method by method; `fine` is `sam` for inputs of other sides."""
    found: dict[str, list[float]] = {}

    def add(name: str, value: float) -> None:
        found.setdefault(name, []).append(float(value))

    for image, regions in cases:
        embedded = zero_shot.Embedded(sam, image)
        enlarged = {side: zero_shot.Embedded(large, image) for side, large in fine.items()}
        array = image.permute(1, 2, 0).numpy()
        segmented = graphs(array)
        records = zero_shot.automatic(sam, image, points_per_side=12) if automatic else []
        for mask, click in regions:
            fit = zero_shot.overlap(zero_shot.segment(sam, embedded, click), mask)
            add("click, oracle (best of 3)", fit.best)
            add("click, highest predicted IoU", fit.own)
            single = zero_shot.segment(sam, embedded, click, multimask=False)
            add("click, single mask", zero_shot.iou(single.masks, mask)[0])
            for side, large in fine.items():
                fit = zero_shot.overlap(zero_shot.segment(large, enlarged[side], click), mask)
                add(f"click, oracle (best of 3), image enlarged to {side} px", fit.best)
                add(f"click, highest predicted IoU, image enlarged to {side} px", fit.own)
            box = box_around(mask)
            if box is not None:
                answer = zero_shot.segment(sam, embedded, box=box)
                fit = zero_shot.overlap(answer, mask)
                add("box, oracle (best of 3)", fit.best)
                add("box, highest predicted IoU", fit.own)
                for side, large in fine.items():
                    fit = zero_shot.overlap(zero_shot.segment(large, enlarged[side], box=box), mask)
                    add(f"box, oracle (best of 3), image enlarged to {side} px", fit.best)
                single = zero_shot.segment(sam, embedded, box=box, multimask=False)
                add("box, single mask", zero_shot.iou(single.masks, mask)[0])
            if automatic:
                add("best automatic mask", zero_shot.best_automatic(records, mask)[0])
            add("whole image", mask.float().mean())
            for scale, labels in segmented.items():
                found_there = labels == labels[click[1], click[0]]
                add(f"graph {scale}", zero_shot.iou(found_there, mask))
            for tolerance in FLOOD:
                add(f"flood {tolerance}", zero_shot.iou(flood_at(array, click, tolerance), mask))
    means = {name: float(np.mean(values)) for name, values in found.items()}
    areas = [float(mask.sum()) for _, regions in cases for mask, _ in regions]
    best = found["click, oracle (best of 3)"]
    means["click, oracle (best of 3), regions weighted by area"] = float(
        np.average(best, weights=areas)
    )
    for short, long in (
        ("graph", "graph segmentation at the click"),
        ("flood", "colour flood from the click"),
    ):
        tried = {k: means.pop(k) for k in list(means) if k.startswith(short + " ")}
        means[long] = max(tried.values())
    return means


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=24, help="dead leaves of each difficulty")
    parser.add_argument("--labelme", type=Path, help="folder of outlined photographs")
    parser.add_argument("--labelme-name", default="photographs outlined with LabelMe")
    parser.add_argument("--run", type=Path, help="folder of a pre-training: copy its curve")
    parser.add_argument(
        "--continues", action="store_true", help="the run began where the file ends"
    )
    parser.add_argument("--weights", type=Path, default=MINI_WEIGHTS)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    sam = tl.load_sam("sam_mini", weights=options.weights)
    fine = {side: tl.load_sam("sam_mini", options.weights, image_size=side) for side in ENLARGED}
    with safe_open(options.weights, "pt") as file:
        about = file.metadata()
    about = {
        "weights": hashlib.sha256(options.weights.read_bytes()).hexdigest()[:12],
        "pictures_seen": about.get("pictures", ""),
        "minutes_trained": about.get("minutes", ""),
        "trained_on": about.get("device", ""),
        "commit": about.get("commit", ""),
        "measured": time.strftime("%Y-%m-%d", time.gmtime()),
    }
    sets, objects_only = cases_by_name(options.pictures, options.labelme, options.labelme_name)
    rows = []
    for name, cases in sets.items():
        regions = sum(len(r) for _, r in cases)
        for method, value in measure(sam, fine, cases, automatic=name not in objects_only).items():
            rows.append(
                {"data": name, "images": len(cases), "regions": regions, "method": method,
                 "mean_iou": f"{value:.4f}", **about}
            )  # fmt: skip
            print(f"{name:45s} {method:34s} {value:.3f}", flush=True)
    with (options.out / "sam_mini_scores.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    if options.run:
        copy_curve(options.run, options.out, about, options.continues)


def cases_by_name(
    pictures: int, outlined: Path | None, outlined_name: str
) -> tuple[dict[str, list], list[str]]:
    """All sets of images with their regions, and the names of those without landslides."""
    sets = {f"dead leaves, difficulty {d}": list(dead_leaves(pictures, d)) for d in (0.0, 0.5, 1.0)}
    photos = list(photographs())
    grey = [bool((image == image[:1]).all()) for image, _ in photos]
    sets["skimage photographs, own outlines"] = photos
    for word, kind in (("coloured", False), ("grey", True)):
        sets[f"skimage photographs, the {word} ones"] = [
            case for case, is_grey in zip(photos, grey, strict=True) if is_grey == kind
        ]
    if outlined:
        sets[outlined_name] = list(labelme(outlined))
    objects_only = list(sets)
    for name in ("bijie", "landslide4sense"):
        dataset = tl.data.course_samples(name)
        sets[dataset.source] = list(landslides(dataset))
    scenes = tl.data.SyntheticLandslides(20, seed=5)
    sets[scenes.source] = list(landslides(scenes))
    return sets, objects_only


def copy_curve(run: Path, out: Path, about: dict[str, str], continues: bool) -> None:
    """The learning curve of a pre-training among the records, after the one that it continues."""
    import pandas as pd

    curve = pd.read_csv(run / "curve.csv")
    for key in ("weights", "trained_on", "commit"):
        curve[key] = about[key]  # the weights at its end, and what made them
    if continues:
        earlier = pd.read_csv(out / "sam_mini_pretraining.csv")
        for key in ("minutes", "step", "pictures"):
            curve[key] += earlier[key].iloc[-1]
        curve = pd.concat([earlier, curve], ignore_index=True)
    curve.to_csv(out / "sam_mini_pretraining.csv", index=False)


if __name__ == "__main__":
    main()
