"""Dead leaves: exact regions, the statistics of pictures, reproducible."""

import pytest
import torch

from tlseg_lite.pretraining.dead_leaves import DeadLeaves
from tlseg_lite.pretraining.textures import TILE, spectral_noise


@pytest.fixture(scope="module")
def leaves() -> DeadLeaves:
    return DeadLeaves(128, textures=24, seed=3)


def drawn(leaves, n=6, seed=0, difficulty=0.5, details=0.0):
    generator = torch.Generator().manual_seed(seed)
    return leaves.sample(n, difficulty=difficulty, details=details, generator=generator)


@pytest.mark.parametrize("difficulty", [0.0, 1.0])
def test_form_of_the_pictures(leaves, difficulty):
    images, labels, whole = drawn(leaves, difficulty=difficulty)
    assert images.shape == (6, 3, 128, 128)
    assert images.dtype == torch.float32
    assert labels.shape == (6, 128, 128)
    assert labels.dtype == torch.uint8
    assert images.isfinite().all()
    assert images.min() >= 0
    assert images.max() <= 1
    assert int(labels.max()) < whole.shape[1] < 255  # 255 is kept for padding


def test_same_seed_same_pictures_and_other_seed_others(leaves):
    a, b, c = drawn(leaves), drawn(leaves), drawn(leaves, seed=1)
    assert torch.equal(a.images, b.images)
    assert torch.equal(a.labels, b.labels)
    assert not torch.equal(a.labels, c.labels)


def test_own_generator_moves_on():
    small = DeadLeaves(32, textures=16)
    assert not torch.equal(small.sample(1).images, small.sample(1).images)


def test_regions_are_what_one_sees(leaves):
    """Colours differ more across borders than inside regions: the labels fit the pictures."""
    images, labels, _ = drawn(leaves, 12, difficulty=0.0)
    step = (images[..., 1:] - images[..., :-1]).abs().sum(1)
    border = labels[..., 1:] != labels[..., :-1]
    assert step[border].mean() > 2.5 * step[~border].mean()


def test_many_regions_of_many_sizes(leaves):
    _, labels, _ = drawn(leaves, 24)
    counts = [torch.bincount(p.flatten().long()) for p in labels]
    sizes = torch.cat([c[c > 0] for c in counts]).double()
    assert 5 < len(sizes) / 24 < 40
    assert torch.quantile(sizes, 0.1) < 60  # a tenth are small ...
    assert torch.quantile(sizes, 0.95) > 128 * 128 / 20  # ... and some are large


def test_parts_belong_to_earlier_leaves_and_wholes_are_their_own(leaves):
    whole = drawn(leaves, difficulty=1.0).whole[0]
    own = torch.arange(len(whole))
    assert (whole <= own).all()  # a part is painted after its leaf
    assert torch.equal(whole[whole], whole)  # no parts of parts
    assert (whole != own).any()
    easy = drawn(leaves, difficulty=0.0).whole[0]
    assert torch.equal(easy, torch.arange(len(easy)))


def test_harder_pictures_have_less_contrast(leaves):
    easy = drawn(leaves, 24, difficulty=0.0).images
    hard = drawn(leaves, 24, difficulty=1.0).images
    assert hard.std((2, 3)).mean() < 0.85 * easy.std((2, 3)).mean()


def test_details_belong_to_their_leaves(leaves):
    """Spots have labels for painting; what is given as labels counts them as their leaves."""
    leaves.generator.manual_seed(8)
    painted, whole, owner = leaves._regions(6, 0.5, 4)
    spots = torch.arange(len(owner)) != owner.long()
    assert spots.sum() > 5
    assert torch.equal(owner[spots].long(), whole[0, spots])  # a leaf, not a part of one
    assert not spots[owner.long()].any()
    here = spots[painted.long()].flatten(1).float().mean(1)
    assert (here[:4] > 0.002).all()  # they are in the first four pictures ...
    assert (here[4:] == 0).all()  # ... and in no other


def test_details_make_regions_uneven_and_leave_the_form_alone(leaves):
    def unevenness(details):
        images, labels, whole = drawn(leaves, 24, difficulty=0.0, details=details)
        assert int(labels.max()) < whole.shape[1] < 255
        step = (images[..., 1:] - images[..., :-1]).abs().sum(1)
        inside = labels[..., 1:] == labels[..., :-1]
        return (step[inside] > 0.3).float().mean().item()

    assert unevenness(1.0) > 1.2 * unevenness(0.0)


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
def test_noise_has_the_spectrum_asked_for(exponent):
    field = spectral_noise(torch.full((8,), exponent), torch.Generator().manual_seed(0))
    assert torch.allclose(field.mean((1, 2)), torch.zeros(8), atol=1e-4)
    assert torch.allclose(field.std((1, 2)), torch.ones(8), atol=1e-3)
    power = torch.fft.fft2(field).abs().square().mean(0)
    f = torch.fft.fftfreq(TILE)
    radius = (f[:, None] ** 2 + f[None] ** 2).sqrt()
    means = [power[(radius > r * 0.9) & (radius < r * 1.1)].mean() for r in (0.04, 0.16)]
    slope = -float(torch.log(means[1] / means[0])) / torch.log(torch.tensor(4.0))
    assert slope == pytest.approx(2 * exponent, abs=0.15)  # power is amplitude squared


def test_textures_are_periodic(leaves):
    """The step over the edge is as small as any other: textures can be laid without a seam."""
    t = leaves.textures[:8]  # of every kind
    inner = (t[:, 1:] - t[:, :-1]).abs().mean((1, 2))
    seam = (t[:, 0] - t[:, -1]).abs().mean(1)
    assert (seam < 2 * inner + 0.1).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: DeadLeaves(16), "size is 16; expected 32 to 256"),
        (lambda: DeadLeaves(64, textures=2), "textures is 2"),
        (lambda: DeadLeaves(32, textures=16).sample(0), "n is 0"),
        (lambda: DeadLeaves(32, textures=16).sample(1, difficulty=2), "difficulty is 2"),
        (lambda: DeadLeaves(32, textures=16).sample(1, details=1.5), "details is 1.5"),
    ],
)
def test_errors_name_the_value(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_hard_pictures_are_partly_black_and_white_and_easy_ones_never(leaves):
    def colourless(difficulty):
        images = drawn(leaves, n=60, difficulty=difficulty).images
        spread = (images.amax(1) - images.amin(1)).flatten(1)
        return (spread.quantile(0.9, dim=1) < 0.12).float().mean().item()  # but for the grain

    assert colourless(1.0) == pytest.approx(0.2, abs=0.12)
    assert colourless(0.0) < 0.03


def test_film_keeps_the_luma():
    leaves = DeadLeaves(32, textures=16)
    colours = torch.rand(50, 3, 4, 4)
    weights = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    for difficulty in (0.0, 1.0):
        seen = leaves._film(colours, difficulty)
        torch.testing.assert_close((seen * weights).sum(1), (colours * weights).sum(1))
    torch.testing.assert_close(leaves._film(colours, 0.0), colours)
