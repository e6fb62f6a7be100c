"""Calibration of labels that are drawn from known probabilities."""

import numpy as np
import pytest
import torch

from tlseg_lite.metrics.calibration import fit_temperature, reliability


def drawn(n=200_000, seed=0, overconfidence=1.0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(-1, 2, (1, n))
    target = rng.random((1, n)) < 1 / (1 + np.exp(-logits))
    return overconfidence * logits, target


def test_labels_drawn_from_the_probabilities_are_calibrated():
    logits, target = drawn()
    curve = reliability(logits, target)
    assert curve.ece < 0.005
    assert np.nanmax(np.abs(curve.confidence - curve.frequency)) < 0.03
    p = 1 / (1 + np.exp(-logits))
    assert curve.brier == pytest.approx((p * (1 - p)).mean(), abs=2e-3)  # its expectation
    assert curve.count.sum() == logits.size


def test_overconfidence_is_seen_and_its_temperature_found():
    logits, target = drawn(overconfidence=3.0)
    assert reliability(logits, target).ece > 0.05
    temperature = fit_temperature(logits, target)
    assert temperature == pytest.approx(3, rel=0.03)
    assert reliability(logits / temperature, target).ece < 0.005


def test_equal_to_torchmetrics():
    from torchmetrics.functional.classification import binary_calibration_error

    logits, target = drawn(5000, seed=1, overconfidence=2)
    curve = reliability(logits, target, bins=10)
    p = torch.as_tensor(1 / (1 + np.exp(-logits))).ravel()
    expected = binary_calibration_error(p, torch.as_tensor(target).ravel().long(), n_bins=10)
    assert curve.ece == pytest.approx(expected.item(), abs=1e-6)


def test_padding_is_left_out_and_tensors_are_taken():
    logits, target = drawn(1000)
    valid = np.random.default_rng(2).random(logits.shape) < 0.5
    a = reliability(torch.as_tensor(logits), torch.as_tensor(target), torch.as_tensor(valid))
    b = reliability(logits[valid][None], target[valid][None])
    assert (a.ece, a.brier) == pytest.approx((b.ece, b.brier))


def test_extreme_logits_and_empty_bins_are_no_trouble():
    curve = reliability(np.array([[-1e4, 1e4]]), np.array([[False, True]]), bins=4)
    assert (curve.ece, curve.brier) == (0, 0)
    assert np.isnan(curve.frequency[1])


def test_bad_arguments_are_refused():
    logits, target = drawn(10)
    with pytest.raises(ValueError, match="bins is 0"):
        reliability(logits, target, bins=0)
    with pytest.raises(ValueError, match="no pixel"):
        reliability(logits, target, np.zeros_like(target))
