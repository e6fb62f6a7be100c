"""The command ``tlseg-lite``. It may import everything; nobody imports it."""

from tlseg_lite.core.lazy import lazy

# public name -> module that defines it; imported when first used
_NAMES = {
    "build_parser": "commands",
    "main": "commands",
}
_MODULES = (
    "commands",
    "train",
)

__all__ = [*_NAMES, *_MODULES]

__getattr__, __dir__ = lazy(__name__, globals(), _NAMES, _MODULES)
