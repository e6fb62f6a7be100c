"""Training and evaluation (chapter 3), on Accelerate: one CPU, one GPU or several, the same calls.

Recipes are values, `fit` trains, `evaluate` scores, `preflight` says beforehand what it takes.
May import everything above it in the map: `core`, `data`, `metrics`, `sam`, `adapters`,
`baselines`; knows nothing of experiments.
"""

from tlseg_lite.core.lazy import lazy as lazy

# at once: importing the module of the same name later would hide the function
from tlseg_lite.training.preflight import preflight as preflight

__getattr__, __dir__, __all__ = lazy(
    __name__,
    globals(),
    {
        "evaluation": "answers evaluate predict",
        "loop": "fit",
        "losses": "bce bce_dice dice",
        "memory": "NotEnoughMemory PeakMemory",
        "preflight": "Preflight",
        "recipe": "PAPER_IMAGES RECIPES Recipe named_recipe",
        "run_state": "Run RunState",
        "step": "TrainingStep learning_rate",
        "weight_averaging": "blend",
    },
    also=("preflight", "words"),
)
