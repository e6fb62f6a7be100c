"""SAM's relative positions by row and column, gathered once while the weights are frozen."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

import torch

if TYPE_CHECKING:
    from segment_anything.modeling.image_encoder import Attention


class Positions(NamedTuple):
    """Position vectors of a window, one for each pair of rows and each pair of columns."""

    rows: torch.Tensor  # h, h, d: row of the query, row of the key
    columns: torch.Tensor  # w, w, d


def relative_positions(attention: Attention, size: tuple[int, int]) -> Positions:
    """The tables of one attention layer for windows of `size` (rows, columns).

    Frozen weights are gathered once for each layer and size. A change of the weights is seen,
    whether they are replaced, moved, converted, loaded or written in place; only on a GPU, a write
    through ``.data`` is not. Weights that train are gathered each time, with their gradient.
    """
    weights = attention.rel_pos_h, attention.rel_pos_w
    if any(w.requires_grad or w.is_inference() for w in weights):
        return _gather(weights, size)
    kept = _KEPT.setdefault(attention, {})
    if size not in kept or not kept[size].holds(weights):
        kept[size] = _Kept(weights, size)
    return kept[size].positions


def _gather(weights: tuple[torch.Tensor, torch.Tensor], size: tuple[int, int]) -> Positions:
    from segment_anything.modeling.image_encoder import get_rel_pos

    return Positions(*(get_rel_pos(n, n, w) for n, w in zip(size, weights, strict=True)))


class _Kept:
    """Gathered tables, and what is needed to know whether they are still those of the weights."""

    def __init__(self, weights: tuple[torch.Tensor, torch.Tensor], size: tuple[int, int]):
        with torch.no_grad(), torch.inference_mode(False):  # else of no use for training later
            self.positions = _gather(weights, size)
            self.values = [w.clone() if w.device.type == "cpu" else None for w in weights]
        self.alias = [w.detach() for w in weights]  # no other tensor can take this memory
        self.versions = [w._version for w in weights]

    def holds(self, weights: tuple[torch.Tensor, torch.Tensor]) -> bool:
        return all(
            w.device == alias.device
            and w.dtype == alias.dtype
            and w.shape == alias.shape
            # values are cheap to compare on a CPU; on a GPU it would wait for all work to end
            and (
                (w.data_ptr() == alias.data_ptr() and w._version == version)
                if value is None
                else torch.equal(w, value)
            )
            for w, alias, version, value in zip(
                weights, self.alias, self.versions, self.values, strict=True
            )
        )


_KEPT: WeakKeyDictionary[Attention, dict[tuple[int, int], _Kept]] = WeakKeyDictionary()
