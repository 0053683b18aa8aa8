"""Emissions over attempts: what was evicted or lost still counts."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelgarden.api.documents import TRAIN_IMAGE
from modelgarden.api.emissions import (
    AttemptEmissions,
    EmissionsRecord,
    Energy,
    Methods,
    emissions_milligrams,
    merge_records,
)
from modelgarden_pod.energy import Metering
from modelgarden_pod.errors import Terminated
from modelgarden_pod.local import LocalFolder
from modelgarden_train.attempt.emissions import Attempts
from tests.unit.train.builders import make_record


class StandInMeter:
    """A meter that has metered a fixed amount."""

    def start(self) -> None:
        """Nothing to start."""

    def record(self, reason: str = "Running") -> EmissionsRecord:
        return make_record(5, reason=reason)

    def stop(self) -> None:
        """Nothing to stop."""


def make_attempts(folder: LocalFolder) -> Attempts:
    return Attempts(folder, attempt="attempt-5", meter=StandInMeter())  # type: ignore[arg-type]


def leave(folder: LocalFolder, record: EmissionsRecord) -> None:
    folder.write(f"emissions/{record.attempts[0].id}.json", record.model_dump_json(by_alias=True).encode())


def test_earlier_attempts_count_and_one_that_vanished_is_lost(tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path)
    leave(folder, make_record(2, reason="Running"))
    leave(folder, make_record(1, reason="Terminated"))
    attempts = make_attempts(folder)

    with attempts.metered():
        total = attempts.total("Completed")

    assert [(one.id, one.reason) for one in total.attempts] == [
        ("attempt-1", "Terminated"),
        ("attempt-2", "Lost"),
        ("attempt-5", "Completed"),
    ]
    assert total.energy_joules.total == 3 * 5_400


@pytest.mark.parametrize(
    ("error", "want_reason"), [(None, "Completed"), (Terminated("x"), "Terminated"), (KeyError(), "Failed")]
)
def test_the_record_says_how_the_attempt_ended(
    error: BaseException | None, want_reason: str, tmp_path: Path
) -> None:
    folder = LocalFolder(tmp_path)
    try:
        with make_attempts(folder).metered():
            if error:
                raise error
    except (Terminated, KeyError):
        pass

    left = AttemptEmissions.read(folder.read("emissions/attempt-5.json"), reader=TRAIN_IMAGE)
    assert left.attempts[0].reason == want_reason


@pytest.mark.parametrize(
    "left", [b"not json", b'{"schemaVersion": "2.0"}'], ids=["damaged", "of a newer version"]
)
def test_a_record_that_cannot_be_read_is_passed_over(left: bytes, tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path)
    folder.write("emissions/attempt-1.json", left)
    attempts = make_attempts(folder)

    with attempts.metered():
        assert len(attempts.records()) == 1


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=90))
def test_the_identities_hold_over_any_number_of_attempts(joules: list[int]) -> None:
    total = merge_records([make_record(place, joules=one) for place, one in enumerate(joules)])

    energy = total.energy_joules
    assert energy.total == energy.gpu + energy.cpu == sum(one + one // 2 for one in joules)
    assert total.emissions_milligrams == emissions_milligrams(
        energy.total, pue_milli=1300, milligrams_per_kwh=380_950
    )
    assert sum((one.energy_joules for one in total.attempts), Energy()) == energy
    assert len(total.attempts) <= 64
    assert total.duration_seconds == 60 * len(joules)


def test_one_attempt_without_metering_makes_the_sum_partial() -> None:
    blind = Metering(methods=Methods(gpu="none", cpu="none", ram="none"), complete=False)
    total = merge_records([make_record(1, joules=0, metering=blind, covered=0), make_record(2)])

    assert total.state == "Partial"
    assert total.methods.gpu == "none, nvml-energy-counter"
    assert total.coverage_percent == 50
    assert total.emissions_milligrams is not None


def test_there_must_be_a_record_to_merge() -> None:
    with pytest.raises(ValueError, match="no emissions record"):
        merge_records([])
