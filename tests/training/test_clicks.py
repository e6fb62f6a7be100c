"""Training with corrective clicks: off by default, deterministic, the same for any division."""

from dataclasses import replace

import pytest
import torch

import tlseg_lite as tl
from tlseg_lite.core.seeding import derived_seed
from tlseg_lite.training.clicks import rounds
from tlseg_lite.training.identity import differences
from tlseg_lite.training.step import TrainingStep, accelerator_for, optimizer_for

RECIPE = tl.Recipe(epochs=2, batch_size=2, learning_rate=1e-3, clicks=2)


class Blobs(torch.utils.data.Dataset):
    """Bright squares on dark noise."""

    def __init__(self, number, prefix="t"):
        self.ids = [f"{prefix}{i}" for i in range(number)]

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, i):
        g = torch.Generator().manual_seed(derived_seed(ord(self.ids[i][0]), i))
        image, mask = 0.3 * torch.rand(3, 64, 64, generator=g), torch.zeros(1, 64, 64)
        y, x = torch.randint(4, 36, (2,), generator=g).tolist()
        image[:, y : y + 20, x : x + 20] += 0.6
        mask[:, y : y + 20, x : x + 20] = 1
        return {"image": image, "mask": mask, "id": self.ids[i]}


@pytest.fixture(scope="module")
def sam():
    return tl.load_sam("sam_mini", image_size=64)


def model(sam):
    return tl.TransLandSeg(sam, tl.DESIGNS["TransLandSeg"], prompts=True)


def batch():
    data = Blobs(4)
    parts = {key: torch.stack([data[i][key] for i in range(4)]) for key in ("image", "mask")}
    return parts | {"valid": torch.ones_like(parts["mask"])}


def gradients(sam, **changes):
    recipe = replace(RECIPE, batch_size=4, **changes)
    adapted = model(sam).train()
    step = TrainingStep(adapted, optimizer_for(adapted, recipe), recipe, accelerator_for(recipe))
    total = step._attempt(batch(), 4, seed=7)
    grads = [p.grad for p in adapted.parameters() if p.requires_grad and p.grad is not None]
    return total, torch.cat([g.flatten() for g in grads])


def test_off_by_default_and_then_not_in_the_identity():
    assert tl.Recipe().clicks == 0
    assert "clicks" not in tl.Recipe().as_dict()
    assert tl.Recipe(**RECIPE.as_dict()) == RECIPE
    plain = {"recipe": replace(RECIPE, clicks=0).as_dict()}
    assert differences(plain, {"recipe": RECIPE.as_dict()}) == ["clicks was None, now 2"]


def test_a_batch_may_be_cut_in_pieces(sam):
    (whole, one), (parts, other) = gradients(sam), gradients(sam, micro_batch=1)
    torch.testing.assert_close(whole, parts, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(one, other, atol=1e-3 * float(one.abs().max()), rtol=1e-2)


def test_k_rounds_cost_k_passes_of_the_decoder_and_one_of_the_encoder(sam, monkeypatch):
    adapted, calls = model(sam).train(), {"encode": 0, "decode": 0}
    for name in calls:

        def counted(*given, name=name):
            calls[name] += 1
            return getattr(tl.TransLandSeg, name)(adapted, *given)

        monkeypatch.setattr(adapted, name, counted)
    step = TrainingStep(adapted, optimizer_for(adapted, RECIPE), RECIPE, accelerator_for(RECIPE))
    step(batch(), 4, 0)
    assert calls["encode"] == 2  # micro-batches of 2
    assert calls["decode"] == 2 * (1 + RECIPE.clicks)


def test_each_round_gives_the_former_answer_and_more_clicks(sam, monkeypatch):
    adapted, seen = model(sam).eval(), []
    inner = adapted.decode

    def noted(embedding, prompts=None):
        seen.append(prompts)
        return inner(embedding, prompts)

    images = batch()
    with torch.no_grad():
        embedding = adapted.encode(images["image"])
        first = adapted.decode(embedding)
        monkeypatch.setattr(adapted, "decode", noted)
        answers = list(
            rounds(adapted, embedding, first, images["mask"], images["valid"], clicks=3, seed=5)
        )
    assert len(answers) == len(seen) == 3
    assert torch.equal(seen[0].masks, first)
    assert torch.equal(seen[1].masks, answers[0])
    widths = [p.kinds.shape[1] for p in seen]
    assert widths == sorted(widths)
    assert widths[0] >= 1
    assert widths[2] > widths[0]
    assert torch.equal(seen[2].kinds[:, : widths[0]], seen[0].kinds)


def test_an_interrupted_run_ends_with_the_same_weights(sam, tmp_path):
    whole = model(sam)
    tl.fit(whole, Blobs(4), Blobs(2, "v"), RECIPE, tmp_path / "whole", progress=False)
    assert whole.run["recipe"]["clicks"] == 2

    class Stop(Exception):
        pass

    def stop(history):
        raise Stop

    halves = model(sam)
    for watch in (stop, None):
        try:
            tl.fit(
                halves, Blobs(4), Blobs(2, "v"), RECIPE, tmp_path / "halves",
                progress=False, watch=watch,
            )  # fmt: skip
        except Stop:
            halves = model(sam)
    one, other = whole.trained_state(), halves.trained_state()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_without_rounds_of_clicks_a_training_is_the_same_to_the_bit(sam, tmp_path):
    plain = tl.TransLandSeg(sam, tl.DESIGNS["TransLandSeg"])
    keeps = model(sam)
    recipe = replace(RECIPE, clicks=0)
    for trained, name in ((plain, "plain"), (keeps, "keeps")):
        tl.fit(trained, Blobs(4), Blobs(2, "v"), recipe, tmp_path / name, progress=False)
    one, other = plain.trained_state(), keeps.trained_state()
    assert list(one) == list(other)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_model_without_prompts_is_refused(sam, tmp_path):
    plain = tl.TransLandSeg(sam, None)
    with pytest.raises(ValueError, match="prompts=True"):
        tl.fit(plain, Blobs(2), Blobs(1, "v"), RECIPE, tmp_path, progress=False)
