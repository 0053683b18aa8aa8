"""What completions are worth by all rewards of a training. Each that needs one has a process of its own (`judged.py`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from modelgarden.api.finetunejob import LengthReward, Objective, Reward
from modelgarden_pod.prctl import hide_from_others
from modelgarden_train.rewards.completion import Completion
from modelgarden_train.rewards.computed import exact_match, length
from modelgarden_train.rewards.judged import BuiltInReward, FunctionReward


@dataclass(frozen=True)
class Scores:
    """What completions are worth."""

    by_reward: tuple[tuple[float | None, ...], ...]
    """By reward, in the order of the spec, and completion; None where a reward does not judge it."""
    weights: tuple[float, ...]
    """Of the rewards."""

    @property
    def totals(self) -> tuple[float | None, ...]:
        """Each completion's sum of the rewards that judge it, each times its weight; None where none does."""
        return tuple(self._total(values) for values in zip(*self.by_reward, strict=True))

    def _total(self, values: Sequence[float | None]) -> float | None:
        weighted = [
            weight * value for weight, value in zip(self.weights, values, strict=True) if value is not None
        ]
        return math.fsum(weighted) if weighted else None


class Judge(Protocol):
    """A reward that is ready to judge."""

    reads_answers: bool
    """Whether it can fail by a row's answer, so that every row's has to be tried."""

    def wait(self) -> None:
        """Wait until it can judge."""

    def score(self, completions: Sequence[Completion]) -> tuple[float | None, ...]:
        """Return what each completion is worth."""

    def close(self) -> None:
        """Let it go."""


class Scorer:
    """All rewards of a training. Close it in the end."""

    def __init__(self, judges: Sequence[Judge], weights: Sequence[float]) -> None:
        self.judges = tuple(judges)
        self._weights = tuple(weights)

    @classmethod
    def start(cls, rewards: Sequence[Reward], files: Mapping[str, Path]) -> Self:
        """Start what judges, with the local copy of each `reward.file`; it lives as long as the calling thread.

        This process's memory is hidden from others of the same user, as a reward's process is one.

        Raises:
            UserError: RewardFailed, a reward cannot judge.
        """
        hide_from_others()
        with ExitStack() as started:
            judges = []
            for place, reward in enumerate(rewards):
                judges.append(_judge(place, reward, files))
                started.callback(judges[-1].close)
            for judge in judges:
                judge.wait()
            started.pop_all()
        return cls(judges, [reward.weight for reward in rewards])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def score(self, completions: Sequence[Completion]) -> Scores:
        """Return what completions are worth.

        Raises:
            UserError: RewardFailed, the user's function says nothing that can be used; DatasetInvalid, an answer of type
                SQL is no query that works.
        """
        return Scores(tuple(judge.score(completions) for judge in self.judges), self._weights)

    def close(self) -> None:
        """End all processes."""
        for judge in self.judges:
            judge.close()


@contextmanager
def judging(objective: Objective, files: Mapping[str, Path]) -> Iterator[Scorer | None]:
    """Yield what judges completions, None for an objective without rewards; its end ends it.

    Raises:
        UserError: RewardFailed, a reward cannot judge.
    """
    if objective.grpo is None:
        yield None
        return
    with Scorer.start(objective.grpo.rewards, files) as scorer:
        yield scorer


class ComputedReward:
    """A reward that needs no process."""

    reads_answers = False

    def __init__(self, worth: Callable[[Completion], float]) -> None:
        self._worth = worth

    def wait(self) -> None:
        """Return at once."""

    def score(self, completions: Sequence[Completion]) -> tuple[float | None, ...]:
        """Return what each completion is worth."""
        return tuple(self._worth(completion) for completion in completions)

    def close(self) -> None:
        """Nothing is to be let go."""


def _judge(place: int, reward: Reward, files: Mapping[str, Path]) -> Judge:
    label = f"objective.grpo.rewards[{place}] ({reward.type})"
    file = files[reward.file] if reward.file else None
    if reward.type == "ExactMatch":
        return ComputedReward(exact_match)
    if reward.length:
        return ComputedReward(partial(_length, wanted=reward.length))
    if reward.python and file:
        return FunctionReward(label, reward, reward.python, file)
    return BuiltInReward(label, reward, file)


def _length(completion: Completion, *, wanted: LengthReward) -> float:
    return length(len(completion.ids), wanted)
