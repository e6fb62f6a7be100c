"""Synthetic landslide scenes (appendix A2): terrain, land cover, landslides, light, sensor.

Exact labels and no download: the course's default data. Scores on them are never shown as results
on the real sets. May import `core` and `data`.
"""

from tlseg_lite.core.lazy import lazy as lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    globals(),
    {
        "export": "synthesize",
        "fallback": "course_samples",
        "separability": "separation",
        "synthetic": "Scene SyntheticLandslides make_scene",
        "valley": "Valley make_valley",
    },
    modules={name: name for name in ("rendering", "separability", "terrain")},
)
