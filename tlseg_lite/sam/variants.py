"""The Segment Anything models: what each variant is, how it is built, strict loading.

All four variants are `segment_anything`'s own modules. ``vit_b``, ``vit_l`` and ``vit_h`` are the
published ones (1024 px). ``sam_mini`` is the same architecture in miniature (256 px), pre-trained
by this project; its weights are part of the package.
"""

from __future__ import annotations

import hashlib
import pickle
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from tlseg_lite.core.errors import CheckpointError
from tlseg_lite.core.seeding import seeded

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

PATCH = 16
"""Side of an image patch in pixels; one token of the encoder stands for one patch."""

PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)
"""SAM's normalisation constants, for RGB values in 0..255."""


@dataclass(frozen=True)
class SamVariant:
    """The shape of one SAM: encoder width, depth, heads, global blocks, and the decoder's width."""

    width: int
    depth: int
    heads: int
    global_blocks: tuple[int, ...]
    image_size: int = 1024
    window: int = 14
    decoder_width: int = 256
    decoder_mlp: int = 2048


VARIANTS = {
    "sam_mini": SamVariant(192, 8, 6, (1, 3, 5, 7), 256, 8, 128, 512),
    "vit_b": SamVariant(768, 12, 12, (2, 5, 8, 11)),
    "vit_l": SamVariant(1024, 24, 16, (5, 11, 17, 23)),
    "vit_h": SamVariant(1280, 32, 16, (7, 15, 23, 31)),
}

MINI_WEIGHTS = Path(__file__).parents[1] / "weights" / "sam_mini.safetensors"


def variant(name: str) -> SamVariant:
    """The shape of the SAM called `name`; ValueError for an unknown one."""
    try:
        return VARIANTS[name]
    except (KeyError, TypeError):
        raise ValueError(
            f"unknown SAM variant {name!r}; choose one of {', '.join(VARIANTS)}"
        ) from None


def build_sam(name: str, *, image_size: int | None = None) -> Sam:
    """An untrained SAM on the current default device (also under ``torch.device("meta")``).

    Args:
        name: a key of `VARIANTS`.
        image_size: side of the square input in pixels, a positive multiple of 16;
            None means the variant's own.

    Raises:
        ValueError: for an unknown name or an impossible image size.
    """
    from functools import partial

    from segment_anything.modeling import (
        ImageEncoderViT,
        MaskDecoder,
        PromptEncoder,
        Sam,
        TwoWayTransformer,
    )

    v = variant(name)
    size = v.image_size if image_size is None else image_size
    if not isinstance(size, int) or size < PATCH or size % PATCH:
        raise ValueError(f"image_size is {size!r}; expected a positive multiple of {PATCH}")
    grid = size // PATCH
    sam = Sam(
        image_encoder=ImageEncoderViT(
            img_size=size,
            patch_size=PATCH,
            embed_dim=v.width,
            depth=v.depth,
            num_heads=v.heads,
            mlp_ratio=4,
            out_chans=v.decoder_width,
            qkv_bias=True,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            global_attn_indexes=v.global_blocks,
            window_size=v.window,
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=v.decoder_width,
            image_embedding_size=(grid, grid),
            input_image_size=(size, size),
            mask_in_chans=16,
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(
                depth=2, embedding_dim=v.decoder_width, mlp_dim=v.decoder_mlp, num_heads=8
            ),
            transformer_dim=v.decoder_width,
            iou_head_depth=3,
            iou_head_hidden_dim=v.decoder_width,
        ),
        pixel_mean=list(PIXEL_MEAN),
        pixel_std=list(PIXEL_STD),
    )
    sam.variant = name
    return sam


def load_sam(
    name: str,
    weights: str | Path | None = "default",
    *,
    image_size: int | None = None,
    seed: int = 0,
) -> Sam:
    """A frozen SAM in eval mode, `segment_anything`'s own class.

    Args:
        name: ``"sam_mini"``, ``"vit_b"``, ``"vit_l"`` or ``"vit_h"``.
        weights: ``"default"``: the published checkpoint (fetched once and verified) or, for
            ``sam_mini``, the one inside the package. None: random weights. Else a path to a
            ``.pth`` or ``.safetensors`` file.
        image_size: side of the square input in pixels, a multiple of 16; None: 1024, or 256 for
            ``sam_mini``. At another size than the checkpoint's the learned absolute positions
            are resampled bicubically and the relative ones linearly, as SAM itself does.
        seed: of the random weights.

    Returns:
        the model; ``.variant`` is `name`, ``.origin`` says which weights it has. No parameter
        requires gradients.

    Raises:
        ValueError: unknown name, impossible size.
        CheckpointError: the file is truncated, of another variant, unsafe, or no checkpoint.
        FileNotFoundError: no file at the given path.
        tlseg_lite.core.downloads.OfflineError: the checkpoint is not there and may not be fetched.
    """
    variant(name)
    with seeded(seed):
        sam = build_sam(name, image_size=image_size)
    path = None
    if weights is not None:
        path = _default_weights(name) if weights == "default" else Path(weights)
    if path is None:
        sam.origin = {"weights": "random", "seed": seed}
    else:
        load_strictly(sam, read_checkpoint(path), path)
        sam.origin = {"weights": "default" if weights == "default" else str(path.resolve())}
    sam.origin["fingerprint"] = fingerprint(sam)
    return sam.requires_grad_(False).eval()


def fingerprint(sam: Sam) -> str:
    """16 hexadecimal digits that tell one set of encoder weights from another.

    Taken from the last layers of the encoder only, so that it costs nothing for ViT-H too.
    """
    neck = sam.image_encoder.neck[0].weight
    if neck.is_meta:
        return "meta"
    data = neck.detach().float().cpu().contiguous().numpy().tobytes()
    return hashlib.sha256(data).hexdigest()[:16]


def _default_weights(name: str) -> Path | None:
    if name != "sam_mini":
        from tlseg_lite.core.downloads import fetch_checkpoint

        return fetch_checkpoint(name)
    if MINI_WEIGHTS.is_file():
        return MINI_WEIGHTS
    warnings.warn(
        "sam_mini has no trained weights in this version: it starts from random ones "
        "(pass weights=None to ask for that explicitly)",
        stacklevel=3,
    )
    return None


def read_checkpoint(path: str | Path) -> dict[str, torch.Tensor]:
    """The state dict in a ``.pth`` (read with ``weights_only=True``) or ``.safetensors`` file.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: truncated, not a state dict, or a pickle that holds more than tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weights file at {path}")
    if path.stat().st_size == 0:
        raise CheckpointError(f"{path} is empty; delete it and fetch it again")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # on old pickle protocols: an error follows anyway
                state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(_unpickling_message(path, error)) from error
    except Exception as error:  # zip, safetensors and EOF errors differ by torch version
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint; it is truncated or another kind of file "
            f"({type(error).__name__}: {_first_line(error)}). Delete it and fetch it again"
        ) from error
    if not isinstance(state, dict) or not state:
        raise CheckpointError(f"{path} holds a {type(state).__name__}, expected a state dict")
    odd = [key for key, value in state.items() if not isinstance(value, torch.Tensor)]
    if odd:
        raise CheckpointError(
            f"{path} is not a plain state dict: {odd[0]!r} is a {type(state[odd[0]]).__name__}, "
            "expected tensors by name"
        )
    return state


def _unpickling_message(path: Path, error: Exception) -> str:
    text = str(error)
    if "GLOBAL" in text or ("weights_only" in text.lower() and "Unsupported" in text):
        return (
            f"{path} holds Python objects besides tensors and could run code when loaded, "
            "so it was not loaded. Expected a state dict of tensors; use a checkpoint from its "
            "publisher"
        )
    return f"{path} is not a checkpoint or is damaged; delete it and fetch it again"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:200]


def load_strictly(sam: Sam, state: dict[str, torch.Tensor], source: str | Path) -> None:
    """Load `state` into `sam`; every key must be there and every shape must fit.

    The one allowed difference is the image size: positional tables are resampled to it.

    Raises:
        CheckpointError: with the keys that do not fit, and the variant that they belong to.
    """
    own = sam.state_dict()
    # pixel_mean and pixel_std are non-persistent buffers in SAM; some published copies hold them
    state = {k: v for k, v in state.items() if k not in ("pixel_mean", "pixel_std")}
    missing, unexpected = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    resized = {k: resize_positions(k, state[k], own[k]) for k in own.keys() & state.keys()}
    wrong = sorted(k for k, v in resized.items() if v.shape != own[k].shape)
    if missing or unexpected or wrong:
        raise CheckpointError(
            _mismatch_message(sam.variant, source, state, missing, unexpected, wrong)
        )
    bad = sorted(k for k, v in resized.items() if not torch.isfinite(v).all())
    if bad:
        raise CheckpointError(
            f"{source}: {bad[0]} holds NaN or infinite values; the file is damaged"
        )
    sam.load_state_dict(resized, strict=True)


def resize_positions(key: str, value: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """A positional table resampled to the shape of `like`; anything else is returned as it is."""
    if value.shape == like.shape:
        return value
    if (
        key.endswith("image_encoder.pos_embed")
        and value.ndim == 4
        and value.shape[-1] == like.shape[-1]
    ):
        grid = value.float().permute(0, 3, 1, 2)  # 1, C, h, w
        grid = F.interpolate(grid, like.shape[1:3], mode="bicubic", align_corners=False)
        return grid.permute(0, 2, 3, 1)
    if ".attn.rel_pos_" in key and value.ndim == 2 and value.shape[-1] == like.shape[-1]:
        table = value.float().t()[None]  # 1, C, 2L-1
        return F.interpolate(table, like.shape[0], mode="linear")[0].t()
    return value


def _mismatch_message(name, source, state, missing, unexpected, wrong) -> str:
    table = state.get("image_encoder.pos_embed")
    if table is not None and table.ndim == 4:
        for other, v in VARIANTS.items():
            if other != name and v.width == table.shape[-1]:
                return (
                    f"{source} holds {other} (encoder width {v.width}), but {name} was asked for "
                    f"(width {VARIANTS[name].width}). Call load_sam({other!r}, ...) or give "
                    f"{name}'s own file"
                )

    def some(keys: list[str]) -> str:
        return f"{len(keys)} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})"

    parts = [
        f"{what} {some(keys)}"
        for what, keys in (("missing", missing), ("unexpected", unexpected), ("wrong shape", wrong))
        if keys
    ]
    return (
        f"{source} does not fit {name}: keys {'; '.join(parts)}. Expected all of {name}'s weights"
    )
