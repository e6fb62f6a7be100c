"""How stored values become [0, 1]: one rule for a whole set, kept with the model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tlseg_lite.core.errors import DataError

PERCENTILES = (2.0, 98.0)
"""Of the values of a band: they become 0 and 1 where nothing else is said and 8 bits are not."""

SAMPLE = 4_000_000  # values of a band that percentiles are taken from, evenly spread


@dataclass(frozen=True)
class Scaling:
    """Bands of a file and, for each, the values that become 0 and 1; what is beyond is cut.

    Attributes:
        bands: their numbers in the file, from 1, in the order red, green, blue of the model.
        low, high: the values that become 0 and 1, in the file's unit.
    """

    bands: tuple[int, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def __post_init__(self):
        if not len(self.bands) == len(self.low) == len(self.high):
            raise ValueError(
                f"{len(self.bands)} bands with {len(self.low)} low and {len(self.high)} high "
                "values; expected one of each for a band"
            )
        for band, low, high in zip(self.bands, self.low, self.high, strict=True):
            if not low < high:
                raise DataError(
                    f"band {band} would be scaled from {low:g} to {high:g}: no range. All its "
                    "values are equal, or the limits are exchanged; give scale=(low, high)"
                )

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Values (C, H, W) as stored -> float32 (C, H, W) in [0, 1]."""
        low, high = (np.array(v, np.float32)[:, None, None] for v in (self.low, self.high))
        scaled = values.astype(np.float32)
        scaled -= low
        scaled /= high - low
        return np.clip(scaled, 0, 1, out=scaled)

    def as_dict(self) -> dict[str, Any]:
        """In plain values, for a saved model."""
        return {name: list(values) for name, values in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Scaling:
        """What `as_dict` gave."""
        return cls(**{name: tuple(several) for name, several in values.items()})

    def __str__(self) -> str:
        parts = zip(self.bands, self.low, self.high, strict=True)
        return ", ".join(f"band {b}: {low:g} to {high:g}" for b, low, high in parts)


def scaling_for(
    scale: Any, bands: tuple[int, ...], dtype: Any, sample: Iterable[np.ndarray]
) -> Scaling:
    """The `Scaling` that `scale` asks for.

    Args:
        scale: None: 8 bits are divided by 255, anything else goes by the percentiles `PERCENTILES`
            of the sample; "percentiles": these in any case; a number: that value is white (and 0
            black); (low, high); a `Scaling`, as another set's.
        bands: numbers of the bands, from 1.
        dtype: of the stored values.
        sample: arrays (C, N) of valid values; read only where percentiles are asked for.

    Raises:
        ValueError: `scale` is none of these, or a `Scaling` of another number of bands.
        DataError: there is no valid value, or a band has no range.
    """
    count = len(bands)
    if isinstance(scale, Scaling):
        if len(scale.bands) != count:
            raise ValueError(f"scale is for {len(scale.bands)} bands, and bands are {bands}")
        return Scaling(bands, scale.low, scale.high)
    if scale is None and np.dtype(dtype) == np.uint8:
        scale = 255
    if scale is None or scale == "percentiles":
        parts = [part for part in sample if part.shape[1]]
        if not parts:
            raise DataError(
                "no valid value to take percentiles from: every pixel is nodata or not finite"
            )
        low, high = np.percentile(np.concatenate(parts, 1).astype(np.float64), PERCENTILES, axis=1)
        return Scaling(bands, tuple(low.tolist()), tuple(high.tolist()))
    limits = (0, scale) if isinstance(scale, (int, float)) else scale
    try:
        low, high = (float(value) for value in limits)
    except (TypeError, ValueError):
        raise ValueError(
            f"scale is {scale!r}; expected None, 'percentiles', the value that is white, (low, "
            "high), or another dataset's scaling"
        ) from None
    return Scaling(bands, (low,) * count, (high,) * count)


def thinned(values: np.ndarray, most: int) -> np.ndarray:
    """(C, N) values -> at most about `most` of each band, evenly spread, finite ones."""
    step = max(1, values.shape[1] // max(most, 1))
    kept = values[:, ::step]
    return kept[:, np.isfinite(kept).all(0)]
