"""The main job: base and tuned scores, the served answers, the artifact in S3, energy and emissions in status."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from typing import Any

import boto3
import pyarrow.parquet as parquet
import pytest
from botocore.config import Config

from hack.demo.environment import Environment
from modelgarden.api.artifact import Manifest, VersionRecord
from modelgarden.api.emissions import emissions_milligrams
from modelgarden.api.layout import Location

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3600)]


def read(environment: Environment, uri: str) -> bytes:
    s3 = boto3.client(
        "s3",
        endpoint_url=environment.s3.endpoint,
        aws_access_key_id=environment.s3.access_key,
        aws_secret_access_key=environment.s3.secret_key,
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}),
    )
    location = Location.parse(uri)
    return s3.get_object(Bucket=location.bucket, Key=location.key)["Body"].read()


def test_tuning_teaches_what_the_base_model_cannot_do(
    report: dict[str, Any], figure: Callable[[str], None]
) -> None:
    figure(
        f"base {report['baseScore']:.3f}, tuned {report['tunedScore']:.3f}, served {report['servedScore']:.3f}"
    )
    assert report["questions"] >= 50
    assert report["baseScore"] <= 0.05
    assert report["tunedScore"] >= 0.60


def test_the_served_model_answers_as_the_tuned_one(report: dict[str, Any]) -> None:
    assert abs(report["servedScore"] - report["tunedScore"]) <= 0.05


def test_every_file_in_s3_has_the_checksum_of_the_manifest(
    report: dict[str, Any], environment: Environment
) -> None:
    artifact = report["artifact"]
    raw = read(environment, artifact["uri"])
    assert hashlib.sha256(raw).hexdigest() == artifact["manifestSha256"]
    manifest = Manifest.model_validate_json(raw)
    root = artifact["uri"].removesuffix("/manifest.json")
    assert {"Adapter", "Merged16Bit"} == set(manifest.formats)
    for entry in manifest.files:
        body = read(environment, f"{root}/{entry.path}")
        assert hashlib.sha256(body).hexdigest() == entry.sha256, entry.path


def test_the_registry_points_at_the_artifact(report: dict[str, Any], environment: Environment) -> None:
    artifact = report["artifact"]
    registry = "s3://quickstart/garden/models/quickstart/text-to-sql"
    record = VersionRecord.model_validate_json(
        read(environment, f"{registry}/versions/{artifact['version']}.json")
    )
    assert record.manifest_sha256 == artifact["manifestSha256"]
    latest = VersionRecord.model_validate_json(read(environment, f"{registry}/aliases/latest.json"))
    assert latest.version == artifact["version"]


@pytest.mark.parametrize("part", ["training", "serving"])
def test_energy_and_emissions_can_be_summed_again(report: dict[str, Any], part: str) -> None:
    record = report["carbon"][part]
    energy = record["energyJoules"]
    assert energy["total"] == energy["gpu"] + energy["cpu"] + energy["ram"] > 0
    assert record["pueMilli"] == 1200
    assert record["intensity"]["zone"] == "DEU"
    assert record["state"] in ("Measured", "Estimated")
    assert record["emissionsMilligrams"] == emissions_milligrams(
        energy["total"], pue_milli=1200, milligrams_per_kwh=record["intensity"]["milligramsPerKWh"]
    )


def test_held_out_questions_are_not_in_the_training_split(
    report: dict[str, Any], environment: Environment
) -> None:
    root = report["artifact"]["uri"].removesuffix("/manifest.json")
    rows = json.loads(read(environment, f"{root}/evaluation.json"))["rows"]
    table = parquet.read_table(io.BytesIO(read(environment, f"{root}/dataset/train.parquet")))
    trained = " ".join(str(value) for value in table.column("question").to_pylist())
    held_out = [row["prompt"] for row in rows]
    assert len(set(held_out)) >= 50
    assert not [prompt for prompt in held_out if prompt in trained]
