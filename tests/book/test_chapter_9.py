"""What chapter 9 says in words about the recorded rows is what the rows say."""

import pytest

import tlseg_lite as tl
from tlseg_lite.experiments import interval, verdict


@pytest.fixture(scope="module")
def clicks():
    rows = tl.records.read("clicks.csv")
    blocks = rows.data == "bijie-blocks"
    return rows[(rows.status == "done") & (rows.part == "test") & blocks]


@pytest.fixture(scope="module")
def labelling():
    rows = tl.records.read("labelling.csv")
    return rows[rows.status == "done"]


def of(rows, model, trained, prompt="clicks", side=128):
    rows = rows[(rows.model == model) & (rows.trained_clicks == trained)]
    return rows[(rows.prompt == prompt) & (rows.image_size == side)].set_index("seed")


def test_clicks_help_the_one_and_not_the_other(clicks):
    kept, lost = of(clicks, "TransLandSeg", 2), of(clicks, "TransLandSeg", 0)
    assert sorted(kept.index) == sorted(lost.index) == [0, 1, 2]
    level = [lost[f"landslide_iou_{k}"].mean() for k in (0, 1, 2, 3, 5, 10)]
    assert max(level) - min(level) < 0.03  # "stays level"
    climbing = kept[[f"landslide_iou_{k}" for k in (0, 1, 2, 3, 5, 10)]].to_numpy()
    assert (climbing[:, 1:] > climbing[:, :-1]).all()
    gains = climbing.mean(0)
    assert gains[1] - gains[0] > gains[2] - gains[1] > (gains[5] - gains[3]) / 7  # "worth most"
    assert (kept.miou_0 - lost.miou_0).mean() > 0  # "none the worse for it"
    held = of(clicks, "TransLandSeg", 2, "held clicks")
    assert (held.landslide_iou_10 > kept.landslide_iou_10[held.index]).all()  # "further"
    plain = of(clicks, "sam_mini", 0)
    assert plain.landslide_iou_10.max() < level[0] - 0.1  # "far below"


def test_the_table_of_clicks_says_how_many_images_and_rows(clicks):
    assert set(clicks.images) == {80}
    for side in (128, 256):
        assert len(of(clicks, "sam_mini", 0, side=side)) == 1


def test_labels_by_clicks_are_better_masks_and_an_open_question(labelling):
    def arm(labels, k):
        rows = labelling[(labelling.labels == labels) & (labelling.clicks == k)]
        return rows.set_index("seed")

    quality = [arm("clicks", k).label_iou for k in (0, 1, 3)]
    assert (quality[0] < quality[1]).all()
    assert (quality[1] < quality[2]).all()
    assert set(arm("known", 0).known) == {10}
    assert set(arm("known", 0).unlabelled) == {40}

    def paired(a, b):
        return interval(a.test_landslide_iou - b.test_landslide_iou)

    three = arm("clicks", 3)
    assert verdict(*paired(three, arm("known", 0))[1:]) == "open"  # "cannot tell"
    mean, low, high = paired(arm("random", 3), three)
    assert mean > 0  # "looked no worse"
    assert verdict(low, high) != "behind"
