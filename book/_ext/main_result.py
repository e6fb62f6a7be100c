"""The course's main result for its first page: recorded rows on real images, and what they say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from recorded import NOT_RUN, Table, provenance


def main_result(folder: Path) -> Iterator[Table]:
    """The models on hundreds of real images, best first; sentences computed from the rows."""
    import tlseg_lite as tl
    from tlseg_lite.experiments import words

    headers = ["model", "test MIoU (%)", "landslide IoU (%)", "trained weights", "training"]
    frame = tl.comparison.read(folder / "comparison_real.csv")
    frame = frame[(frame.status == "done") & (frame.training_data == "real")]
    if frame.empty:
        yield Table(headers, [["–"] * (len(headers) - 1) + [NOT_RUN]], "No comparison_real.csv.")
        return
    every = tl.comparison.summary(frame)
    table = words.most_models(every)
    same = (frame.image_size == table.image_size.iloc[0]) & (frame.data == table.data.iloc[0])
    one = frame[same]
    lines = []
    for own in table.sort_values("mean", ascending=False).itertuples():
        runs = one[one.model == own.model]
        iou = words.percent(runs.test_landslide_iou.mean())
        trained, minutes = f"{own.trainable / 1e6:.2f} M", f"{own.seconds / 60:.0f} min"
        lines.append([words.name_of(own.model), words.percent(own.mean), iou, trained, minutes])
    grid = tl.ablation.read(folder / "ablation_real.csv")
    designs = tl.ablation.summary(grid) if len(grid) else None
    said = [words.ranking(table, short=True), words.parts(table, designs=designs)]
    if designs is not None:
        said.append(words.residual(designs))
    said.append(words.alarms(one[one.model.isin(table.model)], short=True))
    others = every[every.data != table.data.iloc[0]].groupby("data")
    elsewhere = [_elsewhere(words.most_models(rows)) for _, rows in others]
    text = "\n\n".join([" ".join(said), *filter(None, elsewhere)])
    where = f"{one.data_source.iloc[0]}; {one.train_images.iloc[0]:.0f} train, "
    where += f"{one.test_images.iloc[0]:.0f} test; sam_mini and all others at "
    where += f"{one.image_size.iloc[0]:.0f} pixels. "
    yield Table(headers, lines, f"{where}{provenance(one)}", text=text)


def _elsewhere(table: pd.DataFrame) -> str:
    """The same models on another dataset, in a sentence or three."""
    from tlseg_lite.experiments import words

    own = table[table.model == "TransLandSeg"]
    if own.empty:
        return ""
    one = own.iloc[0]
    text = f"On {words.PLACES[one.data]} ({one.train_images:.0f} training images, TransLandSeg "
    text += f"{words.percent(one['mean'])}): {words.parts(table)}"
    return f"{text} {words.ranking(table, short=True)}"
