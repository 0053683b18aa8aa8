"""The energy of a run that failed: from the records that its attempts left in S3, as there is no manifest to read.

A training pod is asked for its report only while it runs. What it spent after the last answer is in its own record.
"""

from __future__ import annotations

from modelgarden.api.documents import OPERATOR, DocumentError, NewerDocument
from modelgarden.api.emissions import LOST, AttemptEmissions, EmissionsRecord, ended_record, merge_records
from modelgarden.api.layout import ATTEMPT_EMISSIONS, Location
from modelgarden.carbon.accounting import continued
from modelgarden.registry.errors import Refused
from modelgarden.registry.store import Store


async def read_attempts(store: Store, run: Location) -> tuple[EmissionsRecord, ...]:
    """Return the records of a run's attempts in the order in which they ran; what cannot be read is left out.

    Raises:
        StorageError: S3 refuses or does not answer, or a newer version wrote a record (UpgradeNeeded).
    """
    records = []
    for found in await store.list_keys(run.child(ATTEMPT_EMISSIONS)):
        location = Location(run.bucket, found.key)
        content = await store.get_bytes(location)
        try:
            if content is not None:
                record = AttemptEmissions.read(content, reader=OPERATOR).record()
                records.append(ended_record(record, reason=LOST))
        except NewerDocument as error:
            raise Refused("UpgradeNeeded", f"{location} cannot be read. {error}") from error
        except DocumentError:
            continue
    return tuple(sorted(records, key=lambda record: record.attempts[0].start_time if record.attempts else ""))


def final(known: EmissionsRecord | None, left: tuple[EmissionsRecord, ...] | None) -> EmissionsRecord | None:
    """Return the record of a failed run from what its pods reported and what they left in S3, None where S3 is silent.

    Without the latter the sum may lack what was spent after the last report, and says so.
    """
    if left:
        return continued(known, merge_records(left))
    if known is None:
        return None
    ended = ended_record(known, reason=LOST)
    if ended == known or known.state == "Unavailable":
        return ended
    return ended.model_copy(update={"state": "Partial"})
