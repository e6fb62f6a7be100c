"""The networks that TransLandSeg is compared with (chapter 7), all in TransLandSeg's form.

May import `core`; knows nothing of training.
"""

from tlseg_lite.core.lazy import lazy

# public name -> module that defines it; imported when first used
_NAMES = {
    "LAPTOP_ENCODERS": "registry",
    "PAPER_ENCODERS": "registry",
    "encoder_for": "registry",
    "encoders": "registry",
    "network": "registry",
    "Baseline": "wrapper",
    "IMAGENET_MEAN": "wrapper",
    "IMAGENET_STD": "wrapper",
    "PUBLISHED_MILLIONS": "wrapper",
    "build_baseline": "wrapper",
    "nearest_encoders": "wrapper",
    "parameter_table": "wrapper",
}
_MODULES = (
    "ccnet",
    "registry",
    "transunet",
    "wrapper",
)

__all__ = [*_NAMES, *_MODULES]

__getattr__, __dir__ = lazy(__name__, globals(), _NAMES, _MODULES)
