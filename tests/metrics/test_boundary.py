"""Boundary F1 on squares whose distances are known, and against brute force."""

import numpy as np
import pytest
import torch

from tlseg_lite.metrics.boundary import BoundaryMatch, boundary, boundary_f1


def square(size=20, top=5, left=5, side=8):
    mask = np.zeros((size, size), bool)
    mask[top : top + side, left : left + side] = True
    return mask


def test_boundary_is_the_ring_of_pixels_with_a_neighbour_outside():
    edge = boundary(square(side=8))
    assert edge.sum() == 4 * 8 - 4
    assert not edge[6:12, 6:12].any()


def test_the_picture_edge_and_the_padding_make_no_boundary():
    assert not boundary(np.ones((6, 6), bool)).any()
    half = np.zeros((6, 6), bool)
    half[:, :3] = True
    assert boundary(half).sum() == 6  # only the inner side
    valid = np.zeros((6, 6), bool)
    valid[:, :3] = True
    assert not boundary(half, valid).any()  # the mask goes on under the padding, for all we know
    other = half.copy()
    other[0, 0] = False
    assert boundary_f1(half, other, valid, tolerance=0).f1 == 0


@pytest.mark.parametrize("shift", [0, 1, 2, 3])
def test_a_shifted_square_matches_from_its_shift_on(shift):
    moved = square(left=5 + shift)
    assert boundary_f1(moved, square(), tolerance=shift).f1 == 1
    if shift:
        assert boundary_f1(moved, square(), tolerance=shift - 0.5).f1 < 1


def test_tolerance_is_in_metres_where_pixels_have_a_size():
    moved = square(left=7)  # 2 pixels: 1.6 m at 0.8 m
    assert boundary_f1(moved, square(), tolerance=1.6, pixel_size=0.8).f1 == 1
    assert boundary_f1(moved, square(), tolerance=1.5, pixel_size=0.8).f1 < 1
    assert boundary_f1(moved, square(), tolerance=19, pixel_size=10).f1 < 1


def test_equal_to_brute_force_on_noise():
    rng = np.random.default_rng(0)
    p, t = rng.random((2, 15, 17)) < 0.5
    found = boundary_f1(p, t, tolerance=1.5)
    points = [np.argwhere(boundary(m)) for m in (p, t)]
    distance = np.linalg.norm(points[0][:, None] - points[1][None], axis=-1)
    near = [(distance.min(axis) <= 1.5).mean() for axis in (1, 0)]
    assert (found.precision, found.recall) == pytest.approx(near)
    assert found.f1 == pytest.approx(2 * near[0] * near[1] / sum(near))


def test_batches_add_up_and_tensors_are_taken():
    rng = np.random.default_rng(1)
    p, t = rng.random((2, 3, 1, 12, 12)) < 0.5
    total = boundary_f1(torch.as_tensor(p), torch.as_tensor(t))
    assert total == sum(boundary_f1(p[k, 0], t[k, 0]) for k in range(3))
    scores = torch.as_tensor(p).float() * 4 - 2
    assert boundary_f1(scores, torch.as_tensor(t), threshold=0) == total


def test_empty_masks_have_defined_scores():
    empty = np.zeros((9, 9), bool)
    assert boundary_f1(empty, empty).f1 == 1
    missed = boundary_f1(empty, square(9, 2, 2, 4))
    assert (missed.precision, missed.recall, missed.f1) == (0, 0, 0)
    alarm = boundary_f1(square(9, 2, 2, 4), empty)
    assert (alarm.precision, alarm.recall, alarm.f1) == (0, 0, 0)
    assert missed + alarm == BoundaryMatch(12, 0, 12, 0)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="tolerance is -1"):
        boundary_f1(square(), square(), tolerance=-1)
    with pytest.raises(ValueError, match="pixel_size 0"):
        boundary_f1(square(), square(), pixel_size=0)
    with pytest.raises(ValueError, match="expected \\(H, W\\)"):
        boundary_f1(np.zeros(4, bool), np.zeros(4, bool))
    with pytest.raises(TypeError):
        1 + BoundaryMatch(1, 1, 1, 1)
