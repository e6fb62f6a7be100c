"""The Segment Anything Model as it comes (chapter 1): variants, strict loading, prompts.

May import `core`, `data` and `metrics`; knows nothing of adapters or training.
"""

from tlseg_lite.core.lazy import lazy

# public name -> module that defines it; imported when first used
_NAMES = {
    "AUTOMATIC": "prompting",
    "ClickMap": "prompting",
    "Embedded": "prompting",
    "Fit": "prompting",
    "Segmentation": "prompting",
    "automatic": "prompting",
    "best_automatic": "prompting",
    "click_grid": "prompting",
    "click_map": "prompting",
    "inner_point": "prompting",
    "iou": "prompting",
    "segment": "prompting",
    "CheckpointError": "tlseg_lite.core.errors",
    "MINI_WEIGHTS": "variants",
    "PATCH": "variants",
    "PIXEL_MEAN": "variants",
    "PIXEL_STD": "variants",
    "SamVariant": "variants",
    "VARIANTS": "variants",
    "build_sam": "variants",
    "fingerprint": "variants",
    "load_sam": "variants",
    "load_strictly": "variants",
    "read_checkpoint": "variants",
    "resize_positions": "variants",
    "variant": "variants",
}
_MODULES = (
    "prompting",
    "variants",
)

__all__ = [*_NAMES, *_MODULES]

__getattr__, __dir__ = lazy(__name__, globals(), _NAMES, _MODULES)
