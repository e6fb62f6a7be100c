"""Controls in the pages (several chapters): HTML with data and script inside, no server.

Each function returns a `Widget`, which shows itself in a notebook, in Colab and in the built
book alike, and needs neither a running kernel nor the network. Every value that a control can
show was computed by this package, or is computed by a few lines of JavaScript that the tests
compare with it. All of them work with the keyboard alone and put what changes into words.
Without JavaScript one state remains. May import everything but `exercises` and `cli`.
"""

from tlseg_lite.core.lazy import lazy as lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    globals(),
    {
        "page": "Widget",
        "budget": "budget_explorer",
        "clicks": "click_to_segment",
        "confusion": "confusion_sliders",
        "correct_view": "View correct",
        "correcting": "Corrector",
        "diagrams": "sam_diagram atl_diagram generator_diagram training_diagram map_diagram",
        "layers": "landslide_map map_layers",
        "live": "live_files live_html live_page live_picture",
        "oneclick": "click_to_correct",
        "pictures": "before_after picture_slider",
        "threshold": "threshold_slider",
    },
)
