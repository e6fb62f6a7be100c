"""From a model to a map (chapter 8): a scene of any size in, probabilities and polygons out.

`predict_scene` reads windows, predicts and blends them; `compare` says how good a map is against
an inventory; `write_corrected` takes a person's corrections. Needs
``pip install 'tlseg-lite[maps]'``. May import `core`, `data`, `metrics`, `training`; knows no kind
of model.
"""

from tlseg_lite.core.lazy import lazy as lazy

# at once: importing the modules of the same names later would hide the functions
from tlseg_lite.maps.compare import compare as compare
from tlseg_lite.maps.predict_scene import predict_scene as predict_scene

__getattr__, __dir__, __all__ = lazy(
    __name__,
    globals(),
    {
        "compare": "MapComparison",
        "corrections": "write_corrected",
        "polygons": "write_polygons",
        "predict_scene": "Map",
        "scene_window": "SceneWindow read_window",
        "threshold": "keep_threshold",
        "windows": "Blend Windows",
    },
    also=("compare", "predict_scene"),
)
