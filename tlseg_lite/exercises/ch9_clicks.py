"""Checks of chapter 9: counting clicks, a click as an order, what a round costs, a clumsy hand."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from tlseg_lite.exercises.verdict import Wrong, choice, near, on_fresh_inputs, parts

if TYPE_CHECKING:
    import pandas as pd

    from tlseg_lite.data.base import LandslideDataset

IOUS = {
    "A": (0.40, 0.62, 0.78, 0.83, 0.85, 0.86),
    "B": (0.82, 0.84, 0.88, 0.89, 0.90, 0.90),
    "C": (0.10, 0.35, 0.55, 0.66, 0.72, 0.76),
    "D": (0.55, 0.81, 0.79, 0.84, 0.86, 0.90),
}
"""IoU of four images (made up) after 0 to 5 clicks."""

TARGET = 0.80
ROUNDS = 2
SCENES, SIDE, SHOWN = 4, 128, 3
SHIFT = (14, -14)  # x, y in pixels: where the clumsy hand's click lands, seen from the careful one


def check_9_1(answer: Any) -> str:
    answer = parts(answer, ("noc", "failures"))
    ious = np.array(list(IOUS.values()))
    reached, most = ious >= TARGET, ious.shape[1] - 1
    ever = reached.any(1)
    needed = np.where(ever, reached.argmax(1), most)
    for_good = [most + 1 - int(np.argmin([*row[::-1], False])) for row in reached]
    for_good = np.minimum(for_good, most)
    mistakes = (
        (needed[ever].mean(), "the images that failed are left out; they count with all clicks."),
        ((needed + ever).mean(), "no click at all counts as 0 clicks, not as 1."),
        ((needed + 1).mean(), "no click at all counts as 0 clicks, not as 1."),
        (for_good.mean(), "the first time that 0.80 is reached counts, whatever follows."),
        (needed.sum(), "this is the sum; NoC is the mean over the images."),
    )
    near(answer["noc"], needed.mean(), 0.005, mistakes, "noc")
    near(answer["failures"], int((~ever).sum()), 0, (), "failures")
    return (
        "A failure counts as if the last click had done it, so NoC looks better than it is: never "
        "without the number of failures beside it."
    )


def _held(former: Any, answer: Any, x: int, y: int, on: bool, reach: float) -> np.ndarray:
    """`tlseg_lite.sam.corrections.hold_clicks` for one click."""
    rows, columns = np.indices(former.shape)
    share = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * reach**2))
    held = former + share * (answer - former)
    held[y, x] = max(held[y, x], 4.0) if on else min(held[y, x], -4.0)
    return held


def check_9_2(answer: Any) -> str:
    random = np.random.default_rng(9)
    cases = []
    for side, on in ((12, True), (16, False), (20, True), (20, False)):
        former, new = random.normal(0, 3, (2, side, side))
        x, y = (int(v) for v in random.permutation(side)[:2])
        new[y, x] = 7.0 if len(cases) == 2 else -1.0 if on else 1.0  # one is sure of it already
        cases.append((former, new, x, y, on, 0.15 * side))

    def turned(former, new, x, y, on, reach):
        return _held(new, former, x, y, on, reach)

    def exactly(former, new, x, y, on, reach):
        held = _held(former, new, x, y, on, reach)
        held[y, x] = 4.0 if on else -4.0
        return held

    def not_held(former, new, x, y, on, reach):
        rows, columns = np.indices(former.shape)
        share = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * reach**2))
        return former + share * (new - former)

    def no_bell(former, new, x, y, on, reach):
        held = np.array(new)
        held[y, x] = max(held[y, x], 4.0) if on else min(held[y, x], -4.0)
        return held

    mistakes = (
        (turned, "near the click the new answer counts, far from it the former one."),
        (exactly, "*at least* 4: where the answer is surer already, leave it."),
        (not_held, "the place of the click itself has to obey."),
        (no_bell, "far from the click the former answer has to stay."),
        (
            lambda a, b, x, y, on, reach: _held(a, b, y, x, on, reach),
            "x is the column and y the row: arrays are indexed [y, x].",
        ),
    )
    on_fresh_inputs(
        *(answer, cases, _held, 1e-6, mistakes),
        lambda former, _new, x, y, on, _reach: (
            f"{former.shape[0]} x {former.shape[0]} logits and a click at x {x}, y {y} ({on})"
        ),
    )
    return "`tlseg_lite.sam.corrections.hold_clicks` does this for all clicks at once."


@cache
def _work() -> dict[str, tuple[float, float]]:
    """Floating-point operations of encoder and decoder for one image, as PyTorch counts them."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from tlseg_lite.sam.variants import build_sam
    from tlseg_lite.training.preflight import encoder_flop

    found = {}
    for name in ("sam_mini", "vit_l"):
        with torch.device("meta"):
            sam = build_sam(name)
            grid = sam.image_encoder.img_size // 16
            embedding = torch.empty(1, sam.prompt_encoder.embed_dim, grid, grid)
            point = torch.empty(1, 2, sam.prompt_encoder.embed_dim)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            sam.mask_decoder(
                image_embeddings=embedding,
                image_pe=embedding,
                sparse_prompt_embeddings=point,
                dense_prompt_embeddings=embedding,
                multimask_output=False,
            )
        found[name] = encoder_flop(name), float(counter.get_total_flops())
    return found


def given_9_3() -> pd.DataFrame:
    """Work of one image in GFLOP: the encoder's forward pass, and one of the decoder."""
    import pandas as pd

    work = {name: [value / 1e9 for value in values] for name, values in _work().items()}
    return pd.DataFrame.from_dict(work, orient="index", columns=["encoder", "decoder"])


def check_9_3(answer: Any) -> str:
    answer = parts(answer, ("predicted", "sam_mini", "vit_l"))
    predicted = choice(answer["predicted"], ("sam_mini", "vit_l"), "predicted")
    found = {}
    for name, (encoder, decoder) in _work().items():
        plain = 2 * encoder + 3 * decoder
        found[name] = (plain + 3 * ROUNDS * decoder) / plain
        again = (2 * encoder + 3 * decoder) * (1 + ROUNDS) / plain
        mistakes = (
            (again, "the encoder runs once: the rounds reuse the embedding."),
            (found[name] - 1, "this is what is added; the step as a whole was asked for."),
            ((plain + ROUNDS * decoder) / plain, "the decoder trains: three times its pass."),
            ((plain + 3 * decoder) / plain, f"{ROUNDS} rounds, not one."),
        )
        near(answer[name], found[name], 0.002, mistakes, name)
    more = max(found, key=found.get)
    return (
        f"{100 * (found['sam_mini'] - 1):.0f} % more for sam_mini, "
        f"{100 * (found['vit_l'] - 1):.1f} % for ViT-L: its encoder grew far more than its "
        f"decoder. You expected more for {predicted}, and it is {more}."
    )


class Clumsy:
    """A session whose clicks land beside where they were meant."""

    def __init__(self, session: Any, shift: tuple[int, int] = SHIFT):
        self._session, self._shift = session, shift

    @property
    def logits(self) -> Any:
        return self._session.logits

    def click(self, x: float, y: float, on: bool = True) -> Any:
        height, width = self.logits.shape[-2:]
        x = min(max(x + self._shift[0], 0), width - 1)
        y = min(max(y + self._shift[1], 0), height - 1)
        return self._session.click(x, y, on)


def given_9_4() -> LandslideDataset:
    """Synthetic scenes with landslides, 128 pixels a side."""
    from tlseg_lite.data.splits import Subset
    from tlseg_lite.scenes.synthetic import SyntheticLandslides

    scenes = SyntheticLandslides(4 * SCENES, size=SIDE, seed=94)
    large = [i for i in range(len(scenes)) if float(scenes[i]["mask"].mean()) > 0.03]
    return Subset(scenes, large[:SCENES])


@cache
def _users() -> dict[str, Any]:
    """Curves of `sam_mini` with the careful and the clumsy user, and with typical mistakes."""
    from tlseg_lite.experiments.interactive import PromptedSam, click_through
    from tlseg_lite.sam.variants import load_sam

    sam, data = load_sam("sam_mini"), given_9_4()

    def curve(shift):
        return click_through(lambda image: Clumsy(PromptedSam(sam, image), shift), data, SHOWN)

    shifts = {"careful": (0, 0), "clumsy": SHIFT, "turned": SHIFT[::-1], "one": (SHIFT[0], 0)}
    return {name: curve(shift) for name, shift in shifts.items()}


def check_9_4(answer: Any) -> str:
    answer = parts(answer, ("careful", "clumsy", "better"))
    found = {name: curve.scores(SHOWN).landslide_iou for name, curve in _users().items()}
    for name in ("careful", "clumsy"):
        curve = _users()[name]
        mistakes = [
            (curve.scores(SHOWN).miou, "this is the MIoU; the landslide IoU was asked for."),
            (curve.image_iou(SHOWN).mean(), "this is the mean over images; count all pixels."),
            (curve.scores(1).landslide_iou, f"this is after one click; give it after {SHOWN}."),
        ]
        if name == "clumsy":
            mistakes += [
                (found["careful"], "the clicks are not moved."),
                (found["turned"], "x is moved to the right and y upwards, towards row 0."),
                (found["one"], "y is moved, too."),
            ]
        near(answer[name], found[name], 0.01, mistakes, name)
    better = max(("careful", "clumsy"), key=found.get)
    if choice(answer["better"], ("careful", "clumsy"), "better") != better:
        raise Wrong(f"better {answer['better']!r}: your own numbers say {better!r}.")
    return (
        "A simulated user is a careful one. Say which user a curve of clicks was measured with, "
        "and expect less from a tired hand."
    )
