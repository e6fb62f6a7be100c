"""LoRA on the encoder's attention: the adapter that practitioners would pick instead of ATL.

The layers are `peft`'s (an extra dependency). Each attention block's joint projection to queries,
keys and values gets a low-rank addition, ``qkv(x) + scale * up(down(x))``; `up` starts at zero, so
that training starts from plain SAM.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from tlseg_lite.core.seeding import seeded

if TYPE_CHECKING:
    from segment_anything.modeling.image_encoder import ImageEncoderViT


@dataclass(frozen=True)
class LoRAConfig:
    """LoRA on all ``attn.qkv`` projections, to be given to `TransLandSeg` in place of ATL.

    Attributes:
        rank: width of the low-rank addition, at least 1.
        alpha: the addition is scaled by alpha / rank; None: alpha = rank, a scale of one.

    Raises:
        ValueError: for a rank or an alpha that is not positive.
    """

    rank: int = 4
    alpha: float | None = None

    def __post_init__(self):
        if not isinstance(self.rank, int) or isinstance(self.rank, bool) or self.rank < 1:
            raise ValueError(f"rank is {self.rank!r}; expected a positive int")
        if self.alpha is not None and not self.alpha > 0:
            raise ValueError(f"alpha is {self.alpha!r}; expected a positive number or None")

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; ``LoRAConfig.from_dict(d)`` is the way back."""
        return {"adapter": "lora", "rank": self.rank, "alpha": self.alpha}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> LoRAConfig:
        """The configuration that `as_dict` described."""
        return cls(**{key: value for key, value in values.items() if key != "adapter"})


def with_lora(encoder: ImageEncoderViT, config: LoRAConfig, *, seed: int = 0) -> ImageEncoderViT:
    """A copy of `encoder` with LoRA layers that train; the frozen tensors are shared, not copied.

    `encoder` itself and the global random state are left as they were.

    Raises:
        ImportError: `peft` is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ImportError(
            "LoRA needs the package peft; install it with: pip install 'tlseg-lite[lora]'"
        ) from error
    shared = {id(parameter): parameter for parameter in encoder.parameters()}
    adapted = copy.deepcopy(encoder, shared)
    settings = LoraConfig(
        r=config.rank,
        lora_alpha=config.rank if config.alpha is None else config.alpha,
        target_modules=["qkv"],
        bias="none",
    )
    with seeded(seed):
        return inject_adapter_in_model(settings, adapted)


def lora_parameters(model: nn.Module) -> int:
    """Number of parameters in the LoRA layers of a model; 0 where there are none."""
    return sum(p.numel() for name, p in model.named_parameters() if ".lora_" in name)
