"""Every form of the attention against segment_anything's, with gradients; what the forms keep."""

import functools
import gc
from weakref import WeakSet

import pytest
import torch
from adapter_helpers import busy_sam, random_images, short_sam, wake_up
from segment_anything.modeling.image_encoder import Block, get_rel_pos

import tlseg_lite as tl
from tlseg_lite.adapters import attention, encoder
from tlseg_lite.adapters import tiled_attention as tiled
from tlseg_lite.adapters.attention import attend, form_for, positions_for
from tlseg_lite.adapters.encoder import EncoderOptions, attention_output, encode


def block(window: int, grid: tuple[int, int], dtype=torch.float64, seed: int = 0) -> Block:
    """A block of 3 heads of width 8 with random weights everywhere, the positions too."""
    made = Block(24, 3, use_rel_pos=True, window_size=window, input_size=grid).to(dtype)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in made.parameters():
            value.copy_(0.4 * torch.randn(value.shape, generator=generator))
    return made


def tokens(grid: tuple[int, int], batch: int = 2, dtype=torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, *grid, 24, generator=generator, dtype=dtype)


def outcome(form: str, made: Block, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """The attention's output and the gradients of its input and of all its weights."""
    made.zero_grad()
    x = x.clone().requires_grad_()
    found = positions_for(made.attn, x, made.window_size)
    out = attend(made.attn, x, made.window_size, form, found)
    (out * torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)).sum().backward()
    gradients = {name: p.grad.clone() for name, p in made.attn.named_parameters()}
    return {"out": out.detach(), "x": x.grad, **gradients}


SHAPES = [(0, (6, 6)), (0, (5, 9)), (4, (8, 8)), (4, (9, 6)), (5, (3, 4)), (7, (15, 8))]


@pytest.mark.parametrize("form", ["tiled", "concat", "bias"])
@pytest.mark.parametrize(("window", "grid"), SHAPES)
def test_form_equals_segment_anything(form, window, grid):
    """In float64: output and every gradient, those of padding and positions among them."""
    made, x = block(window, grid), tokens(grid)
    ours, theirs = outcome(form, made, x), outcome("eager", made, x)
    assert ours.keys() == theirs.keys() == {"out", "x", *dict(made.attn.named_parameters())}
    for name, value in theirs.items():
        assert value.abs().max() > 1e-3, name
        torch.testing.assert_close(ours[name], value, rtol=1e-9, atol=1e-10, msg=name)


@torch.no_grad()
@pytest.mark.parametrize(("window", "grid"), SHAPES)
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_flex_equals_segment_anything(window, grid, monkeypatch):
    """Its formula, not compiled; PyTorch has no gradients for it on a CPU."""
    flex = pytest.importorskip("torch.nn.attention.flex_attention")
    monkeypatch.setattr(attention, "_flex_kernel", lambda: flex.flex_attention)
    made, x = block(window, grid), tokens(grid)
    ours = attend(made.attn, x, window, "flex", positions_for(made.attn, x, window))
    theirs = attend(made.attn, x, window, "eager")
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("scores", [1, 60, 700, 4000])
def test_size_of_a_tile_does_not_matter(scores, monkeypatch):
    """From one query and one head at a time to everything at once."""
    made, x = block(5, (8, 7)), tokens((8, 7))
    monkeypatch.setattr(tiled, "_tile", lambda _: scores)
    ours, theirs = outcome("tiled", made, x), outcome("eager", made, x)
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-9, atol=1e-10, msg=name)


def test_only_the_gradients_that_are_asked_for_are_made():
    made, x = block(4, (6, 6)).requires_grad_(False), tokens((6, 6)).requires_grad_()
    attend(made.attn, x, 4, "tiled", positions_for(made.attn, x, 4)).sum().backward()
    assert x.grad is not None
    assert all(p.grad is None for p in made.parameters())


@torch.no_grad()
@pytest.mark.parametrize("form", ["tiled", "concat", "bias"])
def test_half_precision_is_as_good_as_segment_anything_s(form):
    """Under autocast each form may be as far from float32 as the reference is, not much more."""
    made = block(5, (12, 12), torch.float32).requires_grad_(False)
    x = tokens((12, 12), dtype=torch.float32)
    found = positions_for(made.attn, x, 5)
    exact = attend(made.attn, x, 5, "eager")
    error = {}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for name in ("eager", form):
            out = attend(made.attn, x, 5, name, found)
            assert out.dtype == torch.bfloat16
            error[name] = (out.float() - exact).pow(2).mean().sqrt().item()
    assert error["eager"] > 0
    assert error[form] < 1.5 * error["eager"]


def test_half_precision_gradient():
    made = block(5, (12, 12), torch.float32).requires_grad_(False)
    exact = outcome_of_input("eager", made)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        error = {f: (outcome_of_input(f, made) - exact).norm() for f in ("eager", "tiled")}
    assert 0 < error["tiled"] < 1.5 * error["eager"]


def outcome_of_input(form: str, made: Block) -> torch.Tensor:
    x = tokens((12, 12), dtype=torch.float32).requires_grad_()
    out = attend(made.attn, x, 5, form, positions_for(made.attn, x, 5)).float()
    return torch.autograd.grad(out.square().sum(), x)[0]


# ---- which form ------------------------------------------------------------------------------


def test_small_layers_stay_with_segment_anything_s_form():
    assert attention.is_small(256, 16)  # 2**20 scores
    assert not attention.is_small(256, 17)
    assert attention.is_small(64, 10**6)


def test_what_auto_means_for_the_variants():
    """sam_mini stays with segment_anything's form; global blocks at 1024 px never do."""
    for name, size, forms in [
        ("sam_mini", 256, ["eager"]),
        ("sam_mini", 1024, ["eager", "tiled"]),
        ("vit_b", 1024, ["tiled"]),
        ("vit_l", 1024, ["tiled"]),
        ("vit_h", 1024, ["tiled"]),
    ]:
        with torch.device("meta"):
            blocks = tl.sam.build_sam(name, image_size=size).image_encoder.blocks
        x = torch.empty(1, size // 16, size // 16, 1, device="meta")  # nothing to measure
        found = [form_for(b.attn, x, b.window_size) for b in blocks]
        assert sorted(set(found)) == forms, name
        whole = [form for form, b in zip(found, blocks, strict=True) if b.window_size == 0]
        assert len(set(whole)) == 1
        assert whole[0] == ("tiled" if size == 1024 else "eager")


@pytest.mark.parametrize(
    ("capability", "cudnn", "width", "expected"),
    [
        ((7, 5), 92000, 192, 64),  # T4: no flash kernel, any width
        ((8, 0), 92000, 192, 192),  # A100: equal widths
        ((8, 0), 92000, 96, 96),
        ((9, 0), 92000, 192, 128),  # H100: cuDNN
        ((9, 0), 92000, 96, 64),
        ((9, 0), 92000, 208, 208),  # ViT-H: flash
        ((9, 0), 91002, 192, 192),  # a cuDNN that PyTorch does not prefer
    ],
)
def test_values_are_as_wide_as_the_card_s_kernel_asks(
    capability, cudnn, width, expected, monkeypatch
):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _=None: capability)
    monkeypatch.setattr(torch.backends.cudnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: cudnn)
    cuda = torch.device("cuda", 0)
    assert attention.value_width(width, 64, cuda) == expected
    if expected == 128:
        torch.use_deterministic_algorithms(True)
        try:
            assert attention.value_width(width, 64, cuda) == width
        finally:
            torch.use_deterministic_algorithms(False)


def test_unknown_forms_and_options_are_refused():
    with pytest.raises(ValueError, match="attention is 'fast'; expected one of 'auto', 'eager'"):
        EncoderOptions(attention="fast")
    with pytest.raises(TypeError, match="compile is 'yes'; expected True or False"):
        EncoderOptions(compile="yes")
    with pytest.raises(ValueError, match="runs on CUDA, and the tokens are on 'cpu'"):
        form_for(block(0, (6, 6)).attn, tokens((6, 6)), 0, "flex")
    sam = busy_sam(image_size=64)
    with pytest.raises(ValueError, match="runs on CUDA"):
        encode(sam.image_encoder, random_images(1, 64), options=EncoderOptions("flex"))


def test_older_pytorch_is_told_from_newer(monkeypatch):
    monkeypatch.setattr(torch, "__version__", "2.4.1+cpu")
    with pytest.raises(ImportError, match=r"needs torch 2.6, and this is 2.4"):
        attention._flex_kernel.__wrapped__()
    with pytest.raises(ImportError, match=r"needs torch 2.5, .* and this is 2.4"):
        encoder._compiled.__wrapped__(print)


# ---- positions -------------------------------------------------------------------------------


def check(made: Block, size=(6, 5)) -> attention.Positions:
    found, layer = attention.relative_positions(made.attn, size), made.attn
    for n, ours, weight in zip(size, found, (layer.rel_pos_h, layer.rel_pos_w), strict=True):
        assert torch.equal(ours, get_rel_pos(n, n, weight))
    return found


@torch.no_grad()
def test_positions_are_those_of_the_weights_now():
    made = block(0, (6, 5)).requires_grad_(False)
    before = check(made)
    check(made, (9, 7))  # another size: resampled
    made.load_state_dict(block(0, (6, 5), seed=5).state_dict())
    assert not torch.equal(check(made).rows, before.rows)
    made.attn.rel_pos_h.data.add_(1)  # leaves no trace in the version of the weight
    check(made)
    assert check(made.to(torch.bfloat16)).rows.dtype == torch.bfloat16


def test_positions_that_train_have_a_gradient():
    made = block(0, (6, 5)).requires_grad_(False)
    assert not check(made).rows.requires_grad
    made.requires_grad_(True)
    check(made).rows.sum().backward()
    assert made.attn.rel_pos_h.grad.abs().sum() > 0


def test_positions_gathered_in_inference_serve_training_later():
    attention._offsets.cache_clear()
    made = block(4, (6, 6))
    with torch.inference_mode():
        attention_output(made, tokens((6, 6)), EncoderOptions("tiled"))
    x = tokens((6, 6)).requires_grad_()
    attention_output(made, x, EncoderOptions("tiled")).sum().backward()
    assert x.grad.abs().sum() > 0


# ---- what is kept for the gradient -----------------------------------------------------------


def kept_bytes(run) -> tuple[int, torch.Tensor]:
    """Memory of the distinct tensors that `run` keeps for the backward pass, and its result."""
    kept = {}

    def note(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        result = run()
    return sum(size for size, tensor in kept.values()), result


@pytest.fixture(scope="module")
def short():
    """A windowed and a global block of ViT-B at 512 px, with adapters that do something."""
    model = tl.TransLandSeg(short_sam("vit_b", 512, (1, 2)), tl.ATLConfig())
    wake_up(model.adapters)
    return model.train()


def trained(model, options, image):
    """(bytes kept, embedding, gradient of the first adapter) of one forward and backward pass."""
    model.encoder_options = options
    model.zero_grad()
    size, out = kept_bytes(lambda: model.encode(image))
    out.square().mean().backward()
    gradient = model.adapters[0].down.weight.grad.clone()
    model.encoder_options = EncoderOptions()
    return size, out.detach(), gradient


def test_less_is_kept_and_the_gradient_is_the_same(short, monkeypatch):
    # a processor may find another form faster, which keeps more
    monkeypatch.setattr(attention, "fastest", lambda shape, device, forms, attend: forms[0])
    image = random_images(1, 512)
    runs = {
        "eager": EncoderOptions("eager"),
        "auto": EncoderOptions(),
        "checkpoint": EncoderOptions(checkpoint=True),
    }
    found = {name: trained(short, options, image) for name, options in runs.items()}
    size, out, gradient = found["eager"]
    scores = 12 * 1024**2 * 4 + 9 * 12 * 196**2 * 4  # bytes of both blocks' attention
    assert size - found["auto"][0] > scores
    weights = sum(p.numel() * 4 for p in short.image_encoder.parameters())
    activations = found["auto"][0] - weights
    assert found["checkpoint"][0] < weights + activations / 2
    for name in ("auto", "checkpoint"):
        assert (found[name][1] - out).abs().max() < 1e-5 * out.abs().max()
        assert (found[name][2] - gradient).abs().max() < 1e-4 * gradient.abs().max()


@pytest.mark.parametrize("checkpointing", [False, True])
def test_nothing_is_kept_before_the_first_adapter(checkpointing):
    class Watch(torch.nn.Module):
        """Adapters that write down how much was kept when each block began."""

        def __init__(self, inner):
            super().__init__()
            self.inner, self.log = inner, []

        def start(self, tokens, image):
            return self.inner.start(tokens, image)

        def before_block(self, index, x, state):
            gc.collect()
            self.log.append((len(alive), x.requires_grad))
            return self.inner.before_block(index, x, state)

        def after_attention(self, index, x, state):
            return self.inner.after_attention(index, x, state)

    sam = busy_sam("sam_mini", 64)
    model = tl.TransLandSeg(sam, tl.ATLConfig(blocks=(5, 7))).train()
    watch = Watch(model.adapters)
    alive = WeakSet()
    options = EncoderOptions(checkpoint=checkpointing)
    with torch.autograd.graph.saved_tensors_hooks(Kept.add_to(alive), lambda kept: kept.tensor):
        out = encode(model.image_encoder, random_images(1, 64), watch, options)
    assert out.requires_grad
    running = int(checkpointing)  # the input of the block that runs just then, and no other
    assert watch.log[:6] == [(running, False)] * 6
    assert watch.log[7][1]
    assert watch.log[7][0] > 0


class Kept:
    """Stands for a tensor in the graph, and lives as long as the graph keeps the tensor."""

    def __init__(self, tensor):
        self.tensor = tensor

    @classmethod
    def add_to(cls, alive):
        def pack(tensor):
            alive.add(kept := cls(tensor))
            return kept

        return pack


# ---- compiling -------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_compiled_blocks_are_equal_and_compiled_once(monkeypatch):
    """With the compiler's last stage left out: it takes a minute and depends on the machine."""
    seen = []

    def count_graphs(graph, inputs):
        seen.append(graph)
        return graph.forward

    encoder._compiled.cache_clear()
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=count_graphs))
    sam = busy_sam("sam_mini", 96)
    model = tl.TransLandSeg(sam, tl.ATLConfig())
    wake_up(model.adapters)
    image = random_images(1, 96)
    plain = model.encode(image)
    model.encoder_options = EncoderOptions("concat", compile=True)
    fast = model.encode(image)
    encoder._compiled.cache_clear()
    assert (fast - plain).abs().max() < 1e-5 * plain.abs().max()
    assert 3 <= len(seen) <= 8  # 8 blocks of two kinds: two attentions and a feed-forward, and
    # the first one again because its input has no gradient history like that of later ones


# ---- the model -------------------------------------------------------------------------------


def test_a_saved_model_does_not_depend_on_the_options(tmp_path):
    sam = busy_sam("sam_mini", 64)
    options = EncoderOptions("tiled", checkpoint=True)
    model = tl.TransLandSeg(sam, tl.ATLConfig(), encoder_options=options)
    wake_up(model.adapters)
    model.save(tmp_path / "fast.safetensors")
    plain = tl.TransLandSeg(sam, tl.ATLConfig())
    assert model.description() == plain.description()
    again = tl.TransLandSeg.load(tmp_path / "fast.safetensors", sam)
    assert again.encoder_options == EncoderOptions()
    image = random_images(1, 64)
    with torch.no_grad():
        assert torch.allclose(again(image), model.eval()(image), rtol=1e-4, atol=1e-5)
