"""Corrective clicks: in the middle of the largest error, of the right kind, nowhere in padding."""

import torch

from tlseg_lite.sam.corrections import HELD_LOGIT, corrective_clicks, hold_clicks

SIDE = 32


def logits_of(mask):
    return mask * 2.0 - 1.0


def example():
    """Truth: a 9 x 9 block. The answer: an 11 x 11 block elsewhere, so both errors are known."""
    truth, answer = torch.zeros(1, 1, SIDE, SIDE), torch.zeros(1, 1, SIDE, SIDE)
    truth[..., 2:11, 3:12] = 1
    answer[..., 18:29, 19:30] = 1
    return logits_of(answer), truth


def test_the_middle_of_the_largest_error():
    points, kinds = corrective_clicks(*example())
    assert points.tolist() == [[[24, 23]]]  # x, y of the middle of what is too much
    assert kinds.tolist() == [[0]]


def test_the_next_largest_follows():
    points, kinds = corrective_clicks(*example(), clicks=3)
    assert points[0, :2].tolist() == [[24, 23], [7, 6]]
    assert kinds.tolist() == [[0, 1, -1]]  # two errors only


def test_on_a_coarse_grid_in_pixels_of_the_input():
    points, _ = corrective_clicks(*example(), side=4 * SIDE)
    assert points.tolist() == [[[24.5 * 4 - 0.5, 23.5 * 4 - 0.5]]]


def test_padding_is_never_wrong():
    answer, truth = example()
    valid = torch.ones_like(truth)
    valid[..., 18:, :] = 0
    points, kinds = corrective_clicks(answer, truth, valid)
    assert points.tolist() == [[[7, 6]]]
    assert kinds.tolist() == [[1]]


def test_a_perfect_answer_gets_no_click():
    _, truth = example()
    assert corrective_clicks(logits_of(truth), truth)[1].tolist() == [[-1]]


def test_missing_and_superfluous_pixels_that_touch_are_two_errors():
    truth, answer = torch.zeros(1, 1, SIDE, SIDE), torch.zeros(1, 1, SIDE, SIDE)
    truth[..., 4:9, 4:9] = 1  # 25 pixels missing
    answer[..., 4:9, 9:18] = 1  # 45 too many, right beside
    points, kinds = corrective_clicks(logits_of(answer), truth, clicks=2)
    assert kinds.tolist() == [[0, 1]]
    assert points[0, 1].tolist() == [6, 6]


def test_a_seeded_click_falls_anywhere_in_the_region_and_repeats():
    answer, truth = example()
    found = [corrective_clicks(answer, truth, seeds=[s])[0][0, 0] for s in range(40)]
    again = [corrective_clicks(answer, truth, seeds=[s])[0][0, 0] for s in range(40)]
    assert all(torch.equal(a, b) for a, b in zip(found, again, strict=True))
    found = torch.stack(found)
    assert (found[:, 0] >= 19).all()
    assert (found[:, 0] < 30).all()
    assert found.std(0).min() > 1


def test_held_clicks_obey_and_change_what_is_near():
    former, answer = torch.full((16, 16), -1.0), torch.full((16, 16), 2.0)
    points, kinds = torch.tensor([[60.0, 60.0], [9.5, 5.5]]), torch.tensor([0, 1])
    held = hold_clicks(answer, former, points, kinds, 64)
    assert held[15, 15] == -HELD_LOGIT  # an earlier click still counts
    assert held[1, 2] == HELD_LOGIT  # pixels 9.5, 5.5 are in the cell of column 2, row 1
    assert held[1, 3] > 1.5  # beside it the new answer
    assert held[12, 14] < -0.99  # far away the old one
    bell = torch.exp(torch.tensor(-(2.0**2) / (2 * (0.15 * 16) ** 2)))
    torch.testing.assert_close(held[1, 4], -1 + bell * 3)
    alone = hold_clicks(answer, None, points, kinds, 64)
    assert (alone == 2).sum() == 16 * 16 - 2
    certain = hold_clicks(answer * 10, None, points, kinds, 64)
    assert certain[1, 2] == 20  # surer already
    assert torch.equal(answer, torch.full((16, 16), 2.0))
