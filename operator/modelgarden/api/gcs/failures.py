"""What went wrong with a request to GCS, from the error that a library raised."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from modelgarden.api.gcs.answers import Answer, answered
from modelgarden.api.storage.failures import GCS, Kind, StorageFailure
from modelgarden.api.storage.network import causes_of, detail_of, is_of_a_library, unspoken

_LIBRARIES: Final = frozenset({"google", "requests", "urllib3"})
_NO_JSON: Final = frozenset({"JSONDecodeError", "InvalidJSONError"})


def failure_of(error: BaseException) -> StorageFailure | None:
    """Read an error that was raised by a request to GCS; None where it is of something else, such as the local disk."""
    if not is_of_a_library(error, _LIBRARIES) and not isinstance(error, ConnectionError | TimeoutError):
        return None
    causes = tuple(causes_of(error))
    for cause in causes:
        answer = getattr(cause, "response", None)
        if getattr(answer, "status_code", None) is not None:
            return answered(_answer(answer))
    return _unanswered(error, causes)


def _answer(response: Any) -> Answer:
    try:
        said = response.json()["error"]
        reason = str((said.get("errors") or [{}])[0].get("reason") or said.get("status") or "")
        message = str(said.get("message") or "")
    except (AttributeError, LookupError, TypeError, ValueError):
        reason, message = "", str(response.text or "")
    return Answer(
        int(response.status_code), reason, detail_of(message), about=_about(str(response.url or ""))
    )


def _about(url: str) -> str:
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    if "upload_id" in query:
        return "session"
    if query.get("alt") == ["media"]:
        return "content"
    return "objects" if parts.path.endswith("/o") else "metadata"


def _unanswered(error: BaseException, causes: tuple[BaseException, ...]) -> StorageFailure:
    name = type(error).__name__
    names = {kind.__name__ for cause in causes for kind in type(cause).__mro__}
    if "RefreshError" in names:
        return _no_token(next(one for one in causes if type(one).__name__ == "RefreshError"))
    if "DefaultCredentialsError" in names:
        return StorageFailure(GCS, Kind.NO_CREDENTIALS, name, "no GCS credentials")
    if names & _NO_JSON:
        return StorageFailure(GCS, Kind.STRANGER, name, "it answers with something other than GCS's JSON")
    said = f"GCS does not answer ({detail_of(str(error))})"
    kind, why = unspoken(causes) or (Kind.PASSING, said)
    return StorageFailure(GCS, kind, name, why)


def _no_token(error: BaseException) -> StorageFailure:
    """Return the failure for credentials that no token is given for."""
    if getattr(error, "retryable", False):
        return StorageFailure(
            GCS, Kind.PASSING, "RefreshError", "no token is given for the credentials for now"
        )
    answer = error.args[-1] if error.args else None
    # What was answered may be of anybody's, so that no more than the code of OAuth 2 is told.
    code = str(answer.get("error", "")) if isinstance(answer, Mapping) else ""
    code = code if code.replace("_", "").isalpha() else "RefreshError"
    return StorageFailure(GCS, Kind.DENIED, code, "no token is given for the credentials")
