"""Adapting the Segment Anything Model to landslide segmentation, in a form that runs anywhere.

``import tlseg_lite as tl`` is cheap: every name below is imported when it is first used.
"""

from tlseg_lite._lazy import lazy

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
    "comparison",
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
    "widgets",
    "zero_shot",
]

__all__ = [*_NAMES, *_MODULES]

__getattr__, __dir__ = lazy(__name__, globals(), _NAMES, _MODULES)
