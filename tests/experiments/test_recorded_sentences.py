"""Sentences about recorded rows follow the rows, whoever wins."""

import numpy as np
import pandas as pd
import pytest

from tlseg_lite.experiments import words


def table(**means):
    """A summary of one protocol with a mean for each model; one seed, paired with the reference."""
    names = {"own": "TransLandSeg", "random": "TransLandSeg on random weights"}
    models = [names.get(name, name.replace("_", "-")) for name in means]
    values = list(means.values())
    own = means["own"]
    return pd.DataFrame(
        {
            "model": models,
            "mean": values,
            "lead": [own - value for value in values],
            "lead_low": np.nan,
            "lead_high": np.nan,
            "pairs": [0 if name == "TransLandSeg" else 1 for name in models],
            "seeds": 1,
            "trainable": 10,
            "data": "d", "training_data": "real", "data_version": "v", "image_size": 128,
            "recipe": "{}",
        }
    )  # fmt: skip


def test_ranking_names_who_is_ahead():
    text = words.ranking(table(own=0.795, unet=0.799, pspnet=0.816, decoder_only=0.767))
    assert "PSPNet 81.6, UNet 79.9, TransLandSeg 79.5, mask decoder only 76.7." in text
    assert "All networks from scratch (PSPNet, UNet) are ahead" in text
    assert "One seed each" in text
    assert "All networks from scratch are behind" in words.ranking(table(own=0.9, unet=0.7))
    mixed = words.ranking(table(own=0.8, unet=0.7, pspnet=0.9))
    assert "Of the networks from scratch PSPNet is ahead of TransLandSeg, the others" in mixed
    with pytest.raises(ValueError, match="no row of TransLandSeg"):
        words.ranking(table(own=0.8, unet=0.7).query("model == 'unet'"))


def test_ranking_with_seeds_does_not_call_the_order_open():
    assert "One seed" not in words.ranking(table(own=0.8, unet=0.7).assign(seeds=3))


def test_parts_have_the_sign_of_the_rows():
    text = words.parts(table(own=0.795, decoder_only=0.767, random=0.81))
    assert "+2.8 points are what the adapters add" in text
    assert "-1.5 points are what the pre-trained weights add" in text
    assert "one seed" in text
    ends = table(own=0.8, decoder_only=0.7).assign(lead_low=0.05, lead_high=0.15, pairs=3)
    assert "+10.0 (+5.0 to +15.0) points" in words.parts(ends)
    assert "nothing to compare" in words.parts(table(own=0.8, unet=0.7))


def test_residual_falls_or_rises_with_the_rows():
    designs = ["TransLandSeg", "TransLandSeg-7", "TransLandSeg-2", "TransLandSeg-3"]
    frame = pd.DataFrame({"design": designs, "mean": [0.786, 0.657, 0.79, 0.80]})
    text = words.residual(frame)
    assert "falls from 78.6 to 65.7 (TransLandSeg, TransLandSeg-7)" in text
    assert "rises from 79.0 to 80.0 (TransLandSeg-2, TransLandSeg-3)" in text
    assert "No design" in words.residual(frame[:1])


def test_protocol_with_the_most_models():
    one, other = table(own=0.8, unet=0.7), table(own=0.7).assign(image_size=256)
    assert words.most_models(pd.concat([other, one])).image_size.tolist() == [128, 128]
    with pytest.raises(ValueError, match="no rows"):
        words.most_models(one[:0])
