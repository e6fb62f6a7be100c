"""Where modules of version 0.1 have gone: their old paths work for one release, and warn.

``tl.zero_shot`` and the other short names stay (`SHORT`). ``import tlseg_lite.zero_shot`` gives the
same module under its new name, with a `FutureWarning` that says which.
"""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

MOVED = {
    "ablation": "experiments.ablation",
    "ablation_data": "experiments.splits",
    "ablation_summary": "experiments.summary",
    "atl": "adapters.atl",
    "attention": "adapters.attention",
    "batches": "training.loader",
    "blending": "training.weight_averaging",
    "boundary": "metrics.boundary",
    "calibration": "metrics.calibration",
    "ccnet": "baselines.ccnet",
    "checkpoints": "training.run_state",
    "cli_train": "cli.train",
    "comparison": "experiments.comparison",
    "comparison_job": "experiments.run",
    "comparison_summary": "experiments.comparison",
    "contestants": "experiments.models",
    "curves": "metrics.thresholds",
    "data.confusers": "scenes.lookalikes",
    "data.errors": "core.errors",
    "data.export": "scenes.export",
    "data.ground": "scenes.ground",
    "data.landcover": "scenes.landcover",
    "data.palettes": "scenes.palettes",
    "data.rendering": "scenes.rendering",
    "data.samples": "data.sample_sets",
    "data.separability": "scenes.separability",
    "data.slides": "scenes.landslides",
    "data.synthetic": "scenes.synthetic",
    "data.terrain": "scenes.terrain",
    "downloads": "core.downloads",
    "encoder": "adapters.encoder",
    "evaluation": "training.evaluation",
    "files": "core.files",
    "fitting": "audit.recover",
    "lora": "adapters.lora",
    "losses": "training.losses",
    "machine": "training.preflight",
    "mask_store": "experiments.results",
    "memory": "training.memory",
    "model": "adapters.translandseg",
    "networks": "baselines.registry",
    "objects": "metrics.objects",
    "positions": "adapters.attention",
    "probing": "training.preflight",
    "progress": "core.progress",
    "provenance": "core.provenance",
    "published": "audit.published",
    "recipes": "training.recipe",
    "records": "core.records",
    "recovery": "audit",
    "rows": "experiments.results",
    "rules": "audit.rules",
    "statistics": "metrics.intervals",
    "steps": "training.step",
    "tiled": "adapters.tiled_attention",
    "transfer": "core.downloads",
    "transunet": "baselines.transunet",
    "zero_shot": "sam.prompting",
}
"""Old module -> new module, both below ``tlseg_lite``."""

SHORT = {
    name: MOVED[name]
    for name in (
        "ablation",
        "atl",
        "attention",
        "blending",
        "boundary",
        "calibration",
        "checkpoints",
        "comparison",
        "curves",
        "downloads",
        "encoder",
        "evaluation",
        "files",
        "losses",
        "machine",
        "memory",
        "model",
        "objects",
        "probing",
        "progress",
        "recipes",
        "records",
        "statistics",
        "steps",
        "zero_shot",
    )
}
"""Old modules that are still public as ``tl.name``."""


class _Package(ModuleType):
    """A package whose public names stay when an old module of the same name is imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (isinstance(value, ModuleType) and name in self.__all__):
            super().__setattr__(name, value)


class _Alias(Loader):
    """Loads an old path by handing over the module at its new path, untouched."""

    def __init__(self, name: str):
        self.name = name

    def create_module(self, spec: ModuleSpec):
        module = import_module(self.name)
        parent = sys.modules[spec.name.rpartition(".")[0]]
        if spec.name.count(".") > 1:  # tl.data.samples is a function, and was a module as well
            parent.__class__ = _Package
        self.spec = module.__spec__
        return module

    def exec_module(self, module) -> None:
        module.__spec__ = self.spec  # the import system has put the old path's in its place


class _Finder(MetaPathFinder):
    def find_spec(self, name: str, path=None, target=None) -> ModuleSpec | None:
        package, _, old = name.partition(".")
        if package != "tlseg_lite" or old not in MOVED:
            return None
        new = f"tlseg_lite.{MOVED[old]}"
        warnings.warn(
            f"{name} is now {new}; the old path goes with version 0.3",
            FutureWarning,
            stacklevel=2,  # the import system's own frames are not counted
        )
        return ModuleSpec(name, _Alias(new))


def install() -> None:
    """Let the import system find old paths, after everything that is really there; once."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())


def _warn(old: str, new: str) -> None:
    warnings.warn(
        f"{old} is now {new}; the old name goes with version 0.3", FutureWarning, stacklevel=3
    )


def renamed(module: str, names: dict[str, str]) -> Callable[[str], Any]:
    """A module's ``__getattr__`` that gives a public name under its old one, and warns."""

    def get(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        _warn(f"{module}.{name}", names[name])
        return getattr(sys.modules[module], names[name])

    return get


def renamed_argument(old: str, new: str) -> Callable:
    """A decorator: the function takes the argument `new` under its old name too, and warns."""

    def decorate(function: Callable) -> Callable:
        @functools.wraps(function)
        def call(*args, **kwargs):
            if old in kwargs:
                _warn(f"{function.__qualname__}'s argument {old!r}", repr(new))
                kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return call

    return decorate
