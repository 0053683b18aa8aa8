"""Registration is planned: first the version, then the alias, then the end; each may fail in between."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from modelgarden.api.conditions import Problem
from modelgarden.controller.view import View
from modelgarden.finetune.effects import AllocateVersion, MoveAlias
from modelgarden.finetune.observation import Observation
from modelgarden.finetune.plan import plan
from modelgarden.finetune.subject import Subject
from modelgarden.registry.artifacts import Registration
from tests.unit.builders import (
    NOW,
    SETTINGS,
    JobBuilder,
    ended_pod,
    make_registration,
    make_subject,
    ready,
)
from tests.unit.finetune.plans import conditions_of, phase_of


@pytest.fixture
def subject() -> Subject:
    return make_subject(conditions=ready())


def ended_well(subject: Subject, **registration: Any) -> Observation:
    job = JobBuilder(subject, "train").complete().with_pod(ended_pod("train", 0))
    return Observation(train=job.state(), registration=replace(make_registration(subject), **registration))


def test_an_artifact_without_a_version_is_given_one_before_anything_else(subject: Subject) -> None:
    found = plan(View(subject, ended_well(subject, record=None, aliases=frozenset()), SETTINGS, NOW))

    assert found.effect == AllocateVersion()
    assert (found.objects, found.status) == ((), None)


def test_the_alias_moves_once_there_is_a_version(subject: Subject) -> None:
    found = plan(View(subject, ended_well(subject, aliases=frozenset()), SETTINGS, NOW))

    assert found.effect == MoveAlias("latest")


def test_the_job_is_complete_once_the_alias_has_moved(subject: Subject) -> None:
    found = plan(View(subject, ended_well(subject), SETTINGS, NOW))

    assert found.effect is None
    assert phase_of(found) == "Complete"


def test_an_artifact_without_a_version_is_no_status(subject: Subject) -> None:
    unregistered: Registration = replace(make_registration(subject), record=None)

    with pytest.raises(ValueError, match="no version"):
        _ = unregistered.artifact


def test_an_artifact_that_only_a_newer_operator_can_read_is_kept_and_not_asked_for_again_and_again(
    subject: Subject,
) -> None:
    job = JobBuilder(subject, "train").complete().with_pod(ended_pod("train", 0))
    problem = Problem("UpgradeNeeded", "Upgrade the operator's image.")

    found = plan(View(subject, Observation(train=job.state(), registration=problem), SETTINGS, NOW))

    assert conditions_of(found)["ArtifactRegistered"]["reason"] == "UpgradeNeeded"
    assert "Failed" not in conditions_of(found)
    assert found.requeue_after is None


def test_an_artifact_of_all_formats_can_be_told() -> None:
    formats = {"Adapter": "artifact/adapter", "Merged16Bit": "artifact/merged", "GGUF": "artifact/gguf"}

    artifact = make_registration(make_subject(), formats=formats).artifact

    assert set(artifact.formats) == set(formats)
