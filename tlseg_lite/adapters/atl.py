"""The adaptive transfer learning (ATL) layer, as written and as released, and the papers' designs.

As written (``source="block"``, Eq. 5 to 15 of the TransLandSeg paper) every block has an adapter
of its own that sees what the block sees. As released (``source="shared"``) one generator makes,
from the patch embedding and the high-pass filtered image, a small signal that each block's own
middle layer transforms and one shared projection adds to the block's input.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from tlseg_lite.core.seeding import seeded
from tlseg_lite.sam.variants import PATCH

HIGH_PASS_SHARE = 0.25
"""Share of the spectrum's area, around frequency zero, that the high-pass branch removes."""


@dataclass(frozen=True)
class ATLConfig:
    """One design of the adapter. Every combination that makes sense is a value of this class.

    Attributes:
        middle: the middle layers in order, any sequence of ``"m"`` (linear + GELU) and ``"c"``
            (3 x 3 convolution + LayerNorm + GELU).
        residual: add the adapter's output to its input (Eq. 5), or replace it (Eq. 14, 15).
        placement: ``"outside"``: on a block's input (Eq. 6, 7); ``"inside"``: on the attention's
            output, before the block's own shortcut (Eq. 11 to 13).
        source: ``"block"``: an adapter per block (Eq. 9); ``"shared"``: as in the released code.
        bottleneck: width d between the projections; None: encoder width // 32.
        zero_init: start the up-projection at zero where there is a residual, so that training
            starts from plain SAM.
        blocks: the 0-based blocks that are adapted; None: all of them.

    Raises:
        ValueError: for an unknown value or a combination that cannot be built.
        TypeError: for a field of the wrong type, or (by Python) an unknown field.
    """

    middle: tuple[str, ...] = ("m",)
    residual: bool = True
    placement: str = "outside"
    source: str = "block"
    bottleneck: int | None = None
    zero_init: bool = True
    blocks: tuple[int, ...] | None = None

    def __post_init__(self):
        if not isinstance(self.middle, Iterable):
            raise TypeError(f'middle is {self.middle!r}; expected a sequence of "m" and "c"')
        object.__setattr__(self, "middle", tuple(self.middle))
        if any(kind not in ("m", "c") for kind in self.middle):
            raise ValueError(f'middle is {self.middle!r}; expected a sequence of "m" and "c"')
        _one_of("placement", self.placement, ("outside", "inside"))
        _one_of("source", self.source, ("block", "shared"))
        for name in ("residual", "zero_init"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} is {getattr(self, name)!r}; expected True or False")
        if self.bottleneck is not None and not _positive_int(self.bottleneck):
            raise ValueError(f"bottleneck is {self.bottleneck!r}; expected a positive int or None")
        if self.blocks is not None:
            blocks = tuple(self.blocks)
            if not blocks or any(not isinstance(b, int) or b < 0 for b in blocks):
                raise ValueError(
                    f"blocks is {self.blocks!r}; expected 0-based block numbers or None"
                )
            object.__setattr__(self, "blocks", tuple(sorted(set(blocks))))
        if self.source == "shared" and self.placement == "inside":
            raise ValueError(
                'source="shared" cannot be placed "inside": its signal is made from the image once '
                'and added to block inputs; use placement="outside" or source="block"'
            )
        if self.source == "shared" and not self.residual:
            raise ValueError(
                'source="shared" needs residual=True: its signal does not depend on the block\'s '
                "input, replacing the input by it would cut off all earlier blocks"
            )

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; ``ATLConfig(**d)`` is the inverse."""
        return asdict(self)


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; expected one of {', '.join(map(repr, choices))}")


def _positive_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


DESIGNS: dict[str, ATLConfig] = {
    "TransLandSeg": ATLConfig("m"),
    "TransLandSeg-1": ATLConfig("ccc"),
    "TransLandSeg-2": ATLConfig("cc"),
    "TransLandSeg-3": ATLConfig("cc", residual=False),
    "TransLandSeg-4": ATLConfig("mm"),
    "TransLandSeg-5": ATLConfig("mmccc"),
    "TransLandSeg-6": ATLConfig("mmccc", placement="inside"),
    "TransLandSeg-7": ATLConfig("m", residual=False),
    "TransLandSeg-8": ATLConfig("m", placement="inside"),
    "TransLandSeg-released": ATLConfig("m", source="shared"),
    "LandslideNet": ATLConfig("mm", source="shared"),
}
"""Table IV's nine designs, and the structure that the released code builds with one and with two
middle layers (the latter has LandslideNet's parameter budget)."""


class MidLayM(nn.Sequential):
    """``MidLay_m``: a linear layer and a GELU, (..., d) -> (..., d)."""

    def __init__(self, width: int):
        super().__init__(nn.Linear(width, width), nn.GELU())


class MidLayC(nn.Module):
    """``MidLay_c``: 3 x 3 convolution, LayerNorm over channels, GELU, (B, H, W, d) -> the same.

    The paper does not give the kernel size; 3 x 3 with zero padding is the usual choice.
    """

    def __init__(self, width: int):
        super().__init__()
        self.conv = nn.Conv2d(width, width, kernel_size=3, padding=1)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)  # B, H, W, d
        return nn.functional.gelu(self.norm(x))


def middle_layers(kinds: Iterable[str], width: int) -> nn.Sequential:
    """The middle of an adapter: one `MidLayM` or `MidLayC` for each letter."""
    return nn.Sequential(*(MidLayM(width) if kind == "m" else MidLayC(width) for kind in kinds))


class ATL(nn.Module):
    """One adapter: Up(Middle(Down(x))), Eq. 9 and 10, (B, H, W, C) -> (B, H, W, C).

    Computes in float32 whatever the input's precision, also under autocast.
    """

    def __init__(self, width: int, bottleneck: int, middle: Iterable[str], zero_init: bool):
        super().__init__()
        self.down = nn.Linear(width, bottleneck)
        self.middle = middle_layers(middle, bottleneck)
        self.up = nn.Linear(bottleneck, width)
        if zero_init:
            _zero(self.up)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with _full_precision(x):
            return self.up(self.middle(self.down(x.float()))).to(x.dtype)


class BlockATLs(nn.ModuleList):
    """``source="block"``: an `ATL` for each adapted block, fed with what that block has."""

    def __init__(self, width: int, depth: int, config: ATLConfig):
        blocks = adapted_blocks(config, depth)
        d = bottleneck_width(config, width)
        zero_init = config.residual and config.zero_init
        super().__init__(ATL(width, d, config.middle, zero_init) for _ in blocks)
        self.config = config
        self.position = {block: at for at, block in enumerate(blocks)}

    def start(self, tokens: torch.Tensor, image: torch.Tensor) -> None:
        return None

    def _adapt(self, index: int, x: torch.Tensor, placement: str) -> torch.Tensor:
        if self.config.placement != placement or index not in self.position:
            return x
        change = self[self.position[index]](x)
        return x + change if self.config.residual else change

    def before_block(self, index: int, x: torch.Tensor, state: None) -> torch.Tensor:
        return self._adapt(index, x, "outside")

    def after_attention(self, index: int, x: torch.Tensor, state: None) -> torch.Tensor:
        return self._adapt(index, x, "inside")


class SharedATL(nn.Module):
    """``source="shared"``: one generator, a middle per adapted block, one shared up-projection.

    The added signal depends on the image only, not on what earlier blocks made of it.
    """

    def __init__(self, width: int, depth: int, config: ATLConfig):
        super().__init__()
        blocks = adapted_blocks(config, depth)
        d = bottleneck_width(config, width)
        self.embedding = nn.Linear(width, d)
        self.high_pass = nn.Conv2d(3, d, kernel_size=PATCH, stride=PATCH)
        self.middles = nn.ModuleList(middle_layers(config.middle, d) for _ in blocks)
        self.up = nn.Linear(d, width)
        if config.zero_init:
            _zero(self.up)
        self.position = {block: at for at, block in enumerate(blocks)}

    def start(self, tokens: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        """The signal before the middles: (B, H, W, d), float32."""
        with _full_precision(tokens):
            detail = self.high_pass(high_pass(image.float())).permute(0, 2, 3, 1)  # B, H, W, d
            return self.embedding(tokens.float()) + detail

    def before_block(self, index: int, x: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        if index not in self.position:
            return x
        with _full_precision(x):
            change = self.up(self.middles[self.position[index]](state))
        return x + change.to(x.dtype)

    def after_attention(self, index: int, x: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        return x


def build_adapters(
    width: int, depth: int, config: ATLConfig, *, seed: int = 0
) -> BlockATLs | SharedATL:
    """The adapters of `config` for an encoder of this width and depth, initialised from `seed`.

    The global random state is left as it was.

    Raises:
        ValueError: if the configuration names a block that the encoder does not have.
    """
    kind = BlockATLs if config.source == "block" else SharedATL
    with seeded(seed):
        return kind(width, depth, config)


def adapted_blocks(config: ATLConfig, depth: int) -> tuple[int, ...]:
    """The 0-based blocks that `config` adapts in an encoder of `depth` blocks."""
    blocks = tuple(range(depth)) if config.blocks is None else config.blocks
    if blocks[-1] >= depth:
        raise ValueError(f"blocks names block {blocks[-1]}, but the encoder has 0 to {depth - 1}")
    return blocks


def bottleneck_width(config: ATLConfig, width: int) -> int:
    """d: the configured width, else encoder width // 32 (32 for ViT-L, 6 for sam_mini)."""
    return config.bottleneck if config.bottleneck is not None else max(1, width // 32)


def high_pass(image: torch.Tensor, share: float = HIGH_PASS_SHARE) -> torch.Tensor:
    """|image without its low frequencies|, (B, 3, H, W) -> (B, 3, H, W), float32, >= 0.

    The centred square of side sqrt(share * H * W) of the shifted spectrum is set to zero.
    """
    height, width = image.shape[-2:]
    half = int((share * height * width) ** 0.5) // 2
    spectrum = torch.fft.fftshift(torch.fft.fft2(image), dim=(-2, -1))
    rows = slice(max(0, height // 2 - half), height // 2 + half)
    columns = slice(max(0, width // 2 - half), width // 2 + half)
    keep = torch.ones(height, width, device=image.device)
    keep[rows, columns] = 0
    filtered = torch.fft.ifft2(torch.fft.ifftshift(spectrum * keep, dim=(-2, -1)))
    return filtered.real.abs()


def _zero(linear: nn.Linear) -> None:
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)


def _full_precision(x: torch.Tensor):
    return torch.autocast(device_type=x.device.type, enabled=False)
