"""Scores of binary masks (chapter 5): pixels, outlines, single landslides, how sure they are.

Everything is counted once, at native size; every score follows from the counts. May import `core`;
knows of no model.
"""

from tlseg_lite.core.lazy import lazy

# at once, not when first used: importing the module of the same name would hide the function
from tlseg_lite.metrics.confusion import confusion

# public name -> module that defines it; imported when first used
_NAMES = {
    "BoundaryMatch": "boundary",
    "boundary_f1": "boundary",
    "Reliability": "calibration",
    "fit_temperature": "calibration",
    "reliability": "calibration",
    "ConfusionMatrix": "confusion",
    "Scores": "confusion",
    "confusion_per_image": "confusion",
    "score_values": "confusion",
    "Comparison": "intervals",
    "Interval": "intervals",
    "bootstrap": "intervals",
    "compare": "intervals",
    "as_images": "masks",
    "as_mask": "masks",
    "as_masks": "masks",
    "Detections": "objects",
    "detect": "objects",
    "ThresholdCurve": "thresholds",
    "choose_threshold": "thresholds",
    "threshold_curve": "thresholds",
}
_MODULES = (
    "boundary",
    "calibration",
    "confusion",
    "intervals",
    "masks",
    "objects",
    "thresholds",
)

__all__ = ["confusion", *_NAMES, *_MODULES]

__getattr__, __dir__ = lazy(__name__, globals(), _NAMES, _MODULES)
