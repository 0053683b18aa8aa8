"""What a run has made, on its way into manifest and model card."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from modelgarden.api.artifact import DatasetReport, Evaluation, GgufRecord
from modelgarden.api.finetunejob import ArtifactFormat, BaseModelRecord, ValidationStatus


@dataclass(frozen=True)
class Results:
    """What a run has made, but for its energy, which is read at the very end."""

    base_model: BaseModelRecord
    dataset: DatasetReport
    hyperparameters: dict[str, str]
    evaluation: Evaluation
    formats: dict[ArtifactFormat, str]
    gguf: GgufRecord | None
    artifact: Path
    """Local folder with the formats, in the layout of the run."""
    validation: ValidationStatus | None = None
    """What the validations while training have found."""
