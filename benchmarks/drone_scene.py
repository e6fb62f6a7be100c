"""One half of a drone orthophoto is learned from, the other half is mapped: how good is the map?

``python benchmarks/drone_scene.py`` reads ``$TLSEG_REAL/uav_scene/{image,mask}.png``, trains
TransLandSeg on ``sam_mini`` with chips of the left half (training and validation by blocks of
ground), maps the right half once, and compares pixel by pixel; beside it plain thresholding of
brightness, its threshold chosen on the left half. Writes ``book/results/drone_scene.csv``. About
fifteen minutes on one core. No picture of the scene is written.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import rasterio
from rasterio.features import shapes
from shapely.geometry import shape

import tlseg_lite as tl
from tlseg_lite.core.provenance import provenance

OUT = Path(__file__).resolve().parents[1] / "book" / "results" / "drone_scene.csv"
SHRINK = 2.0  # pixels of the photo to one of the model's
CHIP, STRIDE, EPOCHS, SEED = 256, 64, 12, 0


def write(path: Path, array: np.ndarray) -> Path:
    """A plain GeoTIFF without a system."""
    about = {"driver": "GTiff", "count": len(array), "dtype": "uint8", "compress": "deflate"}
    with rasterio.open(path, "w", height=array.shape[1], width=array.shape[2], **about) as file:
        file.write(array)
    return path


def outlines(mask: np.ndarray):
    """The landslides of a mask as polygons in pixels, y downwards as in the file."""
    import geopandas as gpd

    identity = rasterio.Affine(1, 0, 0, 0, 1, 0)
    found = shapes(mask.astype(np.uint8), mask=mask, transform=identity)
    return gpd.GeoDataFrame(geometry=[shape(outline) for outline, _ in found])


def scores(found: np.ndarray, truth: np.ndarray, valid: np.ndarray) -> dict[str, float]:
    """Landslide IoU, precision and recall over the valid pixels."""
    s = tl.metrics.confusion(found, truth, valid).scores()
    names = ("landslide_iou", "landslide_precision", "landslide_recall", "miou")
    return {name: round(getattr(s, name), 4) for name in names}


def brightness(image: np.ndarray) -> np.ndarray:
    """The mean of the three bands."""
    return image.astype(np.float32).mean(0)


def best_threshold(values: np.ndarray, truth: np.ndarray, valid: np.ndarray) -> float:
    """The brightness above which is landslide, with the best IoU."""
    levels = np.arange(1, 255)
    ious = [scores(values > level, truth, valid)["landslide_iou"] for level in levels[::4]]
    return float(levels[::4][int(np.argmax(ious))])


def main() -> None:
    folder = Path(os.environ["TLSEG_REAL"]) / "uav_scene"
    with rasterio.open(folder / "image.png") as file:
        image = file.read((1, 2, 3))
    with rasterio.open(folder / "mask.png") as file:
        truth = file.read(1) > 0
    middle = image.shape[2] // 2
    valid = (image > 0).any(0)
    left, right = np.s_[..., :middle], np.s_[..., middle:]
    cut = best_threshold(brightness(image[left]), truth[left], valid[left])
    rows = [
        {"model": f"brightness above {cut:g}", "seconds": 0.0}
        | scores(brightness(image[right]) > cut, truth[right], valid[right])
    ]
    with tempfile.TemporaryDirectory() as temporary:
        work, began = Path(temporary), time.perf_counter()
        scene = write(work / "left.tif", image[left])
        chips = tl.data.Chips(
            *(scene, outlines(truth[left]), CHIP, STRIDE, 1.0),
            resolution=SHRINK,
            pixel_size=1.0,
            nodata=0,
            block=2,
        )
        train, validation = tl.data.split(chips, (0.8, 0.2), seed=SEED)
        print(f"{len(train)} chips for training, {len(validation)} for validation")
        model = tl.TransLandSeg(tl.load_sam("sam_mini"), tl.DESIGNS["TransLandSeg"], seed=SEED)
        recipe = tl.Recipe(epochs=EPOCHS, batch_size=4, learning_rate=1e-3, seed=SEED)
        run = tl.fit(model, train, validation, recipe, work / "run")
        tl.maps.keep_threshold(model, validation)
        seconds = time.perf_counter() - began
        scene = write(work / "right.tif", image[right])
        for overlap in (0.5, 0.0):
            began = time.perf_counter()
            out = work / f"map-{overlap}"
            found = tl.maps.predict_scene(
                model, scene, out, overlap, pixel_size=1.0, nodata=0, progress=False
            )
            with rasterio.open(found.mask) as file:
                mask = file.read(1, out_shape=truth[right].shape) == 1
            rows.append(
                {
                    "model": "TransLandSeg on sam_mini",
                    "overlap": overlap,
                    "seconds": round(seconds, 1),
                    "map_seconds": round(time.perf_counter() - began, 1),
                    "best_epoch": run.best_epoch,
                    "train_chips": len(train),
                    "threshold": round(found.threshold, 3),
                }
                | scores(mask, truth[right], valid[right])
            )
    about = {"data": "a drone orthophoto, 2816 x 6016 px: left half learned, right half mapped"}
    about |= {"pixels": int(valid[right].sum()), "seed": SEED, "epochs": EPOCHS} | provenance()
    frame = pd.DataFrame([row | about for row in rows])
    frame.to_csv(OUT, index=False)
    print(frame.iloc[:, :11].to_string())


if __name__ == "__main__":
    main()
