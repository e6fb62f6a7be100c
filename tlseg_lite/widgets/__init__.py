"""Controls that work without a server: HTML with its data and its script inside.

Each function returns a `Widget`, which shows itself in a notebook, in Colab and in the built
book alike, and needs neither a running kernel nor the network. Every value that a control can
show was computed by this package, or is computed by a few lines of JavaScript that the tests hold
against it. All of them work with the keyboard alone and say in words what changes on the screen.
Without JavaScript one state remains.
"""

from tlseg_lite.core.lazy import lazy

_NAMES = {
    "Widget": "page",
    "budget_explorer": "budget",
    "click_to_segment": "clicks",
    "confusion_sliders": "confusion",
    "picture_slider": "pictures",
    "threshold_slider": "threshold",
}

__all__ = list(_NAMES)

__getattr__, __dir__ = lazy(__name__, globals(), _NAMES, [])
