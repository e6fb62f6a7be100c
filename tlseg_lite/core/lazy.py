"""Public names that are imported when they are first used, so that importing stays cheap."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any


def lazy(
    package: str,
    namespace: dict[str, Any],
    names: Mapping[str, str],
    *,
    modules: Mapping[str, str] | None = None,
    also: Iterable[str] = (),
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """``__getattr__``, ``__dir__`` and ``__all__`` for a package's ``__init__`` (PEP 562).

    The package's own modules are attributes too, whether they were imported or not.

    Args:
        package: the package's ``__name__``.
        namespace: its ``globals()``, where a name stays once it was used.
        names: module -> the public names that it defines, separated by blanks; a module of the
            package itself (``"bijie"``) or of another one (``"tlseg_lite.core.errors"``).
        modules: public name -> module, where a module goes by another name.
        also: public names that the package has already.
    """
    home = {name: module for module, several in names.items() for name in several.split()}
    modules = modules or {}

    def full(module: str) -> str:
        return module if module.startswith("tlseg_lite.") else f"{package}.{module}"

    def get(name: str) -> Any:
        if name in home:
            value = getattr(import_module(full(home[name])), name)
        elif name in modules:
            value = import_module(full(modules[name]))
        elif not name.startswith("_") and find_spec(full(name)) is not None:
            value = import_module(full(name))
        else:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        namespace[name] = value
        return value

    public = sorted({*also, *home, *modules})
    return get, lambda: sorted({*namespace, *public}), public
