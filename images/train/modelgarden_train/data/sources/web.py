"""Sources on the web: one file at an https:// URL, of a host that the operator's settings allow.

Nothing is fetched from a private network, whatever a name resolves to or a redirect leads to: each address is checked,
and the connection goes to the very address that was checked. The certificate must be the name's. Proxies and credentials
of the environment are left out.
"""

from __future__ import annotations

import hashlib
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final

from modelgarden.api.hosts import is_allowed
from modelgarden.api.pods import PodSource
from modelgarden_pod.errors import TemporaryError, UserError
from modelgarden_pod.process import described
from modelgarden_pod.retry import Patience
from modelgarden_train.data.sources.addresses import Address, refusal_of
from modelgarden_train.data.sources.files import Fetched, SourceFile, local_path_of, recorded

if TYPE_CHECKING:
    from httpx import URL, Client, Response

LARGEST_BYTES: Final = 64 * 1024**3
"""Of one file; a server may send without an end."""
_MOST_REDIRECTS: Final = 5
_CONNECT_SECONDS: Final = 4.0
_ANSWER_SECONDS: Final = 30.0
_PASSING: Final = frozenset({408, 425, 429, *range(500, 600)})


def public_addresses(host: str) -> Sequence[Address]:
    """Return the addresses of a host, all of them of the internet.

    Raises:
        UserError: AccessDenied, one of them is not.
        TemporaryError: the name cannot be resolved for now.
    """
    try:
        answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise TemporaryError(f"the name {host} cannot be resolved: {error.strerror}") from error
    found = list(dict.fromkeys(ip_address(str(answer[4][0]).partition("%")[0]) for answer in answers))
    for address in found:
        if why := refusal_of(address):
            raise UserError("AccessDenied", f"{host}: {why}; datasets come from the internet only")
    return found


@dataclass(frozen=True)
class Web:
    """What may be fetched, and how hosts are found."""

    allowed: Sequence[str]
    """Hosts, as `dataset.allowedHosts` of the chart has them."""
    addresses_of: Callable[[str], Sequence[Address]] = public_addresses
    authorities: ssl.SSLContext | None = None
    """Whose certificates are trusted. None: the public authorities."""
    largest_bytes: int = LARGEST_BYTES

    def fetch(self, number: int, source: PodSource, target: Path, *, patience: Patience) -> Fetched:
        """Fetch the file of a source, the dataset's of this number.

        Raises:
            UserError: AccessDenied, the host is not allowed or refuses; DatasetNotFound; DatasetInvalid, the file is too
                large or not to be had.
            TemporaryError: the host does not answer.
        """
        target.mkdir(parents=True, exist_ok=True)
        path = local_path_of(target, 0, source.uri)
        digest = patience.retry(f"Download of {source.uri}", lambda: self._download(source.uri, path))
        return Fetched(
            files=(SourceFile(source=number, name=source.uri, path=path),),
            record=recorded(source.uri, [(source.uri, digest)]),
        )

    def _download(self, uri: str, path: Path) -> str:
        import httpx

        transport = httpx.HTTPTransport(
            verify=self.authorities or httpx.create_ssl_context(trust_env=False), trust_env=False
        )
        timeout = httpx.Timeout(_ANSWER_SECONDS, connect=_CONNECT_SECONDS)
        try:
            with httpx.Client(transport=transport, trust_env=False, timeout=timeout) as client:
                return self._follow(client, uri, path)
        except httpx.HTTPError as error:
            if isinstance(_root(error), ssl.SSLCertVerificationError):
                raise UserError(
                    "AccessDenied", f"{uri} has no certificate that is trusted: {_root(error)}"
                ) from error
            raise TemporaryError(f"{uri} cannot be fetched: {described(error)}") from error

    def _follow(self, client: Client, uri: str, path: Path) -> str:
        """Return the SHA-256 of the file at the end of the redirects."""
        import httpx

        url = httpx.URL(uri)
        for _ in range(_MOST_REDIRECTS + 1):
            with self._asked(client, url, uri) as answer:
                if not answer.has_redirect_location:
                    _require_good(answer, uri)
                    return self._save(answer, uri, path)
                url = url.join(answer.headers["Location"])
        raise UserError(
            "DatasetInvalid", f"{uri} is redirected more than {_MOST_REDIRECTS} times; name its place itself"
        )

    @contextmanager
    def _asked(self, client: Client, url: URL, uri: str) -> Iterator[Response]:
        """Ask one host at an address that was checked."""
        if url.scheme != "https" or url.userinfo:
            raise UserError(
                "AccessDenied", f"{uri} leads to a place that is not of the form https://host/path"
            )
        if not is_allowed(url.host, self.allowed):
            raise UserError(
                "AccessDenied",
                f"{uri} leads to {url.host}, which is none of the hosts that datasets may come from; have it added to "
                "dataset.allowedHosts of the operator's chart",
            )
        address = self.addresses_of(url.host)[0]
        host = url.netloc.decode("ascii")
        request = client.build_request(
            "GET",
            url.copy_with(host=str(address)),
            headers={"Host": host, "Accept-Encoding": "identity"},
            # The name that the certificate is held against.
            extensions={"sni_hostname": url.host},
        )
        answer = client.send(request, stream=True)
        try:
            yield answer
        finally:
            answer.close()

    def _save(self, answer: Response, uri: str, path: Path) -> str:
        digest, size = hashlib.sha256(), 0
        with path.open("wb") as file:
            for chunk in answer.iter_bytes():
                size += len(chunk)
                if size > self.largest_bytes:
                    limit = f"{self.largest_bytes / 1024**3:.3g} GiB"
                    raise UserError(
                        "DatasetInvalid", f"{uri} is larger than {limit}; split it, or put it into S3"
                    )
                digest.update(chunk)
                file.write(chunk)
        return digest.hexdigest()


def _require_good(answer: Response, uri: str) -> None:
    """Hold that an answer is the file.

    Raises:
        UserError, TemporaryError: it is not.
    """
    status = answer.status_code
    if status == 200:
        return
    if status in _PASSING:
        raise TemporaryError(f"{uri} answers {status}")
    if status in (404, 410):
        raise UserError("DatasetNotFound", f"{uri} is not there ({status}); correct the source")
    if status in (401, 403):
        raise UserError(
            "AccessDenied", f"{uri} is not for everybody ({status}); put the file into S3 and give its URI"
        )
    raise UserError("DatasetInvalid", f"{uri} answers {status}; name a file that is sent at once")


def _root(error: BaseException) -> BaseException:
    while (beneath := error.__cause__ or error.__context__) is not None:
        error = beneath
    return error
