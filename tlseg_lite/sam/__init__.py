"""The Segment Anything Model as it comes (chapter 1): variants, strict loading, prompts.

May import `core`, `data` and `metrics`; knows nothing of adapters or training.
"""

from tlseg_lite.core.lazy import lazy as lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    globals(),
    {
        "corrections": "corrective_clicks",
        "prompts": "Prompts as_prompts no_prompts",
        "prompting": "AUTOMATIC ClickMap Embedded Overlap Segmentation automatic "
        "best_automatic click_grid click_map inner_point iou overlap segment",
        "tlseg_lite.core.errors": "CheckpointError",
        "variants": "MINI_WEIGHTS PATCH PIXEL_MEAN PIXEL_STD VARIANTS SamVariant build_sam "
        "fingerprint load_sam load_strictly read_checkpoint resize_positions variant",
    },
)
