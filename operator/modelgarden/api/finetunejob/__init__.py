"""FineTuneJob: tune a base model on a dataset and register the artifact."""

from modelgarden.api.finetunejob.dataset import BAD_ROWS_PATTERN, Dataset, Preparation, PrepareResources
from modelgarden.api.finetunejob.estimate import Estimate
from modelgarden.api.finetunejob.evaluation import Evaluation
from modelgarden.api.finetunejob.model import REVISION_PATTERN, BaseModelSource, RegistryReference
from modelgarden.api.finetunejob.needs import Needs, Pass
from modelgarden.api.finetunejob.objective import (
    DEFAULT_LEARNING_RATES,
    Dpo,
    DpoLoss,
    Kto,
    KtoLoss,
    Objective,
    ObjectiveType,
    Orpo,
)
from modelgarden.api.finetunejob.output import USED_FORMAT, ArtifactFormat, Output
from modelgarden.api.finetunejob.parent import BaseModelRecord, Parent
from modelgarden.api.finetunejob.quality import FIELD_OF_REASON, Action, Quality, Reason
from modelgarden.api.finetunejob.source import (
    CLAIM_PATTERN,
    CONFIG_MAP_PATTERN,
    HUB_NAME_PATTERN,
    STORAGE_FILES_PATTERN,
    WEB_PATTERN,
    DatasetFormat,
    DatasetSource,
    Source,
)
from modelgarden.api.finetunejob.spec import IMMUTABLE_FIELDS, FineTuneJobSpec
from modelgarden.api.finetunejob.status import (
    ArtifactStatus,
    AttemptStatus,
    DatasetStatus,
    FineTuneJobStatus,
    Lengths,
    Phase,
    Progress,
    Resolved,
)
from modelgarden.api.finetunejob.trackers import (
    MLFLOW_KEYS,
    TITLE_PATTERN,
    WANDB_KEY,
    WANDB_NAME_PATTERN,
    MLflow,
    TensorBoard,
    Trackers,
    TrackerStatus,
    TrackerStatuses,
    WeightsAndBiases,
)
from modelgarden.api.finetunejob.training import Checkpoint, LoraParameters, Method, Schedule, Training

__all__ = [
    "BAD_ROWS_PATTERN",
    "CLAIM_PATTERN",
    "CONFIG_MAP_PATTERN",
    "DEFAULT_LEARNING_RATES",
    "FIELD_OF_REASON",
    "HUB_NAME_PATTERN",
    "IMMUTABLE_FIELDS",
    "MLFLOW_KEYS",
    "REVISION_PATTERN",
    "STORAGE_FILES_PATTERN",
    "TITLE_PATTERN",
    "USED_FORMAT",
    "WANDB_KEY",
    "WANDB_NAME_PATTERN",
    "WEB_PATTERN",
    "Action",
    "ArtifactFormat",
    "ArtifactStatus",
    "AttemptStatus",
    "BaseModelRecord",
    "BaseModelSource",
    "Checkpoint",
    "Dataset",
    "DatasetFormat",
    "DatasetSource",
    "DatasetStatus",
    "Dpo",
    "DpoLoss",
    "Estimate",
    "Evaluation",
    "FineTuneJobSpec",
    "FineTuneJobStatus",
    "Kto",
    "KtoLoss",
    "Lengths",
    "LoraParameters",
    "MLflow",
    "Method",
    "Needs",
    "Objective",
    "ObjectiveType",
    "Orpo",
    "Output",
    "Parent",
    "Pass",
    "Phase",
    "Preparation",
    "PrepareResources",
    "Progress",
    "Quality",
    "Reason",
    "RegistryReference",
    "Resolved",
    "Schedule",
    "Source",
    "TensorBoard",
    "TrackerStatus",
    "TrackerStatuses",
    "Trackers",
    "Training",
    "WeightsAndBiases",
]
