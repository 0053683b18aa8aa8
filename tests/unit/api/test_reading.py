"""Reading an object as the API server does."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from modelgarden.api.finetunejob import FineTuneJobSpec
from modelgarden.api.kinds import FINETUNEJOB, MODELDEPLOYMENT
from modelgarden.api.modeldeployment import ModelDeploymentSpec, ModelDeploymentStatus
from tests.rule_cases import spec_of
from tests.unit.builders import make_emissions


def _job(patch: dict[str, Any]) -> FineTuneJobSpec:
    return FineTuneJobSpec.from_dict(spec_of(FINETUNEJOB, patch))


def _deployment(**fields: Any) -> ModelDeploymentSpec:
    return ModelDeploymentSpec.from_dict({**spec_of(MODELDEPLOYMENT, {}), **fields})


def test_a_null_is_an_absent_field() -> None:
    assert _deployment(replicas=None, resources={"gpus": None}) == _deployment()


def test_a_null_in_a_list_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"extraArgs\.0"):
        _deployment(engine={"extraArgs": [None]})


@pytest.mark.parametrize("number", [5.0, 5])
def test_a_whole_float_is_an_integer(number: float) -> None:
    assert _job({"training": {"epochs": number}}).training.epochs == 5


@pytest.mark.parametrize("value", [5.5, "5", True, 1e300, -(10**30)])
def test_what_is_no_integer_is_refused(value: Any) -> None:
    with pytest.raises(ValidationError, match=r"training\.epochs"):
        _job({"training": {"epochs": value}})


@pytest.mark.parametrize("name", ["served_model_name", "servedmodelname", "ServedModelName", "unknown"])
def test_a_name_that_the_api_does_not_have_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match=name):
        _deployment(**{name: "bot"})


def test_writing_and_reading_gives_the_same_spec() -> None:
    spec = _job({"carbon": {"zone": "DEU", "pue": 1.2}, "podTemplate": {"labels": {"a": "b"}}})

    assert FineTuneJobSpec.from_dict(spec.to_dict()) == spec


def _status(**fields: Any) -> dict[str, Any]:
    record = make_emissions().to_dict()
    return {"phase": "Ready", "replicas": 2, "carbon": {"total": record, "generatedTokens": 7}, **fields}


def test_a_status_of_this_version_is_read_whole() -> None:
    assert ModelDeploymentStatus.readable(_status()) == ModelDeploymentStatus.from_dict(_status())


def test_of_a_status_of_another_version_only_the_field_that_cannot_be_read_is_left_out() -> None:
    read = ModelDeploymentStatus.readable(_status(phase="Dreaming", cost={"total": "12"}))

    assert read.phase is None
    assert read.replicas == 2
    assert read.carbon is not None
    assert read.carbon.generated_tokens == 7


def test_a_name_that_another_version_added_deep_inside_costs_nothing_else() -> None:
    known = ModelDeploymentStatus.from_dict(_status())
    newer = known.to_dict()
    newer["carbon"]["total"]["attempts"][0]["node"] = "node-1"
    newer["carbon"]["total"]["waterLitres"] = 3

    assert ModelDeploymentStatus.readable(newer) == known


def test_an_unknown_zone_is_refused_by_name() -> None:
    with pytest.raises(ValidationError, match="zone 'XKX' has no known carbon intensity"):
        _job({"carbon": {"zone": "XKX"}})


@pytest.mark.parametrize("quantity", ["500m", "1.5", "1k", 4, "0.125"])
def test_a_quantity_is_read_as_kubernetes_writes_it(quantity: str | int) -> None:
    assert _deployment(resources={"cpu": quantity}).resources.cpu == quantity


@pytest.mark.parametrize("quantity", ["", "0", 0, -1, "1GiB", "1e3", "1 Gi", 1.5])
def test_what_is_no_positive_quantity_is_refused(quantity: Any) -> None:
    with pytest.raises(ValidationError, match=r"resources\.cpu"):
        _deployment(resources={"cpu": quantity})
