"""The programs that a FineTuneJob's Jobs run: one container each, which bears the step's name."""

from __future__ import annotations

from typing import Final

from modelgarden.workloads.endings import Program

PREPARE: Final = Program(
    container="prepare",
    failure="PrepareFailed",
    memory_advice="Raise dataset.resources.memory in a new FineTuneJob; or upload a smaller dataset, or one with shorter "
    "rows, and the job goes on by itself.",
)
TRAIN: Final = Program(
    container="train",
    failure="TrainingFailed",
    memory_advice="Raise resources.memory in a new FineTuneJob.",
)
PUBLISH: Final = Program(
    container="publish",
    failure="PublishFailed",
    memory_advice="Publish the artifact from storage by hand, or train anew with more in resources.memory, of which "
    "publishing takes at most 2Gi.",
)
