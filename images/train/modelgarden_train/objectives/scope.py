"""What a training works with beside the model, and whom it tells how far it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from modelgarden.api.finetunejob import ValidationStatus
from modelgarden.api.pods import RunConfig
from modelgarden_train.data.prepared import PreparedRow
from modelgarden_train.evaluation.sight import Sight
from modelgarden_train.objectives.checkpoint import Checkpoint
from modelgarden_train.parallel.ranks import ALONE, Ranks
from modelgarden_train.rewards.scorer import Scorer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Watcher(Protocol):
    """Whom a training tells how far it is, and who tells it when to stop."""

    @property
    def stopping(self) -> bool:
        """Whether the training is to end with the step that it is at, which is saved."""
        ...

    @property
    def newest(self) -> Checkpoint | None:
        """The newest checkpoint that was saved, to go on from after running out of memory."""
        ...

    def resolved(self, hyperparameters: dict[str, str]) -> None:
        """Hear with which hyperparameters the training begins, and again where the memory has some changed."""
        ...

    def step(self, step: int, *, total: int, epoch: float, tokens: int, loss: float | None) -> None:
        """Hear of a finished optimizer step; `tokens` counts since the start of this attempt."""
        ...

    def logged(
        self,
        step: int,
        *,
        loss: float,
        learning_rate: float | None,
        gradient_norm: float | None,
        reward: float | None,
        reward_margin: float | None,
    ) -> None:
        """Hear the mean loss since it was last told, with what went with it at this step."""
        ...

    def validating(self) -> None:
        """Hear that the held-out rows are scored from now on."""
        ...

    def validated(self, step: int, *, loss: float) -> None:
        """Hear the held-out rows' loss after a step, 0 before the first; the training goes on."""
        ...

    def best(self, found: ValidationStatus) -> None:
        """Hear what all validations so far have found."""
        ...

    def gpu_memory(self, mib: int | None) -> None:
        """Hear of the peak of the GPU's memory, None on a CPU."""
        ...

    def saved(self, checkpoint: Checkpoint) -> None:
        """Hear of a checkpoint that was written."""
        ...


@dataclass(frozen=True)
class Scope:
    """What a training works with beside the model."""

    config: RunConfig
    tokenizer: PreTrainedTokenizerBase
    rows: Sequence[PreparedRow]
    checkpoints: Path
    """Local folder that checkpoints are written to."""
    base_scores: Path
    """File with the base model's scores, kept in every checkpoint so that no attempt scores it again."""
    watcher: Watcher
    held_out: Sequence[PreparedRow] = ()
    """Those that the training is validated on."""
    ranks: Ranks = ALONE
    """The processes that share each step's rows."""
    scorer: Scorer | None = None
    """What judges completions, for an objective that has rewards."""
    sight: Sight | None = None
    """Of the rows' images, where they have any."""

    def stopping(self, *, at: str) -> bool:
        """Tell whether the training is to end, as any of its processes was asked to; all of them come to this place."""
        return self.ranks.any(self.watcher.stopping, at=at)


@dataclass
class TokenCount:
    """Tokens that this attempt has trained on, padding left out."""

    tokens: int = 0
