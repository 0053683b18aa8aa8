"""Keeps the values of secrets out of what people read: conditions, events, log lines, termination messages.

Two ways, as neither is enough alone. Values that this process was given are known (`keep_secret`) and are found in the
forms that libraries print them in. What has the shape of a credential is found without being known. Errors, problems
and conditions pass their text through `redacted` where they are made, and logs through `logs.RedactingFilter`.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final
from urllib.parse import quote, quote_plus

MARK: Final = "***"
MOST_VALUES: Final = 1024
"""Values that are known at once; the one that was named longest ago makes room."""
_SHORTEST: Final = 8
_LONGEST_KEPT: Final = 2048
_LONGEST_WORD: Final = 15
"""Letters alone, up to so many, may be an ordinary word, such as a bucket that is called as its access key is."""
_BREAKS: Final = re.compile(r"[\s\x00-\x1f\x7f]+")
_SECRET_VARIABLE: Final = re.compile(
    r"(?:^|_)(?:TOKEN|SECRET|PASSWORD|PASSPHRASE|ACCESS_KEY|ACCESS_KEY_ID|API_KEY|PRIVATE_KEY|CREDENTIALS)$"
)

_ASSIGNED: Final = r"""['"]?\s*[:=]\s*b?['"]?"""
_HEADERS: Final = r"(?:proxy-)?authorization|x-amz-security-token|x-auth-token|x-api-key|(?:set-)?cookie"
_FIELDS: Final = (
    r"access_?key(?:_?id)?|secret_?(?:access_?)?key|(?:session|security|hf|hub)_?token|password|passphrase"
)
_ELEMENTS: Final = r"AWSAccessKeyId|SignatureProvided|StringToSign|CanonicalRequest"
_ID_PREFIXES: Final = "AKIA|ASIA|ABIA|ACCA|AGPA|AIDA|AIPA|ANPA|ANVA|APKA|AROA"
_SHAPES: Final = tuple(
    (tuple(hints.split()), re.compile(pattern, flags), rf"\1{MARK}")
    for hints, pattern, flags in (
        (
            "authorization security-token auth-token api-key cookie",
            rf"""((?<![\w-])(?:{_HEADERS})['"]?\s*[:=]\s*b?(['"]))(?:(?!\2).)+""",
            re.IGNORECASE,
        ),
        (
            "authorization security-token auth-token api-key cookie",
            rf"""((?<![\w-])(?:{_HEADERS})['"]?\s*[:=]\s*+)(?!b?['"])[^\r\n]+""",
            re.IGNORECASE,
        ),
        ("credential=", r"""((?<![a-z])Credential=)[^,&'"\r\n]+""", re.IGNORECASE),
        ("signature=", r"""((?<![a-z])Signature=)[^\s,&'"]+""", re.IGNORECASE),
        ("x-amz-", r"""(X-Amz-[a-z-]+(?:=|%3D))[^\s&'"<>]+""", re.IGNORECASE),
        (_ELEMENTS.replace("|", " ").lower(), rf"(<(?:{_ELEMENTS})>)[^<]+", 0),
        (
            "access secret token pass",
            rf"""((?<![a-z])(?:aws_?)?(?:{_FIELDS}){_ASSIGNED})[^\s'",;&<>]+""",
            re.IGNORECASE,
        ),
        ("bearer", r"""(\bBearer\s+)[^\s'",;<>]+""", re.IGNORECASE),
        ("basic", r"(\bBasic\s+)(?=\S*[0-9=])[a-z0-9+/=_-]{8,}", re.IGNORECASE),
        ("aws", r"(\bAWS\s+)[^\s:]+:[A-Za-z0-9+/=]{20,}", 0),
        ("://", r"""(\b[a-z][a-z0-9+.-]*://)[^\s/?#'"]+(?=@)""", re.IGNORECASE),
        (
            _ID_PREFIXES.replace("|", " ").lower(),
            rf"((?<![A-Za-z0-9]))(?:{_ID_PREFIXES})[A-Z0-9]{{12,}}",
            0,
        ),
        ("hf_ api_org_", r"((?<![A-Za-z0-9]))(?:hf|api_org)_[A-Za-z0-9]{20,}", 0),
        ("ya29.", r"((?<![A-Za-z0-9]))ya29\.[\w.-]{20,}", 0),
        ("private key", r"(-----BEGIN [A-Z ]*PRIVATE KEY-----)[^-]+", 0),
        ("eyj", r"(\b)eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]+", 0),
    )
)
"""What credentials look like: each with words, one of which is near it, so that most texts are not searched at all."""


class KnownSecrets:
    """Values that must not show, in every form that a library prints them in."""

    def __init__(self) -> None:
        self._values: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        self._index: dict[str, tuple[str, ...]] = {}
        """Forms by what they begin with, the longest first."""

    def keep(self, value: str) -> bool:
        """Know a value, and each of its parts where white space or control characters split it; tell whether it is new.

        Too short a value, and a short one of letters alone, cannot be told apart from ordinary words and is let be.
        """
        if value in self._values:
            self._values.move_to_end(value)
            return False
        self._values[value] = tuple(dict.fromkeys(_forms(value)))
        added: tuple[tuple[str, ...], ...] = (self._values[value],)
        if len(self._values) > MOST_VALUES:
            self._values.popitem(last=False)
            self._index, added = {}, tuple(self._values.values())
        for form in (form for forms in added for form in forms):
            head = form[:_SHORTEST]
            known = {form, *self._index.get(head, ())}
            self._index[head] = tuple(sorted(known, key=len, reverse=True))
        return True

    def redact(self, text: str) -> str:
        """Return the text with a mark in place of every known value, the longest form first."""
        index, found, position, told = self._index, [], 0, 0
        # Most texts have nothing of what a form begins with, which few searches tell faster than a walk through the text.
        if len(index) <= len(text) and not any(head in text for head in index):
            return text
        while position <= len(text) - _SHORTEST:
            forms = index.get(text[position : position + _SHORTEST], ())
            form = next((form for form in forms if text.startswith(form, position)), None)
            if form is None:
                position += 1
                continue
            found += [text[told:position], MARK]
            position = told = position + len(form)
        return "".join((*found, text[told:]))


_known: Final = KnownSecrets()


def keep_secret(value: str) -> None:
    """Know a value of a secret for as long as the process lives; for whoever reads one."""
    if _known.keep(value):
        _redacted_before.cache_clear()


def keep_secrets_of(environment: Mapping[str, str]) -> None:
    """Know the values of the environment's variables that are named as secrets are, such as HF_TOKEN."""
    for name, value in environment.items():
        if _SECRET_VARIABLE.search(name):
            keep_secret(value)


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without the variables that are named as secrets are."""
    return {name: value for name, value in environment.items() if not _SECRET_VARIABLE.search(name)}


def redacted(text: str) -> str:
    """Return text of any origin without values of secrets: those that are known, and what has a credential's shape."""
    return _redacted_before(text) if len(text) <= _LONGEST_KEPT else _redacted(text)


def _redacted(text: str) -> str:
    text = _known.redact(text)
    lower = text.lower()
    for hints, shape, mark in _SHAPES:
        if any(hint in lower for hint in hints):
            text = shape.sub(mark, text)
    return text


_redacted_before: Final = lru_cache(maxsize=512)(_redacted)
"""Most say at every look what others said before; texts with names of their own are not worth megabytes."""


def _forms(value: str) -> Iterator[str]:
    for text in (value, *_BREAKS.split(value)):
        if len(text) < _SHORTEST or (text.isalpha() and len(text) <= _LONGEST_WORD):
            continue
        raw = text.encode(errors="surrogateescape")
        yield from (text, quote(raw, safe=""), quote(raw), quote_plus(raw), html.escape(text))
        yield from (json.dumps(text)[1:-1], repr(text)[1:-1], repr(raw)[2:-1])
        yield from _base64_forms(raw)


def _base64_forms(raw: bytes) -> Iterator[str]:
    """Yield what base64 makes of the bytes wherever they begin in a longer text, without what depends on the rest."""
    for before, unsure in ((0, 0), (1, 2), (2, 3)):
        whole = (before + len(raw)) // 3 * 4
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            form = encode(bytes(before) + raw)[unsure:whole].decode()
            if len(form) >= _SHORTEST:
                yield form
