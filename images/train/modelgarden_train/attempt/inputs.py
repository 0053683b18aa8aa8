"""What a worker needs, brought to this machine before it begins."""

from __future__ import annotations

from dataclasses import dataclass

from modelgarden_train.attempt.messages import Inputs, Saved
from modelgarden_train.attempt.reward_files import fetch_reward_files
from modelgarden_train.attempt.run import Run
from modelgarden_train.data.prepared import PreparedDataset
from modelgarden_train.models.base_model import BaseModel, fetch_base_model
from modelgarden_train.objectives.checkpoint import Checkpoint


@dataclass(frozen=True)
class Fetched:
    """What lies on this machine."""

    dataset: PreparedDataset
    base: BaseModel
    inputs: Inputs


def fetch(
    run: Run, dataset: PreparedDataset, resume: Checkpoint | None, *, port: int | None = None
) -> Fetched:
    """Bring the base model and what rewards need beside the dataset and the checkpoint.

    Raises:
        UserError: the input is wrong; the reason says which.
        TemporaryError: storage or hub does not answer.
    """
    base = fetch_base_model(
        run.config,
        run.workspace / "model",
        weights=True,
        patience=run.patience,
        prepared_with=dataset.report,
    )
    inputs = Inputs(
        model=base.path,
        training=dataset.training,
        validation=dataset.validation,
        images=dataset.images,
        longest_row=dataset.report.longest_row_tokens,
        rewards=fetch_reward_files(run, dataset.report),
        resume=Saved(step=resume.step, path=resume.path) if resume else None,
        port=port,
    )
    return Fetched(dataset=dataset, base=base, inputs=inputs)
