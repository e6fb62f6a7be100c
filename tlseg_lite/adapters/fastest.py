"""Which form of attention is the fastest here: measured once a device and shape, kept on disk.

Rules about processors and cards grow old; some seconds of measuring do not. `fastest` runs each
candidate on random tokens of the shape that is asked for, compares its answer with the first's,
and writes the winner to ``attention.json`` in the download cache (`TLSEG_CACHE`). From then on the
same machine chooses the same form, in every process. Delete the file to measure again.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch._subclasses.fake_tensor import is_fake

from tlseg_lite.core.downloads import cache_dir
from tlseg_lite.core.files import write_atomically
from tlseg_lite.core.locks import locked
from tlseg_lite.core.seeding import seeded

if TYPE_CHECKING:
    from segment_anything.modeling.image_encoder import Attention

MARGIN = 1.1
"""On a CPU another form has to be so many times faster than the first, ``"tiled"``, which needs
the least memory, and to take no more of the processors' own time: what else the machine does
while it is measured shall not decide."""

ENOUGH = 2**25
"""Scores of a layer that are measured on a CPU. A tile may hold several heads, so that one head by
itself says nothing; of a layer with more scores some heads are taken, two at least."""

_REPEATS = 3

Attend = Callable[..., torch.Tensor]

_known: dict[tuple, str] = {}  # of this process


class Shape(NamedTuple):
    """What the time of an attention layer depends on, beside the device."""

    grid: tuple[int, int]  # tokens of the image
    window: int  # side in tokens; 0: the whole grid
    heads: int
    width: int  # entries of a head
    dtype: torch.dtype  # of queries, keys and values
    gradient: bool  # is it asked for


def shape_of(attention: Attention, x: torch.Tensor, window: int) -> Shape:
    """Of a layer and its tokens (B, H, W, C), with autocast's type where that is on."""
    kind = x.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
    width = attention.qkv.in_features // attention.num_heads
    gradient = torch.is_grad_enabled() and x.requires_grad
    return Shape(tuple(x.shape[1:3]), window, attention.num_heads, width, dtype, gradient)


def can_measure(x: torch.Tensor) -> bool:
    """False for tensors without values, while a graph is captured or compiled."""
    if x.is_meta or is_fake(x) or torch.compiler.is_compiling():
        return False
    if x.device.type == "cuda":
        return torch.cuda.is_available() and not torch.cuda.is_current_stream_capturing()
    return x.device.type == "cpu"


def fastest(
    shape: Shape, device: torch.device | str, forms: tuple[str, ...], attend: Attend
) -> str:
    """The fastest of `forms` that gives the first one's answer.

    Args:
        shape: of the layer, from `shape_of`.
        device: "cpu" or "cuda".
        forms: names of `tlseg_lite.adapters.attention.FORMS`; the first is trusted.
        attend: the attention in one form, ``attend(layer, x, window, form)``.

    Returns:
        one of `forms`; the same on every later call on this device, here or in another process.
    """
    device = torch.device(device)
    here = (shape, device, torch.get_num_threads(), forms)
    if here not in _known:
        path, key = cache_dir() / "attention.json", _key(shape, device, forms)
        _known[here] = _read(path).get(key) or _kept(
            path, key, _measured(shape, device, forms, attend)
        )
    return _known[here]


def _key(shape: Shape, device: torch.device, forms: tuple[str, ...]) -> str:
    if device.type == "cuda":
        place = torch.cuda.get_device_name(device)
    else:
        place = f"{torch.backends.cpu.get_cpu_capability()} x {torch.get_num_threads()} threads"
    size = "x".join(map(str, shape.grid))
    kind = str(shape.dtype).removeprefix("torch.")
    layer = f"{size} window {shape.window} heads {shape.heads}x{shape.width} {kind}"
    gradient = "gradient" if shape.gradient else "no gradient"
    return f"{place}, torch {torch.__version__}, {layer}, {gradient}, of {' '.join(forms)}"


class _Time(NamedTuple):
    wall: float
    cpu: float  # of all threads of this process


def _measured(shape: Shape, device: torch.device, forms: tuple[str, ...], attend: Attend) -> str:
    """The form with the shortest of some interleaved runs; those that fail are left out."""
    runs = {form: _runner(shape, device, form, attend) for form in forms}
    times: dict[str, list[_Time]] = {form: [] for form in forms}
    answer = None
    for turn in range(_REPEATS + 1):  # the first warms up
        for form in list(times):
            try:
                taken, out = _timed(runs[form], device)
            except (RuntimeError, ImportError):  # no memory, or no such kernel here
                del times[form]
                continue
            answer = out if answer is None else answer
            if not _agrees(out, answer):
                warnings.warn(
                    f"attention {form!r} gives another result than {forms[0]!r} on {device} for "
                    f"{shape}; it is not used",
                    stacklevel=2,
                )
                del times[form]
            elif turn:
                times[form].append(taken)
    best = {form: _Time(*map(min, zip(*taken, strict=True))) for form, taken in times.items()}
    if not best:
        return forms[0]
    winner = min(best, key=lambda form: best[form].wall)
    first = best.get(forms[0])
    if device.type == "cpu" and first is not None:
        clear = best[winner].wall * MARGIN < first.wall and best[winner].cpu < first.cpu
        return winner if clear else forms[0]
    return winner


def _runner(
    shape: Shape, device: torch.device, form: str, attend: Attend
) -> Callable[[], torch.Tensor]:
    """One pass of a layer with random weights, and its gradient where that is asked for."""
    from segment_anything.modeling.image_encoder import Attention

    heads = heads_measured(shape) if device.type == "cpu" else shape.heads
    side = (shape.window, shape.window) if shape.window else shape.grid
    with seeded(0):
        layer = Attention(heads * shape.width, heads, use_rel_pos=True, input_size=side)
        x = torch.randn(1, *shape.grid, heads * shape.width)
        for position in (layer.rel_pos_h, layer.rel_pos_w):
            torch.nn.init.normal_(position, std=0.1)
    layer = layer.requires_grad_(False).to(device, shape.dtype)
    x = x.to(device, shape.dtype).requires_grad_(shape.gradient)

    def run() -> torch.Tensor:
        with (
            torch.inference_mode(False),
            torch.set_grad_enabled(shape.gradient),
            torch.autocast(device.type, enabled=False),
        ):
            out = attend(layer, x, shape.window, form)
            if shape.gradient:
                (slope,) = torch.autograd.grad(out.float().square().sum(), x)
                return slope.detach()
            return out.detach()

    return run


def heads_measured(shape: Shape) -> int:
    """Of a layer on a CPU."""
    rows, columns = shape.grid
    scores = (rows * columns) ** 2
    if shape.window:
        scores = -(-rows // shape.window) * -(-columns // shape.window) * shape.window**4
    return min(shape.heads, max(2, ENOUGH // scores))


def _timed(run: Callable[[], torch.Tensor], device: torch.device) -> tuple[_Time, torch.Tensor]:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    wall, cpu = time.perf_counter(), time.process_time()
    out = run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return _Time(time.perf_counter() - wall, time.process_time() - cpu), out


def _agrees(out: torch.Tensor, answer: torch.Tensor) -> bool:
    """Root mean square of the difference within what the type's rounding explains."""
    allowed = max(1e-3, 8 * torch.finfo(answer.dtype).eps)  # float32 products may be TF32
    out, answer = out.float(), answer.float()
    return bool((out - answer).square().mean().sqrt() <= allowed * answer.square().mean().sqrt())


def _read(path: Path) -> dict[str, str]:
    """What earlier processes kept; nothing where there is no file, or a damaged one."""
    try:
        kept = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _kept(path: Path, key: str, form: str) -> str:
    """The choice that counts from now on: `form`, or what another process wrote meanwhile.

    A folder that cannot be written keeps it for this process alone.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path):
            kept = _read(path)
            if key in kept:
                return kept[key]
            text = json.dumps(kept | {key: form}, indent=1, sort_keys=True)
            write_atomically(path, lambda at: at.write_text(text, "utf-8"))
    except OSError:
        pass
    return form
