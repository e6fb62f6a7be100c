"""How `sam_mini` was made (appendix A1): generated pictures, two objectives, a loop with a clock.

May import `core`, `data` and `sam`.
"""

from tlseg_lite.core.lazy import lazy

# public name -> module that defines it; imported when first used
_NAMES = {
    "DeadLeaves": "dead_leaves",
    "Pictures": "dead_leaves",
    "export": "loop",
    "pretrain": "loop",
    "Plan": "plan",
}
_MODULES = (
    "dead_leaves",
    "held_out",
    "loop",
    "muon",
    "objective",
    "plan",
    "prompts",
    "textures",
)

__all__ = [*_NAMES, *_MODULES]

__getattr__, __dir__ = lazy(__name__, globals(), _NAMES, _MODULES)
