"""Conditions keep their history, the status keeps its size, and what another version wrote is survived."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelgarden.api.conditions import Condition
from modelgarden.api.emissions import Energy
from modelgarden.api.finetunejob import AttemptStatus, FineTuneJobStatus, Resolved
from modelgarden.api.messages import clean
from modelgarden.controller.conditions import Finding, conditions
from modelgarden.finetune import status as status_module
from modelgarden.finetune.status import LARGEST_STATUS_BYTES, ORDER, phase_of, written
from modelgarden.finetune.subject import status_of
from tests.unit.builders import NOW, condition, make_emissions, make_owner, make_report, stamp


def test_the_time_of_a_condition_moves_only_when_its_status_flips() -> None:
    before = (
        condition("Accepted", "True", "Accepted", seconds_ago=90),
        condition("Running", "False", "Pending", seconds_ago=90),
    )

    after = conditions(
        before,
        (Finding("Running", True, "Training", "It trains."), Finding("Accepted", True, "Accepted", "Fine.")),
        order=ORDER,
        generation=2,
        now=NOW,
    )

    times = {one.type: one.last_transition_time for one in after}
    assert times == {"Accepted": stamp(90), "Running": stamp()}
    assert {one.observed_generation for one in after} == {2}


def test_a_condition_of_which_nothing_is_found_stays() -> None:
    before = (condition("DatasetReady", "True", "DatasetReady", seconds_ago=90),)

    after = conditions(
        before, (Finding("Accepted", True, "Accepted", "Fine."),), order=ORDER, generation=1, now=NOW
    )

    assert [one.type for one in after] == ["Accepted", "DatasetReady"]
    assert after[1].last_transition_time == stamp(90)


ACCEPTED = condition("Accepted", "True", "Accepted")
READY = condition("DatasetReady", "True", "DatasetReady")


@pytest.mark.parametrize(
    ("found", "want_phase"),
    [
        pytest.param((), "Pending", id="nothing is known"),
        pytest.param((condition("Accepted", "False", "SecretNotFound"),), "Blocked", id="not accepted"),
        pytest.param((ACCEPTED,), "Preparing", id="accepted"),
        pytest.param(
            (ACCEPTED, condition("DatasetReady", "False", "Preparing")), "Preparing", id="preparing"
        ),
        pytest.param(
            (ACCEPTED, condition("DatasetReady", "False", "DatasetInvalid")), "Blocked", id="refused"
        ),
        pytest.param(
            (ACCEPTED, READY, condition("Running", "False", "Pending")), "Training", id="waits to train"
        ),
        pytest.param((ACCEPTED, READY, condition("Running", "True", "Training")), "Training", id="trains"),
        pytest.param(
            (ACCEPTED, READY, condition("Running", "False", "TrainingFinished")),
            "Registering",
            id="registers",
        ),
        pytest.param(
            (ACCEPTED, READY, condition("Suspended", "True", "Suspended")), "Suspended", id="suspended"
        ),
        pytest.param(
            (condition("Suspended", "True", "Suspended"), condition("Complete", "True", "Succeeded")),
            "Complete",
            id="complete, though suspended",
        ),
        pytest.param((condition("Failed", "True", "OutOfMemory"),), "Failed", id="failed"),
    ],
)
def test_the_phase_sums_the_conditions_up(found: tuple[Condition, ...], want_phase: str) -> None:
    assert phase_of(found) == want_phase


def make_status(
    *, message: str, attempts: int = 32, parts: int = 64, hyperparameters: int = 64
) -> FineTuneJobStatus:
    """Return a status in which every condition and attempt says the same."""
    kinds = ("Accepted", "DatasetReady", "Running", "ArtifactRegistered", "Suspended", "Failed")
    found = [Finding(kind, False, "Preparing", message) for kind in kinds]
    return FineTuneJobStatus(
        conditions=conditions((), found, order=ORDER, generation=1, now=NOW),
        attempts=tuple(
            AttemptStatus(
                pod=f"pod-{place:0200}",
                start_time=stamp(),
                reason="TrainingFailed",
                message=clean(message, length=512),
            )
            for place in range(attempts)
        ),
        carbon=make_emissions(
            {f"{place:064d}": 10**9 for place in range(parts)}, devices=tuple("G" * 60 for _ in range(64))
        ),
        resolved=Resolved(
            hyperparameters={f"key{place}": clean(message, length=128) for place in range(hyperparameters)}
        ),
        progress=make_report().progress,
    )


def size_of(form: dict[str, Any]) -> int:
    return len(json.dumps(form, ensure_ascii=False).encode())


@settings(max_examples=60)
@given(
    text=st.text(min_size=1, max_size=8).map(lambda part: part * 400),
    attempts=st.integers(min_value=0, max_value=32),
    parts=st.integers(min_value=1, max_value=64),
    hyperparameters=st.integers(min_value=0, max_value=64),
)
def test_no_status_is_larger_than_32_kib(text: str, attempts: int, parts: int, hyperparameters: int) -> None:
    status = make_status(message=text, attempts=attempts, parts=parts, hyperparameters=hyperparameters)

    form = written(status)

    assert size_of(form) <= LARGEST_STATUS_BYTES < 32 * 1024
    read = FineTuneJobStatus.from_dict(form)
    assert read.carbon is not None
    assert sum((one.energy_joules for one in read.carbon.attempts), Energy()) == read.carbon.energy_joules


def test_a_large_status_has_fewer_details() -> None:
    whole = make_status(message="x" * 300, hyperparameters=20)

    form = written(whole)
    read = FineTuneJobStatus.from_dict(form)

    assert size_of(whole.to_dict()) > LARGEST_STATUS_BYTES
    assert [one.pod for one in read.attempts] == [one.pod for one in whole.attempts]
    assert {one.message for one in read.attempts} == {"x" * 196 + " ..."}
    assert read.carbon is not None
    assert (len(read.carbon.attempts), len(read.carbon.devices)) == (24, 16)
    assert (read.conditions, read.resolved, read.progress) == (
        whole.conditions,
        whole.resolved,
        whole.progress,
    )


def test_the_largest_status_keeps_what_is_essential() -> None:
    whole = make_status(message="x" * 700)

    read = FineTuneJobStatus.from_dict(written(whole))

    assert [one.pod for one in read.attempts] == [one.pod for one in whole.attempts[-8:]]
    assert {one.message for one in read.attempts} == {"x" * 96 + " ..."}
    assert read.carbon is not None
    assert (len(read.carbon.attempts), len(read.carbon.devices)) == (4, 16)
    assert {one.message for one in read.conditions} == {"x" * 508 + " ..."}
    assert read.resolved == Resolved()
    assert read.progress == whole.progress


def test_a_status_that_just_fits_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = make_status(message="x" * 300)

    monkeypatch.setattr(status_module, "LARGEST_STATUS_BYTES", size_of(whole.to_dict()))
    assert written(whole) == whole.to_dict()
    monkeypatch.setattr(status_module, "LARGEST_STATUS_BYTES", size_of(whole.to_dict()) - 1)
    assert written(whole) != whole.to_dict()


def test_a_large_status_without_emissions_and_messages_has_fewer_details_as_well() -> None:
    whole = make_status(message="x" * 700).model_copy(update={"carbon": None, "resolved": None})
    silent = tuple(one.model_copy(update={"message": None}) for one in whole.attempts)
    long = "y" * 128
    more = Resolved(hyperparameters={f"{place}{'k' * 60}": long for place in range(64)}, image=long)

    assert FineTuneJobStatus.from_dict(written(whole)).carbon is None
    bare = FineTuneJobStatus.from_dict(
        written(whole.model_copy(update={"attempts": silent * 3, "resolved": more}))
    )
    assert {one.message for one in bare.attempts} == {None}
    assert bare.resolved == Resolved(image=long)


def test_a_small_status_loses_nothing() -> None:
    status = FineTuneJobStatus(
        conditions=(ACCEPTED,), carbon=make_emissions(), progress=make_report().progress
    )

    assert FineTuneJobStatus.from_dict(written(status)) == status


def test_what_another_version_wrote_is_left_out_and_the_rest_is_read() -> None:
    known = FineTuneJobStatus(conditions=(ACCEPTED,), start_time=stamp()).to_dict()
    owner = make_owner(status={**known, "phase": "Dreaming", "cost": {"total": "12"}})

    status = status_of(owner)

    assert status.conditions == (ACCEPTED,)
    assert status.start_time == stamp()
    assert status.phase is None
