"""The threshold curve equals counting at each threshold; the optimum is the optimum."""

import numpy as np
import pytest
import torch

from tlseg_lite.metrics.confusion import confusion
from tlseg_lite.metrics.thresholds import choose_threshold, threshold_curve


def images(n=3, seed=0):
    rng = np.random.default_rng(seed)
    targets = [rng.random((8 + k, 9)) < 0.2 for k in range(n)]  # of different sizes
    logits = [2.5 * t - 2 + rng.normal(0, 1, t.shape) for t in targets]
    valids = [rng.random(t.shape) < 0.8 for t in targets]
    return logits, targets, valids


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
def test_equal_to_counting_at_each_threshold(kind):
    logits, targets, valids = ([kind(a) for a in arrays] for arrays in images())
    curve = threshold_curve(logits, targets, valids, thresholds=[float(logits[0][0, 0]), -1.5, 0.0])
    for threshold, matrix in zip(curve.thresholds, curve.matrices, strict=True):
        parts = zip(logits, targets, valids, strict=True)
        assert matrix == sum(confusion(a, b, v, threshold=threshold) for a, b, v in parts)


def test_best_threshold_beats_all_others():
    logits, targets, _ = images()
    curve = threshold_curve(logits, targets)
    assert len(curve.thresholds) == 99
    for metric in ("miou", "landslide_f1"):
        best = choose_threshold(logits, targets, metric=metric)
        parts = zip(logits, targets, strict=True)
        total = sum(confusion(a, b, threshold=best) for a, b in parts)
        assert getattr(total.scores(), metric) == pytest.approx(curve.score(metric).max())


def test_of_equal_thresholds_the_nearest_to_zero_is_taken():
    logits, target = np.array([[-3.0, 3.0]]), np.array([[False, True]])
    assert choose_threshold(logits[None], target[None]) == pytest.approx(0, abs=1e-12)


def test_a_batch_is_a_list_of_its_images():
    batch = torch.randn(2, 1, 5, 5, generator=torch.Generator().manual_seed(0))
    target = batch > 0.3
    assert threshold_curve(batch, target).matrices == threshold_curve(list(batch), target).matrices


def test_bad_arguments_are_refused():
    logits, targets, valids = images()
    with pytest.raises(ValueError, match="3 images of logits, 2 masks"):
        threshold_curve(logits, targets[:2])
    with pytest.raises(ValueError, match="1 valid masks"):
        threshold_curve(logits, targets, valids[:1])
    with pytest.raises(ValueError, match="no image"):
        threshold_curve([], [])
    with pytest.raises(ValueError, match="have to rise"):
        threshold_curve(logits, targets, thresholds=[1, 1])
    with pytest.raises(ValueError, match="metric is 'dice', expected one of precision"):
        choose_threshold(logits, targets, metric="dice")
