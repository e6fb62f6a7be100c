"""The bare networks by name: UNet, PSPNet, DeepLabv3+, SegFormer, CCNet, TransUNet.

The first four come from segmentation-models-pytorch (the extra ``baselines``). Two of them are
leaner there than the published ones. PSPNet stops at the encoder's third stage (the rest of it
would train nothing) and ends with a 1 x 1 convolution; DeepLabv3+ has depthwise separable
convolutions. Both are put back to the form whose parameter count is the TransLandSeg paper's:
the whole encoder, dilated to output stride 8, and full 3 x 3 convolutions. CCNet and TransUNet
are written in `tlseg_lite.baselines.ccnet` and `tlseg_lite.baselines.transunet`.
"""

from __future__ import annotations

from types import ModuleType

from torch import nn

LAPTOP_ENCODERS = {
    "unet": "resnet18",
    "pspnet": "resnet18",
    "deeplabv3plus": "resnet18",
    "segformer": "mit_b0",
    "ccnet": "resnet18",
    "transunet": "mini",
}
"""What ``encoder=None`` means: the smallest encoder of each model's family."""

PAPER_ENCODERS = {
    "unet": "se_resnet152",
    "pspnet": "resnet50",
    "deeplabv3plus": "resnet50",
    "segformer": "mit_b5",
    "ccnet": "resnet101",
    "transunet": "r50_vit_b16",
}
"""What ``encoder="paper"`` means: closest to the published parameter count, where there is one."""


def encoder_for(name: str, encoder: str | None) -> str:
    """The encoder's own name, for None and ``"paper"`` too; ValueError for an unknown model."""
    if name not in LAPTOP_ENCODERS:
        raise ValueError(f"unknown baseline {name!r}; choose one of {', '.join(LAPTOP_ENCODERS)}")
    if encoder is None:
        return LAPTOP_ENCODERS[name]
    return PAPER_ENCODERS[name] if encoder == "paper" else encoder


def encoders(name: str) -> tuple[str, ...]:
    """The names of the encoders for a model; not each of the library's serves each model."""
    if name == "ccnet":
        from tlseg_lite.baselines.ccnet import ENCODERS

        return ENCODERS
    if name == "transunet":
        from tlseg_lite.baselines.transunet import SHAPES

        return tuple(SHAPES)
    names = _library().encoders.get_encoder_names()
    return tuple(encoder for encoder in names if not encoder.startswith("timm-"))  # deprecated


def network(name: str, encoder: str, image_size: int, *, imagenet: bool = False) -> nn.Module:
    """The network on the current default device: normalised images (B, 3, S, S) -> (B, 1, S, S).

    Args:
        name: a key of `LAPTOP_ENCODERS`.
        encoder: one of ``encoders(name)``, or ``"tu-"`` and a timm model for the library's four.
        image_size: S; only TransUNet is bound to it.
        imagenet: fetch ImageNet weights for the encoder.

    Raises:
        ValueError: an encoder that is unknown, or that this model cannot use.
        ImportError: segmentation-models-pytorch is needed and not installed.
        tlseg_lite.core.downloads.DownloadError: the weights cannot be fetched.
    """
    library = name not in ("ccnet", "transunet")
    if encoder not in encoders(name) and not (library and encoder.startswith("tu-")):
        raise ValueError(
            f"unknown encoder {encoder!r} for {name}; choose one of {', '.join(encoders(name))}"
        )
    if library:
        return _library_network(name, encoder, imagenet)
    if name == "ccnet":
        from tlseg_lite.baselines.ccnet import CCNet

        net = CCNet(encoder)
        if imagenet:
            _load_torchvision_weights(net.encoder, encoder)
        return net
    from tlseg_lite.baselines.transunet import TransUNet

    if imagenet:
        raise ValueError(
            "encoder_weights='imagenet' is not offered for transunet; use None, or a file that "
            "Baseline.save wrote"
        )
    return TransUNet(encoder, image_size)


def _library() -> ModuleType:
    try:
        import segmentation_models_pytorch as smp
    except ModuleNotFoundError as error:
        if error.name != "segmentation_models_pytorch":
            raise
        raise ImportError(
            "this baseline needs segmentation-models-pytorch, which is not installed; "
            'pip install "tlseg-lite[baselines]"'
        ) from error
    return smp


def _library_network(name: str, encoder: str, imagenet: bool) -> nn.Module:
    smp = _library()
    build = {
        "unet": smp.Unet,
        "pspnet": _pspnet,
        "deeplabv3plus": _deeplabv3plus,
        "segformer": smp.Segformer,
    }[name]
    if imagenet:
        _refuse_offline(encoder)
    try:
        return build(encoder, encoder_weights="imagenet" if imagenet else None, classes=1)
    except OSError as error:
        raise _unreachable(encoder, error) from error
    except (ValueError, KeyError) as error:
        reason = error.args[0] if error.args else error
        raise ValueError(
            f"{name} cannot use the encoder {encoder!r} ({reason}); "
            "the ResNets, such as 'resnet18', serve all models"
        ) from error


def _pspnet(encoder: str, **settings) -> nn.Module:
    net = _library().PSPNet(encoder, encoder_depth=5, upsampling=8, **settings)
    net.encoder.make_dilated(8)
    conv = net.decoder.conv[0]  # after the pyramid: 1 x 1 in the library
    net.decoder.conv[0] = _full(conv.in_channels, conv.out_channels, padding=1, dilation=1)
    head = nn.Conv2d(conv.out_channels, 1, 1)  # 3 x 3 in the library
    nn.init.xavier_uniform_(head.weight)
    nn.init.zeros_(head.bias)
    net.segmentation_head[0] = head
    return net


def _deeplabv3plus(encoder: str, **settings) -> nn.Module:
    net = _library().DeepLabV3Plus(encoder, **settings)
    for parent in list(net.decoder.modules()):
        for key, child in parent.named_children():
            if type(child).__name__ == "SeparableConv2d":
                depth, point = child[0], child[1]
                conv = _full(depth.in_channels, point.out_channels, depth.padding, depth.dilation)
                parent.add_module(key, conv)
    return net


def _full(inputs: int, outputs: int, padding, dilation) -> nn.Conv2d:
    """A full 3 x 3 convolution with the start weights that the library gives its decoders."""
    conv = nn.Conv2d(inputs, outputs, 3, padding=padding, dilation=dilation, bias=False)
    nn.init.kaiming_uniform_(conv.weight, mode="fan_in", nonlinearity="relu")
    return conv


def _load_torchvision_weights(module: nn.Module, encoder: str) -> None:
    import torchvision

    _refuse_offline(encoder)
    try:
        weights = torchvision.models.get_model_weights(encoder).DEFAULT
        state = weights.get_state_dict(progress=False, check_hash=True)
    except OSError as error:
        raise _unreachable(encoder, error) from error
    module.load_state_dict({k: v for k, v in state.items() if not k.startswith("fc.")})


def _refuse_offline(encoder: str) -> None:
    from tlseg_lite.core.downloads import OfflineError, offline

    if offline():
        raise OfflineError(
            f"TLSEG_OFFLINE forbids fetching ImageNet weights for {encoder}. Unset it; or pass "
            "encoder_weights=None, or the path of a file that Baseline.save wrote",
            "TLSEG_OFFLINE is set",
        )


def _unreachable(encoder: str, error: Exception) -> Exception:
    from tlseg_lite.core.downloads import DownloadError

    return DownloadError(
        f"ImageNet weights for {encoder} could not be fetched ({type(error).__name__}: {error}). "
        "Check the network; or pass encoder_weights=None, or the path of a file that "
        "Baseline.save wrote",
        "the host cannot be reached",
    )
