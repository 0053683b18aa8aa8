"""Type Regex: 1 where a pattern is found. A pattern that backtracks for too long finds nothing."""

from __future__ import annotations

from collections.abc import Sequence

import regex

from modelgarden_train.rewards.completion import Completion
from modelgarden_train.rewards.judge.errors import RewardError


class PatternJudge:
    """Searches completions for a pattern."""

    def __init__(self, pattern: str, *, seconds: float) -> None:
        """Read the pattern; a search ends after these seconds.

        Raises:
            RewardError: it is no pattern.
        """
        try:
            self._pattern = regex.compile(pattern)
        except (regex.error, RecursionError, OverflowError) as error:
            raise RewardError(f"the pattern is no regular expression: {error}") from error
        self._seconds = seconds

    def __call__(self, completions: Sequence[Completion]) -> list[float]:
        """Return the worth of each completion."""
        return [float(self._found(completion.text)) for completion in completions]

    def _found(self, text: str) -> bool:
        try:
            return self._pattern.search(text, timeout=self._seconds) is not None
        except (TimeoutError, MemoryError):
            return False
