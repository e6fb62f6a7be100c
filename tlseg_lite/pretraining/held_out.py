"""The learning curve: what the model can do on images that training never sees."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tlseg_lite.core.files import write_atomically
from tlseg_lite.pretraining import objective
from tlseg_lite.pretraining.dead_leaves import DeadLeaves
from tlseg_lite.pretraining.prompts import draw_prompts

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

HELD_OUT = 2**40
"""Seeds from here on are for evaluation; training uses smaller ones."""

CURVE = (
    "minutes", "step", "pictures", "learning_rate", "difficulty", "dense_loss", "pixels_right",
    "prompt_loss", "click_best_of_3", "click_own_choice", "click_single", "box_single",
)  # fmt: skip


class HeldOut:
    """The same images and prompts each time, from seeds that training never uses."""

    def __init__(self, device: str, pictures: int, prompts: int = 8) -> None:
        self.device, self.pictures, self.prompts = device, pictures, prompts
        self.parts: list[Any] = []

    @torch.no_grad()
    def measure(self, sam: Sam) -> dict[str, float]:
        if not self.parts:
            leaves = DeadLeaves(seed=HELD_OUT, textures=96)
            for i, hard in enumerate((0.0, 0.5, 1.0)):
                generator = torch.Generator().manual_seed(HELD_OUT + i)
                pictures = leaves.sample(self.pictures, difficulty=hard, generator=generator)
                prompts = [
                    draw_prompts(
                        pictures.labels, pictures.whole, self.prompts, generator=generator,
                        boxes=share, wholes=0.0, least=100, balance=1.0,
                    )
                    for share in (0.0, 1.0)
                ]  # fmt: skip
                self.parts.append((pictures.images, prompts))
        found: dict[str, list[Tensor]] = {}
        for images, (clicks, boxes) in self.parts:
            x = normalise(images.to(self.device), sam)
            with torch.autocast(self.device.split(":")[0], torch.bfloat16):
                embeddings = sam.image_encoder(x)
                for name, prompts in (("click", clicks), ("box", boxes)):
                    sparse = objective.embed_prompts(
                        sam, prompts.points.to(self.device), prompts.kinds.to(self.device)
                    )
                    out = objective.decode(sam, embeddings, sparse, objective.no_mask(sam))
                    full = torch.nn.functional.interpolate(
                        out.masks.cpu(), images.shape[-1], mode="bilinear", align_corners=False
                    )
                    iou = objective.soft_iou(full, prompts.full.float())
                    expected = out.iou[:, 1:].cpu().argmax(1, keepdim=True)
                    for key, value in (
                        ("best_of_3", iou[:, 1:].amax(1)),
                        ("own_choice", iou[:, 1:].gather(1, expected)[:, 0]),
                        ("single", iou[:, 0]),
                    ):
                        found.setdefault(f"{name}_{key}", []).append(value)
        return {key: float(torch.cat(values).mean()) for key, values in found.items()}


def normalise(images: Tensor, sam: Sam) -> Tensor:
    """Images in [0, 1] as SAM's encoder wants them."""
    return (images * 255 - sam.pixel_mean) / sam.pixel_std


def write_curve(rows: list[dict[str, float]], path: Path) -> None:
    """The learning curve as CSV."""

    def write(temporary: Path) -> None:
        with temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, CURVE)
            writer.writeheader()
            for row in rows:
                short = {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()}
                writer.writerow(short)

    write_atomically(path, write)
