"""Public names that are imported when they are first used, so that importing stays cheap."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any


def lazy(
    package: str, namespace: dict[str, Any], names: Mapping[str, str], modules: Iterable[str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` for a package's ``__init__`` (PEP 562).

    Args:
        package: the package's ``__name__``.
        namespace: its ``globals()``, where a name stays once it was used.
        names: public name -> module of the package that defines it.
        modules: modules of the package that are public themselves.
    """

    def get(name: str) -> Any:
        if name in names:
            value = getattr(import_module(f"{package}.{names[name]}"), name)
        elif name in modules:
            value = import_module(f"{package}.{name}")
        else:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        namespace[name] = value
        return value

    return get, lambda: sorted({*namespace, *namespace["__all__"]})
