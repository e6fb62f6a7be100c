"""Adapting the Segment Anything Model to landslide segmentation, in a form that runs anywhere.

A folder for each chapter's subject; each folder's docstring says what lives there and what it may
import. ``import tlseg_lite as tl`` is cheap: every name below is imported when it is first used.
"""

from tlseg_lite.core import moved
from tlseg_lite.core.lazy import lazy

__version__ = "0.1.0"

# public name -> module that defines it
_NAMES = {
    "load_sam": "sam",
    "CheckpointError": "core.errors",
    "ATLConfig": "adapters",
    "DESIGNS": "adapters",
    "LoRAConfig": "adapters",
    "EncoderOptions": "adapters",
    "TransLandSeg": "adapters",
    "count_parameters": "adapters",
    "load_model": "adapters",
    "ConfusionMatrix": "metrics",
    "Scores": "metrics",
    "Recipe": "training",
    "fit": "training",
    "evaluate": "training",
    "predict": "training",
    "preflight": "training",
    "blend": "training",
    "build_baseline": "baselines",
}
_FOLDERS = (
    *("core", "data", "scenes", "metrics", "audit", "sam", "adapters", "baselines"),
    *("training", "experiments", "pretraining", "exercises", "widgets", "cli", "plots"),
)
# modules that have a short public name of their own
_MODULES = {name: name for name in _FOLDERS} | moved.SHORT

__all__ = [*_NAMES, *_MODULES]

__getattr__, __dir__ = lazy(__name__, globals(), _NAMES, _MODULES)

moved.install()
