"""What a run is: its settings, its images and its model. Two that differ are two runs.

The identity is in the run's state, so that a call that would go on with something else is refused,
and in every saved model, so that whoever scores it later knows which images it has seen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from tlseg_lite.core.errors import MissingDataError, listing
from tlseg_lite.training.recipe import Recipe

PARTS = ("train", "val", "test")
_WORDS = {"train": "training", "val": "validation", "test": "test"}


def images_of(dataset: Dataset | None) -> dict[str, Any] | None:
    """A part's images as plain values: ids in their order, and a digest of what they are.

    The digest covers the ids, the sizes of their files in bytes where the dataset names files,
    and the pixels of the first image. Folders are not covered: data may move.

    Args:
        dataset: with ``ids``; without them its images are counted only. None: not known.

    Raises:
        MissingDataError: files that are not there, or are empty; names them.
    """
    if dataset is None:
        return None
    ids = [str(key) for key in getattr(dataset, "ids", ())]
    digest = hashlib.sha256("\n".join(ids).encode())
    digest.update(_sizes(dataset).encode())
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


def _sizes(dataset: Dataset) -> str:
    """The sizes of each image's files; "" where the dataset names none."""
    files = getattr(dataset, "files", None)
    if not callable(files):
        return ""
    text, bad = "", []
    for index in range(len(dataset)):
        sizes = []
        for path in map(Path, files(index)):
            sizes.append(path.stat().st_size if path.is_file() else 0)
            if not sizes[-1]:
                bad.append(f"{path} {'is empty' if path.exists() else 'is not there'}")
        text += repr(sizes)
    if bad:
        raise MissingDataError(
            f"{len(bad)} files of {getattr(dataset, 'source', 'the images')} cannot be used: "
            f"{listing(bad)}. Put them back; `tlseg-lite check` reads all files"
        )
    return text


def identity(
    recipe: Recipe, model: Any, train: Dataset, val: Dataset, test: Dataset | None
) -> dict[str, Any]:
    """What a run is, as plain values.

    ``recipe``; ``model``, with its backbone's fingerprint; ``images`` by part; and ``before``, the
    identity of the run whose weights the model has at the start: None for an untrained model, empty
    where it is not known.
    """
    parts = dict(zip(PARTS, map(images_of, (train, val, test)), strict=True))
    before = getattr(model, "run", None)
    about = {"recipe": recipe.as_dict(), "model": model.description()}
    return plain({**about, "images": parts, "before": before})


def joined(run: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> dict[str, Any]:
    """The identity of the average of two models: that of the first, with all others before it."""
    run, before = run or {}, None
    for each in reversed([*_runs(other or {}), *_runs(run.get("before"))]):
        before = {**each, "before": before}
    return {**run, "before": before}


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
        a, b = (_without_places(side.get(what, {})) for side in (before, now))
        found += [
            f"{name} was {a.get(name)!r}, now {b.get(name)!r}"
            for name in sorted(a.keys() | b.keys())
            if a.get(name) != b.get(name)
        ]
    for part in PARTS:
        a, b = (side.get("images", {}).get(part) for side in (before, now))
        if a and b and a["digest"] != b["digest"]:
            found.append(_other_images(_WORDS[part], a, b))
    if "before" in before and _other_start(before["before"], now.get("before")):
        words = ("an untrained model", "the model of another run")
        was, given = (words[side.get("before") is not None] for side in (before, now))
        found.append(f"it began with {was}, now {given} is given")
    return found


def same_run(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether two identities differ in nothing but the number of epochs."""
    epochs = a.get("recipe", {}).get("epochs")
    return not differences(a, {**b, "recipe": {**b.get("recipe", {}), "epochs": epochs}})


def _other_start(was: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> bool:
    if not was or not now:
        return was != now
    return bool(differences(was, now))


def _other_images(part: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    here, there = set(now["ids"]), set(before["ids"])
    gone = [key for key in before["ids"] if key not in here]
    new = [key for key in now["ids"] if key not in there]
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
    """Of `ids`, those that a model was trained on and those that chose its epoch, by part.

    In its own run and in those before it. Names are compared, and nothing else.
    """
    ids, found = list(ids), {}
    for each in _runs(run):
        for part in ("train", "val"):
            known = (each.get("images", {}).get(part) or {}).get("ids", ())
            found[part] = found.get(part, set()) | set(known)
    return {part: [key for key in ids if key in known] for part, known in found.items()}


def images_known(run: Mapping[str, Any] | None) -> bool:
    """Whether each run that led to a model names the images that it learned from."""
    return run is not None and all(
        (each.get("images", {}).get("train") or {}).get("ids") for each in _runs(run)
    )


def _runs(run: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    while run is not None:
        yield run
        run = run.get("before")


def plain(value: Any) -> Any:
    """Tuples as lists, all the way down, as they come back from a file."""
    if isinstance(value, Mapping):
        return {key: plain(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value
