"""Where modules of version 0.1 have gone: their old paths work for one release, and warn.

``tl.zero_shot`` and the other short names stay (`SHORT`). ``import tlseg_lite.zero_shot`` gives the
same module under its new name, with a `FutureWarning` that says which.
"""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec

MOVED = {
    "ablation": "experiments.ablation",
    "ablation_data": "experiments.splits",
    "ablation_summary": "experiments.ablation_summary",
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
    "comparison_job": "experiments.comparison_job",
    "comparison_summary": "experiments.comparison_summary",
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
    "fitting": "audit.fitting",
    "lora": "adapters.lora",
    "losses": "training.losses",
    "machine": "training.preflight",
    "mask_store": "experiments.mask_store",
    "memory": "training.memory",
    "model": "adapters.translandseg",
    "networks": "baselines.registry",
    "objects": "metrics.objects",
    "onednn": "adapters.onednn",
    "positions": "adapters.positions",
    "probing": "training.preflight",
    "progress": "core.progress",
    "provenance": "core.provenance",
    "published": "audit.published",
    "recipes": "training.recipe",
    "records": "core.records",
    "recovery": "audit.recover",
    "rows": "experiments.results",
    "rules": "audit.rules",
    "statistics": "metrics.intervals",
    "steps": "training.step",
    "tiled": "adapters.tiled_attention",
    "transfer": "core.transfer",
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


class _Alias(Loader):
    """Loads an old path by handing over the module at its new path, untouched."""

    def __init__(self, name: str):
        self.name = name

    def create_module(self, spec: ModuleSpec):
        module = import_module(self.name)
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
