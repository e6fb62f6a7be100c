"""The ATL designs: what they compute, where they act, how large they are, what is refused."""

from dataclasses import fields, replace

import pytest
import torch
import torch.nn.functional as F
from adapter_helpers import busy_sam, random_images, wake_up
from hypothesis import given, settings
from hypothesis import strategies as st

import tlseg_lite as tl
from tlseg_lite.adapters.atl import (
    ATL,
    MidLayC,
    MidLayM,
    bottleneck_width,
    build_adapters,
    high_pass,
)
from tlseg_lite.adapters.encoder import encode
from tlseg_lite.adapters.translandseg import budget, parameter_layout

RESIDUAL = [name for name, config in tl.DESIGNS.items() if config.residual]


@pytest.fixture(scope="module")
def mini():
    return busy_sam("sam_mini", 64)


def gelu(x):
    return 0.5 * x * (1 + torch.erf(x / 2**0.5))


# ---------------------------------------------------------------- the independent re-statements


def attention(block, x):
    """Norm and attention of a SAM block, by segment_anything's own modules."""
    from segment_anything.modeling.image_encoder import window_partition, window_unpartition

    h, w = x.shape[1:3]
    x = block.norm1(x)
    if block.window_size == 0:
        return block.attn(x)
    x, pad = window_partition(x, block.window_size)
    return window_unpartition(block.attn(x), block.window_size, pad, (h, w))


def stated_middle(p, prefix, kinds, z):
    """MidLay_m and MidLay_c from their words, with the tensors `p` by name."""
    for i, kind in enumerate(kinds):
        at = f"{prefix}.{i}."
        if kind == "m":  # fully connected, GELU
            z = gelu(z @ p[at + "0.weight"].T + p[at + "0.bias"])
        else:  # convolution, LayerNorm over the channels, GELU
            z = F.conv2d(z.movedim(-1, 1), p[at + "conv.weight"], p[at + "conv.bias"], padding=1)
            z = z.movedim(1, -1)
            z = (z - z.mean(-1, keepdim=True)) / (
                z.var(-1, keepdim=True, correction=0) + 1e-5
            ) ** 0.5
            z = gelu(z * p[at + "norm.weight"] + p[at + "norm.bias"])
    return z


def stated_block_forward(encoder, image, p, config):
    """source="block", from Eq. 5 to 15: Theta = Up(Mid(Down(.))), Omega = Theta + identity."""

    def theta(i, x):
        z = x @ p[f"{i}.down.weight"].T + p[f"{i}.down.bias"]
        z = stated_middle(p, f"{i}.middle", config.middle, z)
        return z @ p[f"{i}.up.weight"].T + p[f"{i}.up.bias"]

    def tuned(i, x):
        return theta(i, x) + x if config.residual else theta(i, x)  # Eq. 5; Eq. 14 and 15

    x = encoder.patch_embed(image) + encoder.pos_embed
    for i, block in enumerate(encoder.blocks):
        if config.placement == "outside":  # Eq. 6 and 7
            x = block(tuned(i, x))
        else:  # Eq. 11 to 13
            inner = tuned(i, attention(block, x)) + x
            x = block.mlp(block.norm2(inner)) + inner
    return encoder.neck(x.permute(0, 3, 1, 2))


def stated_shared_forward(encoder, image, p, config):
    """source="shared", from the description of the released structure (naive Fourier filter)."""
    patches = encoder.patch_embed(image)
    h, w = image.shape[-2:]
    spectrum = torch.fft.fft2(image.double())
    rows = torch.fft.fftfreq(h, 1 / h).round()  # signed frequencies, no shift needed
    cols = torch.fft.fftfreq(w, 1 / w).round()
    half = int((0.25 * h * w) ** 0.5) // 2
    low = (rows >= -half) & (rows < half)
    low = low[:, None] & ((cols >= -half) & (cols < half))[None]
    sharp = torch.fft.ifft2(spectrum.masked_fill(low, 0)).real.abs().float()
    detail = F.conv2d(sharp, p["high_pass.weight"], p["high_pass.bias"], stride=16)
    signal = patches @ p["embedding.weight"].T + p["embedding.bias"] + detail.movedim(1, -1)
    x = patches + encoder.pos_embed
    for i, block in enumerate(encoder.blocks):
        z = stated_middle(p, f"middles.{i}", config.middle, signal)
        x = block(x + z @ p["up.weight"].T + p["up.bias"])
    return encoder.neck(x.permute(0, 3, 1, 2))


@torch.no_grad()
def difference_from_statement(sam, size, config):
    encoder, image = sam.image_encoder, 2 * random_images(1, size) - 1
    width, depth = encoder.pos_embed.shape[-1], len(encoder.blocks)
    adapters = build_adapters(width, depth, config, seed=3)
    wake_up(adapters)
    stated = stated_block_forward if config.source == "block" else stated_shared_forward
    expected = stated(encoder, image, dict(adapters.named_parameters()), config)
    result = encode(encoder, image, adapters)
    if config.residual:  # the adapters matter in this comparison
        assert (result - encode(encoder, image)).abs().max() > 1e-2
    return ((result - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize("name", tl.DESIGNS)
def test_every_design_agrees_with_the_equations(mini, name):
    assert difference_from_statement(mini, 64, tl.DESIGNS[name]) < 1e-5


@pytest.fixture(scope="module")
def vit_b():
    return busy_sam("vit_b", 256)


@pytest.mark.parametrize("name", ["TransLandSeg", "TransLandSeg-released"])
def test_both_sources_agree_with_the_equations_on_vit_b(vit_b, name):
    assert difference_from_statement(vit_b, 256, tl.DESIGNS[name]) < 1e-5


def test_layers_agree_with_torch_modules():
    """MidLay_m and MidLay_c against plain torch layers with shared weights."""
    x = torch.randn(2, 5, 7, 6, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    m, c = MidLayM(6), MidLayC(6)
    torch.testing.assert_close(m(x), F.gelu(m[0](x)))
    grid = F.gelu(c.norm(c.conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)))
    torch.testing.assert_close(c(x), grid)
    assert c.norm.normalized_shape == (6,)  # over channels, at each token


# ---------------------------------------------------------------- before and during training


@torch.no_grad()
def test_starts_as_plain_sam(mini):
    """One picture: no difference at all from segment_anything's own forward pass."""
    image = random_images(1, 64)
    plain = mini([{"image": image[0] * 255, "original_size": (64, 64)}], multimask_output=False)
    assert plain[0]["low_res_logits"].std() > 0
    for name in RESIDUAL:
        model = tl.TransLandSeg(mini, tl.DESIGNS[name], seed=1).eval()
        logits = model.decode(model.encode(image))
        assert (logits - plain[0]["low_res_logits"]).abs().max() == 0, name
        assert torch.equal(model(image) > 0, plain[0]["masks"]), name


@torch.no_grad()
def test_starts_as_plain_sam_in_batches_and_on_vit_b(vit_b):
    for sam, size in ((busy_sam("sam_mini", 128), 128), (vit_b, 256)):
        model = tl.TransLandSeg(sam, tl.DESIGNS["TransLandSeg"]).eval()
        images = random_images(2, size)
        one_by_one = [
            sam([{"image": image * 255, "original_size": (size, size)}], multimask_output=False)
            for image in images
        ]
        expected = torch.cat([result[0]["low_res_logits"] for result in one_by_one])
        logits = model.decode(model.encode(images))
        assert (logits - expected).abs().max() < 5e-6 * expected.abs().max().clamp(min=1)


def test_without_residual_the_start_is_not_plain_sam(mini):
    """The up-projection must not start at zero there: nothing would reach the block."""
    image = random_images(1, 64)
    for name in ("TransLandSeg-3", "TransLandSeg-7"):
        adapters = build_adapters(192, 8, tl.DESIGNS[name])
        assert all(atl.up.weight.abs().sum() > 0 for atl in adapters)
        out = encode(mini.image_encoder, image, adapters)
        assert out.std() > 1e-3
        assert (out - encode(mini.image_encoder, image)).abs().max() > 1e-2


def test_zero_init_off_starts_elsewhere(mini):
    for source in ("block", "shared"):
        config = tl.ATLConfig("m", source=source, zero_init=False)
        model = tl.TransLandSeg(mini, config).eval()
        plain = encode(mini.image_encoder, model.normalise(random_images(1, 64)))
        assert (model.encode(random_images(1, 64)) - plain).abs().max() > 1e-3


@pytest.mark.parametrize("name", tl.DESIGNS)
def test_every_adapter_learns(mini, name):
    """Forward and backward: each adapter parameter gets a gradient, no frozen one does."""
    model = tl.TransLandSeg(mini, tl.DESIGNS[name], seed=2).train()
    wake_up(model.adapters)
    images, target = random_images(2, 64), (random_images(2, 64, seed=5)[:, :1] > 0.5).float()
    F.binary_cross_entropy_with_logits(model(images), target).backward()
    reached = {k: p.grad is not None and bool((p.grad != 0).any()) for k, p in adapters_of(model)}
    assert all(reached.values()), [key for key, value in reached.items() if not value]
    assert all(p.grad is None for p in model.image_encoder.parameters())
    assert model.no_mask_embed.weight.grad.abs().max() > 0
    assert model.mask_decoder.mask_tokens.weight.grad.abs().max() > 0


def adapters_of(model):
    return model.adapters.named_parameters()


def test_a_batch_equals_its_images(mini):
    images = random_images(3, 64)
    for config in tl.DESIGNS.values():
        model = tl.TransLandSeg(mini, config).eval()
        wake_up(model.adapters)
        with torch.no_grad():
            together = model(images)
            alone = torch.cat([model(image[None]) for image in images])
        torch.testing.assert_close(together, alone, atol=2e-5, rtol=1e-4)


# ---------------------------------------------------------------- each setting does something


def test_every_setting_changes_the_model(mini):
    """No configuration field is dead: each changes either the output or the parameters."""
    base = tl.ATLConfig("m", bottleneck=5)
    other = {
        "middle": ("m", "c"),
        "residual": False,
        "placement": "inside",
        "source": "shared",
        "bottleneck": 7,
        "zero_init": False,
        "blocks": (0, 3),
    }
    assert set(other) == {field.name for field in fields(tl.ATLConfig)}

    def seen(config, awake):
        adapters = build_adapters(192, 8, config, seed=4)
        if awake:
            wake_up(adapters)
        with torch.no_grad():
            return encode(mini.image_encoder, random_images(1, 64), adapters)

    for field, value in other.items():
        awake = field != "zero_init"
        changed = seen(replace(base, **{field: value}), awake)
        assert (changed - seen(base, awake)).abs().max() > 1e-3, field


@torch.no_grad()
def test_convolutions_cross_window_borders():
    """MidLay_c works on the token grid: its neighbours are the picture's, not the window's."""
    sam = busy_sam("sam_mini", 256)  # 16 x 16 tokens in windows of 8
    adapters = build_adapters(192, 8, tl.ATLConfig("c", blocks=(0,)), seed=1)  # a windowed block
    wake_up(adapters)
    assert sam.image_encoder.blocks[0].window_size == 8
    x = torch.randn(1, 16, 16, 192, generator=torch.Generator().manual_seed(0))
    changed = x.clone()
    changed[0, 7, 7, 0] += 5  # the last token of the first window
    moved = (adapters.before_block(0, changed, None) - adapters.before_block(0, x, None)).abs()
    moved = moved.amax(-1)[0] > 1e-6
    expected = torch.zeros(16, 16, dtype=torch.bool)
    expected[6:9, 6:9] = True  # a 3 x 3 neighbourhood across the border at 8
    assert torch.equal(moved, expected)


@torch.no_grad()
@pytest.mark.parametrize("source", ["block", "shared"])
def test_blocks_chooses_the_depth(mini, source):
    image = random_images(1, 64)
    config = tl.ATLConfig("m", source=source, blocks=[5, 2, 5])
    assert config.blocks == (2, 5)  # sorted, each once
    adapters = build_adapters(192, 8, config)
    wake_up(adapters)
    state = adapters.start(mini.image_encoder.patch_embed(image), image)
    x = torch.randn(1, 4, 4, 192, generator=torch.Generator().manual_seed(0))
    touched = [i for i in range(8) if not torch.equal(adapters.before_block(i, x, state), x)]
    assert touched == [2, 5]
    assert len(adapters.middles if source == "shared" else adapters) == 2


@torch.no_grad()
def test_the_shared_signal_is_made_once(mini):
    """Released structure: what is added to a block does not depend on the blocks before it."""
    adapters = build_adapters(192, 8, tl.DESIGNS["LandslideNet"])
    wake_up(adapters)
    image = random_images(1, 64)
    state = adapters.start(mini.image_encoder.patch_embed(image), image)
    x = torch.randn(2, 1, 4, 4, 192, generator=torch.Generator().manual_seed(0))
    for index in (0, 7):
        added = [adapters.before_block(index, each, state) - each for each in x]
        torch.testing.assert_close(added[0], added[1], atol=1e-5, rtol=1e-4)


def test_adapters_compute_in_float32_under_autocast(mini):
    adapters = build_adapters(192, 8, tl.DESIGNS["TransLandSeg"])
    wake_up(adapters)
    x = torch.randn(1, 4, 4, 192, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = adapters.before_block(0, x, None)
    assert torch.equal(inside, adapters.before_block(0, x, None))
    half = adapters.before_block(0, x.bfloat16(), None)
    assert half.dtype == torch.bfloat16  # the backbone's precision is kept


@pytest.mark.parametrize("size", [16, 48, 144])
@pytest.mark.parametrize("name", ["TransLandSeg-5", "TransLandSeg-6", "LandslideNet"])
def test_every_image_size(name, size):
    """One token, a grid smaller than a window, windows that need padding: forward and backward."""
    model = tl.TransLandSeg(busy_sam("sam_mini", size), tl.DESIGNS[name]).train()
    wake_up(model.adapters)
    logits = model(random_images(2, size))
    assert logits.shape == (2, 1, size, size)
    logits.square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.adapters.parameters())


@torch.no_grad()
@pytest.mark.parametrize("name", ["TransLandSeg-5", "LandslideNet"])
def test_bfloat16_autocast_is_near_float32(mini, name):
    model = tl.TransLandSeg(mini, tl.DESIGNS[name]).eval()
    wake_up(model.adapters, spread=0.05)
    images = random_images(1, 64)
    exact = model.encode(images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = model.encode(images)
    assert (rough - exact).norm() < 0.05 * exact.norm()


def test_seed_decides_the_start_and_leaves_the_rest_alone():
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    one, same, other = (
        build_adapters(192, 8, tl.DESIGNS["TransLandSeg"], seed=seed) for seed in (1, 1, 2)
    )
    assert torch.equal(torch.rand(3), expected)  # the global generator was not used
    assert torch.equal(one[3].down.weight, same[3].down.weight)
    assert not torch.equal(one[3].down.weight, other[3].down.weight)


# ---------------------------------------------------------------- the high-pass filter


def test_high_pass_removes_slow_waves_and_keeps_fast_ones():
    x = torch.arange(64) / 64
    slow = torch.cos(2 * torch.pi * 5 * x).expand(1, 3, 64, 64)
    fast = torch.cos(2 * torch.pi * 25 * x).expand(1, 3, 64, 64)  # the cut is at 16 cycles
    assert high_pass(torch.ones(1, 3, 64, 64)).max() < 1e-5
    assert high_pass(slow).max() < 1e-5
    torch.testing.assert_close(high_pass(slow + fast), fast.abs(), atol=1e-5, rtol=0)


@settings(max_examples=15, deadline=None)
@given(
    st.integers(4, 40),
    st.integers(4, 40),
    st.floats(0.1, 3.0),
    st.floats(-2.0, 2.0),
    st.integers(0, 10**6),
)
def test_high_pass_properties(height, width, gain, offset, seed):
    """It scales with the contrast, ignores the brightness, is never negative."""
    image = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))
    out = high_pass(image)
    assert out.shape == image.shape
    assert out.min() >= 0
    torch.testing.assert_close(high_pass(gain * image + offset), gain * out, atol=1e-5, rtol=1e-4)


# ---------------------------------------------------------------- budgets


@pytest.mark.parametrize(
    ("name", "trainable", "total"),
    [
        ("TransLandSeg-released", 4_175_140, 312_453_412),
        ("LandslideNet", 4_200_484, 312_478_756),
    ],
)
def test_released_budgets_on_vit_l(name, trainable, total):
    counts = budget("vit_l", tl.DESIGNS[name])
    assert (counts.trainable, counts.total) == (trainable, total)
    layout = parameter_layout("vit_l", tl.DESIGNS[name])
    assert sum(number for _, number, _ in layout) == total
    assert sum(number for _, number, trains in layout if trains) == trainable
    by_part = {part: number for part, number, _ in layout}
    assert by_part["adapters.embedding"] == 32_800
    assert by_part["adapters.high_pass"] == 24_608
    assert by_part["adapters.up"] == 33_792
    middles = sum(number for part, number in by_part.items() if "middles" in part)
    assert middles == 24 * 1_056 * len(tl.DESIGNS[name].middle)
    assert sum(n for part, n in by_part.items() if part.startswith("image_encoder")) == 308_278_272
    assert sum(n for part, n in by_part.items() if part.startswith("mask_decoder")) == 4_058_340


@pytest.mark.parametrize(("name", "encoder"), [("vit_b", 89_670_912), ("vit_h", 637_026_048)])
def test_backbone_sizes(name, encoder):
    counts = budget(name, None)
    assert (counts.encoder, counts.decoder, counts.adapters) == (encoder, 4_058_340, 0)


def closed_form(width, depth, d, middle):
    """Parameters of Eq. 9's adapters: down, middles and up, each with its bias."""
    size = {"m": d * d + d, "c": 9 * d * d + d + 2 * d}
    return depth * (width * d + d + sum(size[k] for k in middle) + d * width + width)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 64), st.lists(st.sampled_from("mc"), max_size=5))
def test_block_budget_has_a_closed_form(d, middle):
    adapters = build_adapters(192, 8, tl.ATLConfig(middle, bottleneck=d))
    assert sum(p.numel() for p in adapters.parameters()) == closed_form(192, 8, d, middle)


def test_no_width_gives_eq_9_the_papers_budget():
    """4.18 M trainable and 312.45 M in all, to the printed digits: the shared source only."""

    def as_printed(adapters):
        trainable = adapters + 4_058_340 + 256
        return round(trainable / 1e6, 2), round((trainable + 308_278_272) / 1e6, 2)

    assert as_printed(116_544) == (4.18, 312.45)
    for middle in ("m", "mm", "c"):
        every_d = [as_printed(closed_form(1024, 24, d, middle)) for d in range(1, 1025)]
        assert (4.18, 312.45) not in every_d
        assert (4.20, 312.48) not in every_d
    assert as_printed(closed_form(1024, 24, 2, "m")) == (4.18, 312.46)  # the nearest one


def test_bottleneck_defaults_to_a_32nd_of_the_width():
    config = tl.ATLConfig()
    assert [bottleneck_width(config, w) for w in (1024, 768, 1280, 192, 16)] == [32, 24, 40, 6, 1]
    assert bottleneck_width(replace(config, bottleneck=9), 1024) == 9


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("settings_", "error", "words"),
    [
        ({"middle": ("x",)}, ValueError, "sequence of"),
        ({"middle": 3}, TypeError, "sequence of"),
        ({"placement": "between"}, ValueError, "outside.*inside"),
        ({"source": "other"}, ValueError, "block.*shared"),
        ({"residual": 1}, TypeError, "residual"),
        ({"zero_init": "no"}, TypeError, "zero_init"),
        ({"bottleneck": 0}, ValueError, "positive"),
        ({"bottleneck": True}, ValueError, "positive"),
        ({"bottleneck": 2.5}, ValueError, "positive"),
        ({"blocks": ()}, ValueError, "block numbers"),
        ({"blocks": (-1,)}, ValueError, "block numbers"),
        ({"source": "shared", "placement": "inside"}, ValueError, "inside"),
        ({"source": "shared", "residual": False}, ValueError, "residual"),
        ({"bottelneck": 4}, TypeError, "bottelneck"),
    ],
)
def test_impossible_settings_raise(settings_, error, words):
    with pytest.raises(error, match=words):
        tl.ATLConfig(**settings_)


def test_a_block_that_is_not_there(mini):
    with pytest.raises(ValueError, match="names block 8, but the encoder has 0 to 7"):
        tl.TransLandSeg(mini, tl.ATLConfig(blocks=(1, 8)))


def test_configurations_survive_plain_values():
    for config in tl.DESIGNS.values():
        assert tl.ATLConfig(**config.as_dict()) == config


def test_no_middle_is_two_linear_layers():
    """An empty middle is allowed: the identity between the projections."""
    torch.manual_seed(0)
    atl = ATL(12, 3, (), zero_init=False)
    x = torch.randn(2, 4, 4, 12)
    torch.testing.assert_close(atl(x), atl.up(atl.down(x)))
