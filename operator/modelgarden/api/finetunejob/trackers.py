"""Trackers of a FineTuneJob: where people follow and compare trainings."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from modelgarden.api.access import LocalReference
from modelgarden.api.addresses import WEB_ADDRESS_PATTERN, port_exists, require_port
from modelgarden.api.base import ApiModel, Rule
from modelgarden.api.messages import Message

TITLE_PATTERN: Final = r"^[A-Za-z0-9/]([A-Za-z0-9 @._/-]*[A-Za-z0-9])?$"
MLFLOW_KEYS: Final = ("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
"""Keys of a secret for MLflow: the first alone, or the other two."""
WANDB_NAME_PATTERN: Final = r"^[A-Za-z0-9_-][A-Za-z0-9_.-]*$"
WANDB_KEY: Final = "WANDB_API_KEY"
"""Key of a secret for Weights & Biases."""
WANDB_URL: Final = "https://api.wandb.ai"
_ONLINE_NEEDS_A_KEY: Final = f"mode Online needs secretRef, a secret with the key {WANDB_KEY}"

Title = Annotated[str, Field(pattern=TITLE_PATTERN, min_length=1, max_length=128)]
WandbName = Annotated[str, Field(pattern=WANDB_NAME_PATTERN, max_length=128)]
WebAddress = Annotated[str, Field(pattern=WEB_ADDRESS_PATTERN, max_length=256)]


class MLflow(ApiModel):
    """A run of an MLflow server."""

    tracking_uri: WebAddress = Field(description="URL of the server, such as https://mlflow.example.com.")
    experiment: Title = Field(description="Name of the experiment, which is made where it is missing.")
    run_name: Title | None = Field(
        default=None, description="What the run is called. Default: name of the job."
    )
    secret_ref: LocalReference | None = Field(
        default=None,
        description="Secret with the key MLFLOW_TRACKING_TOKEN, or with MLFLOW_TRACKING_USERNAME and "
        "MLFLOW_TRACKING_PASSWORD. Default: the server is asked without credentials.",
    )

    cel_rules: ClassVar[tuple[Rule, ...]] = (port_exists("trackingUri"),)

    @model_validator(mode="after")
    def _port_exists(self) -> Self:
        require_port("trackingUri", self.tracking_uri)
        return self


class TensorBoard(ApiModel):
    """Event files of TensorBoard, in the folder tensorboard/ of the run."""


class WeightsAndBiases(ApiModel):
    """A run of Weights & Biases."""

    project: WandbName = Field(description="Name of the project.")
    entity: WandbName | None = Field(
        default=None, description="User or team whose project it is. Default: that of the key."
    )
    mode: Literal["Online", "Offline"] = Field(
        default="Online",
        description="Online tells the server as the training goes. Offline writes files into the folder wandb/ of the run "
        "in S3, with each checkpoint and at the end, for wandb sync. Default: Online.",
    )
    base_url: WebAddress = Field(default=WANDB_URL, description=f"URL of the server. Default: {WANDB_URL}.")
    secret_ref: LocalReference | None = Field(
        default=None, description=f"Secret with the key {WANDB_KEY}. Default: none, for mode Offline alone."
    )

    cel_rules: ClassVar[tuple[Rule, ...]] = (
        port_exists("baseUrl"),
        Rule(
            rule="self.mode == 'Offline' || has(self.secretRef)",
            message=_ONLINE_NEEDS_A_KEY,
            field_path=".mode",
        ),
    )

    @model_validator(mode="after")
    def _holds_its_rules(self) -> Self:
        require_port("baseUrl", self.base_url)
        if self.mode == "Online" and self.secret_ref is None:
            raise ValueError(_ONLINE_NEEDS_A_KEY)
        return self


class Trackers(ApiModel):
    """Where a training is followed. A tracker that fails stops and delays nothing; status.trackers tells."""

    mlflow: MLflow | None = Field(
        default=None, description="A run of an MLflow server, the same one for all attempts. Default: none."
    )
    tensorboard: TensorBoard | None = Field(
        default=None,
        description="{} writes event files into the folder tensorboard/ of the run in S3, with each checkpoint and at the "
        "end. Default: none.",
    )
    wandb: WeightsAndBiases | None = Field(
        default=None,
        description="A run of Weights & Biases, the same one for all attempts. Default: none.",
    )


class TrackerStatus(ApiModel):
    """One tracker of the newest attempt."""

    name: str = Field(max_length=32, description="MLflow, TensorBoard or Weights & Biases.")
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
