"""The ModelDeployment that is reconciled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelgarden.api.modeldeployment import ModelDeploymentSpec, ModelDeploymentStatus
from modelgarden.controller import subject
from modelgarden.controller.subject import Identity


@dataclass(frozen=True)
class Subject(subject.Subject[ModelDeploymentSpec, ModelDeploymentStatus]):
    """One ModelDeployment."""

    @property
    def served_name(self) -> str:
        """Return the model name of the OpenAI API."""
        return self.spec.served_model_name or self.name


def subject_of(owner: Mapping[str, Any]) -> Subject:
    """Read a ModelDeployment.

    Raises:
        pydantic.ValidationError: the spec does not fit this operator's schema.
    """
    return Subject(
        identity=Identity.of(owner),
        spec=ModelDeploymentSpec.from_dict(owner["spec"]),
        status=status_of(owner),
    )


def status_of(owner: Mapping[str, Any]) -> ModelDeploymentStatus:
    """Read the status. What another version wrote and this one cannot read is left out; it is observed anew."""
    return ModelDeploymentStatus.readable(owner.get("status") or {})
