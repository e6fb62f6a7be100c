"""Reading results tables (chapter 6): from printed scores back to the confusion matrix.

`recover_confusion` inverts a row, `check` finds whether a row can be true, `published` has the
papers' tables. May import `core` and `metrics`.
"""

# at once: importing the module of the same name later would hide the function
from tlseg_lite.audit.published import published as published
from tlseg_lite.core.lazy import lazy as lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    globals(),
    {
        "conventions": "AVERAGES COLUMNS F1S IOUS SHORT Convention Recovered UnderdeterminedError "
        "as_percent",
        "published": "official_results",
        "recover": "closed_form fit recover_confusion",
        "report": "Report audit_table check explain",
        "rules": "broken_rules",
    },
    also=("published",),
)
