"""What is judged. Imports nothing, as the process that judges knows it too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Completion:
    """What the model answered to a prompt."""

    prompt: str
    """The question as people wrote it."""
    text: str
    """The model's answer, without special tokens."""
    ids: Sequence[int]
    """Its tokens."""
    answer: str
    """What the row says is right."""
