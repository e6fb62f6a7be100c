"""What a run is: its settings, its images and its model. Two that differ are two runs.

The identity is in the run's state, so that a call that would go on with something else is refused,
and in every saved model, so that whoever scores it later knows which images it has seen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from tlseg_lite.training.recipe import Recipe

PARTS = ("train", "val", "test")
_WORDS = {"train": "training", "val": "validation", "test": "test"}


def images_of(dataset: Dataset | None) -> dict[str, Any] | None:
    """A part's images as plain values: ids in their order, and a digest of what they are.

    The digest covers the ids, the sizes of their files in bytes where the dataset names files,
    and the pixels of the first image. Folders are not covered: data may move.

    Args:
        dataset: with ``ids``; without them its images are counted only. None: not known.
    """
    if dataset is None:
        return None
    ids = [str(key) for key in getattr(dataset, "ids", ())]
    digest = hashlib.sha256("\n".join(ids).encode())
    files = getattr(dataset, "files", None)
    if callable(files):
        for index in range(len(dataset)):
            sizes = [Path(file).stat().st_size for file in files(index)]
            digest.update(repr(sizes).encode())
    first = dataset[0] if len(dataset) else {}
    for name in ("image", "mask"):
        if name in first:
            digest.update(first[name].numpy().tobytes())
    return {
        "number": len(dataset),
        "ids": ids,
        "digest": digest.hexdigest()[:16],
        "source": str(getattr(dataset, "source", "")),
    }


def identity(
    recipe: Recipe, model: Any, train: Dataset, val: Dataset, test: Dataset | None
) -> dict[str, Any]:
    """Recipe, model (with its backbone's fingerprint) and images of a run, as plain values."""
    parts = dict(zip(PARTS, map(images_of, (train, val, test)), strict=True))
    return plain({"recipe": recipe.as_dict(), "model": model.description(), "images": parts})


def of_an_old_state(about: Mapping[str, Any], epochs: int) -> dict[str, Any]:
    """The identity in a state of version 0.1, which had settings and model in one and no images.

    Args:
        about: what the state says.
        epochs: of the schedule, which such a state does not say.
    """
    names = Recipe().as_dict()
    settings = {name: about.get(name, usual) for name, usual in names.items()}
    model = {name: value for name, value in about.items() if name not in names}
    return plain({"recipe": settings | {"epochs": epochs}, "model": model, "images": {}})


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What tells two identities apart, in words; empty for one and the same run.

    Where the weights of a backbone lie does not count, its fingerprint does. What one of the two
    does not know (a test part, the images of an old state) is not compared.
    """
    found = []
    for what in ("recipe", "model"):
        a, b = (_without_places(side[what]) for side in (before, now))
        found += [
            f"{name} was {a.get(name)!r}, now {b.get(name)!r}"
            for name in sorted(a.keys() | b.keys())
            if a.get(name) != b.get(name)
        ]
    for part in PARTS:
        a, b = (side.get("images", {}).get(part) for side in (before, now))
        if a and b and a["digest"] != b["digest"]:
            found.append(_other_images(_WORDS[part], a, b))
    return found


def _other_images(part: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    gone, new = (
        [key for key in one["ids"] if key not in set(other["ids"])]
        for one, other in ((before, now), (now, before))
    )
    text = f"{part} images: {before['number']} before, {now['number']} now"
    if gone or new:
        return f"{text} ({len(gone)} gone{_some(gone)}, {len(new)} new{_some(new)})"
    if sorted(before["ids"]) == sorted(now["ids"]) and before["ids"] != now["ids"]:
        return f"{text}, the same in another order"
    return f"{text}, of the same names and with other content"


def _some(ids: list[str]) -> str:
    return f": {', '.join(ids[:3])}{' ...' if len(ids) > 3 else ''}" if ids else ""


def _without_places(values: Mapping[str, Any]) -> dict[str, Any]:
    backbone = values.get("backbone")
    if isinstance(backbone, Mapping) and "fingerprint" in backbone:
        return {**values, "backbone": {"fingerprint": backbone["fingerprint"]}}
    return dict(values)


def seen(run: Mapping[str, Any] | None, ids: Iterable[str]) -> dict[str, list[str]]:
    """Of `ids`, those that a model was trained on and those that chose its epoch, by part."""
    images = (run or {}).get("images", {})
    ids = list(ids)
    return {
        part: [key for key in ids if key in set(images[part]["ids"])]
        for part in ("train", "val")
        if images.get(part)
    }


def plain(value: Any) -> Any:
    """Tuples as lists, all the way down, as they come back from a file."""
    if isinstance(value, Mapping):
        return {key: plain(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value
