"""How `sam_mini` was made: generated pictures, two objectives, a loop with a clock."""

from importlib import import_module

_NAMES = {
    "DeadLeaves": "dead_leaves",
    "Pictures": "dead_leaves",
    "Plan": "loop",
    "pretrain": "loop",
    "export": "loop",
}
_MODULES = ("dead_leaves", "objective", "loop")

__all__ = [
    "DeadLeaves",
    "Pictures",
    "Plan",
    "dead_leaves",
    "export",
    "loop",
    "objective",
    "pretrain",
]


def __getattr__(name: str):
    if name in _NAMES:
        return getattr(import_module(f"{__name__}.{_NAMES[name]}"), name)
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
