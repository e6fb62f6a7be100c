"""Adapting the Segment Anything Model to landslide segmentation, in a form that runs anywhere.

``import tlseg_lite as tl`` is cheap: every name below is imported when it is first used.
"""

from importlib import import_module

__version__ = "0.1.0"

# public name -> module that defines it
_NAMES = {
    "load_sam": "sam",
    "CheckpointError": "sam",
    "ATLConfig": "atl",
    "DESIGNS": "atl",
    "LoRAConfig": "lora",
    "TransLandSeg": "model",
    "count_parameters": "model",
    "ConfusionMatrix": "metrics",
    "Scores": "metrics",
    "Recipe": "recipes",
    "fit": "training",
    "evaluate": "training",
    "predict": "training",
    "preflight": "training",
    "build_baseline": "baselines",
}
_MODULES = [
    "ablation",
    "atl",
    "audit",
    "baselines",
    "boundary",
    "calibration",
    "cli",
    "curves",
    "data",
    "downloads",
    "encoder",
    "files",
    "losses",
    "metrics",
    "model",
    "objects",
    "plots",
    "pretraining",
    "progress",
    "recipes",
    "sam",
    "statistics",
    "training",
    "zero_shot",
]

__all__ = [*_NAMES, *_MODULES]


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
