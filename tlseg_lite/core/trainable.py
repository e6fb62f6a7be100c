"""What can be trained, evaluated, saved and loaded: the one contract of all models.

`tlseg_lite.fit` and everything around it ask no more of a model than `Trainable` has. A model of
your own is a class with a ``forward``:

>>> import torch
>>> from tlseg_lite.core.trainable import Trainable, load_model
>>> class Colour(Trainable):
...     '''One weight a colour: bare soil is not green.'''
...     def __init__(self, image_size: int = 64):
...         super().__init__(image_size)
...         self.weights = torch.nn.Conv2d(3, 1, kernel_size=1)
...     def forward(self, images):  # (B, 3, S, S) in [0, 1] -> logits (B, 1, S, S)
...         self.check_images(images)
...         return self.weights(images)

It can be given to `tlseg_lite.fit`, ``Colour(64).save(path)`` writes it, and ``load_model(path)``
reads it wherever the class is defined. With more arguments than `image_size`, name them in
`description`; with a frozen part that can be had elsewhere, leave it out in `trained_state`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tlseg_lite.core.errors import CheckpointError
from tlseg_lite.core.files import misfits, read_description, read_tensors, write_tensors

_HOME = {
    "TransLandSeg": "tlseg_lite.adapters.translandseg",
    "Baseline": "tlseg_lite.baselines.wrapper",
}
"""Where the package's own models are, for `load_model`: this folder imports none of them."""

_TRAINED_ON = "trained_on"


class Trainable(nn.Module):
    """Images (B, 3, S, S), float in [0, 1] -> logits (B, 1, S, S); > 0 is landslide.

    What comes from it: `forward`, and `description` where the class has further arguments.

    Attributes:
        image_size: S, the side of the square images in pixels.
        run: the identity of the training that made the weights (`tlseg_lite.training.identity`):
            recipe, and the ids of the images that it learned from; None for an untrained model,
            empty from files that do not say, as those of version 0.1. Saved with the model.
        kind: the model's name in saved files: that of the class below `Trainable`; classes that
            derive from it share it.
        trained_on: what a user of the model has to know of its training, in plain values, kept in
            the saved file: ``ground_width`` (metres that an image covered), ``scaling`` (bands and
            the values that became 0 and 1), ``threshold`` (a logit, chosen on validation).
    """

    kind = ""

    def __init_subclass__(cls, **options: Any):
        super().__init_subclass__(**options)
        cls.kind = cls.kind or cls.__name__

    def __init__(self, image_size: int):
        super().__init__()
        self.image_size = image_size
        self.run: dict[str, Any] | None = None
        self.trained_on: dict[str, Any] = {}

    def check_images(self, images: torch.Tensor) -> None:
        """ValueError unless `images` are (B, 3, S, S)."""
        side = self.image_size
        if images.ndim != 4 or tuple(images.shape[1:]) != (3, side, side):
            raise ValueError(
                f"images have shape {tuple(images.shape)}, expected (B, 3, {side}, {side}); "
                "tlseg_lite.data.transforms.fit_square brings any image to that size"
            )

    def trained_state(self) -> dict[str, torch.Tensor]:
        """The tensors that training changes, by name: all parameters and buffers.

        They are the model's own, not copies.
        """
        return {name: tensor.detach() for name, tensor in self.state_dict().items()}

    def load_trained_state(self, state: Mapping[str, torch.Tensor], source: str | Path) -> None:
        """Take over tensors made by `trained_state`; names and shapes must fit exactly.

        Raises:
            CheckpointError: names `source` and the tensors that do not fit; nothing is changed.
        """
        copy_strictly(self.trained_state(), state, source)

    def description(self) -> dict[str, Any]:
        """How to build this model again, in plain values: `kind`, and the class's arguments."""
        return {"model": self.kind, "image_size": self.image_size}

    @classmethod
    def from_description(cls, about: Mapping[str, Any], source: str | Path) -> Trainable:
        """An untrained model as `description` described it; `source` is for error messages."""
        return cls(**{name: value for name, value in about.items() if name != "model"})

    def save(self, path: str | Path) -> None:
        """Write tensors, `description`, `run`, `trained_on` as one safetensors file, atomically."""
        about = self.description() | ({} if self.run is None else {"run": self.run})
        about |= {_TRAINED_ON: self.trained_on} if self.trained_on else {}
        write_tensors(path, self.trained_state(), about)

    @classmethod
    def load_tensors(cls, path: str | Path) -> dict[str, torch.Tensor]:
        """Only the tensors that `save` wrote to `path`, for `load_trained_state`.

        Raises:
            FileNotFoundError: no such file.
            CheckpointError: not a file of `save`, damaged, or of another class.
        """
        return read_tensors(path, expected=cls.kind)[0]

    @classmethod
    def load(cls, path: str | Path, **given: Any) -> Trainable:
        """The model saved at `path`, in eval mode; `given` goes to `from_description`.

        Raises:
            FileNotFoundError: no such file.
            CheckpointError: not a file of `save`, damaged, or of another class.
        """
        tensors, about = read_tensors(path, expected=cls.kind)
        run, trained_on = about.pop("run", {}), about.pop(_TRAINED_ON, {})
        model = cls.from_description(about, path, **given)
        model.load_trained_state(tensors, path)
        model.run, model.trained_on = run, trained_on
        return model.eval()


def check_trainable(model: nn.Module) -> None:
    """TypeError for a model that lacks a part of the contract, by name."""
    parts = ("image_size", "trained_state", "load_trained_state", "description", "save")
    if missing := [name for name in parts if not hasattr(model, name)]:
        raise TypeError(
            f"the model is a {type(model).__name__} without {', '.join(missing)}; derive its class "
            "from tlseg_lite.Trainable"
        )


def load_model(path: str | Path, sam: nn.Module | None = None) -> Trainable:
    """The model saved at `path`, of whichever class: `TransLandSeg`, a baseline, or your own.

    Args:
        path: what `Trainable.save` wrote.
        sam: the backbone, for a `TransLandSeg` only; None: the one that the file names.

    Raises:
        FileNotFoundError: no such file, or the backbone's own weights file is gone.
        CheckpointError: not a file of `save`, damaged, or of a class that is not known here.
    """
    kind = read_description(path)["model"]
    if kind in _HOME:
        import_module(_HOME[kind])
    found = [cls for cls in _descendants(Trainable) if cls.kind == kind]
    if not found:
        raise CheckpointError(
            f"{path} holds a {kind}, and no class of that name is defined here; import the module "
            "that defines it (a class that derives from tlseg_lite.core.trainable.Trainable)"
        )
    first = next(c for c in found if all(getattr(b, "kind", "") != kind for b in c.__bases__))
    return first.load(path, **({"sam": sam} if kind == "TransLandSeg" else {}))


def _descendants(cls: type[Trainable]) -> Iterator[type[Trainable]]:
    for below in reversed(cls.__subclasses__()):  # a class that was defined anew comes first
        yield below
        yield from _descendants(below)


def copy_strictly(
    own: Mapping[str, torch.Tensor], given: Mapping[str, torch.Tensor], source: str | Path
) -> None:
    """Copy `given` into the tensors `own` in place; CheckpointError if a name or shape differs."""
    if odd := misfits(own, given):
        raise CheckpointError(
            f"{source} does not fit this model: {len(odd)} tensors are missing, unexpected or of "
            f"another shape ({', '.join(odd[:3])}); build the model as the saved one was built, "
            "design and image size included"
        )
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(given[name])
