"""Which values of a secret can be sent as they are, for the operator and its pods alike. Pure.

Most faults come from a file or a command that ends in a line break. It is never taken off: what the operator would
repair in silence, the pods and every other reader of the secret would still get.
"""

from __future__ import annotations

import re
from typing import Final

_WITHOUT_LINE_BREAK: Final = (
    "Write the value without it: `echo` adds a line break where `printf %s` does not, and base64 keeps it."
)
_WITHOUT: Final = "Write the value without it."
_AS_TEXT: Final = "Write the value anew, as plain text: it may be of a binary file, or of one in UTF-16."
_AS_ISSUED: Final = (
    "Write the value anew, as it was issued: a copy may have brought in a look-alike or a gap."
)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\x80-\x9f]")
_NAMED: Final = {"\n": "a line break", "\r": "a carriage return", "\t": "a tab", " ": "a space"}
_LINE_ENDS: Final = "\r\n"
_IN_A_HEADER: Final = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SESSION_TOKEN",
    "HF_TOKEN",
    "MLFLOW_TRACKING_TOKEN",
    "WANDB_API_KEY",
)
"""Names of what is sent itself, or their ends; the secret key only signs, so that some services take one with spaces or
letters of any kind."""


def fault_of(key: str, value: str) -> str | None:
    """Return what is wrong with a secret's value and how it is made right, in words that follow the key's name.

    None where it can be sent. The words never quote the value.
    """
    if value.endswith("\r\n"):
        return f"ends with a line break (CRLF). {_WITHOUT_LINE_BREAK}"
    if value[-1:].isspace():
        return (
            f"ends with {_named(value[-1])}. {_WITHOUT_LINE_BREAK if value[-1] in _LINE_ENDS else _WITHOUT}"
        )
    if value[:1] == "\ufeff":
        return f"begins with a byte order mark. {_WITHOUT}"
    if value[:1].isspace():
        return f"begins with {_named(value[0])}. {_WITHOUT}"
    control = _CONTROL.search(value)
    if control is not None:
        return f"holds {_named(control[0])}. {_WITHOUT if control[0] in _NAMED else _AS_TEXT}"
    if not key.endswith(_IN_A_HEADER):
        return None
    if any(character.isspace() for character in value):
        return f"holds white space. {_AS_ISSUED}"
    return None if value.isascii() else f"holds a character that is not ASCII. {_AS_ISSUED}"


def _named(character: str) -> str:
    if character in _NAMED:
        return _NAMED[character]
    return "white space" if character.isspace() else "a control character"
