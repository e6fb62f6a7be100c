"""How `sam_mini` was made (appendix A1): generated images, two objectives, a loop with a clock.

May import `core`, `data`, `sam` and `adapters`, for the encoder's pass on a GPU.
"""

from tlseg_lite.core.lazy import lazy as lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    globals(),
    {
        "dead_leaves": "DeadLeaves Pictures",
        "held_out": "normalise",
        "loop": "export pretrain",
        "muon": "orthogonalise",
        "on_device": "DeviceLeaves",
        "plan": "Plan",
        "prompts": "draw_prompts",
    },
    modules={"objective": "objective"},
)
