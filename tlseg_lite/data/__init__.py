"""Images with landslide masks (every chapter): real data sets, samples, transforms, splits.

Every dataset has ``len``, items ``{"image": float32 3xHxW in [0, 1], "mask": float32 1xHxW of
0/1, "id": str}`` at native size, ``.ids`` (list of str) and ``.source`` (what it is, in words).
May import `core`. The synthetic scenes are a dataset too and are handed on here; they live in
`tlseg_lite.scenes`.
"""

from tlseg_lite.core.lazy import lazy

# public name -> module that defines it; imported when first used
_NAMES = {
    "Bijie": "bijie",
    "Cached": "cache",
    "Landslide4Sense": "landslide4sense",
    "samples": "sample_sets",
    "Subset": "splits",
    "k_fold": "splits",
    "split": "splits",
    "DataError": "tlseg_lite.core.errors",
    "MissingDataError": "tlseg_lite.core.errors",
    "course_samples": "tlseg_lite.scenes.fallback",
    "SyntheticLandslides": "tlseg_lite.scenes.synthetic",
    "Augment": "transforms",
    "Prepared": "transforms",
    "fit_square": "transforms",
    "unfit": "transforms",
}
_MODULES = (
    "bijie",
    "cache",
    "images",
    "landslide4sense",
    "sample_files",
    "sample_sets",
    "splits",
    "transforms",
)

__all__ = [*_NAMES, *_MODULES]

__getattr__, __dir__ = lazy(__name__, globals(), _NAMES, _MODULES)
