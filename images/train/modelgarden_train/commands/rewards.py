"""What a run is rewarded for: brought into its folder, and tried on the rows' own answers before a GPU is taken."""

from __future__ import annotations

from modelgarden.api.artifact import DatasetReport
from modelgarden.api.layout import DATASET_TRAIN
from modelgarden_train.attempt.reward_files import keep_reward_files, local_reward_files
from modelgarden_train.attempt.run import Run
from modelgarden_train.data.prepared_rows import read_rows
from modelgarden_train.rewards.completion import Completion
from modelgarden_train.rewards.trial import try_rewards


def with_rewards(run: Run, report: DatasetReport) -> DatasetReport:
    """Return the report of a run with what its rewards need; as it is where there are none.

    Raises:
        UserError: RewardFailed, a reward cannot judge; DatasetNotFound, what it needs is not there.
        TemporaryError: storage does not answer.
    """
    grpo = run.config.objective.grpo
    if grpo is None:
        return report
    report = report.model_copy(update={"files": (*report.files, *keep_reward_files(run))})
    rows = run.workspace / "rewarded.parquet"
    run.folder.download(DATASET_TRAIN, rows)
    own = (
        Completion(prompt=row.question, text=row.answer, ids=row.reference_ids, answer=row.answer)
        for row in read_rows(rows)
    )
    try_rewards(grpo.rewards, local_reward_files(run), own)
    return report
