"""Adapting the Segment Anything Model to landslide segmentation, in a form that runs anywhere.

A folder for each chapter's subject; each folder's docstring says what lives there and what it may
import. ``import tlseg_lite as tl`` is cheap: every name below is imported when it is first used.
"""

from tlseg_lite.core import moved
from tlseg_lite.core.lazy import lazy

__version__ = "0.2.0"

_FOLDERS = (
    "core data scenes metrics audit sam adapters baselines training experiments export "
    "maps pretraining exercises widgets cli plots"
)

__getattr__, __dir__, __all__ = lazy(
    __name__,
    globals(),
    {
        "core.errors": "CheckpointError",
        "core.trainable": "Trainable",
        "metrics": "ConfusionMatrix Scores",
        "sam": "load_sam",
        "adapters": "ATLConfig DESIGNS EncoderOptions LoRAConfig TransLandSeg count_parameters "
        "load_model",
        "baselines": "build_baseline",
        "widgets": "correct",
        "training": "Recipe blend evaluate fit predict preflight",
    },
    modules={name: name for name in _FOLDERS.split()} | moved.SHORT,
)

moved.install()
