"""The run that makes `sam_mini`: dead leaves in, a promptable model out.

The clock is the budget. Learning rate, phase and difficulty follow the share of the minutes that
have passed, so the schedule ends when the time does; a run that is resumed with more minutes
plans anew.

On a GPU the images are drawn there (`on_device`), and nothing is read back between two reports. A
run on a CPU draws what it always did; one on a GPU draws other images of the same kind.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from torch import Tensor

from tlseg_lite.adapters.encoder import EncoderOptions, encode
from tlseg_lite.core.files import write_atomically
from tlseg_lite.core.seeding import seeded
from tlseg_lite.pretraining import objective
from tlseg_lite.pretraining.dead_leaves import DeadLeaves, Pictures
from tlseg_lite.pretraining.held_out import CURVE, HeldOut, normalise, write_curve
from tlseg_lite.pretraining.muon import optimizers
from tlseg_lite.pretraining.on_device import LABELS, DeviceLeaves, mixed
from tlseg_lite.pretraining.plan import Plan
from tlseg_lite.pretraining.prompts import correction, draw_prompts
from tlseg_lite.sam.decoding import decode_with
from tlseg_lite.sam.prompts import LARGEST_LOGIT

STEPS_AT_ONCE = 4
"""Steps whose images are drawn together on a GPU."""


class PictureStream(torch.utils.data.IterableDataset):
    """Endless batches of images; `level` (a shared number) is the hardest difficulty now.

    With `on_device`, those of `DeviceLeaves`.
    """

    def __init__(
        self, plan: Plan, seen: int, level: Any, device: str = "cpu", on_device: bool = False
    ) -> None:
        self.plan, self.level, self.device, self.on_device = plan, level, device, on_device
        self.seed = plan.seed * 10**9 + seen  # a resumed run sees new images

    def _on_device(self) -> Iterator[Pictures]:
        plan = self.plan
        leaves = DeviceLeaves(textures=plan.textures, seed=self.seed % 2**40, device=self.device)
        shape = {"groups": STEPS_AT_ONCE, "size": plan.batch, "details": plan.details}
        while True:
            yield from mixed(leaves, plan.batch, difficulty=self.level.value, **shape)

    def __iter__(self) -> Iterator[Pictures]:
        if self.on_device:
            yield from self._on_device()
        worker = torch.utils.data.get_worker_info()
        number = 0 if worker is None else worker.id
        leaves = DeadLeaves(
            textures=self.plan.textures, seed=self.seed % 1000 + number, device=self.device
        )
        generator = torch.Generator(self.device).manual_seed(self.seed + number)
        while True:
            hard = self.level.value * (0.3 + 0.7 * float(torch.rand(1, generator=generator)))
            yield leaves.sample(
                self.plan.batch, difficulty=hard, details=self.plan.details, generator=generator
            )


def pretrain(
    out: str | Path,
    *,
    minutes: float = 60.0,
    device: str | None = None,
    resume: bool = False,
    start: str | Path | None = None,
    plan: Plan | None = None,
    save_every: float = 2.0,
    evaluate_every: float = 4.0,
    workers: int | None = None,
    processes: int = 1,
    on_device: bool | None = None,
    compile: bool = False,
    report: Callable[[str], None] | None = print,
) -> Path:
    """Pre-train `sam_mini` and export it.

    Args:
        out: folder for ``state.pt`` (to resume), ``curve.csv`` and ``sam_mini.safetensors``.
        minutes: of training in all, those of an interrupted run counted in.
        device: ``"cpu"``, ``"cuda"``, ...; None: a GPU where there is one.
        resume: go on from ``state.pt`` if it is there; else the folder must not hold one.
        start: weights to begin a new run with, such as the shipped ones; its dense phase is then
            skipped (unless `plan` sets another one).
        plan: the settings; None: the defaults, or `Plan.continued` with `start`.
        save_every, evaluate_every: in minutes.
        workers: processes that make images, for each that trains; None: one beside a single
            process on a CPU, else none (it makes its own).
        processes: that train side by side on a CPU, one thread each, with ``plan.batch`` images
            a step for each. Two of them use two cores better than one process with two threads.
        on_device: draw images and prompts where the model is, and read nothing back; None: on a
            GPU. The images are others than without it.
        compile: fuse the encoder's blocks and the decoder with `torch.compile`; with `on_device`
            only. Pays on a GPU, after a minute or two.
        report: is called with a line now and then; None: silence.

    Returns:
        the path of the exported weights.

    Raises:
        ValueError: minutes are not positive; several processes and no CPU; `compile` without
            `on_device`.
        FileExistsError: `out` holds a run and `resume` is False.
    """
    if not minutes > 0:
        raise ValueError(f"minutes is {minutes}; expected a positive number")
    out = Path(out)
    if (out / "state.pt").exists() and not resume:
        raise FileExistsError(
            f"{out} holds a pre-training already; pass resume=True or another folder"
        )
    out.mkdir(parents=True, exist_ok=True)
    plan = plan or (Plan() if start is None else Plan.continued())
    if device is None:
        device = "cuda" if torch.cuda.is_available() and processes == 1 else "cpu"
    if processes < 1 or (processes > 1 and device != "cpu"):
        raise ValueError(
            f"processes is {processes} on {device!r}; expected 1, or more with device='cpu'"
        )
    on_device = device.startswith("cuda") if on_device is None else on_device
    if compile and not on_device:
        raise ValueError(f"compile is {compile!r}; expected False, or on_device=True beside it")
    alone = device == "cpu" and processes == 1 and not on_device
    workers = workers if workers is not None else int(alone)
    how = (on_device, compile)
    settings = (out, plan, device, start, minutes, save_every, evaluate_every, workers, how)
    if processes == 1:
        _train(0, 1, settings, report)
    else:
        with tempfile.TemporaryDirectory() as meeting:
            torch.multiprocessing.spawn(
                _train_beside, (processes, settings, report, Path(meeting) / "meet"), processes
            )
    share = plan.share if start is not None else 1.0
    return export(out / "state.pt", out / "sam_mini.safetensors", start=start, share=share)


def _train_beside(rank: int, world: int, settings: tuple, report: Any, meeting: Path) -> None:
    """One of several processes."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=meeting.as_uri(), rank=rank, world_size=world
    )
    try:
        _train(rank, world, settings, report if rank == 0 else None)
    finally:
        torch.distributed.destroy_process_group()


def _train(rank: int, world: int, settings: tuple, report: Any) -> None:
    out, plan, device, start, minutes, save_every, evaluate_every, workers, how = settings
    report = report or (lambda line: None)
    run = _Run(out, plan, device, start, world, *how)
    if (out / "state.pt").exists():
        run.load()
        report(f"resumed at {run.seconds / 60:.1f} minutes, {run.pictures} pictures")
    run.generator.manual_seed(run.generator.initial_seed() + 10**6 * rank)
    level = torch.multiprocessing.Value("d", plan.difficulty(run.seconds / 60 / minutes))
    seen = run.pictures + (10**7 + 1) * rank  # other images and textures in each process
    stream = PictureStream(plan, seen, level, device, how[0])
    batches = iter(
        torch.utils.data.DataLoader(
            stream, batch_size=None, num_workers=workers, prefetch_factor=2 if workers else None
        )
    )
    saved = evaluated = reported = run.seconds
    pictures = next(batches)  # the bank of textures is made before the clock runs
    last = time.monotonic()
    while run.seconds < 60 * minutes:
        t = run.seconds / 60 / minutes
        level.value = plan.difficulty(t)
        run.step(Pictures(*pictures), t)
        pictures = next(batches)
        now = time.monotonic()
        run.seconds, last = run.agree(run.seconds + now - last), now
        if run.seconds - evaluated >= 60 * evaluate_every:
            evaluated = run.seconds
            if rank == 0:
                run.note(t)
                report(run.last_line())
        if run.seconds - reported >= 60:
            reported = run.seconds
            recent = ", ".join(f"{k} {v:.3f}" for k, v in run.losses().items())
            report(f"{run.seconds / 60:.1f} min, step {run.steps}: {recent}")
        if run.seconds - saved >= 60 * save_every:
            saved = run.seconds
            if rank == 0:
                run.save()
    if rank == 0:
        run.note(1.0)
        report(run.last_line())
        run.save()


class _Run:
    """Model, running mean, optimizers and counters of one run, in one of `world` processes."""

    def __init__(
        self,
        out: Path,
        plan: Plan,
        device: str,
        start: str | Path | None = None,
        world: int = 1,
        on_device: bool = False,
        compile: bool = False,
    ) -> None:
        from tlseg_lite.sam.variants import build_sam, load_strictly, read_checkpoint

        self.out, self.plan, self.device, self.world = out, plan, device, world
        with seeded(plan.seed):
            self.sam = build_sam("sam_mini").to(device)
            objective.aim(self.sam)
        if start is not None:
            load_strictly(self.sam, read_checkpoint(start), start)
        matrix = self.sam.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix
        matrix.copy_(matrix.half())  # the export is float16: train with what will be read
        self.mean = [p.detach().clone() for p in self.sam.parameters()]
        self.optimizers = optimizers(self.sam, plan)
        self.generator = torch.Generator().manual_seed(plan.seed + 1)
        self.on_device, self.draws = on_device, self.generator
        if on_device:
            self.draws = torch.Generator(device).manual_seed(plan.seed + 1)
            self.position = self.sam.prompt_encoder.get_dense_pe()
            self.options = EncoderOptions("concat", compile=compile)
            if compile:
                self._decode_with = torch.compile(decode_with)
        self.seconds, self.steps, self.pictures = 0.0, 0, 0
        self.curve: list[dict[str, float]] = []
        self.recent: dict[str, float | Tensor] = {}
        self.held_out = HeldOut(device, plan.held_out)

    def step(self, pictures: Pictures, t: float) -> None:
        plan = self.plan
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * plan.schedule(t)
        images, labels = normalise(pictures.images.to(self.device), self.sam), pictures.labels
        labels = labels.to(self.device)
        images, labels = self._pad(images, labels)
        resting = plan.dense <= t < plan.reading
        with self._autocast(), torch.set_grad_enabled(not resting):
            embeddings = self._encode(images)
        for _ in range(plan.rehearsals if resting else 1):
            loss = embeddings.new_zeros((), dtype=torch.float32)
            late = max(0.0, (t - plan.dense) / max(1e-6, 1 - plan.dense))
            if t >= plan.dense:
                loss = self._prompt(embeddings, labels, pictures.whole.to(self.device), late)
                self._recent(prompt_loss=loss)
            if not resting:
                free = embeddings.new_zeros(len(images), 0, embeddings.shape[1])
                with self._autocast():
                    nothing = objective.no_mask(self.sam)
                    features = self._decode(embeddings, free, nothing).features
                regions = LABELS if self.on_device else None
                dense, right = objective.dense_loss(features, labels, regions=regions)
                self._recent(dense_loss=dense, pixels_right=right)
                loss = loss + dense * (max(0.1, 0.6 - late) if t >= plan.dense else 1.0)
            self._update(loss)
        self.pictures += len(images) * self.world

    def _encode(self, images: Tensor) -> Tensor:
        if not self.on_device:
            return self.sam.image_encoder(images)
        # segment_anything's own attention copies indices from the CPU in each block
        return encode(self.sam.image_encoder, images, options=self.options)

    _decode_with = staticmethod(decode_with)

    def _decode(self, embeddings: Tensor, sparse: Tensor, dense: Tensor) -> objective.Decoded:
        if not self.on_device:
            return objective.decode(self.sam, embeddings, sparse, dense)
        return self._decode_with(self.sam.mask_decoder, self.position, embeddings, sparse, dense)

    def _embed(self, points: Tensor, kinds: Tensor) -> Tensor:
        """On the device in float32: with bfloat16's eight bits a click moves by half a pixel."""
        if self.on_device:
            return objective.embed_prompts(self.sam, points, kinds)
        with self._autocast():
            return objective.embed_prompts(self.sam, points, kinds)

    def agree(self, seconds: float) -> float:
        """The clock of the first process, for all."""
        if self.world == 1:
            return seconds
        clock = torch.tensor([seconds], dtype=torch.float64)
        torch.distributed.broadcast(clock, 0)
        return float(clock)

    def _share_gradients(self) -> None:
        """The mean of the gradients over the processes, in each of them.

        A part of the model that only some processes have used counts as zero in the others; one
        that none has used keeps no gradient.
        """
        every = list(self.sam.parameters())
        used = torch.tensor([p.grad is not None for p in every], dtype=torch.float32)
        torch.distributed.all_reduce(used)
        shared = [p for p, any_ in zip(every, used.tolist(), strict=True) if any_]
        flat = torch.cat(
            [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in shared]
        )
        torch.distributed.all_reduce(flat)
        parts = (flat / self.world).split([p.numel() for p in shared])
        for p, part in zip(shared, parts, strict=True):
            p.grad = part.view_as(p)

    def _update(self, loss: Tensor) -> None:
        self.sam.zero_grad(set_to_none=True)
        loss.backward()
        if self.world > 1:
            self._share_gradients()
        torch.nn.utils.clip_grad_norm_(self.sam.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        keep = min(self.plan.average, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(self.mean, [p.detach() for p in self.sam.parameters()], 1 - keep)
        self.steps += 1

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.split(":")[0], torch.bfloat16)

    def _prompt(self, embeddings: Tensor, labels: Tensor, whole: Tensor, late: float) -> Tensor:
        """The loss of a round of prompts, and now and then of a second one with corrections."""
        sam, plan = self.sam, self.plan
        prompts = draw_prompts(labels, whole, plan.prompts, generator=self.draws)
        points, kinds, dense = prompts.points, prompts.kinds, objective.no_mask(sam)
        again = late > 0.15 and self._chance() < plan.corrections
        total = embeddings.new_zeros((), dtype=torch.float32)
        targets, balanced = prompts.targets, max(0.0, 1 - late / plan.balanced)
        all_at_once = {"skip": False} if self.on_device else {}
        for turn in range(1 + again):
            sparse = self._embed(points, kinds)
            with self._autocast():
                decoded = self._decode(embeddings, sparse, dense)
            loss = objective.prompt_loss(
                decoded, targets, balanced, plan.quality, plan.every, **all_at_once
            )
            total = total + loss / (1 + again)
            if turn < again:
                masks = decoded.masks.detach()
                best = objective.soft_iou(masks, targets[:, 0]).argmax(1)
                chosen = masks[torch.arange(len(masks), device=masks.device), best]
                points, kinds = correction(prompts, chosen, generator=self.draws)
                targets = targets[:, :1].expand(-1, 2, -1, -1)  # two prompts mean one mask
                if self._chance() < 0.6:
                    with self._autocast():
                        dense = sam.prompt_encoder.mask_downscaling(
                            chosen[:, None].clamp(-LARGEST_LOGIT, LARGEST_LOGIT)
                        )
        return total

    def _chance(self) -> float:
        return float(torch.rand(1, generator=self.generator))

    def _pad(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """A third of the images are not square: right or below there is SAM's padding."""
        size, g = images.shape[-1], self.draws
        draw = torch.rand(len(images), 2, generator=g, device=g.device).to(images.device)
        kind, share = draw.double().unbind(1)
        edge = (size * (0.5 + 0.5 * share)).long()
        beyond = torch.arange(size, device=images.device) >= edge[:, None]  # B, S
        below, right = kind < 0.2, (kind >= 0.2) & (kind < 0.35)
        off = (beyond & below[:, None])[:, :, None] | (beyond & right[:, None])[:, None]
        return images.masked_fill(off[:, None], 0), labels.masked_fill(off, objective.IGNORED)

    def _recent(self, **values: Tensor) -> None:
        """The losses' running means; with `on_device` they stay there until `losses` reads them."""
        for key, value in values.items():
            value = value.detach() if self.on_device else value.item()
            old = self.recent.get(key, value)
            self.recent[key] = 0.98 * old + 0.02 * value

    def losses(self) -> dict[str, float]:
        return {key: float(value) for key, value in self.recent.items()}

    def averaged(self) -> dict[str, Tensor]:
        """The state dict with the running mean of the weights."""
        state = dict(self.sam.state_dict())
        names = [name for name, _ in self.sam.named_parameters()]
        return state | dict(zip(names, self.mean, strict=True))

    def note(self, t: float) -> None:
        """Measure the averaged weights on held-out images and add a row to the curve."""
        now = {k: v.clone() for k, v in self.sam.state_dict().items()}
        self.sam.load_state_dict(self.averaged())
        row = {
            "minutes": self.seconds / 60, "step": self.steps, "pictures": self.pictures,
            "learning_rate": self.plan.rate * self.plan.schedule(t),
            "difficulty": self.plan.difficulty(t),
            **self.losses(), **self.held_out.measure(self.sam),
        }  # fmt: skip
        self.sam.load_state_dict(now)
        self.curve.append({k: row.get(k, math.nan) for k in CURVE})

    def last_line(self) -> str:
        return "  ".join(f"{k} {v:.4g}" for k, v in self.curve[-1].items())

    def save(self) -> None:
        state = {
            "model": self.sam.state_dict(), "average": self.averaged(),
            "optimizers": [o.state_dict() for o in self.optimizers],
            "seconds": self.seconds, "steps": self.steps, "pictures": self.pictures,
            "curve": self.curve, "recent": self.losses(),
        }  # fmt: skip
        write_atomically(self.out / "state.pt", lambda temporary: torch.save(state, temporary))
        write_curve(self.curve, self.out / "curve.csv")

    def load(self) -> None:
        state = torch.load(self.out / "state.pt", map_location=self.device, weights_only=True)
        self.sam.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.mean = [state["average"][name].clone() for name, _ in self.sam.named_parameters()]
        for key in ("seconds", "steps", "pictures", "curve", "recent"):
            setattr(self, key, state[key])
        for generator in (self.generator, self.draws):
            generator.manual_seed(self.plan.seed + 1 + self.steps)


def export(
    state: str | Path,
    target: str | Path,
    *,
    start: str | Path | None = None,
    share: float = 1.0,
    **provenance: str,
) -> Path:
    """Write the averaged weights of a run as float16 safetensors, with their provenance.

    Args:
        state: a run's ``state.pt``.
        target: the file to write.
        start: weights to go back to: ``share * (the run's) + (1 - share) * start`` is written
            (WiSE-FT; Wortsman et al., CVPR 2022).
        share: of the run's weights, 0 to 1.
        provenance: further entries of the file's metadata.

    Raises:
        FileNotFoundError: there is no such run.
        ValueError: a share outside of 0 to 1, or below 1 without `start`.
        CheckpointError: `start` does not fit.
    """
    from safetensors.torch import save

    from tlseg_lite.sam.variants import load_sam

    if not 0 <= share <= 1:
        raise ValueError(f"share is {share!r}; expected 0 (the start) to 1 (the run's weights)")
    if share < 1 and start is None:
        raise ValueError(f"share is {share!r}; pass start, the weights that the rest comes from")
    state, target = Path(state), Path(target)
    if not state.is_file():
        raise FileNotFoundError(f"no pre-training state at {state}; run pretrain(...) first")
    run = torch.load(state, map_location="cpu", weights_only=True)
    metadata = {
        "model": "sam_mini",
        "pictures": str(run["pictures"]),
        "steps": str(run["steps"]),
        "minutes": f"{run['seconds'] / 60:.1f}",
        **provenance,
    }
    weights = run["average"]
    if share < 1:
        before = load_sam("sam_mini", weights=start).state_dict()  # read as the run has read it
        weights = {k: before[k].lerp(v, share) for k, v in weights.items()}
        metadata["share"] = f"{share:g} of these weights, the rest are those that it began with"
    weights = {k: v.half().contiguous() for k, v in weights.items()}
    data = save(weights, metadata)
    write_atomically(target, lambda temporary: temporary.write_bytes(data))
    return target
