"""Images with landslide masks: real data sets, samples, synthetic scenes, transforms, splits.

Every dataset has ``len``, items ``{"image": float32 3xHxW in [0, 1], "mask": float32 1xHxW of
0/1, "id": str}`` at native size, ``.ids`` (list of str) and ``.source`` (what it is, in words).
"""

from tlseg_lite._lazy import lazy

# at once, not when first used: a later import of the module `samples` would hide the function
from tlseg_lite.data.samples import course_samples, samples

# public name -> module that defines it; imported when first used
_NAMES = {
    "Augment": "transforms",
    "Bijie": "bijie",
    "Cached": "cache",
    "DataError": "errors",
    "Landslide4Sense": "landslide4sense",
    "MissingDataError": "errors",
    "Prepared": "transforms",
    "SyntheticLandslides": "synthetic",
    "fit_square": "transforms",
    "k_fold": "splits",
    "split": "splits",
    "unfit": "transforms",
}
_MODULES = (
    "bijie",
    "cache",
    "errors",
    "images",
    "landslide4sense",
    "splits",
    "synthetic",
    "transforms",
)

__all__ = ["course_samples", "samples", *_NAMES, *_MODULES]

__getattr__, __dir__ = lazy(__name__, globals(), _NAMES, _MODULES)
