"""Scores of binary masks (chapter 5): pixels, outlines, single landslides, how sure they are.

Everything is counted once, at native size; every score follows from the counts. May import `core`;
knows of no model.
"""

from tlseg_lite.core.lazy import lazy as lazy

# at once: importing the module of the same name later would hide the function
from tlseg_lite.metrics.confusion import confusion as confusion

__getattr__, __dir__, __all__ = lazy(
    __name__,
    globals(),
    {
        "boundary": "BoundaryMatch boundary_f1",
        "calibration": "Reliability fit_temperature reliability",
        "confusion": "ConfusionMatrix Scores confusion_per_image score_values",
        "intervals": "Comparison Interval bootstrap compare",
        "masks": "as_mask as_masks as_images",
        "objects": "Detections detect",
        "thresholds": "ThresholdCurve choose_threshold threshold_curve",
    },
    also=("confusion",),
)
