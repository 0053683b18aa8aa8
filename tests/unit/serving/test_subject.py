"""Reading a ModelDeployment as the API server has it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from modelgarden.api.modeldeployment import ModelDeploymentStatus
from modelgarden.serving.subject import subject_of
from tests.unit.serving.builders import spec

OWNER: dict[str, Any] = {
    "apiVersion": "modelgarden.dev/v1alpha1",
    "kind": "ModelDeployment",
    "metadata": {
        "namespace": "team", "name": "bot", "uid": "1234", "generation": 3, "creationTimestamp": "2026-11-21T11:00:00Z",
    },
    "spec": {"model": {"fineTuneJobRef": {"name": "tune"}}, "replicas": 2},
}  # fmt: skip


def test_identity_spec_and_status_are_read() -> None:
    subject = subject_of({**OWNER, "status": {"phase": "Ready", "readyReplicas": 2}})

    assert (subject.namespace, subject.name, subject.uid, subject.generation) == ("team", "bot", "1234", 3)
    assert subject.identity.created == "2026-11-21T11:00:00Z"
    assert subject.spec == spec(replicas=2)
    assert subject.status == ModelDeploymentStatus(phase="Ready", ready_replicas=2)


def test_a_new_one_has_an_empty_status() -> None:
    assert subject_of(OWNER).status == ModelDeploymentStatus()


def test_what_another_version_wrote_in_the_status_is_left_out_and_the_rest_is_read() -> None:
    status = {"phase": "Dreaming", "readyReplicas": 2, "weight": 10}

    assert subject_of({**OWNER, "status": status}).status == ModelDeploymentStatus(ready_replicas=2)


def test_a_spec_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValidationError, match="replicas"):
        subject_of({**OWNER, "spec": {**OWNER["spec"], "replicas": "many"}})
