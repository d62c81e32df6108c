"""Why a request finds no recorded answer: the nearest recorded request, and what differs.

    recorded = Recorded(entries, identifier)          # once
    explanation = recorded.explain(Miss(request, call, namespace, key, reason))
    message = "\\n".join(lines(explanation))

An explanation shows parts of recorded requests. Show it only to those who may read them: where entries are isolated,
`entries` must be those of the scope of who asks.
"""

from .explanation import Difference, Explanation, Miss, Recorded
from .text import lines

__all__ = ["Difference", "Explanation", "Miss", "Recorded", "lines"]
