"""What was counted for a GPU: what is a byte, and that the page says what the record says."""

import csv

import gpu_counts
import torch
from course import ROOT


def test_bytes_are_inputs_and_outputs_once_and_views_are_free():
    a, b = torch.ones(10, 10), torch.ones(10, 10)
    with gpu_counts.Traffic() as traffic:
        (a + b).t()[:3]
        a.mul_(2.0)
    assert traffic.operations == 2
    assert traffic.bytes == 4 * (3 * 100 + 2 * 100)


def test_the_page_says_what_was_counted():
    with gpu_counts.OUT.open() as file:
        rows = {(r["what"], r["quantity"]): float(r["value"]) for r in csv.DictReader(file)}
    page = (ROOT / "book" / "machines.md").read_text("utf-8")
    for quantity in ("images, as it is", "images, fused"):
        rate = rows["pre-training on an H100", quantity]
        assert f"{round(rate, -2):,.0f} images a second" in page
    assert rows["loss on 1024 x 1024", "time on an H100"] < 1
    assert abs(rows["loss on 256 x 256, smooth logits", "difference of the gradient"]) > 0.1
