"""How a ModelDeployment replaces one revision by the next."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from modelgarden.api.base import ApiModel


class Rollout(ApiModel):
    """How a new revision replaces the old one."""

    strategy: Literal["RollingUpdate"] = Field(
        default="RollingUpdate",
        description="RollingUpdate: one pod more than replicas while it can be scheduled, else one pod is replaced "
        "at a time. Default: RollingUpdate.",
    )
    progress_deadline_seconds: Annotated[int, Field(ge=10, le=86_400)] = Field(
        default=1800,
        description="Seconds without progress after which a new revision is rolled back. Default: 1800.",
    )
