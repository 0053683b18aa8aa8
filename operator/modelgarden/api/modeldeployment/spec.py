"""The spec of a ModelDeployment."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from modelgarden.api.access import Storage
from modelgarden.api.base import ApiModel, ModelName, Rule
from modelgarden.api.common import Carbon, PodTemplate, Resources
from modelgarden.api.modeldeployment.engine import (
    RESERVED_ARGS_RULE,
    TYPED_ARGS_RULES,
    Engine,
    given_twice,
    reserved_name,
)
from modelgarden.api.modeldeployment.model import ModelSource
from modelgarden.api.modeldeployment.rollout import Rollout


class ModelDeploymentSpec(ApiModel):
    """What to serve, and with how much."""

    model: ModelSource = Field(description="What to serve.")
    served_model_name: ModelName | None = Field(
        default=None, description="Model name of the OpenAI API. Default: the name of this resource."
    )
    engine: Engine = Field(default=Engine(), description="The serving engine, vLLM.")
    replicas: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=1, description="Number of serving pods. Default: 1."
    )
    resources: Resources = Field(default=Resources(), description="Compute of one serving pod.")
    pod_template: PodTemplate = Field(
        default_factory=PodTemplate, description="What is added to the serving pods."
    )
    rollout: Rollout = Field(default=Rollout(), description="How a new revision replaces the old one.")
    storage: Storage = Field(default=Storage(), description="How to reach S3 and GCS.")
    carbon: Carbon = Field(default=Carbon(), description="What emissions are computed with.")

    cel_rules: ClassVar[tuple[Rule, ...]] = (RESERVED_ARGS_RULE, *TYPED_ARGS_RULES)

    @model_validator(mode="after")
    def _no_reserved_arguments(self) -> Self:
        for argument in self.engine.extra_args:
            if name := reserved_name(argument):
                raise ValueError(f"engine.extraArgs must not set {name}, which the operator sets")
        return self

    @model_validator(mode="after")
    def _no_argument_is_given_twice(self) -> Self:
        if fault := given_twice(self.engine):
            raise ValueError(fault)
        return self
