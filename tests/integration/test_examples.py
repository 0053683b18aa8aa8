"""The examples, as users apply them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from hack.cluster import ControlPlane
from modelgarden.api.finetunejob import ObjectiveType
from modelgarden.api.kinds import FINETUNEJOB
from tests.integration.crd_api import RawApi

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").rglob("*.yaml"))
DATASETS = sorted((ROOT / "examples" / "datasets").glob("*.yaml"))
FORMS = ("s3://", "gs://", "hf://", "pvc://", "configmap://", "https://")


def jobs(path: Path) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(path.read_text()) if one["kind"] == FINETUNEJOB.name]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
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
    models = [job["spec"]["model"] for path in EXAMPLES for job in jobs(path)]

    assert {"source", "fineTuneJobRef", "registry"} <= {form for model in models for form in model}
    assert {form for model in models for form in model.get("registry", ())} == {"name", "alias", "version"}


def test_every_format_has_an_example() -> None:
    outputs = [job["spec"]["output"] for path in EXAMPLES for job in jobs(path)]

    assert {form for output in outputs for form in output.get("formats", ())} >= {"Merged16Bit", "GGUF"}


def test_every_objective_has_an_example() -> None:
    trained = {job["spec"].get("objective", {}).get("type", "SFT") for path in EXAMPLES for job in jobs(path)}

    assert trained == set(get_args(ObjectiveType))


def test_the_queue_that_the_documentation_shows_is_that_of_the_example() -> None:
    text = (ROOT / "docs" / "distributed.md").read_text()
    (shown,) = (
        block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "ClusterQueue" in block
    )
    whole = list(yaml.safe_load_all((ROOT / "examples" / "gpus" / "queue.yaml").read_text()))

    assert list(yaml.safe_load_all(shown)) == [one for one in whole if one["kind"] != "WorkloadPriorityClass"]
