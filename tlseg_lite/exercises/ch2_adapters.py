"""Checks of chapter 2: middle layers, parameters by hand, budgets, the zero start, the place."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from tlseg_lite.adapters.atl import ATL, ATLConfig, MidLayC, MidLayM, build_adapters
from tlseg_lite.core.seeding import seeded
from tlseg_lite.exercises.verdict import (
    Wrong,
    agrees,
    call,
    near,
    number,
    numbers,
    on_fresh_inputs,
    parts,
    shown,
)

ENCODER, DECODER, NO_MASK = 308_278_272, 4_058_340, 256  # SAM ViT-L; a test counts them


def check_2_1(answer: Any) -> str:
    for kind, reference in (("m", MidLayM(6)), ("c", MidLayC(6))):
        own = call(answer, kind, 6)
        if not isinstance(own, nn.Module):
            raise Wrong(f"for {kind!r} your function gives a {type(own).__name__}, not a module.")
        _share_weights(kind, reference, own)
        tokens = torch.randn(2, 8, 9, 6, generator=torch.Generator().manual_seed(3))
        with torch.no_grad():
            given = call(own, tokens)
            if not isinstance(given, torch.Tensor) or given.shape != tokens.shape:
                form = tuple(given.shape) if isinstance(given, torch.Tensor) else type(given)
                raise Wrong(
                    f"MidLay_{kind} makes {form} of tokens (2, 8, 9, 6); the form has to stay. "
                    "A 3 x 3 convolution needs padding=1, and the channels back at the end."
                )
            mistakes = _wrong_middles(kind, reference, tokens)
            if agrees(given, reference(tokens), 1e-5, mistakes, f"MidLay_{kind}: "):
                continue
            gap = float((given - reference(tokens)).abs().max())
        order = "linear layer, GELU" if kind == "m" else (
            "convolution on the channels second, LayerNorm on the channels last, GELU"
        )  # fmt: skip
        raise Wrong(
            f"with the same weights MidLay_{kind} is off by up to {gap:.2g}, on numbers of about "
            f"{float(given.abs().mean()):.2g}. The order is: {order}; nothing else, no residual."
        )
    return "Both give the package's numbers with the package's weights."


def _share_weights(kind: str, reference: nn.Module, own: nn.Module) -> None:
    """Random weights in the reference, the same ones in the reader's layers of the same type."""
    for type_, name in ((nn.Linear, "linear layer"), (nn.Conv2d, "convolution")):
        layers = [m for m in reference.modules() if isinstance(m, type_)]
        found = [m for m in own.modules() if isinstance(m, type_)]
        if len(found) != len(layers):
            raise Wrong(f"MidLay_{kind} has {len(found)} x {name}; {len(layers)} is wanted.")
    norms = [m for m in own.modules() if isinstance(m, nn.LayerNorm)]
    if len(norms) != (kind == "c"):
        if kind == "c":
            raise Wrong("MidLay_c has no LayerNorm; it stands between convolution and GELU.")
        raise Wrong("MidLay_m has a LayerNorm, which is MidLay_c.")
    generator = torch.Generator().manual_seed(5)
    for type_ in (nn.Linear, nn.Conv2d, nn.LayerNorm):
        pairs = (
            [m for m in module.modules() if isinstance(m, type_)] for module in (reference, own)
        )
        for mine, theirs in zip(*pairs, strict=True):
            for name in ("weight", "bias"):
                a, b = getattr(mine, name), getattr(theirs, name)
                if b is None:
                    raise Wrong(f"your {type_.__name__} has no bias; the paper's layers have one.")
                if a.shape != b.shape:
                    raise Wrong(
                        f"the {name} of your {type_.__name__} has shape {tuple(b.shape)}, expected "
                        f"{tuple(a.shape)}: 3 x 3 for the convolution, d for the LayerNorm."
                    )
                with torch.no_grad():
                    a.copy_(torch.randn(a.shape, generator=generator))
                    b.copy_(a)


def _wrong_middles(kind: str, layer: nn.Module, x: torch.Tensor):
    """What typical mistakes give, with the same weights."""
    if kind == "m":
        linear = layer[0]
        yield linear(x), "the GELU is missing. Without it the ATL is one linear map."
        yield F.relu(linear(x)), "you took ReLU; the paper's G is GELU."
        yield linear(F.gelu(x)), "the GELU comes after the linear layer, not before."
        yield F.gelu(linear(x), approximate="tanh"), "take the exact GELU, not the tanh form."
        return
    z = layer.conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    yield layer.norm(z), "the GELU is missing."
    yield F.gelu(z), "the LayerNorm is there and never called."
    yield layer.norm(F.gelu(z)), "the LayerNorm comes before the GELU."
    yield F.relu(layer.norm(z)), "you took ReLU; the paper's G is GELU."
    turned = layer.conv(layer.norm(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    yield F.gelu(turned), "the LayerNorm comes after the convolution."
    side = layer.conv(x.permute(0, 3, 2, 1)).permute(0, 3, 2, 1)
    yield F.gelu(layer.norm(side)), "rows and columns are exchanged before the convolution."


def check_2_2(answer: Any) -> str:
    answer = parts(answer, ("parameters", "receptive field"))
    width, d, layers = 768, 24, 2
    with torch.device("meta"):
        truth = sum(p.numel() for p in ATL(width, d, "c" * layers, True).parameters())
    down, up, conv, norm = width * d + d, d * width + width, 9 * d * d + d, 2 * d
    biases = d + width + layers * d
    mistakes = (
        (truth - biases, "the biases are missing: one for each output, of every layer."),
        (truth - layers * norm, "the LayerNorms are missing: a scale and a shift, 2 d each."),
        (truth - biases - layers * norm, "neither the biases nor the LayerNorms are counted."),
        (down + up + layers * (d * d + d + norm), "a 3 x 3 kernel has nine weights for each pair."),
        (down + up + conv + norm, "the middle is 'c c': two layers."),
        (truth + biases, "this counts the biases twice."),
        (12 * truth, "this is all twelve blocks; asked is one ATL."),
        (2 * down + layers * (conv + norm), "the up-projection has 768 biases, the down one 24."),
    )
    if not agrees(number(answer["parameters"], "parameters"), truth, 0.5, mistakes):
        side = "large" if number(answer["parameters"]) > truth else "small"
        raise Wrong(
            f"parameters {shown(answer['parameters'])} is too {side}. Count part by part: the "
            f"down-projection has {width} x {d} weights and {d} biases, {down:,} in all; then two "
            "convolutions, each with its LayerNorm; then the up-projection."
        )
    side = _receptive_field("c" * layers)
    wrong = (
        (3, "one 3 x 3 convolution sees 3 tokens; each further one adds a token on either side."),
        (9, "3 x 3 tokens are what one convolution sees; asked is the side after two."),
        (6, "the windows overlap: the second adds one token on either side, not three."),
        (1, "that holds for 'm', which treats each token by itself."),
        (25, "this is the area; asked is its side."),
        (80, "this is in pixels; asked are tokens."),
    )
    near(answer["receptive field"], side, 0.1, wrong, "receptive field")
    return f"{truth:,} parameters, and a receptive field of {side} x {side} tokens."


def _receptive_field(middle: str) -> int:
    """Side of the square of tokens on which an output token of an ATL depends."""
    atl = ATL(8, 4, middle, False)
    tokens = torch.zeros(1, 15, 15, 8, requires_grad=True)
    with seeded(0):
        for parameter in atl.parameters():
            nn.init.normal_(parameter)
    (slope,) = torch.autograd.grad(atl(tokens)[0, 7, 7].sum(), tokens)
    return int(slope.abs().sum((0, 2, 3)).count_nonzero())


def check_2_3(answer: Any) -> str:
    low, high = numbers(answer, 2, "low and high")
    rest = DECODER + NO_MASK

    def allowed(half=0.005, fixed=rest, use=("trainable", "total")):
        ends = []
        if "trainable" in use:
            ends.append(((4.20 - half) * 1e6 - fixed, (4.20 + half) * 1e6 - fixed))
        if "total" in use:
            base = ENCODER + fixed
            ends.append(((312.48 - half) * 1e6 - base, (312.48 + half) * 1e6 - base))
        return max(a for a, _ in ends), min(b for _, b in ends)

    truth = allowed()
    forgotten = "the no-mask embedding trains as well: 256 more."
    mistakes = (
        (truth[::-1], "low and high are exchanged."),
        (allowed(use=("trainable",)), "this uses 4.20 M alone; the total narrows it."),
        (allowed(use=("total",)), "this uses 312.48 M alone; the trainable part narrows it."),
        (allowed(fixed=DECODER), forgotten),
        (allowed(half=0.01), "two decimals hide half a unit, 0.005 M, not 0.01 M."),
        (tuple(v + rest for v in truth), "this is all that trains; take the decoder off."),
        (tuple(v + NO_MASK for v in truth), forgotten),
    )
    if not agrees((low, high), truth, 1, mistakes):
        raise Wrong(
            f"{low:,.0f} to {high:,.0f}: work out the range that each printed number allows, from "
            "half a unit of its last digit, and take what both allow."
        )
    with torch.device("meta"):
        designs = (build_adapters(1024, 24, ATLConfig("m", bottleneck=d)) for d in (2, 3))
        two, three = (sum(p.numel() for p in design.parameters()) for design in designs)
    return f"Eq. 9 has {two:,} parameters for d = 2, {three:,} for d = 3: it steps over the range."


STARTS = {"up": ("up",), "down": ("down",), "all": ("down", "middle", "up")}


def _moves(zeroed: tuple[str, ...]) -> set[str]:
    """The layers of an ATL whose weight matrix gets a gradient when these layers start at zero."""
    with seeded(0):
        atl = ATL(8, 4, "m", False)
        tokens = torch.randn(1, 3, 3, 8)
        aim = torch.randn(1, 3, 3, 8)
    layers = {"down": atl.down, "middle": atl.middle[0][0], "up": atl.up}
    for name in zeroed:
        nn.init.zeros_(layers[name].weight)
        nn.init.zeros_(layers[name].bias)
    ((tokens + atl(tokens) - aim) ** 2).sum().backward()
    return {name for name, layer in layers.items() if bool(layer.weight.grad.abs().sum() > 0)}


def check_2_4(answer: Any) -> str:
    answer = parts(answer, tuple(STARTS))
    for start, zeroed in STARTS.items():
        given = answer[start]
        given = {given} if isinstance(given, str) else given
        words = isinstance(given, (set, frozenset, list, tuple))
        if not words or not all(isinstance(v, str) for v in given):
            raise Wrong(f"for {start!r} give the names of layers, such as ['down', 'up'], or [].")
        given = set(given)
        if odd := sorted(given - {"down", "middle", "up"}):
            raise Wrong(f"there is no layer {odd[0]!r}; there are down, middle and up.")
        if given == _moves(zeroed):
            continue
        if start == "up" and given == {"down", "middle"}:
            raise Wrong(
                "'up' at zero: it is the reverse. The gradient of a matrix is its output's "
                "gradient times its input; 'up' has an input. The other two get theirs back "
                "through 'up', times zero."
            )
        if start == "up" and not given:
            raise Wrong("'up' at zero: a zero matrix with an input that is not zero does learn.")
        if start == "down" and "middle" in given:
            raise Wrong(
                "'down' at zero: the input of 'middle' is zero then, and so is its gradient."
            )
        if start == "down" and "up" not in given:
            raise Wrong("'down' at zero: the bias of 'middle' still gives 'up' an input.")
        if start == "down":
            raise Wrong("'down' at zero: its input is the token, and the gradient reaches it.")
        raise Wrong(
            "all at zero: every matrix has either a zero input or a zero matrix after it. "
            "Only the last bias moves: the adapter can learn a constant and nothing else, ever."
        )
    return "So one zero layer is a safe start, and three are a dead end."


def check_2_5(answer: Any) -> str:
    from segment_anything.modeling.image_encoder import Block

    from tlseg_lite.adapters.encoder import attention_output

    with seeded(1):
        block = Block(16, 2, window_size=4, input_size=(4, 4)).eval().requires_grad_(False)
        atl = ATL(16, 4, "m", False).requires_grad_(False)
        cases = [(block, torch.randn(1, 8, 8, 16), atl) for _ in range(2)]

    def finish(x):
        return x + block.mlp(block.norm2(x))

    def attended(x):
        return attention_output(block, x)

    def inside(block, x, atl):
        return finish(x + attended(x) + atl(attended(x)))

    def outside(block, x, atl):
        x = x + atl(x)
        return finish(x + attended(x))

    def late(block, x, atl):
        x = x + attended(x)
        return finish(x + atl(x))

    mistakes = (
        (outside, "this is the ATL outside: it changes the block's input (Eq. 6 and 7)."),
        (late, "the ATL comes before the block's own shortcut; you apply it to the sum."),
        (lambda b, x, a: finish(x + a(attended(x))), "the ATL's residual is missing (Eq. 11)."),
        (lambda b, x, a: finish(attended(x) + a(attended(x))),
         "the block's own shortcut is missing: its input x is lost (Eq. 12)."),
        (lambda b, x, a: finish(x + attended(x)), "the ATL is not used at all."),
        (lambda b, x, a: x + attended(x) + a(attended(x)),
         "the second half of the block is missing: its MLP with the shortcut (Eq. 13)."),
        (lambda b, x, a: finish(x + attended(x) + a(x)),
         "your ATL sees the block's input; inside, it sees the attention's output."),
    )  # fmt: skip
    on_fresh_inputs(answer, cases, inside, 1e-4, mistakes)
    return "The block's shortcut carries x around the ATL, whatever the ATL does to its part."
