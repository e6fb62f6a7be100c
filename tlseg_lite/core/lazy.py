"""Public names that are imported when they are first used, so that importing stays cheap."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any


def lazy(
    package: str,
    namespace: dict[str, Any],
    names: Mapping[str, str],
    modules: Iterable[str] | Mapping[str, str],
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` for a package's ``__init__`` (PEP 562).

    Args:
        package: the package's ``__name__``.
        namespace: its ``globals()``, where a name stays once it was used.
        names: public name -> module that defines it, of the package itself (``"bijie"``) or
            anywhere (``"tlseg_lite.core.errors"``).
        modules: modules of the package that are public themselves; or public name -> module.
    """
    where = modules if isinstance(modules, Mapping) else {name: name for name in modules}

    def module(name: str) -> Any:
        return import_module(name if name.startswith("tlseg_lite.") else f"{package}.{name}")

    def get(name: str) -> Any:
        if name in names:
            value = getattr(module(names[name]), name)
        elif name in where:
            value = module(where[name])
        else:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        namespace[name] = value
        return value

    return get, lambda: sorted({*namespace, *namespace["__all__"]})
