"""The networks that TransLandSeg is compared with (chapter 7), all in TransLandSeg's form.

May import `core`; knows nothing of training.
"""

from tlseg_lite.core.lazy import lazy as lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    globals(),
    {
        "registry": "LAPTOP_ENCODERS PAPER_ENCODERS encoder_for encoders network",
        "wrapper": "IMAGENET_MEAN IMAGENET_STD PUBLISHED_MILLIONS Baseline build_baseline "
        "nearest_encoders parameter_table",
    },
)
