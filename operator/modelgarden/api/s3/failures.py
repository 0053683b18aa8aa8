"""What went wrong with a request to S3, from the error that a library raised."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from modelgarden.api.s3.codes import answered
from modelgarden.api.s3.strangers import NotS3, Redirected
from modelgarden.api.storage.failures import S3, Kind, StorageFailure
from modelgarden.api.storage.network import causes_of, detail_of, is_of_a_library, unspoken

_LIBRARIES: Final = frozenset({"boto3", "botocore", "s3transfer", "urllib3"})
_NO_CREDENTIALS: Final = frozenset({"NoCredentialsError", "PartialCredentialsError"})
_BAD_REGION: Final = frozenset({"InvalidRegionError", "UnknownRegionError"})


def failure_of(error: BaseException) -> StorageFailure | None:
    """Read an error that was raised by a request to S3; None where it is of something else, such as the local disk."""
    answer = getattr(error, "response", None)
    if isinstance(answer, Mapping) and "Error" in answer:
        return _answered(answer, bodiless=str(getattr(error, "operation_name", "")).startswith("Head"))
    causes = tuple(causes_of(error))
    is_of_s3 = is_of_a_library(error, _LIBRARIES)
    for cause in causes[1:]:
        if isinstance(getattr(cause, "response", None), Mapping) and is_of_s3:
            return failure_of(cause)
    if isinstance(error, NotS3):
        return StorageFailure(S3, Kind.STRANGER, "NotS3", str(error))
    if isinstance(error, Redirected):
        return answered(str(error.status), error.status, bodiless=True)
    if not is_of_s3 and not isinstance(error, ConnectionError | TimeoutError):
        return None
    return _unanswered(error, causes)


def _answered(answer: Mapping[str, Any], *, bodiless: bool) -> StorageFailure:
    error = answer.get("Error", {})
    status = int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    detail = detail_of(str(error.get("Message") or ""))
    return answered(str(error.get("Code") or status), status, detail=detail, bodiless=bodiless)


def _unanswered(error: BaseException, causes: tuple[BaseException, ...]) -> StorageFailure:
    name, said = type(error).__name__, detail_of(str(error))
    names = {kind.__name__ for kind in type(error).__mro__}
    if names & _NO_CREDENTIALS:
        return StorageFailure(S3, Kind.NO_CREDENTIALS, name, "no S3 credentials")
    if names & _BAD_REGION:
        return StorageFailure(S3, Kind.REGION, name, said)
    if "ParamValidationError" in names:
        return StorageFailure(S3, Kind.NAME, name, said)
    if "ResponseParserError" in names:
        return StorageFailure(S3, Kind.STRANGER, name, "it answers with something other than S3's XML")
    why = unspoken(causes) or (Kind.PASSING, f"S3 does not answer ({said})")
    return StorageFailure(S3, why[0], name, why[1])
