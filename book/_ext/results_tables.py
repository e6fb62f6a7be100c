"""What the results page shows, computed from book/results/*.csv and the papers' tables.

Each function in `TABLES` takes the folder with the CSV files and gives `Table`s of plain text.
Nothing here is typed by hand: a file that is not there makes its rows say "not run".
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import chapters
import pandas as pd
from expected import expected
from main_result import main_result
from recorded import NOT_RUN, Table, others, provenance, records

REPRODUCED, PARTIAL = "reproduced", "partial"
DIFFERENT = "not reproduced"

# rows of the papers' tables -> names of the comparison's models
MODELS = {
    "TransLandSeg": "TransLandSeg",
    "CCNet": "ccnet",
    "DeepLabv3+": "deeplabv3plus",
    "UNet": "unet",
    "PSPNet": "pspnet",
}


def number(value: float, digits: int = 1, sign: bool = False) -> str:
    if value is None or math.isnan(value):
        return "–"
    value = round(value, digits) + 0.0  # no "-0.0"
    return f"{value:{'+' if sign and value else ''}.{digits}f}"


def with_interval(mean: float, low: float, high: float, sign: bool = False) -> str:
    """Fractions as percent, with the interval where there is one."""
    text = number(100 * mean, sign=sign)
    if math.isnan(low):
        return text
    return f"{text} ({number(100 * low, sign=sign)} to {number(100 * high, sign=sign)})"


# ---- parameter budgets -------------------------------------------------------------------------


def budgets(folder: Path) -> Iterator[Table]:
    """The papers' parameter counts against those of the package's models, counted now."""
    import tlseg_lite as tl
    from tlseg_lite.adapters.translandseg import budget

    table = tl.audit.published()
    printed = table.dropna(subset=["parameters_trainable"]).set_index(["paper", "row"])
    rows = []
    for paper, row, design, words in (
        ("TransLandSeg", "TransLandSeg", "TransLandSeg", "Eq. 9, an ATL in each block, d = 32"),
        ("TransLandSeg", "TransLandSeg", "TransLandSeg-released", "as released, one generator"),
        ("LandslideNet", "LandslideNet", "TransLandSeg-4", "Eq. 9 with two middle layers"),
        ("LandslideNet", "LandslideNet", "LandslideNet", "as released, two middle layers"),
    ):
        line = printed.loc[(paper, row)]
        counts = budget("vit_l", tl.DESIGNS[design])
        ours = (round(counts.trainable / 1e6, 2), round(counts.total / 1e6, 2))
        same = ours == (line.parameters_trainable, line.parameters_total)
        theirs = f"{line.parameters_trainable:.2f} / {line.parameters_total:.2f}"
        counted, status = f"{ours[0]:.2f} / {ours[1]:.2f}", REPRODUCED if same else DIFFERENT
        rows.append([f"{paper}, Table {line.table}", words, theirs, counted, status])
    yield Table(
        ["paper", "structure", "printed, trainable / all (M)", "counted (M)", "status"],
        rows,
        f"Counted when this page was built, by tlseg_lite {tl.__version__} on ViT-L. No weights "
        "are needed for that.",
    )


# ---- are the tables consistent -----------------------------------------------------------------


def audit(folder: Path) -> Iterator[Table]:
    """The papers' tables, each row inverted to its confusion matrix."""
    import tlseg_lite as tl

    published = tl.audit.published()
    audited = tl.audit.audit_table(published)
    rows = []
    for (paper, name), group in audited.groupby(["paper", "table"], sort=False):
        data = published[(published.paper == paper) & (published.table == name)].dataset.iloc[0]
        good = group[group.verdict == "consistent"]
        bad = group[group.verdict != "consistent"]
        odd = "; ".join(f"{r.row}: {r.verdict}" for r in bad.itertuples())
        low, high = good.landslide_share.min(), good.landslide_share.max()
        agree, share = f"{len(good)} of {len(group)}", f"{low:.2f} to {high:.2f}"
        rows.append([f"{paper}, Table {name}", str(data), agree, share, odd or "none"])
    yield Table(
        ["paper", "data", "rows that agree with themselves", "landslide share (%)", "the others"],
        rows,
        f"Computed when this page was built, by tlseg_lite {tl.__version__}.",
    )


# ---- scores ------------------------------------------------------------------------------------


def scores(folder: Path) -> Iterator[Table]:
    """The papers' models: printed MIoU, and what this project measured on real images."""
    import tlseg_lite as tl

    frame = tl.comparison.read(folder / "comparison.csv")
    published = tl.audit.published()
    printed = published[published.miou.notna() & published.table.isin(["I", "II", "1", "2"])]
    printed = printed.drop_duplicates(["dataset", "row"])
    rows = []
    for line in printed.itertuples():
        start = [line.dataset, line.row, number(line.miou, 2)]
        here = frame.data.str.startswith(line.dataset.lower()) & (frame.training_data == "real")
        runs = frame[here & (frame.model == MODELS.get(line.row, line.row))]
        measured = tl.comparison.summary(runs)
        for own in measured.itertuples():
            full = str(own.weights).startswith("sam_vit_l") and "-full" in own.data
            inside = own.low <= line.miou / 100 <= own.high
            status = PARTIAL if not full else REPRODUCED if inside else DIFFERENT
            folds = runs[runs.data == own.data].folds.iloc[0]
            how = f"{folds} folds" if folds > 1 else "held-out images"
            origin = f"{own.weights} {own.backbone[:6]}".strip()
            split = f"{_IMAGES.get(own.data, own.data)}, {how}, {origin} at {own.image_size} px"
            mean = with_interval(own.mean, own.low, own.high)
            rows.append([*start, mean, str(own.seeds), split, status])
        if measured.empty:
            rows.append([*start, "–", "–", "–", NOT_RUN])
    note = "No comparison.csv is in book/results: nothing has been run."
    if len(frame):
        now = tl.load_sam("sam_mini").origin["fingerprint"][:6]
        note = f"From comparison.csv. {provenance(frame)} "
        note += f"The fingerprint of sam_mini's present weights begins with {now}."
    headers = ["data", "model", "printed MIoU (%)", "ours (95 %)", "seeds", "our split", "status"]
    yield Table(headers, rows, note)


# ---- Table IV ----------------------------------------------------------------------------------


def _settings(folder: Path) -> Iterator[tuple[str, pd.DataFrame]]:
    """The settings of the ablations that have two seeds, each with its name for a reader."""
    import tlseg_lite as tl
    from tlseg_lite.experiments.summary import SETTING

    for file in ("ablation_real.csv", "ablation.csv"):
        for _, setting in tl.ablation.read(folder / file).groupby(list(SETTING), sort=False):
            one = setting.iloc[0]
            if setting.seed.nunique() > 1:
                images = _IMAGES.get(one.data, one.data)
                yield (
                    f"{images}, {one.variant} {one.image_size:.0f} px, {one.epochs:.0f} epochs",
                    setting,
                )


_IMAGES = {
    "bijie-blocks": "hundreds of Bijie",
    "bijie-samples": "20 samples of Bijie",
    "landslide4sense-blocks": "hundreds of Landslide4Sense",
    "landslide4sense-samples": "20 samples of Landslide4Sense",
    "synthetic-bijie": "synthetic scenes",
}


def _heading(data: str) -> str:
    """A set's name at the start of a title."""
    name = _IMAGES.get(data, data)
    return name[:1].upper() + name[1:]


def _paper_scale(setting: pd.DataFrame) -> bool:
    """Whether a setting is the papers': ViT-L with SAM's weights on the full Bijie."""
    one = setting.iloc[0]
    return one.variant == "vit_l" and one.weights != "random" and one.data == "bijie-full"


def designs(folder: Path) -> Iterator[Table]:
    """Table IV: each design's MIoU minus TransLandSeg's, in the paper and in the recorded grid."""
    import tlseg_lite as tl

    published = tl.audit.published()
    miou = published[published.table == "IV"].set_index("row").miou / 100
    paper = miou - miou["TransLandSeg"]
    columns, notes, verdicts = {}, [], {}
    for name, setting in _settings(folder):
        columns[name] = {}
        for r in tl.ablation.summary(setting).itertuples():
            if r.design == "TransLandSeg":
                columns[name][r.design] = f"MIoU {with_interval(r.mean, r.low, r.high)}"
            elif r.pairs > 1:
                difference = (r.difference, r.difference_low, r.difference_high)
                columns[name][r.design] = f"{with_interval(*difference, True)}, {r.pairs} seeds"
                if _paper_scale(setting) and r.design in paper:
                    inside = r.difference_low <= paper[r.design] <= r.difference_high
                    verdicts[r.design] = REPRODUCED if inside else DIFFERENT
        one = setting.iloc[0]
        notes.append(f"{name}: {one.data_source}. Weights: {_weights(one)}. {provenance(setting)}")
    lines = []
    for design in paper.index:
        own = design == "TransLandSeg"
        theirs = f"MIoU {number(100 * miou[design], 2)}"
        theirs = theirs if own else number(100 * paper[design], 2, True)
        ours = [column.get(design, "–") for column in columns.values()]
        status = PARTIAL if any(design in column for column in columns.values()) else NOT_RUN
        lines.append([design, theirs, *ours, verdicts.get(design, status)])
    headers = ["design", "paper: Bijie, ViT-L, one number", *columns, "status"]
    yield Table(headers, lines, " ".join(notes) or "No ablation.csv is in book/results.")


def _weights(run) -> str:
    """Which weights a run of the ablation started from, and whether they are today's."""
    import tlseg_lite as tl

    text = f"{run.variant}, fingerprint {run.backbone}"
    if run.variant == "sam_mini" and run.weights == "default":
        now = tl.load_sam("sam_mini").origin["fingerprint"] == run.backbone
        text += ", the package's present ones" if now else ", older ones than the package's"
    return text


def findings(folder: Path) -> Iterator[Table]:
    """The paper's three findings against the recorded grid."""
    import tlseg_lite as tl
    from tlseg_lite.experiments.summary import FINDINGS, MIDDLE_FINDING

    headers = ["finding", "where", "difference (95 %)", "seeds", "here it", "status"]
    lines = []
    for name, setting in _settings(folder):
        for line in tl.ablation.findings(setting).itertuples():
            known = line.pairs > 1
            difference = with_interval(line.difference, line.low, line.high, True)
            verdict = {"open": "stays open", "reversed": "is reversed"}.get(line.verdict, "holds")
            status = PARTIAL
            if _paper_scale(setting):
                status = {"holds": REPRODUCED, "reversed": DIFFERENT}.get(line.verdict, PARTIAL)
            measured = (difference, str(int(line.pairs)), verdict, status)
            lines.append([line.finding, name, *(measured if known else ("–", "0", "–", NOT_RUN))])
    for finding in (*FINDINGS, MIDDLE_FINDING) if not lines else ():
        lines.append([finding, "–", "–", "0", "–", NOT_RUN])
    yield Table(headers, lines)


# ---- hundreds of real images -------------------------------------------------------------------


def _leads(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Of a summary: the models, best first, and TransLandSeg's lead over each."""
    from tlseg_lite.experiments.words import name_of

    lines = []
    for own in table.itertuples():
        lead = with_interval(own.lead, own.lead_low, own.lead_high, True) if own.pairs else "–"
        line = [name_of(own.model), with_interval(own.mean, own.low, own.high), str(own.seeds)]
        trained = f"{own.trainable / 1e6:.2f} M" if own.trainable else "–"
        lines.append([*line, lead, trained, f"{own.seconds / 60:.0f}"])
    headers = ["model", "test MIoU (%)", "seeds", "TransLandSeg's lead", "trained weights"]
    return [*headers, "minutes"], lines


def _details(runs: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Scores of the landslides: pixels, outlines, landslides by size, false alarms, in percent."""
    from tlseg_lite.experiments.words import name_of
    from tlseg_lite.metrics.boundary import BoundaryMatch

    lines = []
    best = runs.groupby("model").test_miou.mean().sort_values(ascending=False)
    for model in best.index:
        rows = runs[runs.model == model]
        sums = rows.filter(regex="^test_").sum()
        names = ("predicted", "predicted_near", "true", "true_near")
        counts = [sums.get(f"test_boundary_{name}", 0) for name in names]
        outline = BoundaryMatch(*counts).f1 if any(counts) else math.nan
        line = [name_of(model), number(100 * rows.test_landslide_iou.mean())]
        line += [number(100 * rows.test_landslide_f1.mean()), number(100 * outline)]
        line += [
            number(100 * _ratio(sums, f"{size}_found", size), 0)
            for size in ("small", "middle", "large")
        ]
        line.append(number(100 * _ratio(sums, "negatives_with_alarm", "negatives"), 0))
        alarmed = _ratio(sums, "negative_pixels_alarmed", "negative_pixels")
        lines.append([*line, number(100 * alarmed)])
    headers = ["model", "IoU", "F1", "boundary F1", "small ones found", "middle", "large"]
    headers += ["alarms, images", "alarms, pixels"]
    return headers, lines


def _ratio(sums: pd.Series, part: str, whole: str) -> float:
    """A share of counts; NaN where nothing was counted."""
    there = sums.get(f"test_{whole}", 0)
    return sums[f"test_{part}"] / there if there else math.nan


def _by_images(runs: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """A row for each model, a column for each number of training images."""
    import tlseg_lite as tl
    from tlseg_lite.experiments.run import real_images
    from tlseg_lite.experiments.words import name_of

    table = tl.comparison.summary(runs)
    table["images"] = table.training_data.map(real_images)
    numbers = sorted(table.images.unique())
    lines = []
    for (model, side), rows in table.groupby(["model", "image_size"], sort=False):
        by = {r.images: f"{with_interval(r.mean, r.low, r.high)}, {r.seeds}" for r in
              rows.itertuples()}  # fmt: skip
        lines.append([name_of(model), f"{side:.0f}", *(by.get(n, "–") for n in numbers)])
    headers = ["model", "pixels", *(f"{n} images, seeds" for n in numbers)]
    return headers, lines


def _gains(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Of `summary.scenes_first`: what the scenes add to each model."""
    from tlseg_lite.experiments.words import PLACES, name_of

    lines = []
    for r in table.itertuples():
        gain = with_interval(r.gain, r.gain_low, r.gain_high, True)
        line = [name_of(r.model), PLACES.get(r.data, r.data), f"{r.image_size:.0f}"]
        line += [f"{r.images:.0f}", number(100 * r.without), number(100 * r.after), gain]
        lines.append([*line, str(r.pairs)])
    headers = ["model", "data", "pixels", "real images", "without (%)", "after scenes (%)"]
    return [*headers, "gain (95 %)", "seeds"], lines


def hundreds(folder: Path) -> Iterator[Table]:
    """Models on hundreds of real images, all or some of them, and the designs at a smaller size."""
    import tlseg_lite as tl
    from tlseg_lite.experiments.summary import scenes_first
    from tlseg_lite.experiments.words import augmentation, name_of, trained_on

    frame = tl.comparison.read(folder / "comparison_real.csv")
    frame = frame[frame.status == "done"]
    details = "In per cent: IoU and F1 of the landslide pixels, F1 of the outlines (two pixels of "
    details += "tolerance), landslides found (IoU of a half and more) by size, and of the images "
    details += "without a landslide those with an alarm, and their pixels that are marked."
    few = frame.training_data.str.fullmatch(r"(?:synthetic\+)?real-\d+")
    whole = frame[~few]
    changes = whole.recipe.map(augmentation).rename("augmentation")
    settings = [whole.training_data, whole.data, whole.image_size, changes]
    for (_, data, side, change), runs in whole.groupby(settings):
        kind = runs.training_data.iloc[0]
        how = "sam_mini without training" if kind == "none" else f"trained on {trained_on(kind)}"
        title = f"{_heading(data)}, {side:.0f} pixels a side: {how}{change}"
        note = f"From comparison_real.csv. {provenance(runs)}"
        yield Table(*_leads(tl.comparison.summary(runs)), note, title)
        if runs.trainable.max():
            yield Table(*_details(runs), text=details, title=f"{title}, in detail")
    for (data, kind), runs in frame[few].groupby(
        ["data", frame.training_data.str.startswith("syn")]
    ):
        first = "synthetic scenes first, then " if kind else ""
        title = f"{_heading(data)}: {first}some of the images, test MIoU (%)"
        yield Table(*_by_images(runs), title=title)
    gains = scenes_first(frame)
    if len(gains):
        yield Table(*_gains(gains), title="Synthetic scenes before the real images")
    if frame.empty:
        yield Table(["model"], [[NOT_RUN]], "Nothing recorded in comparison_real.csv.")
    grid = tl.ablation.read(folder / "ablation_real.csv")
    lines = []
    for own in tl.ablation.summary(grid).itertuples() if len(grid) else ():
        lead = (own.difference, own.difference_low, own.difference_high)
        against = "–" if own.design == "TransLandSeg" else with_interval(*lead, True)
        mean = with_interval(own.mean, own.low, own.high)
        lines.append([name_of(own.design), mean, str(own.seeds), against, str(own.pairs)])
    headers = ["design", "test MIoU (%)", "seeds", "minus TransLandSeg (95 %)", "pairs"]
    where = ""
    if len(grid):
        one = grid.iloc[0]
        where = f"{one.data_source}; {one.image_size:.0f} px, {one.epochs:.0f} epochs. "
    yield Table(headers, lines, f"From ablation_real.csv. {where}{provenance(grid)}")


TABLES = {
    "main": main_result,
    "chapters": chapters.budget,
    "goals": chapters.aims,
    "budgets": budgets,
    "audit": audit,
    "scores": scores,
    "designs": designs,
    "findings": findings,
    "hundreds": hundreds,
    "expected": expected,
    "records": records,
    "others": others,
}
