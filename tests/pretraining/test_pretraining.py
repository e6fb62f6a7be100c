"""Objectives against segment_anything and closed forms; the loop saves, resumes and exports."""

import csv
import itertools
import os
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import torch.distributed
import torch.multiprocessing
from safetensors import safe_open

import tlseg_lite as tl
from tlseg_lite.pretraining import DeadLeaves, Plan, export, loop, objective, pretrain
from tlseg_lite.pretraining.held_out import CURVE, HeldOut
from tlseg_lite.pretraining.loop import PictureStream, _Run
from tlseg_lite.pretraining.muon import Muon, orthogonalise
from tlseg_lite.pretraining.prompts import boxes_of, correction, draw_prompts
from tlseg_lite.sam.variants import MINI_WEIGHTS, build_sam

TINY = Plan(batch=2, prompts=2, dense=0.4, reading=0.5, textures=16, held_out=1)
trained = pytest.mark.skipif(not MINI_WEIGHTS.is_file(), reason="no weights in this checkout yet")


@pytest.fixture(scope="module")
def sam():
    return tl.load_sam("sam_mini", weights=None, seed=5)


@pytest.fixture
def clock(monkeypatch):
    """Every step takes one second, however fast or busy the machine is: n / 60 minutes, n steps."""
    seconds = itertools.count()
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: float(next(seconds))))


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


# --- parity with segment_anything ---------------------------------------------------------


@torch.no_grad()
def test_decode_is_sams_mask_decoder(sam, generator):
    """Two pictures with three clicks each, against the decoder's own forward, one by one."""
    embeddings = torch.randn(2, 128, 16, 16, generator=generator)
    points = torch.rand(6, 1, 2, generator=generator) * 255
    pad = torch.zeros(6, 1, 2)
    kinds = torch.tensor([1, -1]).repeat(6, 1)
    sparse = objective.embed_prompts(sam, torch.cat([points, pad], 1), kinds)
    ours = objective.decode(sam, embeddings, sparse, objective.no_mask(sam))
    for b in range(2):
        part = slice(3 * b, 3 * b + 3)
        theirs_sparse, dense = sam.prompt_encoder((points[part], torch.ones(3, 1)), None, None)
        torch.testing.assert_close(sparse[part], theirs_sparse)
        masks, iou = sam.mask_decoder.predict_masks(
            embeddings[b : b + 1], sam.prompt_encoder.get_dense_pe(), theirs_sparse, dense
        )
        torch.testing.assert_close(ours.masks[part], masks, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(ours.iou[part], iou, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_boxes_and_points_are_embedded_as_sam_does(sam, generator):
    """A box alone, and a negative point with a box, have no padding token in SAM."""
    box = torch.tensor([[10.0, 20.0, 100.0, 90.0]])
    theirs, _ = sam.prompt_encoder(None, box, None)
    ours = objective.embed_prompts(sam, box.view(1, 2, 2), torch.tensor([[2, 3]]))
    torch.testing.assert_close(ours, theirs)
    point = torch.tensor([[[30.0, 40.0]]])
    theirs, _ = sam.prompt_encoder((point, torch.zeros(1, 1)), box, None)
    both = torch.cat([point, box.view(1, 2, 2)], 1)
    torch.testing.assert_close(
        objective.embed_prompts(sam, both, torch.tensor([[0, 2, 3]])), theirs
    )


# --- objectives ---------------------------------------------------------------------------


def scene():
    """Two pictures: left and right half, the right one with a part of 32 x 32 pixels."""
    labels = torch.zeros(2, 128, 128, dtype=torch.uint8)
    labels[:, :, 64:] = 1
    labels[:, 40:72, 80:112] = 2
    return labels, torch.tensor([[0, 1, 1], [0, 1, 1]])


def test_dense_loss_is_small_for_the_regions_themselves_and_log_k_for_nothing(generator):
    labels, _ = scene()
    cells = labels[:, 2::4, 2::4].long()
    perfect = torch.eye(16)[cells].permute(0, 3, 1, 2)
    loss, right = objective.dense_loss(perfect, labels)
    assert right == 1
    assert loss == pytest.approx(2 * torch.exp(torch.tensor(-10.0)).item(), rel=0.01)
    loss, _ = objective.dense_loss(torch.ones(2, 16, 32, 32), labels)
    assert loss == pytest.approx(torch.log(torch.tensor(3.0)).item(), rel=1e-4)


def test_dense_loss_leaves_padding_out(generator):
    labels, _ = scene()
    features = torch.randn(2, 16, 32, 32, generator=generator)
    labels[:, 96:] = objective.IGNORED
    loss, _ = objective.dense_loss(features, labels)
    features[:, :, 24:] = 7.0
    again, _ = objective.dense_loss(features, labels)
    assert loss == pytest.approx(again.item())


@pytest.mark.parametrize("wholes", [0.0, 1.0])
def test_prompts_lie_on_what_they_mean(generator, wholes):
    labels, whole = scene()
    prompts = draw_prompts(
        labels, whole, 16, generator=generator, boxes=0.5, wholes=wholes, cells=32
    )
    assert prompts.full.shape == (32, 128, 128)
    torch.testing.assert_close(
        prompts.targets[:, 0].mean((1, 2)), prompts.full.float().mean((1, 2))
    )
    clicks = prompts.kinds[:, 0] == 1
    assert 0 < clicks.sum() < 32
    x, y = prompts.points[clicks, 0].long().unbind(1)
    assert prompts.full[clicks][torch.arange(len(x)), y, x].all()
    boxes = ~clicks
    assert (prompts.kinds[boxes] == torch.tensor([2, 3])).all()
    inside = prompts.full[boxes]
    off = (boxes_of(inside) - prompts.points[boxes]).abs()
    assert off.max() <= 10
    torch.testing.assert_close(*prompts.targets[boxes].unbind(1))  # a box has one reading
    area = prompts.full.sum((1, 2))
    if wholes:  # the part is never meant alone, but it stays the other reading of its clicks
        assert (area == 64 * 128).all()
        assert (prompts.targets[:, 1].sum((1, 2)) * 16 == 32 * 32).any()
    else:
        assert {32 * 32, 64 * 128 - 32 * 32} <= set(area.tolist())


def test_small_regions_are_not_asked_for(generator):
    labels = torch.zeros(1, 128, 128, dtype=torch.uint8)
    labels[0, :5, :5] = 1
    prompts = draw_prompts(
        labels, torch.tensor([[0, 1]]), 8, generator=generator, least=60, cells=32
    )
    assert (prompts.full.sum((1, 2)) == 128 * 128 - 25).all()


def test_boxes_of_masks():
    mask = torch.zeros(1, 20, 30, dtype=torch.bool)
    mask[0, 3:8, 11:25] = True
    assert boxes_of(mask).tolist() == [[[11, 3], [24, 7]]]


def test_corrections_go_where_the_mask_is_wrong(generator):
    labels, whole = scene()
    prompts = draw_prompts(labels, whole, 8, generator=generator, boxes=0.0, wholes=0.0, cells=32)
    nothing = torch.full((16, 32, 32), -5.0)
    points, kinds = correction(prompts, nothing, generator=generator)
    assert points.shape == (16, 3, 2)
    assert (kinds[:, 0] == 1).all()  # all is missing: the new point is on the object
    x, y = points[:, 0].round().long().unbind(1)
    assert prompts.full[torch.arange(16), y, x].all()
    everything = -nothing
    points, kinds = correction(prompts, everything, generator=generator)
    assert (kinds[:, 0] == 0).all()
    x, y = points[:, 0].round().long().unbind(1)
    assert not prompts.full[torch.arange(16), y, x].any()


def test_mask_losses_closed_form():
    """At p = 1/2 everywhere: focal (1/4) ln 2; dice 1 - (T + 1) / (N / 4 + T + 1)."""
    target = torch.zeros(1, 8, 8)
    target[0, :4] = 1
    loss = objective.mask_losses(torch.zeros(1, 1, 8, 8), target)
    expected = 20 * 0.25 * torch.log(torch.tensor(2.0)) + 1 - 33 / (16 + 32 + 1)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    perfect = objective.mask_losses((target[:, None] * 2 - 1) * 30, target)
    assert perfect.item() == pytest.approx(0, abs=1e-5)


def test_soft_iou_counts():
    target = torch.zeros(1, 4, 4)
    target[0, :2] = 1
    masks = torch.full((1, 2, 4, 4), -1.0)
    masks[0, 0, :2] = 1  # exact
    masks[0, 1, 1:3] = 1  # half of it, and as much beside
    assert objective.soft_iou(masks, target)[0].tolist() == pytest.approx([1.0, 1 / 3])


def test_prompt_loss_asks_only_the_best_of_three():
    """One mask right, two wrong: near nothing is lost; the single mask has to be right itself."""
    target = torch.zeros(1, 8, 8)
    target[0, :4] = 1
    right, wrong = (target * 2 - 1) * 30, (1 - target * 2) * 30
    both = target[:, None].expand(-1, 2, -1, -1)

    def loss(*masks):
        masks = torch.stack(masks, 1)
        decoded = objective.Decoded(masks, objective.soft_iou(masks, target), masks)
        return objective.prompt_loss(decoded, both).item()

    best = loss(right, wrong, right, wrong)
    assert best < 0.2 * loss(wrong, wrong, right, wrong)
    assert best < 0.2 * loss(right, wrong, wrong, wrong)
    masks = torch.stack([right, wrong, right, wrong], 1)
    decoded = objective.Decoded(masks, objective.soft_iou(masks, target), masks)
    three = objective.mask_losses(masks[:, 1:], target).mean().item()
    more = objective.prompt_loss(decoded, both, every=0.55).item()
    assert more - best == pytest.approx(0.5 * three, rel=1e-4)  # the mean counts half as much more


def test_ambiguous_click_is_answered_by_part_and_whole_together():
    part, whole = torch.zeros(1, 8, 8), torch.zeros(1, 8, 8)
    part[0, :2], whole[0, :6] = 1, 1
    p, w = ((t * 2 - 1) * 30 for t in (part, whole))

    def loss(*masks):
        masks = torch.stack(masks, 1)
        decoded = objective.Decoded(masks, torch.ones(1, 4), masks)
        return objective.prompt_loss(decoded, torch.stack([part, whole], 1)).item()

    assert loss(p, p, w, p) < loss(p, p, p, p)


# --- optimizer ----------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(32, 96), (96, 32)])
def test_orthogonalise_keeps_directions_and_evens_sizes(shape, generator):
    matrix = torch.randn(shape, generator=generator)
    out = orthogonalise(matrix)
    values = torch.linalg.svdvals(out)
    assert values.min() > 0.3
    assert values.max() < 1.3
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    middle = u.t() @ out @ v.t()
    assert (middle - middle.diag().diag()).abs().max() < 0.1


def test_muon_step_has_the_size_that_it_says(generator):
    p = torch.nn.Parameter(torch.zeros(48, 48))
    p.grad = 1e-6 * torch.randn(48, 48, generator=generator)  # the gradient's size plays no part
    Muon([p], lr=0.1).step()
    assert p.detach().square().mean().sqrt() == pytest.approx(0.1 * 0.2, rel=0.2)


# --- loop ---------------------------------------------------------------------------------


def test_schedule_follows_the_clock():
    plan = Plan(warmup=0.1, dense=0.2, harder=0.6)
    assert plan.schedule(0.0) < 0.01
    assert plan.schedule(1.0) == pytest.approx(0, abs=1e-12)
    assert plan.schedule(0.1) == pytest.approx(0.976, abs=0.01)
    assert plan.difficulty(0.1) == pytest.approx(0.2)
    assert plan.difficulty(0.4) == pytest.approx(0.6)
    assert plan.difficulty(0.9) == pytest.approx(1.0)


def test_run_saves_resumes_and_exports(tmp_path, clock):
    quiet = {"workers": 0, "device": "cpu", "plan": TINY, "report": None}
    pretrain(tmp_path, minutes=2 / 60, **quiet)
    first = torch.load(tmp_path / "state.pt", weights_only=True)
    assert (first["steps"], first["pictures"], first["seconds"]) == (2, 4, 2.0)
    with pytest.raises(FileExistsError, match="resume=True"):
        pretrain(tmp_path, minutes=1, **quiet)
    lines = []
    quiet["report"] = lines.append
    path = pretrain(tmp_path, minutes=3 / 60, resume=True, **quiet)  # at two thirds: second phase
    second = torch.load(tmp_path / "state.pt", weights_only=True)
    assert (second["steps"], second["pictures"]) == (3, 6)
    assert "resumed" in lines[0]
    with (tmp_path / "curve.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2
    assert tuple(rows[0]) == CURVE
    assert float(rows[1]["prompt_loss"]) > 0  # the second phase was reached
    sam = tl.load_sam("sam_mini", weights=path)
    average = second["average"]["mask_decoder.iou_token.weight"]
    torch.testing.assert_close(sam.mask_decoder.iou_token.weight, average.half().float())
    with safe_open(path, "pt") as file:
        assert file.metadata()["pictures"] == str(second["pictures"])


def test_run_can_start_from_given_weights(tmp_path, clock):
    torch.manual_seed(0)
    state = {k: v.half() for k, v in build_sam("sam_mini").state_dict().items()}
    torch.save(state, tmp_path / "start.pth")
    plan = Plan(
        batch=1,
        prompts=1,
        rate=0.0,
        matrix_rate=0.0,
        dense=0.0,
        reading=0.0,
        textures=16,
        held_out=1,
    )
    path = pretrain(
        tmp_path / "run", minutes=2 / 60, start=tmp_path / "start.pth", plan=plan,
        workers=0, device="cpu", report=None,
    )  # fmt: skip
    got = tl.load_sam("sam_mini", weights=path).state_dict()
    for key, value in state.items():
        torch.testing.assert_close(got[key], value.float(), msg=key)


def test_a_run_that_continues_may_keep_half_of_its_start(tmp_path, clock):
    state = {k: v.half() for k, v in build_sam("sam_mini").state_dict().items()}
    torch.save(state, tmp_path / "start.pth")
    # full rate from the first step on
    plan = replace(TINY, dense=1.0, rate=0.01, warmup=1e-5, average=0.5, share=0.5)
    path = pretrain(
        tmp_path / "run", minutes=3 / 60, start=tmp_path / "start.pth", plan=plan,
        workers=0, device="cpu", report=None,
    )  # fmt: skip
    learned = torch.load(tmp_path / "run" / "state.pt", weights_only=True)["average"]
    got = tl.load_sam("sam_mini", weights=path).state_dict()
    key = "image_encoder.neck.0.weight"
    assert not torch.allclose(learned[key], state[key].float(), atol=1e-3)
    for key, value in state.items():
        middle = (value.float() + learned[key].float()) / 2
        torch.testing.assert_close(got[key], middle, rtol=1e-3, atol=1e-3, msg=key)
    with safe_open(path, "pt") as file:
        assert file.metadata()["share"].startswith("0.5 of")
    for share, words in ((1.5, "share is 1.5; expected 0"), (0.5, "share is 0.5; pass start")):
        with pytest.raises(ValueError, match=words):
            export(tmp_path / "run" / "state.pt", tmp_path / "x.safetensors", share=share)


def test_the_quality_head_learns_which_mask_is_best():
    """Of two predictions with the same squared error, the one in the right order costs less."""
    target = torch.zeros(1, 16, 16)
    target[:, 4:12, 4:12] = 1
    off = target.roll(3, 2)
    masks = (torch.stack([target, target, off, off], 1) * 2 - 1) * 10.0
    true = objective.soft_iou(masks, target)
    both = torch.stack([target, target], 1)

    def loss(error):
        decoded = objective.Decoded(masks, true + torch.tensor([[0.0, *error]]), masks)
        return objective.prompt_loss(decoded, both, quality=8.0).item()

    assert loss((0.3, 0.0, 0.0)) < loss((-0.3, 0.0, 0.0))
    quiet = objective.Decoded(masks, true, masks)
    without = objective.prompt_loss(quiet, both, quality=0.0).item()
    expected = -(true[:, 1:] * 10).softmax(1) * (true[:, 1:] * 10).log_softmax(1)
    assert loss((0.0, 0.0, 0.0)) - without == pytest.approx(0.24 * expected.sum().item(), rel=1e-4)


def test_the_plan_to_continue_has_no_phase_without_prompts():
    plan = Plan.continued(seed=7)
    assert (plan.dense, plan.reading, plan.seed) == (0.0, 0.0, 7)
    assert plan.rate < Plan().rate
    assert plan.details > Plan().details
    assert plan.every > Plan().every
    assert plan.share < Plan().share == 1.0
    assert plan.difficulty(0.02) == 1.0
    assert plan.schedule(0.02) > 0.99


def test_the_plan_reaches_pictures_and_loss(tmp_path, monkeypatch):
    def first(details):
        stream = PictureStream(replace(TINY, details=details), 0, SimpleNamespace(value=0.5))
        return next(iter(stream)).images

    assert not torch.equal(first(0.0), first(1.0))
    asked = []

    def loss(decoded, targets, balanced, quality, every):
        asked.append(every)
        return decoded.masks.mean()

    monkeypatch.setattr(objective, "prompt_loss", loss)
    run = _Run(tmp_path, replace(TINY, every=0.4), "cpu")
    run.step(DeadLeaves(textures=16).sample(2), t=0.9)
    assert set(asked) == {0.4}


def _two_gradients(rank, out, meeting):
    """In each of two processes: a gradient of its own, one that only the first has, one of none."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2)
    run = _Run(out, TINY, "cpu", world=2)
    both, first, *_, none = run.sam.parameters()
    both.grad = torch.full_like(both, 1.0 + 2 * rank)
    if rank == 0:
        first.grad = torch.full_like(first, 3.0)
    run._share_gradients()
    torch.save([both.grad, first.grad, none.grad], out / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def test_processes_share_the_mean_of_their_gradients(tmp_path):
    meeting = (tmp_path / "meet").as_uri()
    torch.multiprocessing.spawn(_two_gradients, (tmp_path, meeting), 2)
    for rank in range(2):
        both, first, none = torch.load(tmp_path / f"{rank}.pt")
        assert (both == 2.0).all()
        assert (first == 1.5).all()
        assert none is None


def test_two_processes_train_one_model(tmp_path):
    lines = []
    path = pretrain(
        tmp_path, minutes=2e-3, plan=TINY, processes=2, device="cpu", report=lines.append
    )
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state["pictures"] == 2 * TINY.batch * state["steps"] > 0
    assert tl.load_sam("sam_mini", weights=path).origin["fingerprint"]
    with pytest.raises(ValueError, match="processes is 2 on 'cuda'"):
        pretrain(tmp_path / "x", minutes=1, processes=2, device="cuda")


def test_errors_name_the_remedy(tmp_path):
    with pytest.raises(ValueError, match="minutes is 0"):
        pretrain(tmp_path, minutes=0)
    with pytest.raises(FileNotFoundError, match="run pretrain"):
        export(tmp_path / "state.pt", tmp_path / "x.safetensors")


# --- the weights that ship ----------------------------------------------------------------


@trained
def test_shipped_weights_are_small_and_say_where_they_come_from():
    assert os.path.getsize(MINI_WEIGHTS) < 24 * 2**20
    with safe_open(MINI_WEIGHTS, "pt") as file:
        metadata = file.metadata()
        assert int(metadata["pictures"]) > 0
        assert float(metadata["minutes"]) > 0
        assert file.get_tensor("image_encoder.pos_embed").dtype == torch.float16


@trained
@torch.no_grad()
def test_shipped_weights_segment_pictures_they_never_saw():
    """One click on held-out dead leaves: far above an untrained model."""

    held_out = HeldOut("cpu", 3)
    learned = held_out.measure(tl.load_sam("sam_mini"))
    untrained = held_out.measure(tl.load_sam("sam_mini", weights=None))
    assert learned["click_best_of_3"] > untrained["click_best_of_3"] + 0.15
    assert learned["box_single"] > untrained["box_single"] + 0.15
