"""TransLandSeg: SAM's frozen encoder, adapters beside it, SAM's mask decoder without prompts."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import nn

from tlseg_lite.adapters.atl import ATLConfig, build_adapters
from tlseg_lite.adapters.encoder import EncoderOptions, encode
from tlseg_lite.adapters.lora import LoRAConfig, lora_parameters, with_lora
from tlseg_lite.core.errors import CheckpointError
from tlseg_lite.core.trainable import Trainable
from tlseg_lite.core.trainable import load_model as load_model
from tlseg_lite.sam.decoding import embed_masks, embed_with, single_mask
from tlseg_lite.sam.prompts import LARGEST_LOGIT, Prompts, as_prompts
from tlseg_lite.sam.variants import build_sam, load_sam

if TYPE_CHECKING:
    from segment_anything.modeling import Sam


class TransLandSeg(Trainable):
    """Images (B, 3, S, S), float in [0, 1] -> logits (B, 1, S, S); > 0 is landslide.

    S is `image_size`; images of another shape are fitted by `tlseg_lite.data.transforms`.
    Normalisation happens inside. The encoder is shared with `sam` and frozen; the decoder and the
    no-mask embedding are copies that train, so one `sam` can serve many models.

    Args:
        sam: from `load_sam`.
        config: an `ATLConfig`, for example ``DESIGNS["TransLandSeg"]``; a `LoRAConfig`: LoRA on
            the attention instead; None: no adapters, only the decoder trains.
        seed: of the adapters' random initial weights.
        tune_encoder: train a copy of the whole encoder as well (full fine-tuning).
        prompts: answer prompts too, ``model(images, prompts=...)``: SAM's prompt encoder is kept,
            frozen. `Recipe.clicks` trains for it.
        encoder_options: how the encoder is computed (form of attention, compiling, checkpointing).
            The attribute of this name may be replaced at any time; a saved model has none of it.

    Raises:
        TypeError: `sam` or `config` is something else.
        ValueError: the configuration does not fit this encoder.
        ImportError: LoRA without the package `peft`.
    """

    def __init__(
        self,
        sam: Sam,
        config: ATLConfig | LoRAConfig | None,
        *,
        seed: int = 0,
        tune_encoder: bool = False,
        prompts: bool = False,
        encoder_options: EncoderOptions | None = None,
    ):
        if not hasattr(sam, "image_encoder") or not hasattr(sam, "variant"):
            raise TypeError(
                f"sam is a {type(sam).__name__}; expected the model that load_sam returns"
            )
        if config is not None and not isinstance(config, (ATLConfig, LoRAConfig)):
            raise TypeError(
                f"config is a {type(config).__name__}; expected an ATLConfig, such as "
                'DESIGNS["TransLandSeg"], a LoRAConfig, or None'
            )
        lora = isinstance(config, LoRAConfig)
        if lora and tune_encoder:
            raise ValueError("LoRA keeps the encoder frozen: leave out tune_encoder or the LoRA")
        super().__init__(sam.image_encoder.img_size)
        self.config = config
        self.variant = sam.variant
        self.backbone = getattr(sam, "origin", {"weights": "unknown"})
        self.tune_encoder = tune_encoder
        self.prompts = prompts
        self.encoder_options = encoder_options or EncoderOptions()
        encoder = copy.deepcopy(sam.image_encoder) if tune_encoder else sam.image_encoder
        encoder.requires_grad_(tune_encoder)
        self.image_encoder = with_lora(encoder, config, seed=seed) if lora else encoder
        self.adapters = None
        if isinstance(config, ATLConfig):
            width, depth = encoder.pos_embed.shape[-1], len(encoder.blocks)
            self.adapters = build_adapters(width, depth, config, seed=seed)
        self.mask_decoder = copy.deepcopy(sam.mask_decoder).requires_grad_(True)
        self.no_mask_embed = copy.deepcopy(sam.prompt_encoder.no_mask_embed).requires_grad_(True)
        self.prompt_encoder = None
        if prompts:
            self.prompt_encoder = copy.deepcopy(sam.prompt_encoder).requires_grad_(False)
        self.position_encoding = copy.deepcopy(sam.prompt_encoder.pe_layer)
        self.register_buffer("pixel_mean", sam.pixel_mean.clone(), persistent=False)
        self.register_buffer("pixel_std", sam.pixel_std.clone(), persistent=False)

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Image embedding, (B, 3, S, S) in [0, 1] -> (B, C, S/16, S/16)."""
        self.check_images(images)
        return encode(
            self.image_encoder, self.normalise(images), self.adapters, self.encoder_options
        )

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """SAM's normalisation of images in [0, 1]: zero mean, unit deviation, by channel."""
        return (images * 255.0 - self.pixel_mean) / self.pixel_std

    def decode(
        self, embedding: torch.Tensor, prompts: Prompts | Sequence | Mapping | None = None
    ) -> torch.Tensor:
        """Mask logits, (B, C, h, w) -> (B, 1, 4h, 4w), without prompts (Eq. 4) or with them.

        Args:
            embedding: of `encode`; computed once, it serves any number of prompts.
            prompts: one for each image, as in `forward`; with the embedding of one image, any
                number of them for that image.
        """
        if prompts is not None:
            return self._decode_prompts(embedding, self._checked(prompts, len(embedding)))
        grid = embedding.shape[-2:]
        # SAM's decoder takes one image and many prompts. With one empty prompt its query tokens
        # have batch size 1 and broadcast over a batch of images, which is what is wanted here.
        logits, _ = self.mask_decoder(
            image_embeddings=embedding,
            image_pe=self._positions(grid)[None],
            sparse_prompt_embeddings=embedding.new_zeros(1, 0, embedding.shape[1]),
            dense_prompt_embeddings=self.no_mask_embed.weight.reshape(1, -1, 1, 1),
            multimask_output=False,
        )
        return logits

    def _positions(self, grid: tuple[int, int]) -> torch.Tensor:
        """SAM's positional encoding of the grid, (C, h, w).

        On CUDA in float32 under autocast too: eight bits would blur coordinates by a cell. CPUs
        keep what their recorded results were made with.
        """
        device = self.pixel_mean.device.type
        exact = torch.autocast(device, enabled=False) if device == "cuda" else nullcontext()
        with exact:
            return self.position_encoding(grid)

    def _checked(self, prompts: Prompts | Sequence | Mapping, images: int) -> Prompts:
        if self.prompt_encoder is None:
            raise ValueError(
                "this model takes no prompts; build it with TransLandSeg(sam, design, "
                "prompts=True), and train it with Recipe(clicks=...)"
            )
        prompts = as_prompts(prompts, self.image_size)
        if images not in (1, len(prompts)):
            raise ValueError(
                f"{len(prompts)} prompts for {images} images; expected one for each (None for no "
                "prompt)"
            )
        side, masks = self.image_size // 4, prompts.masks
        if masks is not None and tuple(masks.shape[1:]) != (1, side, side):
            raise ValueError(
                f"former masks have shape {tuple(masks.shape)}; expected "
                f"({len(prompts)}, 1, {side}, {side}), as decode gives them"
            )
        return prompts.to(self.no_mask_embed.weight.device)

    def _decode_prompts(self, embedding: torch.Tensor, prompts: Prompts) -> torch.Tensor:
        """One pass of the decoder for all prompts with the same number of tokens."""
        position = self._positions(embedding.shape[-2:])[None]
        none = self.no_mask_embed.weight.reshape(1, -1, 1, 1)
        given, answers, order = prompts.brings_mask(), [], []
        for rows, points, kinds in prompts.groups():
            own = embedding if len(embedding) == 1 else embedding[rows]
            order.append(rows)
            if not kinds.shape[1] and not given[rows].any():
                answers.append(self.decode(own).expand(len(rows), -1, -1, -1))
                continue
            dense = none
            if given[rows].any():
                former = prompts.masks[rows].clamp(-LARGEST_LOGIT, LARGEST_LOGIT)
                dense = embed_masks(self.prompt_encoder, former, given[rows], none)
            sparse = embed_with(self.prompt_encoder, points, kinds)
            answers.append(single_mask(self.mask_decoder, position, own, sparse, dense))
        if len(answers) == 1:
            return answers[0]
        if not answers:
            return embedding.new_zeros(0, 1, self.image_size // 4, self.image_size // 4)
        return torch.cat([a.float() for a in answers])[torch.cat(order).argsort()]

    def enlarged(self, logits: torch.Tensor) -> torch.Tensor:
        """Logits of `decode` at the size of the images, (B, 1, S, S)."""
        size = (self.image_size, self.image_size)
        if logits.device.type == "cuda":
            logits = logits.float()  # CUDA adds up the resampling's gradient in the type it is in
        return F.interpolate(logits, size, mode="bilinear", align_corners=False)

    def forward(
        self, images: torch.Tensor, prompts: Prompts | Sequence | Mapping | None = None
    ) -> torch.Tensor:
        """Logits, without prompts or with one for each image.

        Args:
            images: (B, 3, S, S) in [0, 1].
            prompts: a list with a mapping or None for each image (`tlseg_lite.sam.as_prompts`
                says what is in it), or a `tlseg_lite.sam.Prompts`. What an image is answered does
                not depend on the other prompts of the batch.

        Raises:
            ValueError: prompts that do not fit, or for a model without ``prompts=True``.
        """
        return self.enlarged(self.decode(self.encode(images), prompts))

    def train(self, mode: bool = True) -> TransLandSeg:
        """Training mode for what trains; a frozen encoder stays in eval mode."""
        super().train(mode)
        if not self.tune_encoder:
            self.image_encoder.eval()
        return self

    def trained_state(self) -> dict[str, torch.Tensor]:
        """The tensors that training changes, by name; the frozen backbone is not among them.

        A saved model names it instead: that of a ViT-L takes 17 MB.
        """
        return {name: p.detach() for name, p in self.named_parameters() if p.requires_grad}

    def description(self) -> dict[str, Any]:
        """How to build this model again, in plain values."""
        about = {
            "model": self.kind,
            "variant": self.variant,
            "image_size": self.image_size,
            "config": None if self.config is None else self.config.as_dict(),
            "tune_encoder": self.tune_encoder,
            "backbone": self.backbone,
        }
        return about | ({"prompts": True} if self.prompts else {})

    @classmethod
    def from_description(
        cls, about: Mapping[str, Any], source: str | Path, sam: Sam | None = None
    ) -> TransLandSeg:
        """The design of a saved model on the backbone named there, or on `sam`, if that fits."""
        if sam is None:
            sam = _backbone(about, source)
        elif sam.variant != about["variant"] or sam.image_encoder.img_size != about["image_size"]:
            raise CheckpointError(
                f"{source} was trained on {about['variant']} at {about['image_size']} px, but sam "
                f"is {sam.variant} at {sam.image_encoder.img_size} px"
            )
        elif (known := about["backbone"].get("fingerprint")) and known != sam.origin["fingerprint"]:
            raise CheckpointError(
                f"{source} was trained on other weights of {about['variant']} "
                f"({about['backbone']}) than those of sam ({sam.origin})"
            )
        prompts = about.get("prompts", False)
        tune = about["tune_encoder"]
        return cls(sam, _config(about["config"]), tune_encoder=tune, prompts=prompts)

    @classmethod
    def load(cls, path: str | Path, sam: Sam | None = None) -> TransLandSeg:
        """The model saved at `path`, on the backbone named there, or on `sam`.

        Raises:
            FileNotFoundError: no such file, or the backbone's own weights file is gone.
            CheckpointError: not a file of `save`, damaged, or `sam` is another backbone.
        """
        return super().load(path, sam=sam)


def _config(values: dict[str, Any] | None) -> ATLConfig | LoRAConfig | None:
    if values is None:
        return None
    return LoRAConfig.from_dict(values) if "rank" in values else ATLConfig(**values)


def _backbone(about: dict[str, Any], path: str | Path) -> Sam:
    origin = about["backbone"]
    weights = {"random": None, "default": "default"}.get(origin["weights"], origin["weights"])
    name, known = about["variant"], origin["fingerprint"]
    remedy = (
        f"give the weights with the fingerprint {known}, wherever they are: "
        f"load(path, sam=load_sam({name!r}, weights=FILE)), or --weights FILE"
    )
    try:
        sam = load_sam(name, weights, image_size=about["image_size"], seed=origin.get("seed", 0))
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{path} was trained on {name} with the weights {weights}, which are gone: {remedy}"
        ) from error
    if sam.origin["fingerprint"] != known:
        raise CheckpointError(
            f"{path} was trained on other weights of {name} than those found now "
            f"({origin} against {sam.origin}): {remedy}"
        )
    return sam


@dataclass(frozen=True)
class ParameterCounts:
    """Numbers of parameters; `trainable` is `adapters` + `decoder` + `no_mask` (+ the encoder)."""

    total: int
    trainable: int
    adapters: int
    decoder: int
    no_mask: int = 0
    encoder: int = 0

    def __str__(self) -> str:
        share = self.trainable / self.total if self.total else 0.0
        return (
            f"{self.total:,} parameters, {self.trainable:,} trainable ({share:.2%}): "
            f"adapters {self.adapters:,}, decoder {self.decoder:,}, "
            f"no-mask embedding {self.no_mask:,}"
        )


def count_parameters(model: nn.Module) -> ParameterCounts:
    """Parameters of a `TransLandSeg` by part; of any other module, total and trainable."""

    def size(part: str) -> int:
        module = getattr(model, part, None)
        return 0 if module is None else sum(p.numel() for p in module.parameters())

    parameters = list(model.parameters())
    lora = lora_parameters(model)
    return ParameterCounts(
        total=sum(p.numel() for p in parameters),
        trainable=sum(p.numel() for p in parameters if p.requires_grad),
        adapters=size("adapters") + lora,
        decoder=size("mask_decoder"),
        no_mask=size("no_mask_embed"),
        encoder=size("image_encoder") - lora,
    )


def budget(variant: str, config: ATLConfig | LoRAConfig | None) -> ParameterCounts:
    """`count_parameters` of a design on a SAM variant, without building a tensor (in a second)."""
    with torch.device("meta"):
        return count_parameters(TransLandSeg(build_sam(variant), config))


def parameter_layout(
    variant: str, config: ATLConfig | LoRAConfig | None
) -> list[tuple[str, int, bool]]:
    """Where each parameter of a design sits: (part, number of parameters, trains), in order.

    The adapters are listed by kind of layer, summed over blocks; the encoder by its parts. The
    numbers add up to ``budget(variant, config).total``.
    """
    with torch.device("meta"):
        model = TransLandSeg(build_sam(variant), config)
    rows: dict[tuple[str, bool], int] = {}
    for name, parameter in model.named_parameters():
        part = ".".join(p for p in name.split(".")[:-1] if not p.isdigit())
        if not name.startswith("adapters"):
            part = ".".join(part.split(".")[:2])
        key = (part, parameter.requires_grad)
        rows[key] = rows.get(key, 0) + parameter.numel()
    return [(part, number, trains) for (part, trains), number in rows.items()]
