"""Tries the rewards on the rows' own answers, before a GPU is taken: what cannot judge those can judge nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Final

from modelgarden.api.finetunejob.rewards import Reward
from modelgarden_train.rewards.completion import Completion
from modelgarden_train.rewards.scorer import Scorer, Scores

_TRIED: Final = 16
"""Rows that every reward judges."""
_AT_ONCE: Final = 1024


def try_rewards(rewards: Sequence[Reward], files: Mapping[str, Path], rows: Iterable[Completion]) -> Scores:
    """Score some rows, whose text is their own answer, and every row where an answer has to be read; return the former.

    Raises:
        UserError: RewardFailed, a reward cannot judge; DatasetInvalid, an answer of type SQL is no query that works.
    """
    rest = iter(rows)
    few = list(islice(rest, _TRIED))
    with Scorer.start(rewards, files) as scorer:
        scores = scorer.score(few)
        readers = [judge for judge in scorer.judges if judge.reads_answers]
        if readers:
            for some in _parts(chain(few, rest)):
                for judge in readers:
                    judge.score(some)
    return scores


def _parts(rows: Iterable[Completion]) -> Iterator[list[Completion]]:
    rest = iter(rows)
    while part := list(islice(rest, _AT_ONCE)):
        yield part
