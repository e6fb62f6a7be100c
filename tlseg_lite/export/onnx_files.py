"""SAM, TransLandSeg and the baselines as ONNX files, checked against PyTorch before they are kept.

A SAM becomes ``encoder.onnx`` and ``decoder.onnx`` (points, boxes and a former mask, any number of
prompts with any number of points); an adapted model or a baseline becomes ``model.onnx``. Beside
them ``model.json`` says what goes in and comes out, and where the weights are from. Weights are
stored as float16 and computed with in float32: half the bytes, and every runtime has float32.
"""

from __future__ import annotations

import contextlib
import copy
import json
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from tlseg_lite.adapters import atl
from tlseg_lite.adapters.encoder import EncoderOptions, encode
from tlseg_lite.adapters.translandseg import TransLandSeg
from tlseg_lite.core.files import write_atomically
from tlseg_lite.core.provenance import provenance
from tlseg_lite.sam.decoding import decode_with, embed_masks, embed_with

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

OPSET = 18
"""Of the files: the first with all that the models need; onnxruntime 1.14 and newer read it."""

TOLERANCE = 1e-3
"""Largest difference of a logit between ONNX Runtime and PyTorch, as a share of the largest logit
of the answer; and of pixels whose mask differs, as a share of all."""

LIMITS = (2**16, 2**18, 2**20, None)
"""Tensors with more numbers than this are stored as float16, the others as float32; the first limit
whose answers are within `TOLERANCE` is taken, None is all in float32. Tensors of 2**16 and fewer
(decoder, adapters, norms) are a few per cent of the bytes and make most of the rounding error."""

LARGEST = 1_900_000_000
"""Bytes from which on weights lie in a file beside the ONNX file: protobuf ends at 2 GiB."""


@dataclass(frozen=True)
class Exported:
    """What `onnx` wrote.

    Attributes:
        folder: where.
        files: names of the ONNX files, in the order in which they are run.
        megabytes: of all files together.
        difference: the largest of the differences from PyTorch, as `TOLERANCE` counts them.
        about: what ``model.json`` holds.
    """

    folder: Path
    files: tuple[str, ...]
    megabytes: float
    difference: float
    about: dict[str, Any]

    def __str__(self) -> str:
        return (
            f"{self.folder}: {', '.join(self.files)}, model.json ({self.megabytes:.1f} MB); "
            f"logits differ from PyTorch's by {self.difference:.1e} of the largest"
        )


def onnx(
    model: nn.Module, folder: str | Path, *, half: bool = True, threshold: float = 0.5
) -> Exported:
    """Write a model as ONNX files and compare their answers with PyTorch's.

    Args:
        model: a SAM of `tlseg_lite.load_sam`, a `TransLandSeg` of any design, or a `Baseline`.
            LoRA is merged into the weights that it adds to.
        folder: made if it is not there; files of an earlier export in it are replaced.
        half: store large weights as float16, as many as the comparison with PyTorch allows
            (`LIMITS`); False: all as float32.
        threshold: probability from which on a pixel counts as landslide, in (0, 1); it is noted in
            ``model.json`` for whoever runs the model.

    Raises:
        TypeError: the model is none of these.
        ValueError: a weight is not finite or too large for float16, or the threshold is no
            probability.
        ImportError: onnx, onnxscript or onnxruntime is not installed.
        RuntimeError: the answers differ from PyTorch's by more than `TOLERANCE`; nothing is kept.
    """
    _needs()
    if not 0 < threshold < 1:
        raise ValueError(f"threshold is {threshold!r}; expected a probability between 0 and 1")
    parts = _parts(model)
    _check_weights(model, half)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as beside:  # a kill leaves the old files whole
        worst = max(_write_checked(part, Path(beside), half) for part in parts)
        for old in [file for part in parts for file in folder.glob(f"{part.name}.data")]:
            old.unlink()
        for file in sorted(Path(beside).iterdir(), reverse=True):  # the weights' files first
            file.replace(folder / file.name)
    text = json.dumps(_about(model, parts, threshold), indent=1)
    write_atomically(folder / "model.json", lambda t: t.write_text(text, encoding="utf-8"))
    size = sum(f.stat().st_size for p in parts for f in folder.glob(f"{p.name}*")) / 1e6
    return Exported(folder, tuple(p.name for p in parts), size, worst, json.loads(text))


def _write_checked(part: _Part, folder: Path, half: bool) -> float:
    """One file, as small as its answers allow; the difference from PyTorch."""
    program, wanted = part.program(), part.wanted()
    for limit in LIMITS if half else LIMITS[-1:]:
        part.limit = limit
        part.save(program, folder)
        difference = part.difference(folder / part.name, wanted)
        if difference <= (TOLERANCE if limit is None else TOLERANCE / 4):  # other images too
            return difference
    raise RuntimeError(
        f"{part.name}: ONNX Runtime's answers differ from PyTorch's by {difference:.1e}, also with "
        f"float32 weights; at most {TOLERANCE:g} was expected. Nothing was written; another "
        "version of torch or onnxruntime may do better"
    )


@dataclass
class _Part:
    """One ONNX file: what is exported, and an example of what goes in."""

    name: str
    module: nn.Module
    inputs: dict[str, Tensor]
    outputs: Sequence[str]
    dynamic: dict[str, dict[int, str]]

    limit: int | None = None

    def program(self) -> Any:
        """The exporter's model, as ONNX's ModelProto with float32 weights."""
        shapes = {
            name: {dim: torch.export.Dim(size, min=1) for dim, size in self.dynamic[name].items()}
            if name in self.dynamic
            else None
            for name in self.inputs
        }
        with warnings.catch_warnings(), torch.no_grad(), _real_high_pass():
            warnings.simplefilter("ignore")  # the exporter's notes on its own deprecations
            program = torch.onnx.export(
                self.module,
                tuple(self.inputs.values()),
                dynamo=True,
                dynamic_shapes=tuple(shapes.values()) if self.dynamic else None,
                input_names=list(self.inputs),
                output_names=list(self.outputs),
                opset_version=OPSET,
                verbose=False,
            )
        model = program.model_proto
        _forget_where_it_was_made(model)
        return model

    def save(self, program: Any, folder: Path) -> None:
        """Write it with large tensors as float16 and let onnx's checker read it."""
        import onnx as format_

        model = type(program)()
        model.CopyFrom(program)
        if self.limit is not None:
            _store_as_half(model, self.limit)
        path = folder / self.name
        path.with_name(f"{self.name}.data").unlink(missing_ok=True)  # onnx would add to it
        if sum(len(tensor.raw_data) for tensor in model.graph.initializer) < LARGEST:
            format_.save(model, path)
        else:
            options = {"location": f"{self.name}.data", "size_threshold": 1024}
            format_.save(model, path, save_as_external_data=True, **options)
        format_.checker.check_model(str(path))

    def wanted(self) -> list[np.ndarray]:
        """PyTorch's outputs for the example."""
        with torch.no_grad():
            found = self.module(*self.inputs.values())
        return [x.numpy() for x in ([found] if isinstance(found, Tensor) else found)]

    def difference(self, path: Path, wanted: list[np.ndarray]) -> float:
        """The largest difference of an output from `wanted`, as `TOLERANCE` counts it."""
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        found = session.run(None, {name: x.numpy() for name, x in self.inputs.items()})
        worst = 0.0
        for name, f, w in zip(self.outputs, found, wanted, strict=True):
            worst = max(worst, float(np.abs(f - w).max() / np.abs(w).max()))
            if name in ("logits", "masks"):
                worst = max(worst, float(((f > 0) != (w > 0)).mean()))
        return worst


class _Encoder(nn.Module):
    """SAM's encoder: image (1, 3, S, S) in [0, 1] -> embedding (1, C, g, g)."""

    def __init__(self, sam: Sam):
        super().__init__()
        self.encoder = sam.image_encoder
        self.register_buffer("mean", sam.pixel_mean.clone())
        self.register_buffer("std", sam.pixel_std.clone())

    def forward(self, image: Tensor) -> Tensor:
        normal = (image * 255.0 - self.mean) / self.std
        return encode(self.encoder, normal, None, _PLAIN)


class _Decoder(nn.Module):
    """SAM's decoder on one image: N prompts with n points each -> masks, expected IoU."""

    def __init__(self, sam: Sam):
        super().__init__()
        self.prompts, self.head = sam.prompt_encoder, sam.mask_decoder
        self.register_buffer("position", sam.prompt_encoder.get_dense_pe())

    def forward(
        self, embedding: Tensor, points: Tensor, kinds: Tensor, mask: Tensor, has_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        sparse = embed_with(self.prompts, points, kinds)
        dense = embed_masks(self.prompts, mask, has_mask)
        answer = decode_with(self.head, self.position, embedding, sparse, dense)
        return answer.masks, answer.iou


_PLAIN = EncoderOptions(attention="eager")


def _parts(model: nn.Module) -> list[_Part]:
    adapted = isinstance(model, TransLandSeg)  # one that keeps its prompts has an encoder for them
    if not adapted and hasattr(model, "image_encoder") and hasattr(model, "prompt_encoder"):
        return _sam_parts(model)
    if not hasattr(model, "image_size") or not hasattr(model, "description"):
        raise TypeError(
            f"model is a {type(model).__name__}; expected a SAM of load_sam, a TransLandSeg or a "
            "model of build_baseline"
        )
    ready = copy.deepcopy(model).cpu().float().eval().requires_grad_(False)
    if adapted:
        ready.encoder_options = _PLAIN
        _merge_lora(ready)
    image = torch.cat([_example(model.image_size), _example(model.image_size).flip(-1)])
    return [_Part("model.onnx", ready, {"image": image}, ["logits"], {"image": {0: "images"}})]


def _sam_parts(sam: Sam) -> list[_Part]:
    sam = copy.deepcopy(sam).cpu().float().eval()
    side = sam.image_encoder.img_size
    encoder = _Encoder(sam)
    grid = side // 16
    generator = torch.Generator().manual_seed(0)
    width = sam.prompt_encoder.embed_dim
    prompts = {
        "embedding": torch.randn(1, width, grid, grid, generator=generator),
        "points": torch.rand(3, 4, 2, generator=generator) * side,
        "kinds": torch.tensor([[1, 0, 1, -1], [2, 3, -1, -1], [1, 2, 3, 0]]),
        "mask": torch.randn(3, 1, 4 * grid, 4 * grid, generator=generator),
        "has_mask": torch.tensor([0.0, 1.0, 1.0]),
    }
    many = {name: {0: "prompts"} for name in ("points", "kinds", "mask", "has_mask")}
    many["points"] = many["kinds"] = {0: "prompts", 1: "points_each"}
    return [
        _Part("encoder.onnx", encoder, {"image": _example(side)}, ["embedding"], {}),
        _Part("decoder.onnx", _Decoder(sam), prompts, ["masks", "iou"], many),
    ]


def _example(side: int) -> Tensor:
    """An image to compare on: smooth shapes and noise, (1, 3, S, S) in [0, 1]."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 8, 8, generator=generator)
    smooth = nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 1)
    return (0.9 * smooth + 0.1 * torch.rand(smooth.shape, generator=generator)).contiguous()


def _merge_lora(model: TransLandSeg) -> None:
    """Add LoRA's low-rank products to the weights beneath them and drop the layers."""
    for block in model.image_encoder.blocks:
        layer = block.attn.qkv
        if hasattr(layer, "merge"):
            layer.merge()
            block.attn.qkv = layer.get_base_layer()


@contextlib.contextmanager
def _real_high_pass() -> Iterator[None]:
    """The released design's high-pass filter as products of matrices: ONNX has no complex numbers.

    A low-pass that keeps a rectangle of frequencies is a product with one matrix for the rows and
    one for the columns, ``P = F^-1 diag(kept) F``; of its complex product the real part is used.
    """
    usual = atl.high_pass

    def high_pass(image: Tensor, share: float = atl.HIGH_PASS_SHARE) -> Tensor:
        height, width = image.shape[-2:]
        half = int((share * height * width) ** 0.5) // 2
        rows, columns = (_low_pass(n, half, image.device) for n in (height, width))
        low = rows.real.float() @ image @ columns.real.float().T
        low = low - rows.imag.float() @ image @ columns.imag.float().T
        return (image - low).abs()

    atl.high_pass = high_pass
    try:
        yield
    finally:
        atl.high_pass = usual


def _low_pass(n: int, half: int, device: torch.device) -> Tensor:
    """P = F^-1 diag(kept) F for n samples, complex128 (n, n); kept: -half to half - 1."""
    first, last = max(0, n // 2 - half), min(n, n // 2 + half)
    kept = torch.arange(first, last, device=device, dtype=torch.float64) - n // 2
    place = torch.arange(n, device=device, dtype=torch.float64)
    apart = place[:, None] - place  # depends on the difference of two places only
    angle = 2 * torch.pi / n * apart[..., None] * kept
    return torch.complex(angle.cos().sum(-1), angle.sin().sum(-1)) / n


def _check_weights(model: nn.Module, half: bool) -> None:
    largest = torch.finfo(torch.float16).max
    for name, value in model.state_dict().items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise ValueError(f"{name} is not finite; train the model anew, or load a saved one")
        if half and value.is_floating_point() and value.abs().max() > largest:
            raise ValueError(
                f"{name} holds {value.abs().max():.3g}, more than float16's {largest:g}; "
                "export with half=False"
            )


def _store_as_half(graph: Any, limit: int) -> None:
    """Tensors of more than `limit` numbers as float16, each cast to float32 before its use."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in graph.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size <= limit:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.graph.node]
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)


def _forget_where_it_was_made(graph: Any) -> None:
    """Without the exporter's notes on source lines, which name folders of this machine."""
    for node in graph.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in [*graph.graph.input, *graph.graph.output, *graph.graph.value_info]:
        del value.metadata_props[:]
    for function in graph.functions:
        for node in function.node:
            del node.metadata_props[:]


def _about(model: nn.Module, parts: list[_Part], threshold: float) -> dict[str, Any]:
    side = getattr(model, "image_size", None) or model.image_encoder.img_size
    if hasattr(model, "description"):
        what = model.description()
    else:
        what = {"model": "Sam", "variant": model.variant, "backbone": _named(model.origin)}
    if isinstance(what.get("backbone"), dict):
        what = what | {"backbone": _named(what["backbone"])}
    return {
        "format": "onnx",
        "opset": OPSET,
        "image_size": side,
        "input": "float32 (1, 3, S, S), RGB in [0, 1]; the image scaled so that its longer side is "
        "S, the rest at the bottom and on the right filled up",
        "classes": ["background", "landslide"] if "model.onnx" in [p.name for p in parts] else None,
        "threshold": threshold,
        "files": {
            part.name: {
                "inputs": list(part.inputs),
                "outputs": list(part.outputs),
                "float16": "none" if part.limit is None else f"tensors of > {part.limit} numbers",
            }
            for part in parts
        },
        "model": what,
        "provenance": provenance(),
    }


def _named(origin: dict[str, Any]) -> dict[str, Any]:
    """Where weights are from, without the folder they lay in."""
    return origin | {"weights": Path(str(origin.get("weights"))).name}


def _needs() -> None:
    missing = []
    for package in ("onnx", "onnxscript", "onnxruntime"):
        try:
            __import__(package)
        except ImportError:
            missing.append(package)
    if missing:
        raise ImportError(
            f"the export needs {', '.join(missing)}; install it with: "
            "pip install 'tlseg-lite[export]'"
        )
    release = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if release < (2, 6):
        raise ImportError(
            f"the export needs torch 2.6 or newer, and this is {torch.__version__}; "
            "pip install -U torch"
        )
