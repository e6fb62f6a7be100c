"""Training and evaluation (chapter 3), on Accelerate: one CPU, one GPU or several, the same calls.

Recipes are values, `fit` trains, `evaluate` scores, `preflight` says beforehand what it takes.
May import everything above it in the map: `core`, `data`, `metrics`, `sam`, `adapters`,
`baselines`; knows nothing of experiments.
"""

from tlseg_lite.core.lazy import lazy

# at once, not when first used: importing the module of the same name would hide the function
from tlseg_lite.training.preflight import preflight

# public name -> module that defines it; imported when first used
_NAMES = {
    "answers": "evaluation",
    "evaluate": "evaluation",
    "predict": "evaluation",
    "fit": "loop",
    "bce": "losses",
    "bce_dice": "losses",
    "dice": "losses",
    "NotEnoughMemory": "memory",
    "Preflight": "preflight",
    "PAPER_IMAGES": "recipe",
    "RECIPES": "recipe",
    "Recipe": "recipe",
    "named_recipe": "recipe",
    "Run": "run_state",
    "RunState": "run_state",
    "TrainingStep": "step",
    "learning_rate": "step",
    "blend": "weight_averaging",
}
_MODULES = (
    "evaluation",
    "loader",
    "loop",
    "losses",
    "machine",
    "memory",
    "preflight",
    "recipe",
    "run_state",
    "step",
    "weight_averaging",
)

__all__ = ["preflight", *_NAMES, *_MODULES]

__getattr__, __dir__ = lazy(__name__, globals(), _NAMES, _MODULES)
