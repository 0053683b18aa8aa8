"""How long to wait before the next look at what no event tells of."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from modelgarden.api.conditions import Problem

SOON_SECONDS: Final = 2.0
"""Wait for what ends by itself in a moment."""
RECHECK_SECONDS: Final = 5.0
"""Wait before the next look at what somebody has to mend, however long it has been so."""
STORAGE_SECONDS: Final = 10.0
"""The same where each look asks S3 itself: often enough to go on soon, seldom enough for a thousand resources."""
_SHORTEST_SECONDS: Final = 0.5


def recheck(problem: Problem) -> float:
    """Return the seconds until the next look at a problem: when the kept answer is asked for anew."""
    if problem.recheck_after is None:
        return RECHECK_SECONDS
    return max(_SHORTEST_SECONDS, problem.recheck_after)


def patience(since: datetime | None, now: datetime, *, shortest: float, longest: float) -> float:
    """Return the seconds to wait before the next look: half as long as it has been so, within bounds.

    The wait thus grows as an exponential back-off does, from nothing but the condition's own time.
    """
    waited = (now - since).total_seconds() / 2 if since is not None else 0.0
    return min(longest, max(shortest, waited))
