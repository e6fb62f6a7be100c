"""Can `sam_mini` choose better among its three masks? Writes book/results/own_choice.csv.

    python benchmarks/own_choice.py [--pictures 1200] [--shares 0.05 0.3 1 2]

Encoder, prompt encoder and the decoder's transformer stay as they are. What reads the three masks
and their expected IoUs from the tokens is trained anew on fresh dead leaves, with the loss of the
pre-training, once for each weight of the mean over the three masks (0.05 in the pre-training).
TransLandSeg uses none of these parts. The shipped weights come first in the table.
"""

from __future__ import annotations

import argparse
import copy
import csv
from collections.abc import Iterator
from pathlib import Path

import torch
from sam_mini_scores import Case, box_around, dead_leaves, photographs
from torch import Tensor

import tlseg_lite as tl
from tlseg_lite import zero_shot
from tlseg_lite.pretraining import DeadLeaves, objective
from tlseg_lite.pretraining.held_out import normalise
from tlseg_lite.pretraining.prompts import draw_prompts
from tlseg_lite.provenance import provenance

OUT = Path(__file__).resolve().parent.parent / "book" / "results" / "own_choice.csv"
SEED = 9 * 10**10  # of the training pictures; other than those of any run and of the held-out ones

Answer = tuple[Tensor, Tensor, Tensor]
"""Of N prompts: tokens (N, 5, C), IoU first; features (N, C / 8, h, w); targets (N, 2, h, w)."""


@torch.no_grad()
def answers(sam, pictures: int, batch: int = 8, prompts: int = 16) -> Iterator[Answer]:
    """What the decoder's transformer gives for prompts to fresh pictures of all difficulties."""
    leaves = DeadLeaves(textures=320, seed=SEED % 997)
    drawn = torch.Generator().manual_seed(SEED)
    decoder, seen = sam.mask_decoder, {}

    def keep(place):
        return lambda module, given: seen.__setitem__(place, given[0])

    parts = [decoder.iou_prediction_head, *decoder.output_hypernetworks_mlps]
    hooks = [part.register_forward_pre_hook(keep(i)) for i, part in enumerate(parts)]
    for _ in range(0, pictures, batch):
        hard = float(torch.rand(1, generator=drawn))
        made = leaves.sample(batch, difficulty=hard, generator=drawn)
        asked = draw_prompts(made.labels, made.whole, prompts, generator=drawn)
        with torch.autocast("cpu", torch.bfloat16):
            embeddings = sam.image_encoder(normalise(made.images, sam))
            sparse = objective.embed_prompts(sam, asked.points, asked.kinds)
            decoded = objective.decode(sam, embeddings, sparse, objective.no_mask(sam))
        tokens = torch.stack([seen[i] for i in range(5)], 1)
        yield tokens.half(), decoded.features.half(), asked.targets.half()
    for hook in hooks:
        hook.remove()


def retrained(sam, known: Answer, every: float, epochs: int = 3, rate: float = 3e-4):
    """A copy of `sam` whose three masks and expected IoUs are read anew; see `prompt_loss`."""
    sam = copy.deepcopy(sam)
    decoder = sam.mask_decoder
    readers = torch.nn.ModuleList(decoder.output_hypernetworks_mlps)
    trained = [*readers[1:].parameters(), *decoder.iou_prediction_head.parameters()]
    for weight in trained:
        weight.requires_grad_(True)
    torch.manual_seed(0)
    n, size = len(known[0]), 64
    steps = epochs * (n // size)
    optimizer = torch.optim.AdamW(trained, lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps, pct_start=0.1)
    for _ in range(epochs):
        for batch in torch.randperm(n)[: n // size * size].view(-1, size):
            tokens, features, targets = (part[batch].float() for part in known)
            read = torch.stack([reader(tokens[:, 1 + i]) for i, reader in enumerate(readers)], 1)
            masks = (read @ features.flatten(2)).unflatten(2, features.shape[2:])
            decoded = objective.Decoded(masks, decoder.iou_prediction_head(tokens[:, 0]), features)
            loss = objective.prompt_loss(decoded, targets, quality=8.0, every=every)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return sam.requires_grad_(False)


def measure(sam, cases: list[Case]) -> dict[str, tuple[float, float]]:
    """Mean IoU over all regions of the own choice and of the best of three, by prompt."""
    found: dict[str, list[tuple[float, float]]] = {"click": [], "box": []}
    for image, regions in cases:
        embedded = zero_shot.Embedded(sam, image)
        for mask, click in regions:
            prompts = {"click": {"points": click}}
            if (box := box_around(mask)) is not None:
                prompts["box"] = {"box": box}
            for name, prompt in prompts.items():
                fit = zero_shot.fit(zero_shot.segment(sam, embedded, **prompt), mask)
                found[name].append((fit.own, fit.best))
    return {name: tuple(torch.tensor(values).mean(0).tolist()) for name, values in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=1200, help="to train on, 16 prompts each")
    parser.add_argument("--held-out", type=int, default=24, help="of each difficulty")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.05, 0.3, 1.0, 2.0])
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    sam = tl.load_sam("sam_mini")
    sets = {
        f"dead leaves, difficulty {hard}": list(dead_leaves(options.held_out, hard))
        for hard in (0.0, 0.5, 1.0)
    }
    sets["skimage photographs, own outlines"] = list(photographs())
    known = tuple(torch.cat(parts) for parts in zip(*answers(sam, options.pictures), strict=True))
    rows = []
    for share in (None, *options.shares):
        model = sam if share is None else retrained(sam, known, share)
        for name, cases in sets.items():
            for prompt, (own, best) in measure(model, cases).items():
                line = {
                    "data": name,
                    "regions": sum(len(regions) for _, regions in cases),
                    "prompt": prompt,
                    "weight_of_mean": "shipped" if share is None else share,
                    "own_choice": f"{own:.4f}",
                    "best_of_3": f"{best:.4f}",
                    "trained_prompts": 0 if share is None else len(known[0]),
                    "weights": sam.origin["fingerprint"],
                }
                rows.append(line | provenance())
                print(*list(line.values())[:6], sep="  ", flush=True)
    with options.out.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
