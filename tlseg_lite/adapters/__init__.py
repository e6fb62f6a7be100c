"""Adapting SAM (chapter 2): ATL, LoRA, the encoder that hosts them, TransLandSeg itself.

May import `core` and `sam`; knows nothing of training.
"""

from tlseg_lite.core.lazy import lazy

# public name -> module that defines it; imported when first used
_NAMES = {
    "ATLConfig": "atl",
    "DESIGNS": "atl",
    "build_adapters": "atl",
    "EncoderOptions": "encoder",
    "encode": "encoder",
    "LoRAConfig": "lora",
    "ParameterCounts": "translandseg",
    "TransLandSeg": "translandseg",
    "budget": "translandseg",
    "count_parameters": "translandseg",
    "load_model": "translandseg",
    "parameter_layout": "translandseg",
}
_MODULES = (
    "atl",
    "attention",
    "encoder",
    "lora",
    "onednn",
    "positions",
    "tiled_attention",
    "translandseg",
)

__all__ = [*_NAMES, *_MODULES]

__getattr__, __dir__ = lazy(__name__, globals(), _NAMES, _MODULES)
