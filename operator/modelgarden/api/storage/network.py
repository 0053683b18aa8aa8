"""Why a request to object storage came to no answer, from what the network's libraries raised beneath the service's own."""

from __future__ import annotations

import http.client
import re
import socket
from collections.abc import Iterable, Iterator
from typing import Final

from modelgarden.api.messages import clean
from modelgarden.api.storage.failures import Kind

_NO_TLS: Final = re.compile(
    r"wrong.version.number|record layer failure|packet length too long", re.IGNORECASE
)
_NOT_TRUSTED: Final = "CERTIFICATE_VERIFY_FAILED"
_DETAIL_BYTES: Final = 300


def detail_of(text: str) -> str:
    """Return a library's or a service's words, clean and short, without a full stop."""
    return clean(text, length=_DETAIL_BYTES).rstrip(".")


def causes_of(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it came from, each once."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def unspoken(causes: tuple[BaseException, ...]) -> tuple[Kind, str] | None:
    """Return why no request came to be, and in which words; None where nobody knows."""
    for cause in causes:
        said = detail_of(str(getattr(cause, "strerror", None) or cause))
        if _speaks_no_http(cause):
            return Kind.STRANGER, "it does not speak HTTP"
        if _NO_TLS.search(str(cause)):
            return Kind.STRANGER, "it does not speak TLS, as a service behind https:// does"
        if isinstance(cause, socket.gaierror):
            return Kind.NO_HOST, said
        if _NOT_TRUSTED in str(cause):
            return Kind.UNTRUSTED, _distrust(causes) or said
        if isinstance(cause, ValueError) and "header value" in str(cause):
            return Kind.BAD_CREDENTIALS, "the credentials hold what no HTTP header can"
    return None


def is_of_a_library(error: BaseException, names: frozenset[str]) -> bool:
    """Tell whether an error is of one of the packages."""
    return any(kind.__module__.partition(".")[0] in names for kind in type(error).__mro__)


def _speaks_no_http(error: BaseException) -> bool:
    strange = (http.client.BadStatusLine, http.client.UnknownProtocol, http.client.LineTooLong)
    # One that closes the connection without a word may be a service that is just ending.
    return isinstance(error, strange) and not isinstance(error, http.client.RemoteDisconnected)


def _distrust(causes: Iterable[BaseException]) -> str | None:
    """Return why a certificate is not trusted, in OpenSSL's words."""
    found = (getattr(cause, "verify_message", None) for cause in causes)
    return next((detail_of(why) for why in found if why), None)
