"""The examples of datasets, of trainings, of chains and of trackers, as users apply them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from hack.cluster import ControlPlane
from modelgarden.api.kinds import FINETUNEJOB
from tests.integration.crd_api import RawApi

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
DATASETS = sorted((ROOT / "examples" / "datasets").glob("*.yaml"))
TRAININGS = sorted((ROOT / "examples" / "training").glob("*.yaml"))
CHAINS = sorted((ROOT / "examples" / "chains").glob("*.yaml"))
TRACKERS = ROOT / "examples" / "finetunejob-trackers.yaml"
FORMS = ("s3://", "hf://", "pvc://", "configmap://", "https://")


def jobs(path: Path) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(path.read_text()) if one["kind"] == FINETUNEJOB.name]


@pytest.mark.parametrize("path", [*DATASETS, *TRAININGS, *CHAINS, TRACKERS], ids=lambda path: path.stem)
async def test_an_example_is_applied_and_means_what_it_says(
    path: Path, cluster: ControlPlane, namespace: str
) -> None:
    async with RawApi(cluster.kubeconfig, namespace) as raw:
        for job in jobs(path):
            answer = await raw.create(FINETUNEJOB, json.dumps(job["spec"]), name=job["metadata"]["name"])

            assert answer.accepted, answer.message
            assert answer.body["spec"] == FINETUNEJOB.spec.from_dict(job["spec"]).to_dict()


def test_every_kind_of_source_has_an_example() -> None:
    text = "".join(path.read_text() for path in DATASETS)

    assert all(f" {form}" in text for form in FORMS)


def test_every_way_to_name_an_earlier_result_has_an_example() -> None:
    models = [job["spec"]["model"] for path in CHAINS for job in jobs(path)]

    assert {form for model in models for form in model} == {"source", "fineTuneJobRef", "registry"}
    assert {form for model in models for form in model.get("registry", ())} == {"name", "alias", "version"}
