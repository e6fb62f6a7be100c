"""Can `sam_mini` choose better among its three masks? Writes book/results/mask_choice.csv.

    python benchmarks/mask_choice.py [--pictures 1200] [--shares 0.05 0.3 1 2] [--sizes 256 384]

Encoder, prompt encoder and the decoder's transformer stay as they are. What reads the three masks
and their expected IoUs from the tokens is trained anew on fresh dead leaves, with the loss of the
pre-training, once for each weight of the mean over the three masks (0.05 in the pre-training).
TransLandSeg uses none of these parts. The weights at the start come first in the table.

The images have 256 pixels a side; each of the ``--sizes`` is the side of the model's input, to
which they are enlarged. All are learned together and measured one by one. ``--write FOLDER`` keeps
each result as a safetensors file.
"""

from __future__ import annotations

import argparse
import copy
import csv
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from sam_mini_scores import Case, box_around, dead_leaves, photographs
from torch import Tensor

import tlseg_lite as tl
from tlseg_lite.core.provenance import provenance
from tlseg_lite.pretraining import DeadLeaves, objective
from tlseg_lite.pretraining.held_out import normalise
from tlseg_lite.pretraining.prompts import draw_prompts
from tlseg_lite.sam import prompting as zero_shot
from tlseg_lite.sam.variants import MINI_WEIGHTS

OUT = Path(__file__).resolve().parent.parent / "book" / "results" / "mask_choice.csv"
SEED = 9 * 10**10  # of the training images; other than those of any run and of the held-out ones

Answer = tuple[Tensor, Tensor, Tensor]
"""Of N prompts: tokens (N, 5, C), IoU first; features (N, C / 8, h, w); targets (N, 2, h, w)."""


@torch.no_grad()
def answers(sam, pictures: int, batch: int = 8, prompts: int = 16) -> Iterator[Answer]:
    """What the decoder's transformer gives for prompts to fresh images of all difficulties."""
    side = sam.image_encoder.img_size
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
        images = F.interpolate(made.images, side, mode="bilinear", align_corners=False)
        labels = F.interpolate(made.labels[:, None], side)[:, 0]
        asked = draw_prompts(
            *(labels, made.whole, prompts),
            **dict(generator=drawn, least=60 * side**2 // 256**2, cells=side // 4),
        )
        with torch.autocast("cpu", torch.bfloat16):
            embeddings = sam.image_encoder(normalise(images, sam))
            sparse = objective.embed_prompts(sam, asked.points, asked.kinds)
            decoded = objective.decode(sam, embeddings, sparse, objective.no_mask(sam))
        tokens = torch.stack([seen[i] for i in range(5)], 1)
        yield tokens.half(), decoded.features.half(), asked.targets.half()
    for hook in hooks:
        hook.remove()


def retrained(sam, known: list[Answer], every: float, epochs: int = 3, rate: float = 3e-4):
    """A copy of `sam` whose three masks and expected IoUs are read anew; see `prompt_loss`.

    `known`: the answers at each size of the input; a step has prompts of one size.
    """
    sam = copy.deepcopy(sam)
    decoder = sam.mask_decoder
    heads = torch.nn.ModuleList(decoder.output_hypernetworks_mlps)
    trained = [*heads[1:].parameters(), *decoder.iou_prediction_head.parameters()]
    for weight in trained:
        weight.requires_grad_(True)
    torch.manual_seed(0)
    size = 64
    steps = epochs * sum(len(tokens) // size for tokens, _, _ in known)
    optimizer = torch.optim.AdamW(trained, lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps, pct_start=0.1)
    for _ in range(epochs):
        batches = [
            (answer, batch)
            for answer in known
            for batch in torch.randperm(len(answer[0])).split(size)
            if len(batch) == size
        ]
        for i in torch.randperm(len(batches)):
            answer, batch = batches[i]
            tokens, features, targets = (part[batch].float() for part in answer)
            read = torch.stack([head(tokens[:, 1 + i]) for i, head in enumerate(heads)], 1)
            masks = (read @ features.flatten(2)).unflatten(2, features.shape[2:])
            decoded = objective.Decoded(masks, decoder.iou_prediction_head(tokens[:, 0]), features)
            loss = objective.prompt_loss(decoded, targets, quality=8.0, every=every)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return sam.requires_grad_(False)


def measure(sam, cases: list[Case]) -> dict[str, tuple[float, float]]:
    """Mean IoU of the mask with the highest predicted IoU and of the oracle, by prompt."""
    found: dict[str, list[tuple[float, float]]] = {"click": [], "box": []}
    for image, regions in cases:
        embedded = zero_shot.Embedded(sam, image)
        for mask, click in regions:
            prompts = {"click": {"points": click}}
            if (box := box_around(mask)) is not None:
                prompts["box"] = {"box": box}
            for name, prompt in prompts.items():
                fit = zero_shot.overlap(zero_shot.segment(sam, embedded, **prompt), mask)
                found[name].append((fit.own, fit.best))
    return {name: tuple(torch.tensor(values).mean(0).tolist()) for name, values in found.items()}


def lines(sam, sets: dict[str, list[Case]], about: dict) -> Iterator[dict]:
    """A row of the file for each set and kind of prompt."""
    for name, cases in sets.items():
        for prompt, (own, best) in measure(sam, cases).items():
            line = {
                "data": name,
                "regions": sum(len(regions) for _, regions in cases),
                "image_size": about["image_size"],
                "prompt": prompt,
                "weight_of_mean": about["weight_of_mean"],
                "highest_predicted_iou": f"{own:.4f}",
                "oracle": f"{best:.4f}",
                "trained_prompts": about["trained_prompts"],
                "weights": about["weights"],
            }
            print(*list(line.values())[:7], sep="  ", flush=True)
            yield line | provenance()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=1200, help="to train on, 16 prompts each")
    parser.add_argument("--held-out", type=int, default=24, help="of each difficulty")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.05, 0.3, 1.0, 2.0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 384])
    parser.add_argument("--weights", default="default", help="a file; else the package's own")
    parser.add_argument("--write", type=Path, help="folder for the weights that come out")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    sams = [tl.load_sam("sam_mini", options.weights, image_size=side) for side in options.sizes]
    sets = {
        f"dead leaves, difficulty {hard}": list(dead_leaves(options.held_out, hard))
        for hard in (0.0, 0.5, 1.0)
    }
    sets["skimage photographs, own outlines"] = list(photographs())
    each = options.pictures // len(sams)
    known = [
        tuple(torch.cat(parts) for parts in zip(*answers(sam, each), strict=True)) for sam in sams
    ]
    number, rows = sum(len(tokens) for tokens, _, _ in known), []
    for share in (None, *options.shares):
        tuned = sams[0] if share is None else retrained(sams[0], known, share)
        decoder = tuned.mask_decoder.state_dict()
        for sam in sams:
            model = copy.deepcopy(sam)
            model.mask_decoder.load_state_dict(decoder)
            about = {
                "image_size": sam.image_encoder.img_size,
                "weight_of_mean": "none" if share is None else share,
                "trained_prompts": 0 if share is None else number,
                "weights": sam.origin["fingerprint"],
            }
            rows += lines(model, sets, about)
        if options.write and share is not None:
            write(decoder, share, options)
    with options.out.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write(decoder: dict[str, Tensor], share: float, options: argparse.Namespace) -> None:
    """The weights with the decoder's new output heads, float16, noted in the file's metadata."""
    start = MINI_WEIGHTS if options.weights == "default" else Path(options.weights)
    with safe_open(start, "pt") as file:
        about = file.metadata()
    new = {f"mask_decoder.{name}": value.half() for name, value in decoder.items()}
    about["output_heads"] = (
        f"the three masks and their expected IoUs trained anew by benchmarks/mask_choice.py, "
        f"weight of the mean {share:g}, sizes {options.sizes}"
    )
    options.write.mkdir(parents=True, exist_ok=True)
    save_file(load_file(start) | new, options.write / f"sam_mini-{share:g}.safetensors", about)


if __name__ == "__main__":
    main()
