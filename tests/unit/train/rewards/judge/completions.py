"""Completions for the tests."""

from __future__ import annotations

from modelgarden_train.rewards.completion import Completion


def make_completion(text: str, *, answer: str = "") -> Completion:
    """Return a completion, with as many tokens as it has characters."""
    return Completion(prompt="What is it?", text=text, ids=tuple(map(ord, text)), answer=answer)
