"""Small SAMs with random weights everywhere, for tests of the encoder and its adapters."""

from __future__ import annotations

import torch

import tlseg_lite as tl
from tlseg_lite.sam.variants import build_sam


def busy_sam(name: str = "sam_mini", image_size: int | None = 64, seed: int = 0):
    """A frozen SAM whose positional tables are random too (a fresh SAM has zeros there)."""
    sam = tl.load_sam(name, weights=None, image_size=image_size, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, value in sam.image_encoder.named_parameters():
            if "rel_pos" in key or "pos_embed" in key:
                value.copy_(0.3 * torch.randn(value.shape, generator=generator))
    return sam


def nowhere_zero_sam(image_size: int | None = None):
    """sam_mini with random weights of which none is zero (SAM starts its positions at zero)."""
    sam = tl.load_sam("sam_mini", None, seed=1, image_size=image_size)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in sam.parameters():
            p.add_(0.02 * torch.randn(p.shape, generator=generator))
    return sam


def prompted_model() -> tl.TransLandSeg:
    """TransLandSeg that takes clicks, random everywhere, at 64 px."""
    return tl.TransLandSeg(nowhere_zero_sam(64), tl.DESIGNS["TransLandSeg"], prompts=True)


def upright_image() -> torch.Tensor:
    """An image that is no square: (3, 48, 32) in [0, 1]."""
    return torch.rand(3, 48, 32, generator=torch.Generator().manual_seed(1))


def short_sam(name: str, image_size: int, keep: tuple[int, ...], seed: int = 0):
    """A SAM of full width with only the blocks `keep`, random everywhere: big variants, fast."""
    with torch.device("meta"):
        sam = build_sam(name, image_size=image_size)
    encoder = sam.image_encoder
    encoder.blocks = torch.nn.ModuleList(encoder.blocks[i] for i in keep)
    encoder.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, value in encoder.named_parameters():
            spread = 0.3 if value.ndim == 1 or "pos" in key else value[0].numel() ** -0.5
            value.copy_(spread * torch.randn(value.shape, generator=generator))
    return sam.requires_grad_(False).eval()


def random_images(batch: int, size: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(seed))


def wake_up(adapters: torch.nn.Module, seed: int = 0, spread: float = 0.2) -> None:
    """Random up-projections in place of the zeros that training starts from."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, value in adapters.named_parameters():
            if key.split(".")[-2] == "up":
                value.copy_(spread * torch.randn(value.shape, generator=generator))
