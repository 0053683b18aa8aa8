"""ModelDeployment: serve a registered artifact or a model folder in S3 with vLLM."""

from modelgarden.api.modeldeployment.engine import EXTRA_ARG_PATTERN, Engine, EngineArgs
from modelgarden.api.modeldeployment.model import ModelSource
from modelgarden.api.modeldeployment.rollout import Rollout
from modelgarden.api.modeldeployment.spec import ModelDeploymentSpec
from modelgarden.api.modeldeployment.status import (
    ModelDeploymentStatus,
    Phase,
    RevisionStatus,
    ServedArtifact,
    ServingCarbon,
    ServingCounters,
)

__all__ = [
    "EXTRA_ARG_PATTERN",
    "Engine",
    "EngineArgs",
    "ModelDeploymentSpec",
    "ModelDeploymentStatus",
    "ModelSource",
    "Phase",
    "RevisionStatus",
    "Rollout",
    "ServedArtifact",
    "ServingCarbon",
    "ServingCounters",
]
