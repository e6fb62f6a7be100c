"""Checks of chapter 3: the loss by hand, accumulation, the schedule, what to report, resuming."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from tlseg_lite.core.seeding import seeded
from tlseg_lite.exercises.verdict import Unanswered, Wrong, agrees, near, on_fresh_inputs, run, same

PROBABILITIES, TRUTH = (0.9, 0.6, 0.3, 0.2), (1.0, 0.0, 1.0, 0.0)


def check_3_1(answer: Any) -> str:
    from tlseg_lite.training.losses import bce_dice

    p, t = np.array(PROBABILITIES), np.array(TRUTH)
    logits, target = (
        torch.tensor(v, dtype=torch.float64).view(1, 1, 1, 4) for v in (np.log(p / (1 - p)), t)
    )
    truth = float(bce_dice(logits, target))
    each = -(t * np.log(p) + (1 - t) * np.log(1 - p))
    score = (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)
    rough = 2 * (p * t).sum() / (p.sum() + t.sum())
    mistakes = (
        (0.5 * each.mean() + 0.5 * (1 - rough), "the 1 is missing above and below in Dice."),
        (0.5 * each.mean() + 0.5 * score, "Dice is a score; the loss is one minus it."),
        (each.mean() + 1 - score, "the halves are missing: half of each."),
        (0.5 * each.sum() + 0.5 * (1 - score), "cross-entropy is the mean over the pixels."),
        (0.5 * each.mean() / math.log(10) + 0.5 * (1 - score), "take the natural logarithm."),
        (0.5 * each.mean() / math.log(2) + 0.5 * (1 - score), "take the natural logarithm."),
        (each.mean(), "this is the cross-entropy alone."),
        (1 - score, "this is the Dice loss alone."),
        (0.5 * (-t * np.log(p)).mean() + 0.5 * (1 - score), "the background pixels have a "
         "cross-entropy, too: -log(1 - p)."),
        (0.5 * each.mean() + 0.5 * (1 - (2 * ((p > 0.5) * t).sum() + 1)
                                    / ((p > 0.5).sum() + t.sum() + 1)),
         "Dice takes the probabilities as they are; a threshold has no gradient."),
    )  # fmt: skip
    near(answer, truth, 0.0015, mistakes, "the loss")
    return f"{0.5 * each.mean():.3f} from cross-entropy, {0.5 * (1 - score):.3f} from Dice."


def _batches(sizes: tuple[int, ...]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(sum(sizes))
    return [
        (torch.randn(n, 3, generator=generator), torch.randn(n, 1, generator=generator))
        for n in sizes
    ]


def _gradients(fill: Callable[..., Any]) -> torch.Tensor:
    """The gradients that `fill` (model, batches) leaves in a model, for two sets of batches."""
    found = []
    for batches in (_batches((4, 4, 2)), _batches((5, 1))):
        with seeded(1):
            model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
        for parameter in model.parameters():  # left over from the step before
            parameter.grad = torch.ones_like(parameter)
        fill(model, batches)
        if any(p.grad is None for p in model.parameters()):
            raise Wrong("some weights have no gradient at the end; leave it where it is.")
        found += [p.grad.flatten() for p in model.parameters()]
    return torch.cat(found)


def _accumulated(weigh: Callable[..., float], reset: bool = True, each: bool = False):
    """Gradients of batches, added up with the weights that ``weigh(images, all, batches)`` gives.

    `reset`: begin without the step before; `each`: begin anew at every batch.
    """

    def fill(model, batches):
        if reset:
            model.zero_grad()
        total = sum(len(x) for x, _ in batches)
        for x, y in batches:
            if each:
                model.zero_grad()
            loss = nn.functional.mse_loss(model(x), y)
            (loss * weigh(len(x), total, len(batches))).backward()

    return _gradients(fill)


def check_3_2(answer: Any) -> str:
    """The answer is called with (model, batches) and leaves the gradient in the model."""
    given = _gradients(lambda model, batches: run(answer, model, batches))
    if same(given, torch.ones_like(given), 1e-12):
        raise Unanswered("")  # nothing was done

    def mean(n, total, k):
        return n / total

    lost = "zero_grad inside the loop throws away what was collected."
    mistakes = (
        (_accumulated(lambda n, total, k: 1.0), "the losses are added up as they are: the gradient "
         "is as many times too large as there are batches. Weigh each one."),
        (_accumulated(lambda n, total, k: 1 / k), "each batch counts the same, and the last one is "
         "smaller: weigh by its images."),
        (_accumulated(mean, each=True), lost),
        (_accumulated(lambda n, total, k: 1.0, each=True), lost),
        (_accumulated(mean, reset=False), "the gradient of the step before is still in it: "
         "zero_grad once, at the beginning."),
        (_accumulated(lambda n, total, k: 1 / total), "the loss is a mean already: multiply it by "
         "its images before you divide by all."),
        (_accumulated(lambda n, total, k: float(n)), "divide by the number of all images at the "
         "end."),
    )  # fmt: skip
    if not agrees(given, _accumulated(mean), 1e-5, mistakes):
        whole = _accumulated(mean)
        length = float(given.norm() / whole.norm())
        turned = float(torch.nn.functional.cosine_similarity(given, whole, 0))
        where = "in its direction"
        if turned < 0.999:
            where = f"turned away from it (cosine {turned:.2f})"
        raise Wrong(
            f"your gradient is {length:.2f} times as long as that of one batch with all the "
            f"images, and {where}. A wrong length means wrong weights of all batches alike, a "
            "wrong direction that some batches weigh too much or are lost."
        )
    return "One step of ten images, in the memory of four."


def check_3_3(answer: Any) -> str:
    def schedule(fall, rise=lambda s, w: (s + 1) / (w + 1)):
        """The rate: peak times `rise` in the warm-up, times `fall` of the share that has passed."""
        return lambda s, n, w, p: p * (rise(s, w) if s < w else fall((s - w) / (n - w)))

    def cosine(share):
        return 0.5 * (1 + math.cos(math.pi * share))

    truth = schedule(cosine)
    zero = "the first step has a rate of 0: nothing is learned in it. Count from 1."
    mistakes = (
        (schedule(cosine, lambda s, w: 1),
         "the warm-up is missing: the first steps are at the full rate."),
        (lambda s, n, w, p: p * cosine(s / n), "the warm-up is missing."),
        (lambda s, n, w, p: truth(s, n, w, p) if s < w else p * cosine(s / n),
         "the cosine begins after the warm-up: measure its share from there, or the rate jumps."),
        (schedule(lambda share: 1 - share), "this falls in a straight line."),
        (schedule(lambda share: math.cos(math.pi / 2 * share)),
         "this is a quarter of a cosine; half a period, moved up, is flat at both ends."),
        (schedule(lambda share: math.cos(math.pi * share)),
         "this goes down to minus the peak: 0.5 (1 + cos) lies between 0 and 1."),
        (schedule(cosine, lambda s, w: s / (w + 1)), zero),
        (schedule(cosine, lambda s, w: s / w), zero),
        (schedule(cosine, lambda s, w: (s + 1) / w),
         "w steps lead up to the peak, which comes after them: divide by w + 1."),
    )  # fmt: skip
    cases = [(s, 40, 4, 2e-4) for s in (0, 1, 3, 4, 5, 20, 39)] + [(7, 30, 3, 1.0)]
    scaled = [(s, n, w, p * 1e3) for s, n, w, p in cases]  # so that one tolerance serves all

    def words(s, n, w, p):
        return f"step {s} of {n} with {w} of warm-up and a peak of {p:g}"

    on_fresh_inputs(answer, scaled, truth, 1e-4, mistakes, words)
    return "The same as the package's, step for step."


def given_3_4() -> Any:
    """A made-up history: validation and test MIoU after each of twelve epochs."""
    return _history(3)


def _history(seed: int) -> Any:
    import pandas as pd

    rng = np.random.default_rng(seed)
    epochs = np.arange(12)
    true = 0.78 - 0.33 * np.exp(-epochs / 3)
    noise = rng.normal(0, 0.025, (2, 12))
    return pd.DataFrame(
        {"epoch": epochs, "val_miou": true + noise[0], "test_miou": true - 0.01 + noise[1]}
    ).round(4)


def check_3_4(answer: Any) -> str:
    cases = [(_history(seed),) for seed in (3, 5, 8, 21)]
    mistakes = (
        (lambda h: h.test_miou.max(), "this is the best of twelve looks at the test images: they "
         "chose the epoch and give the number."),
        (lambda h: h.val_miou.max(), "this is the validation score of the epoch that validation "
         "chose: its value was picked for being high."),
        (lambda h: h.test_miou.iloc[-1], "this is the last epoch; the saved model is the one that "
         "validation chose."),
        (lambda h: h.test_miou.mean(), "this is a mean over models that nobody will use."),
        (lambda h: h.test_miou[h.val_miou.idxmin()], "this is the epoch of the worst validation."),
        (lambda h: h.val_miou[h.test_miou.idxmax()], "exchanged: validation chooses."),
    )  # fmt: skip

    def reported(history):
        return float(history.test_miou[history.val_miou.idxmax()])

    on_fresh_inputs(answer, cases, reported, 1e-6, mistakes)
    gain = np.mean([h.test_miou.max() - reported(h) for (h,) in cases])
    return f"Choosing on test would have added {100 * gain:.1f} points on average, from nothing."


def _begin(seed: int = 3):
    with seeded(seed):
        model = nn.Linear(3, 1)
    return model, torch.optim.AdamW(model.parameters(), lr=0.1)


def _go_on(model, optimizer, start: int, stop: int, steps: int = 12) -> None:
    """Steps `start` to `stop` of a run whose images and rate depend on the step alone."""
    for step in range(start, stop):
        generator = torch.Generator().manual_seed(step)
        x, y = torch.randn(8, 3, generator=generator), torch.randn(8, 1, generator=generator)
        for group in optimizer.param_groups:
            group["lr"] = 0.1 * (1 - step / steps)
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x), y).backward()
        optimizer.step()


def check_3_5(answer: Any) -> str:
    if not isinstance(answer, (tuple, list)) or len(answer) != 2:
        raise Wrong("give the two functions as (save, restore).")
    save, restore = answer
    straight, optimizer = _begin()
    _go_on(straight, optimizer, 0, 12)

    model, optimizer = _begin()
    _go_on(model, optimizer, 0, 5)
    state = run(save, model, optimizer, 5, name="save")
    if state is None or state is ...:
        raise Unanswered(" save gives nothing yet.")
    frozen = copy.deepcopy(state)
    _go_on(model, optimizer, 5, 7)  # the run goes on for a while, and is lost

    def resumed(state):
        model, optimizer = _begin(seed=4)  # a fresh start: other weights, no moments
        return model, optimizer, run(restore, state, model, optimizer, name="restore")

    own, optimizer, step = resumed(copy.deepcopy(frozen))
    if step is None or step is ...:
        raise Unanswered(" restore has to give the step at which the run goes on.")
    if not isinstance(step, int) or step != 5:
        raise Wrong(
            f"restore gives the step {step!r}; five steps (0 to 4) are done, so the run goes on at "
            "5. With another number the learning rate and the images are those of another step."
        )
    if _equal(own, _begin(seed=4)[0]):
        raise Wrong("the model has its random weights after restore: load them into it.")
    if not optimizer.state_dict()["state"]:
        raise Wrong(
            "the optimizer begins without memory: AdamW's two moments for each weight, and its "
            "step count, belong to the state. The curve would have a jolt, without an error."
        )
    _go_on(own, optimizer, step, 12)
    if not _equal(own, straight):
        raise Wrong("the resumed run ends with other weights than the unbroken one.")
    late, optimizer, step = resumed(state)
    if isinstance(step, int):
        _go_on(late, optimizer, step, 12)
    if not _equal(late, straight):
        raise Wrong(
            "your state changes while the training goes on: state_dict() holds the tensors "
            "themselves, not copies. Take copy.deepcopy, or write a file."
        )
    return "Bit-identical to the unbroken run, although two more steps were lost."


def _equal(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))
