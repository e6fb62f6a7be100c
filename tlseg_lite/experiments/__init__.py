"""Ablations (chapter 4) and the comparison of models (chapter 7): grids of runs, one CSV row each.

May import everything but `exercises`, `widgets`, `pretraining` and `cli`.
"""

from tlseg_lite.core.lazy import lazy as lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    globals(),
    {
        "ablation": "Design groups named_designs",
        "models": "Contestant contestants",
        "results": "Rows",
        "splits": "Splits SyntheticSplits FoldSplits Holdout named_data",
    },
)
