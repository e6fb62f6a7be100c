"""Self-checks for the exercises (every chapter), and the copies of the notebooks for a class.

``tl.exercises.check("2.3", answer)`` prints whether an answer is right and, where it is not, what
went wrong. The truth is computed by the package when it is asked for; typical mistakes are
recognised by computing what each of them would give. ``tl.exercises.given("6.2")`` is what an
exercise works on. ``tlseg-lite course OUT`` writes the notebooks without solutions for students and
with them for teachers. A module a chapter; may import everything but `cli`.
"""

from tlseg_lite.core.lazy import lazy as lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    globals(),
    {
        "verdict": "Verdict",
        "checks": "check given known",
        "notebooks": "Exercise find",
        "copies": "course",
    },
)
