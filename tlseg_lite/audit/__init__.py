"""Reading results tables (chapter 6): from printed scores back to the confusion matrix.

`recover_confusion` inverts a row, `check` says whether a row can be true, `published` has the
papers' tables. May import `core` and `metrics`.
"""

# at once, not when first used: importing the module of the same name would hide the function
from tlseg_lite.audit.published import published
from tlseg_lite.core.lazy import lazy

# public name -> module that defines it; imported when first used
_NAMES = {
    "closed_form": "fitting",
    "fit": "fitting",
    "official_results": "published",
    "AVERAGES": "recover",
    "COLUMNS": "recover",
    "Convention": "recover",
    "F1S": "recover",
    "IOUS": "recover",
    "Recovered": "recover",
    "UnderdeterminedError": "recover",
    "as_percent": "recover",
    "recover_confusion": "recover",
    "Report": "report",
    "SHORT": "report",
    "audit_table": "report",
    "check": "report",
    "explain": "report",
    "broken_rules": "rules",
}
_MODULES = (
    "fitting",
    "published",
    "recover",
    "report",
    "rules",
)

__all__ = ["published", *_NAMES, *_MODULES]

__getattr__, __dir__ = lazy(__name__, globals(), _NAMES, _MODULES)
