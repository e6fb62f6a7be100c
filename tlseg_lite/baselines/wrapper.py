"""The models that TransLandSeg is compared with, all in TransLandSeg's form.

`tlseg_lite.baselines.registry` has the bare networks; here they get the same `forward`, files and
errors as TransLandSeg. Everything in a baseline trains; `parameter_table` says how much that is.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from tlseg_lite.baselines.registry import (
    LAPTOP_ENCODERS,
    PAPER_ENCODERS,
    encoder_for,
    encoders,
    network,
)
from tlseg_lite.core.errors import CheckpointError
from tlseg_lite.core.files import read_tensors
from tlseg_lite.core.seeding import seeded
from tlseg_lite.core.trainable import Trainable, copy_strictly

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "LAPTOP_ENCODERS",
    "PAPER_ENCODERS",
    "PUBLISHED_MILLIONS",
    "Baseline",
    "build_baseline",
    "nearest_encoders",
    "parameter_table",
]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Normalisation of RGB values in 0..1, the same for every baseline."""

PUBLISHED_MILLIONS = {"ccnet": 71.27, "deeplabv3plus": 40.35, "unet": 75.36, "pspnet": 46.58}
"""Parameters in millions, total and trained alike, from Table III of the TransLandSeg paper."""

_NOTES = {
    "unet": "no encoder of the library gives the published count; the nearest is shown",
    "pspnet": "ResNet-50 at output stride 8 with a 3 x 3 convolution after the pyramid",
    "deeplabv3plus": "ResNet-50 with full instead of depthwise separable 3 x 3 convolutions",
    "ccnet": (
        "the published count has also the auxiliary head of training (4.72 M) "
        "and a stem of three convolutions (0.12 M): together 71.27 M"
    ),
    "segformer": "no published count; the largest of the SegFormer paper",
    "transunet": "no published count; the TransUNet paper's own encoder",
}


class Baseline(Trainable):
    """A published model in TransLandSeg's form; everything in it trains.

    Images (B, 3, S, S), float in [0, 1] -> logits (B, 1, S, S); > 0 is landslide. S is
    `image_size`. ImageNet normalisation happens inside. Made by `build_baseline`.

    Attributes:
        name, encoder_name: what it is, for example ``"unet"``, ``"resnet18"``.
        encoder_weights: what the encoder started from: None (random), ``"imagenet"`` or the name
            of a file.
        net: the network itself; ``net.encoder`` is its encoder.
    """

    def __init__(
        self,
        net: nn.Module,
        *,
        name: str,
        encoder_name: str,
        image_size: int,
    ):
        super().__init__(image_size)
        self.net = net
        self.name = name
        self.encoder_name = encoder_name
        self.encoder_weights: str | None = None  # set by what loads them
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD)[:, None, None], persistent=False)
        for module in net.modules():
            if type(module) is nn.BatchNorm2d:
                module.__class__ = SingleValueBatchNorm  # same tensors, one more case

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """Images in [0, 1] with ImageNet's mean and standard deviation taken out, by channel."""
        return (images - self.mean) / self.std

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.check_images(images)
        images = self.normalise(images)
        # Convolutions on a processor want the channels side by side: up to 15 % of a step.
        return self.net(images.contiguous(memory_format=torch.channels_last))

    def description(self) -> dict[str, Any]:
        """How to build this model again, in plain values."""
        return {
            "model": self.kind,
            "name": self.name,
            "encoder": self.encoder_name,
            "encoder_weights": self.encoder_weights,
            "image_size": self.image_size,
        }

    @classmethod
    def from_description(cls, about: Mapping[str, Any], source: str | Path) -> Baseline:
        """ImportError: segmentation-models-pytorch is needed and not installed."""
        size = about["image_size"]
        model = build_baseline(about["name"], encoder=about["encoder"], image_size=size)
        model.encoder_weights = about.get("encoder_weights")
        return model


class SingleValueBatchNorm(nn.BatchNorm2d):
    """Batch norm that also trains where a channel has one value only.

    A pooled 1 x 1 map of a single image has no variance, and PyTorch refuses it. Such a map is
    normalised with the running statistics, which it leaves as they are; any other map as usual.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training and x.numel() == x.shape[1]:
            return F.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        return super().forward(x)


def build_baseline(
    name: str,
    *,
    encoder: str | None = None,
    encoder_weights: str | os.PathLike | None = None,
    image_size: int = 256,
    seed: int = 0,
) -> Baseline:
    """One of the models that TransLandSeg is compared with, every parameter trainable.

    Args:
        name: ``"unet"``, ``"pspnet"``, ``"deeplabv3plus"``, ``"segformer"``, ``"ccnet"`` or
            ``"transunet"``.
        encoder: None: the one in `LAPTOP_ENCODERS`; ``"paper"``: the one in `PAPER_ENCODERS`;
            else a name. The first four take the encoders of segmentation-models-pytorch, CCNet
            those in `tlseg_lite.baselines.ccnet.ENCODERS`, TransUNet those in
            `tlseg_lite.baselines.transunet.SHAPES`.
        encoder_weights: None: random; ``"imagenet"``: fetched (not for TransUNet); else the path
            of a file that `Baseline.save` wrote, whose encoder is taken over.
        image_size: side S of the square images in pixels, a multiple of 32.
        seed: of the random weights. The global random state stays untouched.

    Raises:
        ValueError: unknown name, encoder or weights; an impossible image size.
        ImportError: segmentation-models-pytorch is needed and not installed.
        FileNotFoundError: no file at `encoder_weights`.
        CheckpointError: that file has another encoder or is damaged.
        tlseg_lite.core.downloads.DownloadError: ImageNet weights cannot be fetched (OfflineError:
            TLSEG_OFFLINE forbids it).
    """
    encoder = encoder_for(name, encoder)
    if isinstance(image_size, bool) or not isinstance(image_size, int) or image_size < 32:
        raise ValueError(f"image_size is {image_size!r}; expected a positive multiple of 32")
    if image_size % 32:
        below = image_size // 32 * 32
        raise ValueError(
            f"image_size is {image_size}; expected a multiple of 32 such as {below} or {below + 32}"
        )
    imagenet = encoder_weights == "imagenet"
    path = None if imagenet or encoder_weights is None else Path(encoder_weights)
    if path is not None and not path.is_file():
        raise FileNotFoundError(
            f"encoder_weights is {str(encoder_weights)!r}, and there is no such file; expected "
            "None, 'imagenet' or the path of a file that Baseline.save wrote"
        )
    with seeded(seed), torch.device("cpu"):
        net = network(name, encoder, image_size, imagenet=imagenet)
    model = Baseline(net, name=name, encoder_name=encoder, image_size=image_size)
    if path is not None:
        _load_encoder(model, path)
    model.encoder_weights = "imagenet" if imagenet else path and path.name
    return model


def parameter_table(choice: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Parameters of each baseline beside the published count, without building a tensor.

    Args:
        choice: model name -> encoder; None: `PAPER_ENCODERS`.

    Returns:
        one row a model: ``model``, ``encoder``, ``parameters_m``, ``published_m`` (Table III; NaN
        where there is none), ``difference_m`` (ours minus published), all in millions, and, for
        the encoders of `PAPER_ENCODERS`, ``note``: where ours differs, or what closes the count.
    """
    import pandas as pd

    rows = []
    for name, given in (PAPER_ENCODERS if choice is None else choice).items():
        encoder = encoder_for(name, given)
        millions = _count(name, encoder) / 1e6
        published = PUBLISHED_MILLIONS.get(name, float("nan"))
        note = _NOTES[name] if encoder == PAPER_ENCODERS[name] else ""
        rows.append((name, encoder, millions, published, millions - published, note))
    columns = ["model", "encoder", "parameters_m", "published_m", "difference_m", "note"]
    return pd.DataFrame(rows, columns=columns)


def nearest_encoders(name: str, candidates: Iterable[str] | None = None) -> pd.DataFrame:
    """Encoders for `name`, the one closest to its published parameter count first.

    Args:
        name: a key of `PUBLISHED_MILLIONS`.
        candidates: encoder names; None: all that there are (takes some seconds). Those that the
            model cannot use, such as encoders that cannot be dilated, are left out.

    Returns:
        columns ``encoder``, ``parameters_m``, ``difference_m``, as in `parameter_table`.

    Raises:
        ValueError: there is no published count for `name`.
    """
    import pandas as pd

    if name not in PUBLISHED_MILLIONS:
        raise ValueError(
            f"no published parameter count for {name!r}; there is one for "
            f"{', '.join(PUBLISHED_MILLIONS)}"
        )
    rows = []
    for encoder in encoders(name) if candidates is None else candidates:
        try:
            rows.append((encoder, _count(name, encoder) / 1e6))
        except ValueError:  # this model cannot use this encoder
            continue
    table = pd.DataFrame(rows, columns=["encoder", "parameters_m"])
    table["difference_m"] = table["parameters_m"] - PUBLISHED_MILLIONS[name]
    return table.sort_values("difference_m", key=abs, ignore_index=True)


def _count(name: str, encoder: str) -> int:
    with torch.device("meta"), _RealRamp():
        return sum(p.numel() for p in network(name, encoder, 256).parameters())


class _RealRamp(TorchFunctionMode):
    """Keeps `torch.linspace` on the CPU: mit encoders read their drop rates from one as numbers."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func is torch.linspace:
            kwargs["device"] = "cpu"
        return func(*args, **kwargs)


def _load_encoder(model: Baseline, path: Path) -> None:
    tensors, about = read_tensors(path, expected="Baseline")
    prefix = "net.encoder."
    state = {key.removeprefix(prefix): v for key, v in tensors.items() if key.startswith(prefix)}
    if about["encoder"] != model.encoder_name:
        raise CheckpointError(
            f"{path} has the encoder {about['encoder']!r}, this model {model.encoder_name!r}; "
            f"build it with encoder={about['encoder']!r}"
        )
    copy_strictly(model.net.encoder.state_dict(), state, path)
