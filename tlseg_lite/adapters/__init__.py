"""Adapting SAM (chapter 2): ATL, LoRA, the encoder that hosts them, TransLandSeg itself.

May import `core` and `sam`; knows nothing of training.
"""

from tlseg_lite.core.lazy import lazy as lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    globals(),
    {
        "atl": "ATL ATLConfig DESIGNS MidLayC MidLayM build_adapters high_pass",
        "correction": "Click Correction",
        "encoder": "EncoderOptions attention_output encode",
        "lora": "LoRAConfig",
        "translandseg": "ParameterCounts TransLandSeg budget count_parameters load_model "
        "parameter_layout",
    },
)
