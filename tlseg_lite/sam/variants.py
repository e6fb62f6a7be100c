"""The Segment Anything models: what each variant is, how it is built, strict loading.

All four variants are `segment_anything`'s own modules. ``vit_b``, ``vit_l`` and ``vit_h`` are the
published ones (1024 px). ``sam_mini`` is the same architecture in miniature (256 px), pre-trained
by this project; its weights are part of the package.
"""

from __future__ import annotations

import hashlib
import pickle
import re
import tarfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from tlseg_lite.core.errors import CheckpointError, listing
from tlseg_lite.core.memory import is_out_of_memory
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

    A training script's ``{"model": state dict, "epoch": ...}`` gives its state dict where it has
    only one; the name parts ``module`` and ``_orig_mod``, which data-parallel and compiled models
    add, are taken out.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: truncated, no state dict, several of them, or a pickle that holds more
            than tensors and plain values; nothing of such a pickle is run.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weights file at {path}")
    try:
        found = _load(path)
    except CheckpointError:
        raise
    except Exception as error:  # zip, pickle, safetensors and EOF errors differ by torch version
        raise CheckpointError(_unreadable_message(path, error)) from error
    state = _only_state_dict(path, found)
    plain: dict[str, torch.Tensor] = {}
    for key, value in state.items():
        name = ".".join(part for part in key.split(".") if part not in _WRAPPER_PARTS)
        if name in plain:
            raise CheckpointError(
                f"{path} has {name!r} more than once, with and without 'module.' or '_orig_mod.' "
                "in the name. Save the names of one model only"
            )
        if not _is_plain(value):
            raise CheckpointError(
                f"{path}: {key!r} is a tensor of {value.dtype}, {value.layout}, on {value.device}; "
                "expected plain floating-point values"
            )
        plain[name] = value
    return plain


_WRAPPER_PARTS = ("module", "_orig_mod")
"""What `DataParallel` and `torch.compile` put into the names of weights; no SAM has such parts."""


def _load(path: Path) -> object:
    """What the file holds, read without running any of it."""
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    if tarfile.is_tarfile(path):  # PyTorch before 2.6 runs code from these in spite of weights_only
        raise CheckpointError(
            f"{path} is a tar file, as PyTorch wrote them before version 0.4; they could run code "
            f"when loaded, so it was not loaded. {_SAFE}"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on old pickle protocols: an error follows anyway
        return torch.load(path, map_location="cpu", weights_only=True)


_SAFE = "Expected a state dict of tensors; use a checkpoint from its publisher"


def _unreadable_message(path: Path, error: Exception) -> str:
    text = str(error)
    why = f"{type(error).__name__}: {(text.splitlines() or [''])[0][:200]}"
    if isinstance(error, pickle.UnpicklingError) and (
        "GLOBAL" in text or ("weights_only" in text.lower() and "Unsupported" in text)
    ):
        return (
            f"{path} holds Python objects besides tensors and could run code when loaded, so it "
            f"was not loaded. {_SAFE}"
        )
    if isinstance(error, OSError) or is_out_of_memory(error):
        return (
            f"{path} cannot be read ({why}). The file may be good: look at its permissions, the "
            "disk and the free memory"
        )
    return (
        f"{path} cannot be read as a checkpoint: it is truncated, damaged or another kind of file "
        f"({why}). Compare its size and sha256 with the publisher's; if they differ, fetch it again"
    )


def _only_state_dict(path: Path, found: object) -> dict[str, torch.Tensor]:
    """`found` if it is a state dict, else the only one inside it."""
    choices = _state_dicts(found)
    if len(choices) == 1:
        return next(iter(choices.values()))
    if choices:
        raise CheckpointError(
            f"{path} holds several state dicts: {listing(choices)}. Save the one that is meant: "
            f"torch.save(torch.load({path.name!r}, weights_only=True){min(choices)}, 'plain.pth')"
        )
    if not isinstance(found, dict) or not found:
        raise CheckpointError(f"{path} holds a {type(found).__name__}, expected a state dict")
    odd = next((k for k, v in found.items() if not isinstance(v, torch.Tensor)), next(iter(found)))
    raise CheckpointError(
        f"{path} is not a plain state dict: {odd!r} is a {type(found[odd]).__name__}, expected "
        "tensors by name"
    )


def _state_dicts(found: object, where: str = "") -> dict[str, dict[str, torch.Tensor]]:
    """The state dicts in `found`, at most two levels down, by where they are (``['model']``)."""
    if _is_state_dict(found):
        return {where: found}
    if not isinstance(found, dict) or where.count("[") >= 2:
        return {}
    inside = [_state_dicts(value, f"{where}[{key!r}]") for key, value in found.items()]
    return {place: state for several in inside for place, state in several.items()}


def _is_state_dict(value: object) -> bool:
    return (
        isinstance(value, dict)
        and bool(value)
        and all(isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in value.items())
    )


def _is_plain(value: torch.Tensor) -> bool:
    """Whether `value` has floating-point numbers of its own, none of them standing for several."""
    return (
        value.is_floating_point()
        and value.layout == torch.strided
        and not value.is_meta
        and value.untyped_storage().nbytes() >= value.numel() * value.element_size()
    )


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
    bad = sorted(k for k, v in resized.items() if not torch.isfinite(v.float()).all())
    if bad:
        raise CheckpointError(
            f"{source}: {bad[0]} has values that are not finite (NaN or infinite); its training "
            "diverged or the file is damaged. Take an earlier checkpoint"
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
    text = (
        f"{source} does not fit {name}: keys {'; '.join(parts)}. Expected all of {name}'s weights"
    )
    found = re.match(r"(.+?)(image_encoder|prompt_encoder|mask_decoder)\.", next(iter(state), ""))
    if found and all(key.startswith(found[1]) for key in state):
        text += (
            f". All names begin with {found[1]!r}; remove it: "
            f"{{k.removeprefix({found[1]!r}): v for k, v in state.items()}}"
        )
    return text
