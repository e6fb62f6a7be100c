"""Adapting SAM (chapter 2): ATL, LoRA, the encoder that hosts them, TransLandSeg itself.

May import `core` and `sam`; knows nothing of training.
"""

from tlseg_lite.core.lazy import lazy as lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    globals(),
    {
        "atl": "ATLConfig DESIGNS build_adapters",
        "encoder": "EncoderOptions encode",
        "lora": "LoRAConfig",
        "translandseg": "ParameterCounts TransLandSeg budget count_parameters load_model "
        "parameter_layout",
    },
)
