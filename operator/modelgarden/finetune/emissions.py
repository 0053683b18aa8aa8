"""The energy of a run that failed: from the records that its attempts left in S3, as there is no manifest to read.

A training pod is asked for its report only while it runs. What it spent after the last answer is in its own record.
"""

from __future__ import annotations

from pydantic import ValidationError

from modelgarden.api.emissions import EmissionsRecord, ended_record, merge_records
from modelgarden.api.layout import ATTEMPT_EMISSIONS, Location
from modelgarden.carbon.accounting import continued
from modelgarden.registry.store import Store

LOST = "Lost"


async def read_attempts(store: Store, run: Location) -> tuple[EmissionsRecord, ...]:
    """Return the records of a run's attempts in the order in which they ran; what cannot be read is left out.

    Raises:
        StorageError: S3 refuses or does not answer.
    """
    records = []
    for found in await store.list_keys(run.child(ATTEMPT_EMISSIONS)):
        content = await store.get_bytes(Location(run.bucket, found.key))
        try:
            if content is not None:
                records.append(ended_record(EmissionsRecord.model_validate_json(content), reason=LOST))
        except ValidationError:
            continue
    return tuple(sorted(records, key=lambda record: record.attempts[0].start_time if record.attempts else ""))


def final(known: EmissionsRecord | None, left: tuple[EmissionsRecord, ...] | None) -> EmissionsRecord | None:
    """Return the record of a failed run from what its pods reported and what they left in S3, None where S3 is silent.

    Without the latter the sum may lack what was spent after the last report, and says so.
    """
    if left:
        merged = merge_records(left)
        return merged if known is None else continued(known, merged)
    if known is None:
        return None
    ended = ended_record(known, reason=LOST)
    if ended == known or known.state == "Unavailable":
        return ended
    return ended.model_copy(update={"state": "Partial"})
