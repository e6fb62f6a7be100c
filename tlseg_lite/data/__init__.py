"""Images with landslide masks: real data sets, samples, synthetic scenes, transforms, splits.

Every dataset has ``len``, items ``{"image": float32 3xHxW in [0, 1], "mask": float32 1xHxW of
0/1, "id": str}`` at native size, ``.ids`` (list of str) and ``.source`` (what it is, in words).
"""

from importlib import import_module

# at once, not when first used: a later import of the module `samples` would hide the function
from tlseg_lite.data.samples import course_samples, samples

# public name -> module that defines it; imported when first used
_NAMES = {
    "Augment": "transforms",
    "Bijie": "bijie",
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
_MODULES = ("bijie", "errors", "images", "landslide4sense", "splits", "synthetic", "transforms")

__all__ = ["course_samples", "samples", *_NAMES, *_MODULES]


def __getattr__(name: str):
    if name in _NAMES:
        value = getattr(import_module(f"{__name__}.{_NAMES[name]}"), name)
    elif name in _MODULES:
        value = import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
