"""Ablations (chapter 4) and the comparison of models (chapter 7): grids of runs, one CSV row each.

May import everything but `exercises`, `widgets`, `pretraining` and `cli`.
"""

from tlseg_lite.core.lazy import lazy

# public name -> module that defines it; imported when first used
_NAMES = {
    "Design": "ablation",
    "groups": "ablation",
    "named_designs": "ablation",
    "Contestant": "models",
    "contestants": "models",
    "Rows": "results",
    "FoldSplits": "splits",
    "Holdout": "splits",
    "Splits": "splits",
    "SyntheticSplits": "splits",
    "named_data": "splits",
}
_MODULES = (
    "ablation",
    "ablation_summary",
    "comparison",
    "comparison_job",
    "comparison_summary",
    "mask_store",
    "models",
    "results",
    "splits",
)

__all__ = [*_NAMES, *_MODULES]

__getattr__, __dir__ = lazy(__name__, globals(), _NAMES, _MODULES)
