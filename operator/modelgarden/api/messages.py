"""Text of unknown origin, made fit for a message: what libraries, containers and other services say."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator

from modelgarden.api.redaction import redacted

MESSAGE_BYTES: Final = 768

Message = Annotated[str, AfterValidator(redacted)]
"""A field of the API with words for people: no value of a secret is in it, wherever the words are from."""


def sentence(text: str) -> str:
    """Return text of unknown origin so that a sentence can follow."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


def clean(text: str, *, length: int = MESSAGE_BYTES) -> str:
    """Return text of unknown origin without values of secrets, on one line, as valid UTF-8 of at most so many bytes."""
    line = " ".join(redacted(text).replace("\x00", " ").split()).encode(errors="replace")
    if len(line) <= length:
        return line.decode()
    return line[: length - 4].decode(errors="ignore") + " ..."
