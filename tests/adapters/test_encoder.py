"""The encoder's loop against segment_anything's own forward pass, outputs and gradients."""

import pytest
import torch
from adapter_helpers import busy_sam, random_images, short_sam
from segment_anything.modeling.image_encoder import window_partition

from tlseg_lite.adapters.encoder import attention_output, encode


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return ((a - b).abs().max() / b.abs().max()).item()


def both_ways(encoder, images):
    """(output, gradient at the images) of our loop and of segment_anything's forward."""
    results = []
    for forward in (lambda x: encode(encoder, x), encoder):
        x = images.clone().requires_grad_()
        out = forward(x)
        weight = torch.linspace(-1, 1, out.numel()).view_as(out)
        (gradient,) = torch.autograd.grad((out * weight).sum(), x)
        results.append((out.detach(), gradient))
    return results


@pytest.mark.parametrize(
    ("name", "size", "keep"),
    [
        ("sam_mini", 256, None),  # whole windows
        ("sam_mini", 48, None),  # one window larger than the picture: padded
        ("sam_mini", 160, None),  # 10 x 10 tokens, windows of 8: padded
        ("sam_mini", 512, (0, 1)),
        ("sam_mini", 1024, (0, 1)),
        *(
            (name, size, keep)  # a windowed and a global block, of full width
            for name, keep in (("vit_b", (1, 2)), ("vit_l", (4, 5)), ("vit_h", (6, 7)))
            # 256, 512, 1024: 16, 32, 64 tokens a side, windows of 14, so the last ones are padded
            for size in ((64, 256, 368, 512, 1024) if name == "vit_b" else (64, 368, 512))
        ),
    ],
)
def test_equals_segment_anything(name, size, keep):
    """With random positions of all kinds: output and input gradient, relative to the largest."""
    sam = busy_sam(name, size) if keep is None else short_sam(name, size, keep)
    encoder = sam.image_encoder
    assert {b.window_size > 0 for b in encoder.blocks} == {True, False}  # both kinds are tested
    images = 2 * random_images(1 if size > 300 else 2, size) - 1
    (ours, our_gradient), (theirs, their_gradient) = both_ways(encoder, images)
    assert theirs.abs().max() > 0.1
    assert relative(ours, theirs) < 1e-5
    assert relative(our_gradient, their_gradient) < 1e-4


@torch.no_grad()
def test_a_picture_does_not_feel_the_rest_of_its_batch():
    encoder = busy_sam(image_size=160).image_encoder
    images = random_images(3, 160)
    together = encode(encoder, images)
    for i in range(3):
        assert relative(encode(encoder, images[i : i + 1]), together[i : i + 1]) < 1e-5


@torch.no_grad()
def test_positions_are_really_in_the_comparison():
    """Without the positional tables the result differs, so parity cannot hold by accident."""
    sam = busy_sam(image_size=128)
    images = random_images(1, 128)
    before = encode(sam.image_encoder, images)
    for key, value in sam.image_encoder.named_parameters():
        if "rel_pos" in key:
            value.zero_()
    without_relative = encode(sam.image_encoder, images)
    sam.image_encoder.pos_embed.zero_()
    assert relative(without_relative, before) > 1e-2
    assert relative(encode(sam.image_encoder, images), without_relative) > 1e-2


@torch.no_grad()
def test_windowed_attention_stays_in_its_window():
    """A changed token moves its own 8 x 8 window only; in a global block it moves everything."""
    encoder = busy_sam(image_size=256).image_encoder
    x = torch.randn(1, 16, 16, 192, generator=torch.Generator().manual_seed(0))
    changed = x.clone()
    changed[0, 3, 5, 0] += 5  # in one channel: LayerNorm would hide an equal shift of all
    for index, windows_moved in ((0, 1), (1, 4)):
        block = encoder.blocks[index]
        moved = (attention_output(block, changed) - attention_output(block, x)).abs()
        windows, _ = window_partition(moved, 8)
        assert int((windows.amax(dim=(1, 2, 3)) > 1e-5).sum()) == windows_moved


class Recorder:
    """Adapters that change nothing and write down what they were given."""

    def __init__(self):
        self.calls = []

    def start(self, tokens, image):
        self.tokens, self.image = tokens, image
        return "state"

    def before_block(self, index, x, state):
        self.calls.append(("before", index, x.clone(), state))
        return x

    def after_attention(self, index, x, state):
        self.calls.append(("after", index, x.clone(), state))
        return x


@torch.no_grad()
def test_adapters_are_asked_at_the_right_places():
    """Before each block with the block's input; then with its attention's output, Eq. 11."""
    encoder = busy_sam(image_size=80).image_encoder
    images = random_images(2, 80)
    recorder = Recorder()
    out = encode(encoder, images, recorder)
    assert torch.equal(out, encode(encoder, images))
    order = [(kind, index) for kind, index, _, _ in recorder.calls]
    assert order == [(kind, i) for i in range(8) for kind in ("before", "after")]
    assert {state for *_, state in recorder.calls} == {"state"}
    assert torch.equal(recorder.tokens, encoder.patch_embed(images))  # positions not yet added
    assert torch.equal(recorder.image, images)
    x = encoder.patch_embed(images) + encoder.pos_embed
    for index, block in enumerate(encoder.blocks):
        _, _, given, _ = recorder.calls[2 * index]
        _, _, attended, _ = recorder.calls[2 * index + 1]
        assert relative(given, x) < 1e-5
        after = x + attended
        x = block(x)  # segment_anything's own block
        assert relative(after + block.mlp(block.norm2(after)), x) < 1e-5
