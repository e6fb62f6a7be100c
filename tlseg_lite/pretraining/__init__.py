"""How `sam_mini` was made: generated pictures, two objectives, a loop with a clock."""

from importlib import import_module

_NAMES = {
    "DeadLeaves": "dead_leaves",
    "Pictures": "dead_leaves",
    "Plan": "plan",
    "pretrain": "loop",
    "export": "loop",
}
_MODULES = ("dead_leaves", "held_out", "loop", "muon", "objective", "plan", "prompts", "textures")

__all__ = [*_NAMES, *_MODULES]


def __getattr__(name: str):
    if name in _NAMES:
        return getattr(import_module(f"{__name__}.{_NAMES[name]}"), name)
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
