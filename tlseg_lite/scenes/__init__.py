"""Synthetic landslide scenes (appendix A2): terrain, land cover, landslides, light, sensor.

Exact labels and no download: the course's default data. Scores on them are never shown as results
on the real sets. May import `core` and `data`.
"""

from tlseg_lite.core.lazy import lazy

# public name -> module that defines it; imported when first used
_NAMES = {
    "synthesize": "export",
    "course_samples": "fallback",
    "separation": "separability",
    "Scene": "synthetic",
    "SyntheticLandslides": "synthetic",
    "make_scene": "synthetic",
}
_MODULES = (
    "export",
    "ground",
    "landcover",
    "landslides",
    "lookalikes",
    "palettes",
    "rendering",
    "separability",
    "synthetic",
    "terrain",
)

__all__ = [*_NAMES, *_MODULES]

__getattr__, __dir__ = lazy(__name__, globals(), _NAMES, _MODULES)
