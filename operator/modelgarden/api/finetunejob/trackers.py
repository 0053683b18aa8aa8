"""Trackers of a FineTuneJob: where people follow and compare trainings."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

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


def _each_once(trackers: tuple[TrackerStatus, ...]) -> tuple[TrackerStatus, ...]:
    if len({tracker.name for tracker in trackers}) != len(trackers):
        raise ValueError("trackers must not repeat a name")
    return trackers


TrackerStatuses = Annotated[tuple[TrackerStatus, ...], Field(max_length=8), AfterValidator(_each_once)]
"""What is told of the trackers of an attempt, in documents and in the status."""
