"""The secrets of trackers: what must be in them, and what the pods are given."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from modelgarden.api.finetunejob import Trackers
from modelgarden.finetune.manifests.prepare import prepare_job
from modelgarden.finetune.manifests.train import train_job
from modelgarden.finetune.trackers import require_mlflow, require_wandb, tracker_variables
from modelgarden.registry.errors import Refused
from tests.unit.builders import SETTINGS, make_subject

MLFLOW = {"trackingUri": "https://mlflow.example.com", "experiment": "bots", "secretRef": {"name": "mlflow"}}


def make_secret(**values: str) -> dict[str, Any]:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {"metadata": {"name": "mlflow"}, "data": data}


@pytest.mark.parametrize(
    "values",
    [
        {"MLFLOW_TRACKING_TOKEN": "token-1"},
        {"MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_PASSWORD": "a pass phrase"},
    ],
    ids=["a token", "name and password"],
)
def test_either_form_of_credentials_is_enough_for_mlflow(values: dict[str, str]) -> None:
    require_mlflow(make_secret(**values))


@pytest.mark.parametrize(
    ("values", "want"),
    [
        ({}, "has neither MLFLOW_TRACKING_TOKEN nor both MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"),
        ({"MLFLOW_TRACKING_USERNAME": "me"}, "has neither MLFLOW_TRACKING_TOKEN nor both"),
        ({"MLFLOW_TRACKING_TOKEN": ""}, "has neither MLFLOW_TRACKING_TOKEN nor both"),
        ({"MLFLOW_TRACKING_TOKEN": "token-1\n"}, "Key MLFLOW_TRACKING_TOKEN of secret 'mlflow' ends with a line break"),
        ({"MLFLOW_TRACKING_TOKEN": "to ken-1"}, "Key MLFLOW_TRACKING_TOKEN of secret 'mlflow' holds white space"),
    ],
)  # fmt: skip
def test_a_secret_that_is_of_no_use_to_mlflow_is_refused(values: dict[str, str], want: str) -> None:
    with pytest.raises(Refused) as refused:
        require_mlflow(make_secret(**values))

    assert refused.value.problem.reason == "SecretInvalid"
    assert want in refused.value.problem.message
    assert "oken-1" not in refused.value.problem.message


@pytest.mark.parametrize(
    ("values", "want"),
    [
        ({}, "lacks WANDB_API_KEY; add the key."),
        ({"WANDB_API_KEY": "key-canary 1"}, "Key WANDB_API_KEY of secret 'mlflow' holds white space"),
    ],
)
def test_a_secret_without_a_key_for_weights_and_biases_is_refused(values: dict[str, str], want: str) -> None:
    with pytest.raises(Refused) as refused:
        require_wandb(make_secret(**values))

    assert want in refused.value.problem.message
    assert "canary" not in refused.value.problem.message


def test_the_key_for_weights_and_biases_is_given_to_the_training() -> None:
    trackers = Trackers.from_dict({"wandb": {"project": "bots", "secretRef": {"name": "wandb"}}})

    require_wandb(make_secret(WANDB_API_KEY="key-1"))
    (variable,) = tracker_variables(trackers)
    assert variable["valueFrom"]["secretKeyRef"] == {
        "name": "wandb",
        "key": "WANDB_API_KEY",
        "optional": True,
    }


def test_credentials_of_trackers_reach_the_training_pod_alone_and_keep_it_from_nothing() -> None:
    subject = make_subject(trackers={"mlflow": MLFLOW})

    def given(job: dict[str, Any]) -> dict[str, Any]:
        (container,) = job["spec"]["template"]["spec"]["containers"]
        return {one["name"]: one.get("valueFrom") for one in container["env"] if "MLFLOW" in one["name"]}

    keys = ("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
    assert given(train_job(subject, SETTINGS)) == {
        key: {"secretKeyRef": {"name": "mlflow", "key": key, "optional": True}} for key in keys
    }
    assert given(prepare_job(subject, SETTINGS, inputs_hash="x")) == {}


def test_trackers_without_a_secret_have_no_variables() -> None:
    anonymous = {name: value for name, value in MLFLOW.items() if name != "secretRef"}

    assert tracker_variables(Trackers.from_dict({"mlflow": anonymous, "tensorboard": {}})) == []
