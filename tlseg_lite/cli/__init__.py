"""The command ``tlseg-lite``. It may import everything; nobody imports it."""

from tlseg_lite.core.lazy import lazy as lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    globals(),
    {
        "commands": "build_parser main",
    },
)
