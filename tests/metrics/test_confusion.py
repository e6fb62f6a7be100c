"""Counting against numpy by hand, scores against scikit-learn and torchmetrics."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

import tlseg_lite as tl
from tlseg_lite.metrics.confusion import ConfusionMatrix, Scores, confusion, confusion_per_image


def masks(seed: int, shape=(40, 5), share=0.3, noise=0.2):
    rng = np.random.default_rng(seed)
    target = rng.random(shape) < share
    return target ^ (rng.random(shape) < noise), target


counts = st.integers(0, 50)


# ---- counting


@pytest.mark.parametrize("make", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
def test_counts_are_those_of_the_four_cases(make):
    prediction = make([[1, 1, 0], [0, 1, 0]])
    target = make([[1, 0, 1], [0, 0, 0]])
    assert confusion(prediction, target).counts() == (1, 2, 1, 2)


@pytest.mark.parametrize("kind", ["bool", "uint8", "255", "float", "int64", "half"])
@pytest.mark.parametrize("make", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
def test_every_kind_of_mask_counts_the_same(kind, make):
    prediction, target = masks(1)
    to = {
        "bool": lambda m: m,
        "uint8": lambda m: m.astype(np.uint8),
        "255": lambda m: (255 * m).astype(np.uint8),
        "float": lambda m: m.astype(np.float32),
        "int64": lambda m: m.astype(np.int64),
        "half": lambda m: m.astype(np.float16),
    }[kind]
    expected = confusion(prediction, target)
    assert confusion(make(to(prediction)), make(to(target))) == expected


@pytest.mark.parametrize("make", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
def test_ignored_pixels_count_nowhere(make):
    prediction, target = masks(2, (3, 1, 8, 8))
    valid = np.random.default_rng(3).random(target.shape) < 0.6
    expected = confusion(prediction[valid], target[valid])
    assert confusion(make(prediction), make(target), make(valid.astype(np.float32))) == expected
    assert sum(expected.counts()) == valid.sum()


def test_logits_need_a_threshold_and_it_is_exclusive():
    logits, target = torch.tensor([-1.0, 0.0, 2.0]), torch.tensor([0, 0, 1])
    assert confusion(logits, target, threshold=0).counts() == (1, 0, 0, 2)
    assert confusion(logits.bfloat16(), target, threshold=-0.5).counts() == (1, 1, 0, 1)
    with pytest.raises(ValueError, match=r"from -1 to 2 .*give threshold="):
        confusion(logits, target)


def test_per_image_counts_add_up_to_the_batch():
    prediction, target = masks(4, (5, 1, 6, 7))
    valid = np.random.default_rng(5).random(target.shape) < 0.5
    for v in (None, valid):
        parts = confusion_per_image(prediction, target, v)
        assert len(parts) == 5
        assert sum(parts) == confusion(prediction, target, v)
        assert parts[2] == confusion(prediction[2], target[2], None if v is None else v[2])
    torch_parts = confusion_per_image(torch.as_tensor(prediction), torch.as_tensor(target))
    assert torch_parts == confusion_per_image(prediction, target)


def test_counts_stay_tensors_of_int64_until_they_are_read():
    prediction, target = (torch.as_tensor(m) for m in masks(6))
    total = confusion(prediction, target) + confusion(prediction, target)
    assert total.tp.dtype == torch.int64
    assert total.tp.device == prediction.device
    big = ConfusionMatrix(*(torch.tensor(2**40 + k) for k in range(4)))
    assert (big + big).counts() == tuple(2 * (2**40 + k) for k in range(4))  # no float32 on the way


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_gpu_counts_equal_cpu_counts():
    prediction, target = (torch.as_tensor(m) for m in masks(7, (4, 1, 64, 64)))
    on_gpu = confusion(prediction.cuda(), target.cuda())
    assert on_gpu.tp.is_cuda
    assert on_gpu == confusion(prediction, target)


def test_input_that_could_mean_two_things_is_refused():
    target = torch.zeros(2, 1, 4, 4)
    with pytest.raises(ValueError, match=r"target has shape \(2, 4, 4\), prediction has"):
        confusion(target, target[:, 0])
    with pytest.raises(ValueError, match="valid has shape"):
        confusion(target, target, target[:1])
    with pytest.raises(TypeError, match="target is ndarray"):
        confusion(target, target.numpy())
    with pytest.raises(ValueError, match=r"target has values .* \(or 0 and 255\)"):
        confusion(target, target.int() + 7)
    with pytest.raises(ValueError, match=r"target has values .*binarise"):
        confusion(target, target + 0.5)
    with pytest.raises(ValueError, match=r"valid has values"):
        confusion(target, target, target.int() + 255)
    with pytest.raises(TypeError, match="needs float scores"):
        confusion(target.bool(), target, threshold=0.5)
    with pytest.raises(ValueError, match="NaN"):
        confusion(target / 0, target, threshold=0)
    with pytest.raises(TypeError, match="dtype"):
        confusion(target.numpy().astype(str), target.numpy())
    with pytest.raises(TypeError, match="dtype"):
        confusion(target.to(torch.complex64), target)
    with pytest.raises(ValueError, match="expected a batch"):
        confusion_per_image(target[0, 0], target[0, 0])


@pytest.mark.parametrize("make", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
def test_a_target_with_255_needs_to_say_what_counts(make):
    prediction, target = make(np.array([0, 1, 1, 0])), make(np.array([0, 1, 255, 255]))
    with pytest.raises(ValueError, match=r"target has values 0, 1, 255; .*valid=\(target != 255\)"):
        confusion(prediction, target)
    assert confusion(prediction, target, target != 255).counts() == (1, 0, 0, 1)
    logits = prediction * 1.0 - 0.5
    assert confusion(logits, target, target != 255, threshold=0).counts() == (1, 0, 0, 1)


# ---- the matrix


def test_matrices_add_up_and_compare_by_value():
    a, b = ConfusionMatrix(1, 2, 3, 4), ConfusionMatrix(*np.array([10, 20, 30, 40]))
    assert a + b == sum([a, b]) == ConfusionMatrix(11, 22, 33, 44)
    assert len({a, ConfusionMatrix(1, 2, 3, 4), b}) == 2
    assert repr(a) == "ConfusionMatrix(tp=1, fp=2, fn=3, tn=4)"
    with pytest.raises(TypeError):
        a + 1
    with pytest.raises(TypeError):
        1 + a
    assert a != (1, 2, 3, 4)


@pytest.mark.parametrize("bad", [-1, -0.1, float("nan"), float("inf")])
def test_negative_or_infinite_counts_are_refused(bad):
    with pytest.raises(ValueError, match=r"fn is .*expected a finite number of 0 or more"):
        ConfusionMatrix(1, 1, bad, 1)


def test_a_matrix_of_nothing_has_no_scores():
    empty = ConfusionMatrix(0, 0, 0, 0)
    for use in (empty.scores, empty.normalised, lambda: empty.landslide_share):
        with pytest.raises(ValueError, match="holds no pixel"):
            use()
    assert empty + ConfusionMatrix(1, 0, 0, 0) == ConfusionMatrix(1, 0, 0, 0)  # a fair start
    with pytest.raises(ValueError, match="0 or more"):
        ConfusionMatrix(*(torch.tensor(k) for k in (1, -1, 1, 1))).scores()


def test_arrays_are_not_counts():
    with pytest.raises(ValueError, match="expected one number"):
        ConfusionMatrix(torch.zeros(3), 0, 0, 1)
    with pytest.raises(TypeError, match=r"metrics\.confusion"):
        ConfusionMatrix(np.zeros(3), 0, 0, 1)


def test_fractions_score_as_counts_do():
    matrix = ConfusionMatrix(30, 10, 20, 940)
    assert matrix.normalised().scores().as_dict() == pytest.approx(matrix.scores().as_dict())
    assert sum(matrix.normalised().counts()) == pytest.approx(1)
    assert matrix.landslide_share == pytest.approx(0.05)


# ---- the scores


def test_scores_of_a_matrix_worked_out_by_hand():
    s = ConfusionMatrix(tp=6, fp=2, fn=4, tn=88).scores()
    assert isinstance(s, Scores)
    slide_p, slide_r, ground_p, ground_r = 6 / 8, 6 / 10, 88 / 92, 88 / 90
    p, r = (slide_p + ground_p) / 2, (slide_r + ground_r) / 2
    assert (s.precision, s.recall) == pytest.approx((p, r))
    assert s.f1 == pytest.approx(2 * p * r / (p + r))
    assert s.oa == pytest.approx(0.94)
    assert s.landslide_iou == pytest.approx(6 / 12)  # not Eq. 20 as printed: 6 / (6 + 88 + 2)
    assert s.background_iou == pytest.approx(88 / 94)
    assert s.miou == pytest.approx((6 / 12 + 88 / 94) / 2)
    assert s.landslide_f1 == pytest.approx(12 / 18)
    assert s.f1_mean_of_classes == pytest.approx((12 / 18 + 176 / 182) / 2)
    assert s.landslide_share == pytest.approx(0.1)
    assert "P  85.33" in repr(s)


@given(counts, counts, counts, counts)
@settings(max_examples=60, deadline=None)
def test_scores_equal_scikit_learn(tp, fp, fn, tn):
    from sklearn import metrics as sk

    if not tp + fp + fn + tn:
        return
    target = np.repeat([1, 0, 1, 0], [tp, fp, fn, tn])
    prediction = np.repeat([1, 1, 0, 0], [tp, fp, fn, tn])
    s = ConfusionMatrix(tp, fp, fn, tn).scores()
    both = {"labels": [0, 1], "average": None}
    iou = sk.jaccard_score(target, prediction, zero_division=1, **both)
    f1 = sk.f1_score(target, prediction, zero_division=1, **both)
    p = sk.precision_score(target, prediction, zero_division=0, **both)
    r = sk.recall_score(target, prediction, zero_division=0, **both)
    absent = [not tn + fp + fn, not tp + fp + fn]
    p[absent] = r[absent] = 1  # the documented difference
    assert (s.background_iou, s.landslide_iou) == pytest.approx(tuple(iou))
    assert (s.background_f1, s.landslide_f1) == pytest.approx(tuple(f1))
    assert (s.background_precision, s.landslide_precision) == pytest.approx(tuple(p))
    assert (s.background_recall, s.landslide_recall) == pytest.approx(tuple(r))
    assert s.oa == pytest.approx(sk.accuracy_score(target, prediction))
    assert (s.precision, s.recall) == pytest.approx((p.mean(), r.mean()))
    assert (s.miou, s.f1_mean_of_classes) == pytest.approx((iou.mean(), f1.mean()))


@given(st.integers(0, 10**6), st.floats(0, 0.5), st.floats(0, 1))
@example(0, 0.0, 0.0)  # no landslide, none predicted
@example(0, 0.0, 0.3)  # false alarms only
@example(0, 0.0, 1.0)  # everything wrong
@settings(max_examples=25, deadline=None)
def test_scores_equal_torchmetrics(seed, share, noise):
    from torchmetrics.functional import classification as tm

    prediction, target = (
        torch.as_tensor(m).long() for m in masks(seed, (60,), share=share, noise=noise)
    )
    s = confusion(prediction, target).scores()
    macro = {"num_classes": 2, "average": "macro"}
    assert s.precision == pytest.approx(tm.multiclass_precision(prediction, target, **macro).item())
    assert s.recall == pytest.approx(tm.multiclass_recall(prediction, target, **macro).item())
    f1 = tm.multiclass_f1_score(prediction, target, **macro).item()
    assert s.f1_mean_of_classes == pytest.approx(f1)
    iou = tm.multiclass_jaccard_index(prediction, target, **macro).item()
    assert s.miou == pytest.approx(iou)
    if bool((prediction | target).any()):
        slide = tm.binary_jaccard_index(prediction, target).item()
        assert s.landslide_iou == pytest.approx(slide)


@given(counts, counts, counts, counts)
@settings(max_examples=60, deadline=None)
def test_scores_are_fractions_and_f1_follows_from_iou(tp, fp, fn, tn):
    if not tp + fp + fn + tn:
        return
    s = ConfusionMatrix(tp, fp, fn, tn).scores()
    assert all(0 <= value <= 1 for value in s.as_dict().values())
    assert s.landslide_f1 == pytest.approx(2 * s.landslide_iou / (1 + s.landslide_iou))
    swapped = ConfusionMatrix(tn, fn, fp, tp).scores()  # the classes change names
    assert (swapped.miou, swapped.f1, swapped.oa) == pytest.approx((s.miou, s.f1, s.oa))


def test_empty_masks_and_empty_predictions_have_documented_scores():
    nothing_there_nothing_said = ConfusionMatrix(0, 0, 0, 100).scores()
    assert set(nothing_there_nothing_said.as_dict().values()) == {1.0, 0.0}
    assert nothing_there_nothing_said.landslide_share == 0
    assert nothing_there_nothing_said.landslide_iou == 1
    false_alarm = ConfusionMatrix(0, 5, 0, 95).scores()
    assert (false_alarm.landslide_iou, false_alarm.landslide_recall) == (0, 0)
    missed = ConfusionMatrix(0, 0, 5, 95).scores()
    assert (missed.landslide_precision, missed.landslide_f1) == (0, 0)
    all_wrong = ConfusionMatrix(0, 5, 5, 0).scores()
    assert (all_wrong.f1, all_wrong.miou, all_wrong.oa) == (0, 0, 0)
    all_slide = ConfusionMatrix(9, 0, 0, 0).scores()
    assert (all_slide.background_iou, all_slide.miou) == (1, 1)


def test_public_names():
    assert tl.ConfusionMatrix is ConfusionMatrix
    assert tl.Scores is Scores
