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
    "EncoderOptions": "encoder",
    "TransLandSeg": "model",
    "count_parameters": "model",
    "ConfusionMatrix": "metrics",
    "Scores": "metrics",
    "Recipe": "recipes",
    "fit": "training",
    "evaluate": "evaluation",
    "predict": "evaluation",
    "preflight": "probing",
    "blend": "blending",
    "build_baseline": "baselines",
}
_MODULES = [
    "ablation",
    "atl",
    "attention",
    "audit",
    "baselines",
    "blending",
    "boundary",
    "calibration",
    "checkpoints",
    "cli",
    "comparison",
    "curves",
    "data",
    "downloads",
    "encoder",
    "evaluation",
    "exercises",
    "files",
    "losses",
    "machine",
    "memory",
    "metrics",
    "model",
    "objects",
    "plots",
    "pretraining",
    "probing",
    "progress",
    "recipes",
    "records",
    "sam",
    "statistics",
    "steps",
    "training",
    "widgets",
    "zero_shot",
]

__all__ = [*_NAMES, *_MODULES]

__getattr__, __dir__ = lazy(__name__, globals(), _NAMES, _MODULES)
