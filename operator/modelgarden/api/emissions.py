"""The emissions record: what an auditor needs to redo the sum, and the arithmetic itself.

Energy is in integer joules before PUE, by component. Identities that hold in every record:
total = gpu + cpu + ram, and emissions = total / 3.6e6 x PUE x intensity.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, model_validator

from modelgarden.api.base import ApiModel, Timestamp
from modelgarden.api.documents import Document

JOULES_PER_KWH: Final = 3_600_000

Joules = Annotated[int, Field(ge=0, le=9_007_199_254_740_991)]
MOST_ATTEMPTS: Final = 64
"""Attempts that a record lists; older ones are summed into one."""
EARLIER: Final = "earlier"
"""Id of the one attempt into which older ones are summed."""
LOST: Final = "Lost"
"""Reason of an attempt that never said how it ended."""

CarbonState = Literal["Measured", "Estimated", "Partial", "Unavailable"]


class Energy(ApiModel):
    """Energy by component, in joules, before PUE."""

    gpu: Joules = Field(default=0, description="GPU energy in joules.")
    cpu: Joules = Field(default=0, description="CPU energy in joules.")
    ram: Joules = Field(default=0, description="Memory energy in joules.")
    total: Joules = Field(default=0, description="Sum of the components in joules.")

    @model_validator(mode="after")
    def _total_is_the_sum(self) -> Self:
        if self.total != self.gpu + self.cpu + self.ram:
            raise ValueError("total must be gpu + cpu + ram")
        return self

    @classmethod
    def of(cls, *, gpu: int = 0, cpu: int = 0, ram: int = 0) -> Energy:
        """Build the record with its total."""
        return cls(gpu=gpu, cpu=cpu, ram=ram, total=gpu + cpu + ram)

    def __add__(self, other: Energy) -> Energy:
        return Energy.of(gpu=self.gpu + other.gpu, cpu=self.cpu + other.cpu, ram=self.ram + other.ram)


class Intensity(ApiModel):
    """Carbon intensity of the electricity that was used, and where the figure comes from."""

    milligrams_per_kwh: int = Field(
        ge=0, alias="milligramsPerKWh", description="Milligrams of CO2 equivalent per kWh."
    )
    zone: str = Field(max_length=16, description="ISO 3166-1 alpha-3 code of the zone.")
    source: str = Field(max_length=128, description="Data set that the figure was read from.")
    data_year: int | None = Field(default=None, description="Year of the data.")


class Methods(ApiModel):
    """How each component was metered, such as nvml-energy-counter, cpu-load-model or none."""

    gpu: str = Field(max_length=64, description="Method for the GPUs.")
    cpu: str = Field(max_length=64, description="Method for the CPU.")
    ram: str = Field(max_length=64, description="Method for the memory.")


class Attempt(ApiModel):
    """One pod's share: work that was evicted still counts."""

    id: str = Field(max_length=64, description="UID of the pod.")
    start_time: Timestamp = Field(description="When metering began.")
    end_time: Timestamp = Field(description="Time of the last sample.")
    energy_joules: Energy = Field(description="Energy of this attempt.")
    reason: str = Field(
        max_length=64, description="How it ended: Running, Completed, Terminated, Failed or Lost."
    )


class EmissionsRecord(ApiModel):
    """Energy and emissions of a run, or of one attempt of it."""

    state: CarbonState = Field(
        description="Measured: counters only. Estimated: a load model for some component. "
        "Partial: a component, a zone or a pod is missing. Unavailable: nothing could be metered."
    )
    energy_joules: Energy = Field(description="Energy by component before PUE, over all attempts.")
    pue_milli: int = Field(ge=1000, le=5000, description="Power usage effectiveness times 1000.")
    pue_source: Literal["Spec", "Default"] = Field(description="Whether the PUE was given or is the default.")
    intensity: Intensity | None = Field(default=None, description="Absent while no zone is known.")
    emissions_milligrams: int | None = Field(
        default=None, ge=0, description="Milligrams of CO2 equivalent after PUE; absent without an intensity."
    )
    methods: Methods = Field(description="How each component was metered.")
    devices: tuple[Annotated[str, Field(max_length=64)], ...] = Field(
        default=(), max_length=64, description="UUIDs of the metered GPUs."
    )
    duration_seconds: int = Field(
        ge=0,
        description="Seconds in which at least one attempt ran: what ran at the same time counts once.",
    )
    coverage_percent: int = Field(
        ge=0, le=100, description="Share of the attempts' time with samples, weighted by its length."
    )
    attempts: tuple[Attempt, ...] = Field(
        default=(), max_length=MOST_ATTEMPTS, description="The attempts that the sum counts."
    )
    tool: str = Field(max_length=64, description="Metering tool and version.")


class AttemptEmissions(EmissionsRecord, Document):
    """`emissions/<attempt>.json` and a line of `emissions.jsonl`: the record as a document of its own."""

    state: CarbonState = "Partial"
    """A state that only a later version knows counts as Partial, not as no energy at all."""

    @classmethod
    def of(cls, record: EmissionsRecord) -> Self:
        """Return the document of a record."""
        return cls(**_fields(record))

    def record(self) -> EmissionsRecord:
        """Return the record as statuses and sums hold it."""
        return EmissionsRecord(**_fields(self))


def _fields(record: EmissionsRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in EmissionsRecord.model_fields}


def emissions_milligrams(energy_joules: int, *, pue_milli: int, milligrams_per_kwh: int) -> int:
    """Return milligrams of CO2 equivalent: joules / 3.6e6 x PUE x intensity, rounded half up, in integers."""
    numerator = energy_joules * pue_milli * milligrams_per_kwh
    denominator = JOULES_PER_KWH * 1000
    return (2 * numerator + denominator) // (2 * denominator)


def emissions_of(energy: Energy, *, pue_milli: int, intensity: Intensity | None) -> int | None:
    """Return milligrams of CO2 equivalent, None while no intensity is known."""
    if intensity is None:
        return None
    return emissions_milligrams(
        energy.total, pue_milli=pue_milli, milligrams_per_kwh=intensity.milligrams_per_kwh
    )


def merge_records(records: Sequence[EmissionsRecord]) -> EmissionsRecord:
    """Return one record over several attempts, given in the order in which they ran.

    PUE and intensity are those of the last record, so that the identities hold over the sum. Coverage is the mean by
    the time of each record.

    Raises:
        ValueError: there is no record.
    """
    if not records:
        raise ValueError("there is no emissions record to merge")
    last = records[-1]
    energy = sum((record.energy_joules for record in records), start=Energy())
    time = sum(record.duration_seconds for record in records)
    covered = sum(record.coverage_percent * record.duration_seconds for record in records)
    return last.model_copy(
        update={
            "state": merged_state([record.state for record in records]),
            "energy_joules": energy,
            "emissions_milligrams": emissions_of(energy, pue_milli=last.pue_milli, intensity=last.intensity),
            "methods": Methods(
                gpu=_joined([record.methods.gpu for record in records]),
                cpu=_joined([record.methods.cpu for record in records]),
                ram=_joined([record.methods.ram for record in records]),
            ),
            "devices": tuple(dict.fromkeys(device for record in records for device in record.devices))[:64],
            "duration_seconds": _joint_seconds(records),
            "coverage_percent": covered // time if time else last.coverage_percent,
            "attempts": folded([attempt for record in records for attempt in record.attempts]),
        }
    )


def folded(attempts: Sequence[Attempt], *, most: int = MOST_ATTEMPTS) -> tuple[Attempt, ...]:
    """Return the attempts oldest first; of more than `most` of them the oldest are summed into one.

    What was summed before comes first, and new sums go into it.
    """
    earlier = [attempt for attempt in attempts if attempt.id == EARLIER]
    listed = sorted((attempt for attempt in attempts if attempt.id != EARLIER), key=_age)
    if len(attempts) <= most and len(earlier) <= 1:
        return (*earlier, *listed)
    overflow = max(0, len(listed) - (most - 1))
    return (summed_up([*earlier, *listed[:overflow]]), *listed[overflow:])


def summed_up(attempts: Sequence[Attempt]) -> Attempt:
    """Return several attempts as the one named EARLIER: lost where one of them was, else ended as the newest did."""
    newest = max(attempts, key=_age)
    return Attempt(
        id=EARLIER,
        start_time=min(attempt.start_time for attempt in attempts),
        end_time=max(attempt.end_time for attempt in attempts),
        energy_joules=sum((attempt.energy_joules for attempt in attempts), start=Energy()),
        reason=LOST if any(attempt.reason == LOST for attempt in attempts) else newest.reason,
    )


def run_seconds(attempts: Sequence[Attempt]) -> int:
    """Return the seconds from start to end in which at least one of the attempts ran."""
    seconds, reached = 0.0, None
    for start, end in sorted(_span(attempt) for attempt in attempts):
        begun = start if reached is None else max(start, reached)
        if end > begun:
            seconds += (end - begun).total_seconds()
        reached = end if reached is None else max(end, reached)
    return round(seconds)


def ended_record(record: EmissionsRecord, *, reason: str) -> EmissionsRecord:
    """Return the record of a run that is over: an attempt that never said how it ended gets the reason."""
    attempts = tuple(
        attempt.model_copy(update={"reason": reason}) if attempt.reason == "Running" else attempt
        for attempt in record.attempts
    )
    return record.model_copy(update={"attempts": attempts})


def merged_state(states: Sequence[CarbonState]) -> CarbonState:
    """Return the state of a sum: the worst counts; a part without metering leaves a sum that is Partial."""
    found = set(states)
    if found == {"Unavailable"}:
        return "Unavailable"
    if found & {"Unavailable", "Partial"}:
        return "Partial"
    return "Estimated" if "Estimated" in found else "Measured"


def _joint_seconds(records: Sequence[EmissionsRecord]) -> int:
    """Return the seconds in which one of the records' attempts ran.

    Gaps that a record does not count, as between the attempts that were summed into one, stay uncounted.
    """
    gaps = sum(run_seconds(record.attempts) - record.duration_seconds for record in records)
    together = run_seconds([attempt for record in records for attempt in record.attempts])
    return max(together - gaps, *(record.duration_seconds for record in records))


def _age(attempt: Attempt) -> tuple[str, str]:
    return attempt.start_time, attempt.id


def _span(attempt: Attempt) -> tuple[datetime, datetime]:
    return datetime.fromisoformat(attempt.start_time), datetime.fromisoformat(attempt.end_time)


def _joined(methods: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(part for method in methods for part in method.split(", ")))[:64]
