"""The result of a FineTuneJob that another resource names: its artifact, or why there is none. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from modelgarden.api.conditions import FAILED, Problem
from modelgarden.api.finetunejob import ArtifactStatus

AWAITED: Final = frozenset({"FineTuneJobNotFound", "WaitingForFineTuneJob"})
"""Reasons for which nothing is wrong: the job is not there yet, or not done, and its events tell when it is."""


def artifact_of(job: Mapping[str, Any] | None) -> ArtifactStatus | None:
    """Return the registered artifact of a FineTuneJob, None where it has none."""
    value = ((job or {}).get("status") or {}).get("artifact")
    try:
        return None if value is None else ArtifactStatus.from_dict(value)
    except ValidationError:  # written by another version of the operator
        return None


def awaited(name: str, job: Mapping[str, Any] | None) -> Problem:
    """Return why a FineTuneJob of that name has no artifact."""
    if job is None:
        return Problem("FineTuneJobNotFound", f"FineTuneJob {name!r} does not exist in this namespace yet.")
    status = job.get("status") or {}
    for condition in status.get("conditions", []):
        if (condition["type"], condition["status"]) == (FAILED, "True"):
            said = f"FineTuneJob {name!r} has failed ({condition['reason']}): {condition['message']}"
            return Problem(
                "FineTuneJobFailed", f"{said} Name another job, or replace it by one that succeeds."
            )
    if (job.get("spec") or {}).get("dryRun"):
        said = f"FineTuneJob {name!r} is a dry run (spec.dryRun), which trains nothing."
        return Problem("FineTuneJobFailed", f"{said} Name another job, or replace it by one that trains.")
    phase = status.get("phase") or "Pending"
    return Problem(
        "WaitingForFineTuneJob", f"FineTuneJob {name!r} has no artifact yet; its phase is {phase}."
    )
