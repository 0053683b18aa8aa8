"""Rewards that are a comparison of words or numbers, and need no process to be judged in. Pure."""

from __future__ import annotations

from modelgarden.api.finetunejob.rewards import LengthReward
from modelgarden_train.rewards.completion import Completion


def exact_match(completion: Completion) -> float:
    """Return 1 where the completion is the row's answer, space around it aside, else 0."""
    return float(completion.text.strip() == completion.answer.strip())


def length(tokens: int, wanted: LengthReward) -> float:
    """Return 1 within the wanted number of tokens, falling evenly to 0 over the slack beyond it."""
    beyond = max(
        0,
        (wanted.min_tokens or tokens) - tokens,
        tokens - (wanted.max_tokens or tokens),
    )
    return max(0.0, 1.0 - beyond / wanted.slack_tokens) if wanted.slack_tokens else float(beyond == 0)
