"""The exercises: an untouched stub is no answer, the solution is right, mistakes are recognised."""

import ast
import math
from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from course import NOTEBOOKS, ROOT
from torch import nn
from torch.nn import functional as F

import tlseg_lite as tl
from tlseg_lite.exercises import checks, notebooks, verdict
from tlseg_lite.exercises.notebooks import KINDS, find, in_notebook, read_notebook, role

EXERCISES = {exercise.number: exercise for exercise in find(ROOT / "notebooks")}
every = pytest.mark.parametrize("number", EXERCISES)


# ---- the form ----------------------------------------------------------------------------------


def test_every_check_has_its_exercise_and_every_exercise_its_check():
    assert sorted(EXERCISES) == sorted(tl.exercises.known())
    assert len(EXERCISES) >= 27


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_chapter_has_three_to_five_exercises_of_several_kinds(path):
    found = in_notebook(path)
    assert 3 <= len(found) <= 5
    assert len({exercise.kind for exercise in found}) >= 2
    prefix = {exercise.number.split(".")[0] for exercise in found}
    assert len(prefix) == 1
    numbers = [int(exercise.number.split(".")[1]) for exercise in found]
    assert numbers == list(range(1, len(found) + 1)), "numbered from 1 on, without a gap"


def test_all_kinds_are_there():
    assert {exercise.kind for exercise in EXERCISES.values()} == set(KINDS)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_the_cells_of_an_exercise_stand_together_below_the_heading(path):
    cells = read_notebook(path)["cells"]
    heading = next(i for i, c in enumerate(cells) if "## Exercises" in notebooks.source(c))
    roles = [role(cell) for cell in cells]
    first = next(i for i, known in enumerate(roles) if known)
    assert first > heading
    while roles[first]:
        number = roles[first][0]
        parts = [known and known[0] == number and known[1] for known in roles[first : first + 3]]
        assert parts == ["text", "stub", "solution"]
        kinds = [cell["cell_type"] for cell in cells[first : first + 3]]
        assert kinds == ["markdown", "code", "markdown"]
        assert "exercise" in cells[first + 1]["metadata"]["tags"]
        first += 3
    assert not any(roles[first:])
    assert "## Sources" in notebooks.source(cells[first])


@every
def test_hint_and_solution_are_folded_away(number):
    exercise = EXERCISES[number]
    assert "```{dropdown} Hint\n" in exercise.text
    assert exercise.solution.startswith("````{dropdown} Solution\n")
    explanation = exercise.solution.split("~~~python")[0].split("\n", 1)[1]
    assert len(explanation.split()) >= 15, "explain why, in words"
    assert exercise.call == f'tl.exercises.check("{number}", {exercise.name})'


# ---- both ways ---------------------------------------------------------------------------------


def run(code: str) -> dict:
    """A cell's names after it has run by itself."""
    names = {"tl": tl}
    exec(compile(code, "<exercise>", "exec"), names)  # the course's own code
    return names


@every
def test_the_untouched_stub_is_no_answer(number, capsys):
    exercise = EXERCISES[number]
    names = run(exercise.stub)
    assert "not answered yet" in capsys.readouterr().out
    result = tl.exercises.check(number, names[exercise.name])
    assert not result
    assert result.message.startswith(f"{number}: not answered yet.")


@every
def test_the_solution_is_right(number, capsys):
    exercise = EXERCISES[number]
    assert "tl.exercises.check" not in exercise.code
    code = exercise.code
    assert "import tlseg_lite as tl" in code or not uses_package(code), "import what it uses"
    names: dict = {}
    exec(compile(code, f"<solution {number}>", "exec"), names)
    result = tl.exercises.check(number, names[exercise.name])
    assert result, result.message
    assert result.message.startswith(f"{number}: right. ")
    assert f"{number}: right. " in capsys.readouterr().out


def uses_package(code: str) -> bool:
    return any(isinstance(n, ast.Name) and n.id == "tl" for n in ast.walk(ast.parse(code)))


@every
def test_the_filled_stub_runs_as_a_cell(number):
    ast.parse(EXERCISES[number].filled)
    assert EXERCISES[number].filled.endswith(EXERCISES[number].call)


@every
def test_no_answer_whatever_makes_a_check_stumble(number):
    """Anything may be handed in; each gets a verdict, and none of these is right."""

    def raises(*_):
        raise ZeroDivisionError("on purpose")

    class Odd:
        def __eq__(self, other):
            raise RuntimeError("no comparison")

        __hash__ = None

    odd = [None, ..., "text", "", 1e9, -7, math.nan, True, b"x", [], (), {}, set(), object(), Odd()]
    odd += [[1, 2, 3], (1.0, 2.0), (None, 1), [..., ...], ("a", "b"), {"predicted": 1}, {"x": ...}]
    odd += [np.zeros(3), np.array(2.5), torch.ones(2, 2), pd.DataFrame({"a": [1]}), int, print]
    odd += [raises, lambda *_: None, lambda *_: "nonsense", lambda *_: 12345.0, lambda *_: (1, 2)]
    odd += [lambda *_: np.zeros((2, 2)), lambda *_: torch.tensor([1.0]), lambda *_: ("x", object())]
    stub = run(EXERCISES[number].stub)[EXERCISES[number].name]
    if isinstance(stub, dict):  # the right form with wrong contents
        for value in ("text", -7.5, [], [1, 2, 3, 4], ("up", "up", "up"), object(), math.inf, {}):
            odd.append(dict.fromkeys(stub, value))
            odd.append({**stub, next(iter(stub)): value})
    for answer in odd:
        result = tl.exercises.check(number, answer)
        assert isinstance(result, verdict.Verdict)
        assert not result, f"{answer!r} passed"


# ---- mistakes ----------------------------------------------------------------------------------


@cache
def answered(number: str) -> object:
    """The solution's answer, to be spoilt; made once."""
    return run(EXERCISES[number].code)[EXERCISES[number].name]


def spoilt(number: str, **changes) -> dict:
    return {**answered(number), **changes}


def area_box(mask):
    y, x = mask.nonzero().unbind(1)
    return float(mask.sum() / ((x.max() - x.min()) * (y.max() - y.min())))


def click_y_first(prediction, target):
    x, y = tl.zero_shot.inner_point(prediction != target)
    return y, x, int(target[y, x])


def click_label_turned(prediction, target):
    x, y = tl.zero_shot.inner_point(prediction != target)
    return x, y, 1 - int(target[y, x])


def mean_of_boxes():
    material = tl.exercises.given("1.4")
    ious = []
    for x0, y0, x1, y1 in material["boxes"]:
        box = torch.zeros_like(material["mask"])
        box[y0:y1, x0:x1] = True
        ious.append(float(tl.zero_shot.iou(box, material["mask"])))
    return [float(np.mean(ious[:n])) for n in (1, 10, 100, 1000)]


def without_gelu(kind, width):
    module = answered("2.1")(kind, width)
    return module if kind == "c" else module[0]


class NormLast(nn.Module):
    """MidLay_c with the LayerNorm after the GELU."""

    def __init__(self, width):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(width, width, 3, padding=1), nn.LayerNorm(width)

    def forward(self, z):
        return self.norm(F.gelu(self.conv(z.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)))


def no_norm(kind, width):
    return answered("2.1")("m", width) if kind == "m" else nn.Conv2d(width, width, 3, padding=1)


def outside(block, x, atl):
    return block(x + atl(x))


def sum_of_losses(model, batches):
    model.zero_grad()
    for x, y in batches:
        F.mse_loss(model(x), y).backward()


def half_of_the_losses(model, batches):
    model.zero_grad()
    images = sum(len(x) for x, _ in batches)
    for x, y in batches:
        (0.5 * F.mse_loss(model(x), y) * len(x) / images).backward()


def with_residual(kind, width):
    middle = answered("2.1")(kind, width)

    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.middle = middle

        def forward(self, z):
            return z + self.middle(z)

    return Residual()


def mean_of_batches(model, batches):
    model.zero_grad()
    for x, y in batches:
        (F.mse_loss(model(x), y) / len(batches)).backward()


def last_batch_only(model, batches):
    for x, y in batches:
        model.zero_grad()
        F.mse_loss(model(x), y).backward()


def save_without_moments(model, optimizer, step):
    import copy

    return copy.deepcopy({"model": model.state_dict(), "step": step})


def restore_without_moments(state, model, optimizer):
    model.load_state_dict(state["model"])
    return state["step"]


def save_by_reference(model, optimizer, step):
    return {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}


def spatial(gap: int) -> dict:
    """Three bands of rows with `gap` rows dropped between them."""
    tiles = tl.exercises.given("C.1")
    bands = {"train": (0, 6), "val": (6 + gap, 8 + gap), "test": (8 + 2 * gap, 12)}
    return {n: list(tiles.id[(tiles.row >= a) & (tiles.row < b)]) for n, (a, b) in bands.items()}


def at_random() -> dict:
    ids = list(tl.exercises.given("C.1").id)
    return {"train": ids[:100], "val": ids[100:120], "test": ids[120:]}


def pixels_drawn(matrices):
    total = np.array([m.counts() for m in matrices]).sum(0)
    drawn = np.random.default_rng(0).multinomial(int(total.sum()), total / total.sum(), 1000)
    return tuple(np.quantile(drawn[:, 0] / drawn[:, :3].sum(1), [0.025, 0.975]))


def threshold_on_test(val_logits, val_masks, test_logits, test_masks):
    return answered("5.3")(test_logits, test_masks, test_logits, test_masks)


def logit_zero(val_logits, val_masks, test_logits, test_masks):
    pairs = zip(test_logits, test_masks, strict=True)
    return sum(tl.metrics.confusion(x, m, threshold=0) for x, m in pairs).scores().landslide_iou


def one_column_moved() -> dict:
    row = tl.audit.published().query("row == 'TransLandSeg-8'").iloc[0]
    names = ("precision", "recall", "f1", "oa", "miou", "landslide_iou")
    return {name: float(row[name]) for name in names} | {"miou": float(row["miou"]) + 1}


def other_share() -> dict:
    scores = tl.ConfusionMatrix(0.17, 0.02, 0.02, 0.79).scores()
    names = ("precision", "recall", "f1", "oa", "miou", "landslide_iou")
    return {name: round(100 * getattr(scores, name), 2) for name in names}


def harmonic_or_landslide(row):
    harmonic = 2 * row["precision"] * row["recall"] / (row["precision"] + row["recall"])
    return "harmonic" if abs(row["f1"] - harmonic) < 0.02 else "landslide"


def contains_zero(differences, margin):
    from tlseg_lite.experiments.summary import interval

    _, low, high = interval(differences)
    return "smaller" if low <= 0 <= high else "larger"


def seeds_by_normal(spread, effect):
    return max(2, math.ceil((1.96 * spread / effect) ** 2))


def lowest_neighbour(height):
    lowest = height.copy()
    lowest[1, 1] = np.inf
    y, x = np.unravel_index(lowest.argmin(), (3, 3))
    return int(y) - 1, int(x) - 1


def ndvi_of_stored(stored):
    return (stored[7] - stored[3]) / (stored[7] + stored[3])


def any_pixel(labels, rng):
    return rng.integers(labels.shape[1]), rng.integers(labels.shape[0])


def no_square(p, t):
    right = torch.where(t > 0, p, 1 - p)
    return ((1 - right) * -right.log()).mean()


def plain_bce(p, t):
    return F.binary_cross_entropy(p, t)


def sizes_of_all(areas):
    areas = np.sort(areas)[::-1]
    return np.polyfit(np.log10(areas), np.log10(np.arange(1, areas.size + 1)), 1)[0]


def mean_ious(report):
    return float(np.mean([m.scores().landslide_iou for m in report["model"]]))


def mean_of_folds():
    table = tl.exercises.given("7.1")
    counts = table[["tp", "fp", "fn", "tn"]].itertuples(index=False)
    table["miou"] = [tl.ConfusionMatrix(*row).scores().miou for row in counts]
    means = table.groupby("model").miou.mean()
    return 100 * (means["A"] - means["B"])


def recipes_as_text(a, b):
    return [
        n for n in ("data", "data_version", "training_data", "image_size", "recipe") if a[n] != b[n]
    ]


def recipe_differs(a, b):
    return ["recipe"] if "recipe" in answered("7.3")(a, b) else []


def plain_mean(starts, values, weights, length):
    """Windows without weights."""
    total, count = np.zeros(length), np.zeros(length)
    for start, own in zip(starts, values, strict=True):
        total[start : start + len(own)] += own
        count[start : start + len(own)] += 1
    return total / count


def no_bell(former, answer, x, y, on, reach):
    """The new answer everywhere; only the click holds."""
    return answered("9.2")(answer, answer, x, y, on, reach)


def always_four(former, answer, x, y, on, reach):
    held = answered("9.2")(former, answer, x, y, on, reach)
    held[y, x] = 4 if on else -4
    return held


def other_user(user):
    return "clumsy" if user == "careful" else "careful"


def first_crossing(images, a, b):
    """From where on A is as good as B for the first time, whatever comes after."""
    d = np.subtract(a, b)
    if d[0] >= 0 or d.max() < 0:
        return float(images[0]) if d[0] >= 0 else math.inf
    i = int((d >= 0).argmax())
    return float(np.interp(0, d[i - 1 : i + 1], images[i - 1 : i + 1]))


def measured_points_only(images, a, b):
    worse = [n for n, x, y in zip(images, a, b, strict=True) if x < y]
    later = [n for n in images if not worse or n > worse[-1]]
    return float(later[0]) if later else math.inf


# exercise -> (wrong answer, what the verdict has to say about it); answers made when asked for
WRONG = {
    "1.1": [(0.75, "that is the recall"), (0.6, "F1"), (0.3, "sum of the areas"), (43, "hundred")],
    "1.2": [(area_box, "one row and one column too early"), (lambda m: m.float().mean(), "share")],
    "1.3": [(click_y_first, "gave y first"), (click_label_turned, "wants the label")],
    "1.4": [
        (lambda: {"predicted": [0, 0, 0, 0], "measured": mean_of_boxes()}, "these are means"),
        (lambda: spoilt("1.4", measured=[0.5, 0.4, 0.3, 0.2]), "cannot be worse"),
        (lambda: spoilt("1.4", measured=[0.5, 0.6, 0.7, 0.8]), "Try it with box 1: it has"),
    ],
    "1.5": [
        (lambda: (a := answered("1.5")) | {"correlation": a["correlation"] ** 2}, "r squared"),
        (lambda: spoilt("1.5", predicted=answered("1.5")["predicted"][1:]), "in pairs"),
        (lambda: spoilt("1.5", verdict="no"), "you claim 'no'"),
    ],
    "2.1": [
        (without_gelu, "the GELU is missing"),
        (no_norm, "no LayerNorm"),
        (
            lambda kind, d: NormLast(d) if kind == "c" else answered("2.1")("m", d),
            "the LayerNorm comes before the GELU",
        ),
        (with_residual, "is off by up to"),
    ],
    "2.2": [
        (lambda: spoilt("2.2", parameters=48168 - 24 - 768 - 48), "the biases are missing"),
        (lambda: spoilt("2.2", parameters=48168 - 96), "the LayerNorms are missing"),
        (lambda: spoilt("2.2", parameters=40_000), "is too small. Count part by part"),
        (lambda: spoilt("2.2", **{"receptive field": 9}), "one convolution sees"),
    ],
    "2.3": [
        ((4.195e6 - 4_058_596, 4.205e6 - 4_058_596), "uses 4.20 M alone"),
        ((138_132 + 256, 146_404 + 256), "no-mask embedding"),
        ((146_404, 138_132), "exchanged"),
    ],
    "2.4": [
        (lambda: spoilt("2.4", up=["down", "middle"]), "it is the reverse"),
        (lambda: spoilt("2.4", all=["up"]), "can learn a constant"),
        (lambda: spoilt("2.4", down=["middle"]), "the input of 'middle' is zero"),
    ],
    "2.5": [(outside, "this is the ATL outside")],
    "3.1": [(0.612, "cross-entropy alone"), (0.932, "halves"), (0.646, "Dice is a score")],
    "3.2": [
        (sum_of_losses, "added up as they are"),
        (mean_of_batches, "the last one is smaller"),
        (last_batch_only, "zero_grad inside the loop"),
        (
            half_of_the_losses,
            "0.50 times as long as that of one batch with all the images, and in its direction",
        ),
    ],
    "3.3": [
        (lambda s, n, w, p: p * 0.5 * (1 + math.cos(math.pi * s / n)), "the warm-up is missing"),
        (
            lambda s, n, w, p: answered("3.3")(s, n, w, p) if s < w else p * (n - s) / (n - w),
            "straight line",
        ),
    ],
    "3.4": [
        (lambda h: h.test_miou.max(), "best of twelve looks"),
        (lambda h: h.val_miou.max(), "the validation score"),
        (lambda h: h.test_miou.iloc[-1], "the last epoch"),
    ],
    "3.5": [
        (lambda: (save_without_moments, restore_without_moments), "begins without memory"),
        (lambda: (save_by_reference, answered("3.5")[1]), "state changes while the training"),
        (lambda: (answered("3.5")[0], lambda *a: answered("3.5")[1](*a) + 1), "goes on at 5"),
    ],
    "4.1": [
        (lambda: (1.2 - 2.776 * 0.8246, 1.2 + 2.776 * 0.8246), "root of n is missing"),
        (lambda: (1.2 - 1.96 * 0.8246 / 5**0.5, 1.2 + 1.96 * 0.8246 / 5**0.5), "1.96 is for many"),
        (lambda: answered("4.1")[::-1], "exchanged"),
        (lambda: tuple(-v for v in answered("4.1")[::-1]), "B minus A"),
    ],
    "4.2": [({"predicted": 1, "measured": 1.5}, "noise of one score")],
    "4.3": [(contains_zero, "That a difference is small needs a margin")],
    "4.4": [
        (seeds_by_normal, "1.96 is Student's t for infinitely many"),
        (lambda spread, effect: 7, "with ten seeds the half width is"),
    ],
    "4.5": [
        (lambda: spoilt("4.5", better="last block"), "contains zero"),
        (lambda: (a := answered("4.5")) | {"rows": a["rows"].iloc[:3]}, "same two seeds"),
        (lambda: (a := answered("4.5")) | {"rows": a["rows"].assign(test_miou=0.9)}, "its counts"),
    ],
    "5.1": [
        (lambda: spoilt("5.1", precision=60.0), "the landslide class alone"),
        (lambda: spoilt("5.1", miou=30.0), "the landslide's IoU"),
        (lambda: spoilt("5.1", landslide_f1=76.08), "you put the MIoU into it"),
    ],
    "5.2": [
        (lambda: spoilt("5.2", measured=[v / 100 for v in answered("5.2")["measured"]]), "percent"),
        (lambda: spoilt("5.2", measured=old_scores()), "these are the old scores"),
    ],
    "5.3": [(threshold_on_test, "chosen on the test images"), (logit_zero, "cut at logit 0")],
    "5.4": [
        (lambda: spoilt("5.4", measured=turned_outlines()), "IoU first"),
        (lambda: spoilt("5.4", measured=outlines(0)), "a tolerance of 0"),
    ],
    "5.5": [(pixels_drawn, "this draws pixels"), (lambda m: (0.4, 0.4), "no width")],
    "6.1": [
        (lambda: spoilt("6.1", tn=0.16), "MIoU is the mean of both"),
        (lambda: spoilt("6.1", possible=True), "more pixels than there are"),
    ],
    "6.2": [
        ({"forged": "F", "other pixels": "B"}, "A high score alone is no sign"),
        ({"forged": "B", "other pixels": "E"}, "the two are exchanged"),
    ],
    "6.3": [(harmonic_or_landslide, "you test the harmonic mean only")],
    "6.4": [
        (one_column_moved, "tl.audit.check notices"),
        (other_share, "but at a landslide share of"),
    ],
    "6.5": [
        (lambda: answered("6.5").iloc[:1], "one row is not a table"),
        (lambda: answered("6.5").astype({"oa": str}), "holds text"),
        (lambda: answered("6.5").assign(oa=0.98), "some are percent"),
    ],
    "7.1": [
        (lambda: spoilt("7.1", difference=mean_of_folds()), "the mean of the folds' MIoUs"),
        (lambda: spoilt("7.1", difference=-answered("7.1")["difference"]), "B minus A"),
        (lambda: spoilt("7.1", verdict="open"), "Subtract within each seed"),
        (lambda: spoilt("7.1", verdict="behind"), "supports 'ahead'"),
    ],
    "7.2": [
        (lambda: spoilt("7.2", ratio=1 / answered("7.2")["ratio"]), "upside down"),
        (lambda: spoilt("7.2", share=100 * answered("7.2")["share"]), "percent or a fraction"),
        (lambda: spoilt("7.2", everything=[0.1, 0.2]), "three steps or more"),
    ],
    "7.3": [
        (recipes_as_text, "you compare the recipes as texts"),
        (
            lambda a, b: [n for n in a if a[n] != b[n] and n != "recipe"] + recipe_differs(a, b),
            "they are compared or paired",
        ),
        (
            lambda a, b: ["model"] * (a["model"] != b["model"]) + answered("7.3")(a, b),
            "the model may differ",
        ),
        (
            lambda a, b: [n for n in answered("7.3")(a, b) if n != "training_data"],
            "are not the same",
        ),
    ],
    "7.4": [
        (lambda n, a, b: answered("7.4")(n, b, a), "where B becomes"),
        (first_crossing, "this is the first crossing"),
        (measured_points_only, "interpolate"),
    ],
    "7.5": [
        (lambda: spoilt("7.5", verdict="behind"), "contains zero, so it is open"),
        (lambda: spoilt("7.5", model="TransLandSeg"), "one of the package's own"),
        (lambda: (a := answered("7.5")) | {"rows": a["rows"].iloc[:3]}, "same two seeds"),
        (lambda: (a := answered("7.5")) | {"rows": a["rows"].assign(test_miou=0.9)}, "its counts"),
    ],
    "8.1": [
        (lambda: spoilt("8.1", none=11 * 23.5), "round up"),
        (lambda: spoilt("8.1", half=4 * 264), "count the starts"),
        (lambda: spoilt("8.1", half=2 * 264), "along both sides"),
    ],
    "8.2": [
        (plain_mean, "the plain mean"),
        (lambda s, v, w, n: answered("8.2")(s, v, np.ones_like(w), n), "the plain mean"),
    ],
    "8.3": [
        (40_000 * 11.1195**2, "cos(latitude)"),
        (40_000 * 1e-8, "square degrees"),
        (247.3, "hectares"),
        (40_000 * 11.1195**2 / 4, "only the east-west side"),
    ],
    "8.4": [
        (lambda: spoilt("8.4", threshold=0.9), "cost the same"),
        (lambda: spoilt("8.4", cost=10 * 66 + 112), "it is the missed ones that cost"),
        (lambda: spoilt("8.4", f1=66 / 80), "this is the recall"),
    ],
    "9.1": [
        (lambda: spoilt("9.1", noc=4 / 3), "they count with all clicks"),
        (lambda: spoilt("9.1", noc=3.0), "as 0 clicks, not as 1"),
        (lambda: spoilt("9.1", noc=3.25), "as 0 clicks, not as 1"),
        (lambda: spoilt("9.1", noc=2.75), "whatever follows"),
        (lambda: spoilt("9.1", noc=9), "this is the sum"),
    ],
    "9.2": [
        (lambda f, a, x, y, on, r: answered("9.2")(a, f, x, y, on, r), "far from it the former"),
        (lambda f, a, x, y, on, r: answered("9.2")(f, a, y, x, on, r), "x is the column"),
        (no_bell, "far from the click the former answer has to stay"),
        (always_four, "leave it"),
    ],
    "9.3": [
        (lambda: spoilt("9.3", sam_mini=3.0), "the encoder runs once"),
        (lambda: spoilt("9.3", vit_l=answered("9.3")["vit_l"] - 1), "what is added"),
    ],
    "9.4": [
        (lambda: spoilt("9.4", clumsy=answered("9.4")["careful"]), "the clicks are not moved"),
        (lambda: spoilt("9.4", better=other_user(answered("9.4")["better"])), "numbers say"),
    ],
    "A1.1": [(0.9 + 0.4733 + 0.26, "you took means"), (0.9 + 0.22 + 0.31, "its own best mask")],
    "A1.2": [
        (plain_bce, "the factor is missing"),
        (no_square, "the factor is squared"),
        (lambda p, t: plain_bce(p, t) + 1, "for a single pixel with p = 0.9 and the truth 1"),
    ],
    "A1.3": [
        (lambda: spoilt("A1.3", measured=doubled(answered("A1.3")["measured"])), "this is the sum")
    ],
    "A1.4": [(any_pixel, "every pixel is equally likely")],
    "A1.5": [
        ({"error": 0.3 / 288, "steps": "smaller"}, "the root"),
        (lambda: spoilt("A1.5", steps="same"), "the same regions are measured"),
    ],
    "A2.1": [(lowest_neighbour, "this is the lowest neighbour")],
    "A2.2": [
        (lambda: spoilt("A2.2", towards=math.sin(math.radians(20))), "you took the sine"),
        (lambda: spoilt("A2.2", away=math.cos(math.radians(70))), "from the zenith"),
    ],
    "A2.3": [(1.2 * 674.076 / 1e4, "channel 7"), (1.2 * 1941.322, "raw value"), (1.2, "divisor")],
    "A2.4": [(ndvi_of_stored, "you took the stored values")],
    "A2.5": [
        (sizes_of_all, "between 2,000 and 20,000"),
        (lambda areas: -answered("A2.5")(areas), "the sign"),
    ],
    "C.1": [
        (at_random, "a random split does that"),
        (lambda: spatial(0), "leave a gap"),
        (lambda: (s := spatial(1)) | {"val": s["train"][:20]}, "share no tile"),
    ],
    "C.2": [(3.2, "the mapped area"), (3.2 * 0.7, "add what was missed"), (2.56, "upside down")],
    "C.3": [
        (lambda: (a := answered("C.3")) | {"landslide_iou": mean_ious(a)}, "mean over the images"),
        (lambda: spoilt("C.3", low=0.0, high=1.0), "tl.statistics.bootstrap"),
        (lambda: spoilt("C.3", claim=other_claim(answered("C.3")["claim"])), "contains zero"),
    ],
}
# exercises whose answer is a function: theirs is handed in, not called
MADE = [
    "1.2",
    "1.3",
    "2.1",
    "2.5",
    "3.2",
    "3.3",
    "3.4",
    "4.3",
    "4.4",
    "5.3",
    "5.5",
    "6.3",
    "7.3",
    "7.4",
    "8.2",
    "9.2",
    "A1.2",
    "A1.4",
    "A2.1",
    "A2.4",
    "A2.5",
]


def old_scores():
    from tlseg_lite.exercises.ch5_metrics import _table_2

    s = _table_2().scores()
    return [100 * s.oa, 100 * s.miou, 100 * s.landslide_f1]


def outlines(tolerance):
    masks = tl.exercises.given("5.4")
    return {
        name: (
            tl.metrics.confusion(masks[name], masks["truth"]).scores().landslide_iou,
            tl.boundary.boundary_f1(masks[name], masks["truth"], tolerance=tolerance).f1,
        )
        for name in ("shifted", "hole")
    }


def turned_outlines():
    return {name: pair[::-1] for name, pair in outlines(2).items()}


def doubled(values):
    return {name: 2 * value for name, value in values.items()}


def other_claim(claim):
    return "worse" if claim == "better" else "better"


@pytest.mark.parametrize(
    ("number", "place"), [(n, i) for n, cases in WRONG.items() for i in range(len(cases))]
)
def test_a_typical_mistake_is_recognised(number, place):
    answer, words = WRONG[number][place]
    if callable(answer) and number not in MADE:
        answer = answer()
    result = tl.exercises.check(number, answer)
    assert not result
    assert words in result.message
    assert result.message.startswith(f"{number}: not yet: ")


def test_each_exercise_has_a_mistake_that_is_tried():
    assert set(WRONG) == set(EXERCISES)


# ---- check, given, the tools -------------------------------------------------------------------


def test_an_unknown_number_names_the_known_ones():
    with pytest.raises(ValueError, match=r"no exercise '9\.9'; there are 1\.1, 1\.2"):
        tl.exercises.check("9.9", 1)
    with pytest.raises(ValueError, match=r"no material for exercise '1\.1'; there are 1\.4"):
        tl.exercises.given("1.1")


def test_the_order_is_that_of_the_book():
    known = tl.exercises.known()
    assert known[0] == "1.1"
    assert known.index("6.5") < known.index("C.1") < known.index("A1.1") < known.index("A2.5")


def test_a_verdict_is_true_or_false_and_shows_its_message(capsys):
    result = tl.exercises.check("1.1", 3 / 7)
    assert bool(result) is True
    assert repr(result) == result.message
    assert capsys.readouterr().out == f"{result.message}\n"
    assert result._ipython_display_() is None  # printed once, not twice, in a notebook
    assert capsys.readouterr().out == ""


def test_the_error_of_a_function_is_repeated():
    result = tl.exercises.check("1.2", lambda mask: 1 / 0)
    assert not result
    assert "ZeroDivisionError: division by zero" in result.message


def test_a_part_of_an_answer_is_not_an_answer():
    result = tl.exercises.check("5.1", {"precision": 77.4, "miou": ..., "landslide_f1": None})
    assert result.message == "5.1: not answered yet. Still open: miou, landslide_f1."


def test_given_is_made_anew():
    tl.exercises.given("1.4")["mask"][:] = False
    assert tl.exercises.given("1.4")["mask"].any()


def test_a_function_gets_copies_of_its_arguments():
    def spoils(mask):
        value = answered("1.2")(mask)
        mask[:] = False
        return value

    assert tl.exercises.check("1.2", spoils)


@pytest.mark.parametrize("value", [np.float32(0.5), np.array([0.5]), torch.tensor(0.5), 0.5])
def test_numbers_of_every_make(value):
    assert verdict.number(value) == 0.5


def test_numbers_words_and_sets_agree_or_give_a_mistake_away():
    assert verdict.agrees([1.0, 2.0], (1.04, 2.0), 0.05)
    assert verdict.agrees("open", "open", 0)
    assert verdict.agrees({"a"}, {"a"}, 0)
    assert not verdict.agrees({"a"}, ["a"], 0)
    assert not verdict.agrees("1", 1.0, 0)
    with pytest.raises(verdict.Wrong, match="twice: they are exchanged"):
        verdict.agrees((2, 1), (1, 2), 0, [((2, 1), "they are exchanged")], "twice: ")


@pytest.mark.parametrize(
    ("claim", "low", "high", "words"),
    [
        ("up", 1, 2, None),
        ("UP", 1, 2, None),
        ("open", -1, 2, None),
        ("down", -2, -1, None),
        ("up", -1, 2, "contains zero, so it is open"),
        ("open", 1, 2, "supports 'up', and you claim 'open'"),
        ("up", -2, -1, "supports 'down', and you claim 'up'"),
        ("much", 1, 2, "choose one of 'up', 'down', 'open'"),
    ],
)
def test_what_an_interval_supports(claim, low, high, words):
    given = (claim, "claim", low, high, ("up", "down", "open"), f"{low} to {high}")
    if words is None:
        verdict.supported(*given)
    else:
        with pytest.raises(verdict.Wrong, match=words):
            verdict.supported(*given)


def test_checks_agree_with_the_package():
    """What the checks write out themselves is what the package computes."""
    from tlseg_lite.adapters.translandseg import budget
    from tlseg_lite.exercises import ch2_adapters as adapters
    from tlseg_lite.exercises import ch6_tables as tables
    from tlseg_lite.pretraining import objective
    from tlseg_lite.training.step import learning_rate

    counts = budget("vit_l", tl.DESIGNS["TransLandSeg-released"])
    assert counts.decoder == adapters.DECODER
    assert counts.no_mask == adapters.NO_MASK
    assert counts.total - counts.trainable == adapters.ENCODER
    low, high = answered("2.3")
    assert low < budget("vit_l", tl.DESIGNS["LandslideNet"]).adapters < high

    recipe = tl.Recipe(warmup=0.1, learning_rate=2e-4)
    rate = answered("3.3")
    for step in range(40):
        assert rate(step, 40, 4, 2e-4) == pytest.approx(learning_rate(recipe, step, 40))

    logits = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    target = (torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(1)) > 0.5).float()
    p = logits.sigmoid()[0]
    overlap = 2 * (p * target).sum() + 1
    dice = 1 - overlap / ((p * p).sum() + (target * target).sum() + 1)
    focal = answered("A1.2")(p, target)
    assert torch.isclose(objective.mask_losses(logits, target)[0, 0], dice + 20 * focal, atol=1e-5)

    audited = tl.audit.audit_table(tl.exercises.given("6.2")).set_index("row")
    _, forged, other = tables._suspects()
    sound = audited.drop([forged, other])
    assert audited.verdict[forged] == "contradicts itself"
    assert (sound.verdict == "consistent").all()
    assert sound.landslide_share.std() < 0.1 < abs(audited.landslide_share[other] - 10)


def test_every_chapter_of_checks_is_imported_lazily():
    assert set(checks.CHAPTERS) == {number.split(".")[0] for number in EXERCISES}
