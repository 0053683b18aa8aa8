"""Trackers of a FineTuneJob: where people follow and compare trainings."""

from __future__ import annotations

from pydantic import Field

from modelgarden.api.base import ApiModel
from modelgarden.api.messages import Message


class TensorBoard(ApiModel):
    """Event files of TensorBoard, in the folder tensorboard/ of the run."""


class Trackers(ApiModel):
    """Where a training is followed. A tracker that fails stops and delays nothing; status.trackers tells."""

    tensorboard: TensorBoard | None = Field(
        default=None,
        description="{} writes event files into the folder tensorboard/ of the run in S3, with each checkpoint and at the "
        "end. Default: none.",
    )


class TrackerStatus(ApiModel):
    """One tracker of the newest attempt."""

    name: str = Field(max_length=32, description="TensorBoard.")
    url: str | None = Field(default=None, max_length=2048, description="Where the run is found.")
    problem: Message | None = Field(
        default=None, max_length=1024, description="What it last failed with, if it has not done it since."
    )
