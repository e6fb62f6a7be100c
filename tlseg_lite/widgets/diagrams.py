"""The course's diagrams: SAM's parts, the ATL layer, the released generator, training, mapping.

Shapes and widths are read from the model that is shown, so that a diagram says what its chapter
computes with.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from tlseg_lite.adapters.atl import ATLConfig, bottleneck_width
from tlseg_lite.widgets.drawing import Arrow, Box, Diagram


def sam_diagram(sam: Any) -> Diagram:
    """SAM's three parts and what goes between them, with the shapes of `sam`.

    Args:
        sam: a SAM as `load_sam` gives it.
    """
    side, blocks, width = _encoder(sam)
    channels = sam.prompt_encoder.embed_dim
    grid = sam.prompt_encoder.image_embedding_size[0]
    masks = sam.mask_decoder.num_multimask_outputs
    boxes = {
        "image": Box("image", (f"3 × {side} × {side}",), "data", (0, 0), (0, 0)),
        "encoder": Box(
            "image encoder",
            (f"ViT, {blocks} blocks", f"of width {width}", "once an image"),
            "step",
            (1, 0),
            (0, 1),
        ),
        "embedding": Box("embedding", (f"{channels} × {grid} × {grid}",), "data", (2, 0), (0, 2)),
        "prompt": Box("prompt", ("points, a box,", "or a mask"), "data", (0, 1), (1, 0)),
        "prompts": Box("prompt encoder", ("once a click",), "step", (1, 1), (1, 1)),
        "vectors": Box(
            "prompt vectors", (f"n × {channels}", "and a grid"), "data", (2, 1), (1, 2)
        ),
        "decoder": Box(
            "mask decoder", ("attention both ways", "once a click"), "step", (3, 0.5), (0.5, 3)
        ),
        "masks": Box(
            f"{masks} masks", (f"logits, {4 * grid} × {4 * grid}",), "data", (4, 0), (0, 4)
        ),
        "scores": Box(
            f"{masks} predicted IoUs", ("one for each mask",), "data", (4, 1), (1, 4)
        ),
    }  # fmt: skip
    arrows = _chain("image", "encoder", "embedding", "decoder", "masks")
    arrows += _chain("prompt", "prompts", "vectors", "decoder", "scores")
    label = (
        f"SAM in three parts. The image encoder turns an image of {side} by {side} pixels into an "
        f"embedding of {channels} by {grid} by {grid}, once. The prompt encoder turns points, a "
        f"box or a mask into vectors. The mask decoder reads both and answers {masks} masks, "
        "each with its predicted IoU."
    )
    return Diagram(label, boxes, arrows)


def atl_diagram(sam: Any, design: ATLConfig | None = None) -> Diagram:
    """The ATL layer before a block (Eq. 6 to 9): down, middle, up, added to the block's input.

    Args:
        sam: a SAM as `load_sam` gives it.
        design: an adapter with one middle layer, outside the block, with the residual; default:
            TransLandSeg's.

    Raises:
        ValueError: for another kind of design, which has another diagram.
    """
    design = design or ATLConfig()
    if (design.source, design.placement, design.residual) != ("block", "outside", True):
        raise ValueError(
            f"{design} is not drawn here; expected an adapter for each block, outside, with its "
            "residual, such as DESIGNS['TransLandSeg']"
        )
    _, _, width = _encoder(sam)
    d = bottleneck_width(design, width)
    kinds = {"m": f"linear {d} → {d}", "c": f"3 × 3 convolution, {d}"}
    middle = tuple(kinds[kind] for kind in design.middle)
    boxes = {
        "input": Box("from block i − 1", (f"tokens × {width}",), "data", (0, 1), (0, 0)),
        "down": Box("Down", (f"linear {width} → {d}", "trained"), "trained", (1, 0), (1, 1)),
        "middle": Box("Middle", (*middle, "GELU, trained"), "trained", (2, 0), (1, 2)),
        "up": Box(
            "Up", (f"linear {d} → {width}", "trained, starts at 0"), "trained", (3, 0), (1, 3)
        ),
        "sum": Box("sum", ("input + change",), "step", (3, 1), (0, 4)),
        "block": Box(
            "block i", ("attention, MLP,", "frozen"), "frozen", (4, 1), (0, 5)
        ),
    }  # fmt: skip
    arrows = [*_chain("input", "down", "middle", "up", "sum", "block")]
    arrows.append(Arrow("input", "sum", "residual"))
    label = (
        f"The ATL layer. The tokens before block i, {width} wide, go down to {d}, through a middle "
        f"layer with GELU and up to {width} again; these layers train. The result is added to the "
        "tokens, and the sum enters the frozen block."
    )
    return Diagram(label, boxes, arrows)


def generator_diagram(sam: Any, design: ATLConfig | None = None) -> Diagram:
    """What the released code builds instead: one generator for all blocks.

    Args:
        sam: a SAM as `load_sam` gives it.
        design: a design with ``source="shared"``; default: TransLandSeg-released.

    Raises:
        ValueError: for a design with an adapter for each block.
    """
    design = design or ATLConfig(source="shared")
    if design.source != "shared":
        raise ValueError(f"{design} has an adapter for each block; expected source='shared'")
    side, blocks, width = _encoder(sam)
    d = bottleneck_width(design, width)
    middle = "linear and GELU" if design.middle == ("m",) else f"{len(design.middle)} layers"
    boxes = {
        "tokens": Box("patch embedding", (f"{width} wide, frozen",), "frozen", (0, 0), (0, 0)),
        "image": Box("image", (f"3 × {side} × {side}",), "data", (0, 1), (1, 0)),
        "linear": Box("linear", (f"{width} → {d}", "shared, trained"), "trained", (1, 0), (0, 1)),
        "edges": Box(
            "high-pass filter", (f"and patches, 3 → {d}", "shared, trained"), "trained",
            (1, 1), (1, 1),
        ),
        "sum": Box("sum", ("the same signal", "for all blocks"), "step", (2, 0.5), (0.5, 2)),
        "middle": Box(
            "Middle of block i", (middle, f"one of {blocks}, trained"), "trained",
            (3, 0.5), (0.5, 3),
        ),
        "up": Box("Up", (f"linear {d} → {width}", "shared, trained"), "trained", (4, 0.5), (0, 4)),
        "block": Box("input of block i", ("added to it",), "frozen", (4, 1.4), (1, 4)),
    }  # fmt: skip
    arrows = _chain("tokens", "linear", "sum", "middle", "up", "block")
    arrows += _chain("image", "edges", "sum")
    label = (
        f"The generator of the released code. The patch embedding goes through one linear layer "
        f"from {width} to {d}, the high-pass filtered image through one patch layer from 3 to {d}; "
        f"their sum is the same for all {blocks} blocks. Each block has a small middle layer of "
        f"its own, then one shared layer up to {width}, added to the block's input. It does not "
        "see what earlier blocks computed."
    )
    return Diagram(label, boxes, arrows)


def training_diagram() -> Diagram:
    """One epoch of `fit`: the step, repeated, and the validation that keeps the best epoch."""
    boxes = {
        "images": Box("training images", ("and their masks",), "data", (0, 0), (0, 0)),
        "augment": Box(
            "batch", ("turned, mirrored,", "fitted to a square"), "step", (1, 0), (0, 1)
        ),
        "model": Box(
            "model", ("encoder frozen;", "adapters and", "decoder trained"), "trained",
            (2, 0), (0, 2),
        ),
        "loss": Box("loss", ("BCE and Dice", "of the logits"), "step", (3, 0), (0, 3)),
        "adamw": Box("AdamW", ("gradients of what", "trains; cosine rate"), "step", (3, 1), (1, 3)),
        "validation": Box(
            "validation images", ("MIoU after", "each epoch"), "data", (1, 1), (1, 1)
        ),
        "best": Box("best epoch", ("its weights kept",), "step", (0, 1), (1, 0)),
    }  # fmt: skip
    boxes["update"] = Box("new weights", ("next batch",), "step", (2, 1), (1, 2))
    arrows = _chain("images", "augment", "model", "loss", "adamw", "update", "model")
    arrows += _chain("update", "validation", "best")
    label = (
        "The training loop. Training images become a batch, the model answers logits, the loss is "
        "BCE and Dice, AdamW changes the adapters and the decoder and the next batch follows. "
        "After each epoch the validation images are scored, and the best epoch's weights are kept."
    )
    return Diagram(label, boxes, arrows)


def map_diagram() -> Diagram:
    """From a scene to polygons: what `maps.predict_scene` does, and the comparison after it."""
    boxes = {
        "scene": Box("scene", ("GeoTIFF with its", "coordinate system"), "data", (0, 0), (0, 0)),
        "windows": Box("windows", ("a fixed grid,", "overlapping"), "step", (1, 0), (0, 1)),
        "model": Box(
            "adapted SAM", ("a batch of windows", "after the other"), "step", (2, 0), (0, 2)
        ),
        "blend": Box("blending", ("smooth weights", "in the overlap"), "step", (3, 0), (0, 3)),
        "probability": Box(
            "probability.tif", ("Cloud-Optimized", "GeoTIFF"), "data", (3, 1), (1, 3)
        ),
        "threshold": Box(
            "threshold", ("from validation;", "smallest area"), "step", (2, 1), (1, 2)
        ),
        "polygons": Box("landslides.gpkg", ("polygons, areas,", "slope"), "data", (1, 1), (1, 1)),
        "compare": Box("comparison", ("with an inventory,", "in metres"), "step", (0, 1), (1, 0)),
    }  # fmt: skip
    names = ("scene", "windows", "model", "blend")
    arrows = _chain(*names, "probability", "threshold", "polygons", "compare")
    label = (
        "The way from a scene to a map. The scene is cut into overlapping windows on a fixed grid, "
        "the adapted SAM answers them in batches, their probabilities are blended with smooth "
        "weights into probability.tif; a threshold and a smallest area give the polygons of "
        "landslides.gpkg, which are compared with an inventory."
    )
    return Diagram(label, boxes, arrows)


def _encoder(sam: Any) -> tuple[int, int, int]:
    """Side of the input in pixels, number of blocks, width of the tokens."""
    encoder = sam.image_encoder
    return encoder.img_size, len(encoder.blocks), encoder.pos_embed.shape[-1]


def _chain(*names: str) -> list[Arrow]:
    return [Arrow(a, b) for a, b in pairwise(names)]
