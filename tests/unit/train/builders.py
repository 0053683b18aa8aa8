"""Builders for the tests of the trainer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from modelgarden.api.artifact import RunIdentity
from modelgarden.api.emissions import EmissionsRecord, Energy, Intensity, Methods
from modelgarden.api.pods import PodCarbon, PodDataset, PodSource, RunConfig
from modelgarden_pod.energy import Metering, Span, attempt_record
from modelgarden_train.objectives.checkpoint import Checkpoint

START = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
METERING = Metering(
    methods=Methods(gpu="nvml-energy-counter", cpu="cpu-load-model", ram="dimm-model-share"),
    devices=("GPU-1",),
    intensity=Intensity(milligrams_per_kwh=380_950, zone="DEU", source="data", data_year=2023),
    tool="codecarbon 3.3.2",
)


def make_record(
    number: int,
    *,
    joules: int = 3_600,
    reason: str = "Running",
    metering: Metering = METERING,
    covered: float = 60,
) -> EmissionsRecord:
    start = START + timedelta(minutes=number)
    return attempt_record(
        Energy.of(gpu=joules, cpu=joules // 2),
        metering=metering,
        carbon=PodCarbon(zone="DEU", pue_milli=1300),
        span=Span(start=start, end=start + timedelta(seconds=60), covered_seconds=covered),
        attempt=f"attempt-{number}",
        reason=reason,
    )


def make_config(**fields: object) -> RunConfig:
    given: dict[str, object] = {
        "run": RunIdentity(namespace="team", name="job", uid="uid"),
        "run_uri": "s3://bucket/runs",
        "model_source": "s3://bucket/model",
        "dataset": PodDataset(sources=(PodSource(uri="s3://bucket/rows.jsonl"),)),
        "model_name": "bot",
    }
    return RunConfig.model_validate(given | fields)


def make_checkpoint(tmp_path: Path, step: int) -> Checkpoint:
    path = tmp_path / f"checkpoint-{step}"
    path.mkdir()
    (path / "weights").write_text(f"weights of step {step}")
    (path / "state").write_text(str(step))
    return Checkpoint(step=step, path=path)
