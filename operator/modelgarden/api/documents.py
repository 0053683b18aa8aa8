"""Documents: what lies at rest in S3 or goes between processes, written and read by programs of different versions.

Operator, train image and serve image are versioned apart, and what was written once is read for years. So a document
carries the version of its form as `schemaVersion`, `major.minor`, and a reader takes what it can:

- A field that the reader does not know is left out, wherever it stands. A new field raises the minor version.
- In a record (what was found, done or measured) an optional part that cannot be read, such as an enumeration with a
  value that came later, is left out too. A configuration is not read in part: it says what to do.
- Only a newer major version is refused, with a message that names the image to upgrade. A change that an older reader
  must not overlook raises the major version: a field whose being ignored changes the meaning (an older trainer would
  train something else), a field that goes, another unit. The writer gives the lowest major version that says all it
  needs, so that older readers still take what does not use the new field.

Files from before 1.0 have no `schemaVersion`, or `modelgarden.dev/v1alpha1` (the manifest); both are of major 1.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, Self, TypeVar

from pydantic import Field, ValidationError

from modelgarden.api.base import ApiModel
from modelgarden.api.tolerance import Place, read_known, read_readable

OPERATOR: Final = "the operator's image (images.operator of the chart)"
TRAIN_IMAGE: Final = "the train image (images.train of the chart)"
SERVE_IMAGE: Final = "the serve image (images.serve of the chart)"

_BEFORE_VERSIONS: Final = "modelgarden.dev/v1alpha1"
_VERSION: Final = re.compile(r"([0-9]{1,9})\.([0-9]{1,9})")

D = TypeVar("D", bound="Document")


class DocumentError(Exception):
    """A document cannot be read; the message says why, without the document's values."""


class NewerDocument(DocumentError):  # noqa: N818 -- says what is so
    """A newer version wrote it, and says something in it that this one does not understand: upgrade the reader."""


@dataclass(frozen=True)
class Reading(Generic[D]):
    """A document, and the places of what was left out of it, such as `training.objective`."""

    document: D
    left_out: tuple[str, ...]


class Document(ApiModel):
    """Something at rest or between processes. Read it with `read`; specs of users stay strict."""

    schema_version: str = Field(default="1.0")

    @classmethod
    def read(cls, content: bytes | str | Mapping[str, Any], *, reader: str) -> Self:
        """Read a document, whichever version wrote it. The reader is the image that runs this, named for a message.

        Raises:
            NewerDocument: it needs a newer reader.
            DocumentError: it is damaged, or no such document.
        """
        return cls.reading(content, reader=reader).document

    @classmethod
    def reading(cls, content: bytes | str | Mapping[str, Any], *, reader: str) -> Reading[Self]:
        """Read a document as `read` does, and tell what was left out.

        Raises:
            NewerDocument: it needs a newer reader.
            DocumentError: it is damaged, or no such document.
        """
        value = _object(content)
        own = _version(cls.model_fields["schema_version"].default)
        given = _version(value.get("schemaVersion"))
        if given[0] > own[0]:
            raise NewerDocument(_upgrade(given, own, reader))
        # What is written again later has the form of this version.
        current = {name: item for name, item in value.items() if name != "schemaVersion"}
        try:
            document, left_out = cls._parse(cls.upgraded(current))
        except ValidationError as error:
            if given > own:
                raise NewerDocument(f"{problems(error)}. {_upgrade(given, own, reader)}") from error
            raise DocumentError(problems(error)) from error
        except RecursionError as error:
            raise DocumentError("it is nested too deeply") from error
        return Reading(document, tuple(sorted(".".join(map(str, place)) for place in left_out)))

    @classmethod
    def _parse(cls, value: Mapping[str, Any]) -> tuple[Self, frozenset[Place]]:
        return read_readable(cls.from_dict, value)


class Configuration(Document):
    """What a pod is told to do: names that it does not know are left out, any other fault is an error."""

    @classmethod
    def _parse(cls, value: Mapping[str, Any]) -> tuple[Self, frozenset[Place]]:
        return read_known(cls.from_dict, value)


def problems(error: ValidationError, *, most: int = 3) -> str:
    """Return what is wrong as `field.inner: what is wrong; ...`, without the values themselves."""
    found = [
        f"{'.'.join(map(str, fault['loc'])) or 'document'}: {fault['msg'].removeprefix('Value error, ')}"
        for fault in error.errors(include_input=False, include_url=False, include_context=False)
    ]
    more = f"; and {len(found) - most} more" if len(found) > most else ""
    return "; ".join(found[:most]) + more


def _object(content: bytes | str | Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(content, Mapping):
        return content
    try:
        value = json.loads(content)
    except RecursionError as error:
        raise DocumentError("it is nested too deeply") from error
    except ValueError as error:
        raise DocumentError("it is no JSON") from error
    if not isinstance(value, dict):
        raise DocumentError("it is no JSON object")
    return value


def _version(text: Any) -> tuple[int, int]:
    """Return major and minor version of a document's form.

    Raises:
        DocumentError: it is no version.
    """
    if text is None or text == _BEFORE_VERSIONS:
        return (1, 0)
    match = _VERSION.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise DocumentError("schemaVersion: it must be of the form major.minor, such as 1.0")
    return int(match[1]), int(match[2])


def _upgrade(given: tuple[int, int], own: tuple[int, int], reader: str) -> str:
    return (
        f"It was written in version {given[0]}.{given[1]} of its form, and {own[0]}.{own[1]} is known here. "
        f"Upgrade {reader} to at least the version that wrote it."
    )
