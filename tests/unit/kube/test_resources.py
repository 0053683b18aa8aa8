"""Whose an object is, and where it lies."""

from __future__ import annotations

from typing import Any

import pytest

from modelgarden.api.names import API_VERSION, FINETUNEJOB_LABEL, MODELDEPLOYMENT_LABEL
from modelgarden.kube.resources import (
    FINETUNEJOBS,
    JOBS,
    MODELDEPLOYMENTS,
    PODS,
    SECRETS,
    Key,
    owner_key,
    resource_of,
)


def child(*, owner: dict[str, Any] | None = None, labels: dict[str, str] | None = None) -> dict[str, Any]:
    metadata: dict[str, Any] = {"namespace": "team", "name": "child"}
    if owner is not None:
        metadata["ownerReferences"] = [owner]
    if labels is not None:
        metadata["labels"] = labels
    return {"metadata": metadata}


FINETUNEJOB = {
    "apiVersion": API_VERSION,
    "kind": "FineTuneJob",
    "name": "job",
    "uid": "1",
    "controller": True,
}
JOB = {"apiVersion": "batch/v1", "kind": "Job", "name": "job-train", "uid": "2", "controller": True}


@pytest.mark.parametrize(
    ("obj", "want"),
    [
        (child(owner=FINETUNEJOB), Key(FINETUNEJOBS, "team", "job")),
        (child(owner=FINETUNEJOB, labels={FINETUNEJOB_LABEL: "liar"}), Key(FINETUNEJOBS, "team", "job")),
        (child(owner=JOB, labels={FINETUNEJOB_LABEL: "job"}), Key(FINETUNEJOBS, "team", "job")),
        (child(labels={MODELDEPLOYMENT_LABEL: "served"}), Key(MODELDEPLOYMENTS, "team", "served")),
        (child(owner={**FINETUNEJOB, "controller": False}), None),
        (child(owner={**FINETUNEJOB, "apiVersion": "example.com/v1"}), None),
        (child(owner=JOB), None),
        (child(), None),
    ],
    ids=[
        "by its controller",
        "by its controller before any label",
        "a pod by its label",
        "a pod of a ModelDeployment by its label",
        "not by an owner that does not control it",
        "not by a kind of another group",
        "not by a Job of somebody else",
        "nobody's",
    ],
)
def test_a_child_belongs_to(obj: dict[str, Any], want: Key | None) -> None:
    assert owner_key(obj) == want


@pytest.mark.parametrize(
    ("resource", "root"),
    [(JOBS, "/apis/batch/v1"), (PODS, "/api/v1"), (FINETUNEJOBS, "/apis/modelgarden.dev/v1alpha1")],
)
def test_resources_lie_under_their_group(resource: Any, root: str) -> None:
    assert resource.root == root


def test_an_object_tells_its_resource() -> None:
    assert resource_of({"apiVersion": "v1", "kind": "Secret"}) is SECRETS
    with pytest.raises(KeyError):
        resource_of({"apiVersion": "v1", "kind": "ConfigMap"})
