"""Offensive language, as alt-profanity-check tells it: a linear classifier of English texts, whose model is in the package.

It was trained on comments of the web (Wikipedia talk pages, tweets). It finds insults and swearing, not what is meant;
of other languages it knows next to nothing, and names of body parts in a medical text may be enough for it.
"""

from __future__ import annotations

from collections.abc import Sequence


def offensive(texts: Sequence[str]) -> list[bool]:
    """Tell of each text whether it is offensive; several at once take a fraction of the time."""
    from profanity_check import predict

    return [bool(found) for found in predict(list(texts))] if texts else []
