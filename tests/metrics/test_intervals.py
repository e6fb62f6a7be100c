"""Intervals that cover what they should, and tests that reject what they should."""

import numpy as np
import pytest

from tlseg_lite.metrics.confusion import ConfusionMatrix
from tlseg_lite.metrics.intervals import bootstrap, compare


def model(n, error, seed, difficulty=None):
    """Confusion matrices of n images of 400 pixels; an image's difficulty is shared by models."""
    rng = np.random.default_rng(seed)
    images = np.random.default_rng(99)
    slides = images.integers(20, 100, n)
    hard = images.uniform(0.2, 1.8, n) if difficulty is None else difficulty
    fn = rng.binomial(slides, np.clip(error * hard, 0, 1))
    fp = rng.binomial(400 - slides, np.clip(0.3 * error * hard, 0, 1))
    return [
        ConfusionMatrix(s - a, b, a, 400 - s - b)
        for s, a, b in zip(slides.tolist(), fn.tolist(), fp.tolist(), strict=True)
    ]


def test_interval_holds_the_score_of_the_summed_counts():
    images = model(30, 0.2, 0)
    interval = bootstrap(images, "landslide_f1")
    assert interval.value == sum(images).scores().landslide_f1
    assert interval.low < interval.value < interval.high
    assert interval == bootstrap(images, "landslide_f1")
    assert interval != bootstrap(images, "landslide_f1", seed=1)
    narrow = bootstrap(images, "landslide_f1", level=0.5)
    assert narrow.high - narrow.low < interval.high - interval.low
    assert "30 images" in str(interval)


def test_interval_of_a_mean_is_that_of_the_normal_law():
    rng = np.random.default_rng(0)
    images = [ConfusionMatrix(0, int(k), 0, 100 - int(k)) for k in rng.binomial(100, 0.1, 200)]
    interval = bootstrap(images, "oa", repeats=4000)
    oa = np.array([m.scores().oa for m in images])
    half = 1.96 * oa.std() / np.sqrt(200)
    assert interval.high - interval.low == pytest.approx(2 * half, rel=0.08)


def test_equal_models_do_not_differ():
    images = model(25, 0.2, 0)
    same = compare(images, images)
    assert (same.difference, same.low, same.high, same.p_value) == (0, 0, 0, 1)


def test_a_better_model_is_found_and_p_values_are_fair():
    a, b = model(40, 0.25, 1), model(40, 0.15, 2)
    result = compare(a, b)
    assert result.difference == result.second - result.first > 0
    assert result.low > 0
    assert result.p_value < 0.01
    mirrored = compare(b, a)
    assert mirrored.difference == pytest.approx(-result.difference)
    assert "second minus first +" in str(result)
    p = [
        compare(model(12, 0.2, k), model(12, 0.2, 100 + k), repeats=200).p_value for k in range(40)
    ]
    assert sum(value < 0.1 for value in p) <= 9  # 4 expected, P(more than 9) is about 0.5 %
    assert min(p) > 0


def test_few_images_are_swapped_in_all_ways():
    """Six images in which the second model is better: 2 of the 64 ways are as extreme."""
    a = [ConfusionMatrix(50 + i, 20, 30, 300) for i in range(6)]
    b = [ConfusionMatrix(70 + i, 10 + i, 10, 310 - i) for i in range(6)]
    assert compare(a, b).p_value == 2 / 64


def test_pairing_takes_the_images_out_of_the_comparison():
    a, b = model(40, 0.25, 1), model(40, 0.22, 2)
    paired = compare(a, b, "landslide_iou")
    alone = [bootstrap(m, "landslide_iou") for m in (a, b)]
    assert paired.high - paired.low < sum(i.high - i.low for i in alone) / 2


def test_what_cannot_be_compared_is_refused():
    images = model(5, 0.2, 0)
    with pytest.raises(ValueError, match="first has 5 images, second 4"):
        compare(images, images[:4])
    with pytest.raises(ValueError, match=r"image 0 has .* not the same images"):
        compare(images, images[::-1])
    with pytest.raises(ValueError, match="two or more"):
        bootstrap(images[:1])
    with pytest.raises(ValueError, match="metric is 'dice'"):
        bootstrap(images, "dice")
    with pytest.raises(ValueError, match="level is 95"):
        bootstrap(images, level=95)
