"""Ablations (chapter 4) and the comparison of models (chapter 7): grids of runs, one CSV row each.

`ablation` and `comparison` say what is run, `run` does it, `results` keeps it, `summary` reads it.
May import everything but `exercises`, `widgets`, `pretraining` and `cli`.
"""

from tlseg_lite.core.lazy import lazy as lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    globals(),
    {
        "interactive": "ClickCurve PromptedSam boxed_mask click_through",
        "labelling": "LabelledByClicks outline_points",
        "models": "Design Model groups named_designs prompted_mask",
        "results": "Rows add_masks read_masks",
        "splits": "Splits SyntheticSplits FoldSplits Holdout named_data",
        "summary": "FINDINGS MIDDLES PROTOCOL SETTING interval paired per_seed pooled_score "
        "scenes_first verdict",
    },
    also=("words",),
)
