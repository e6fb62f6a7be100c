"""Images with landslide masks: real data sets, samples, synthetic scenes, transforms, splits.

Every dataset has ``len``, items ``{"image": float32 3xHxW in [0, 1], "mask": float32 1xHxW of
0/1, "id": str}`` at native size, ``.ids`` (list of str) and ``.source`` (what it is, in words).
"""

from importlib import import_module

# public name -> module that defines it; imported when first used
_NAMES = {
    "Augment": "transforms",
    "Bijie": "bijie",
    "DataError": "errors",
    "Landslide4Sense": "landslide4sense",
    "MissingDataError": "errors",
    "Prepared": "transforms",
    "SyntheticLandslides": "synthetic",
    "course_samples": "samples",
    "fit_square": "transforms",
    "k_fold": "splits",
    "samples": "samples",
    "split": "splits",
    "unfit": "transforms",
}
_MODULES = ("bijie", "errors", "images", "landslide4sense", "splits", "synthetic", "transforms")

__all__ = [*_NAMES, *_MODULES]


def __getattr__(name: str):
    # importing the module `samples` also sets it as an attribute here; the function must win
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
