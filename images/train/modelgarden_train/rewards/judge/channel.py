"""The process's end of the socket: one JSON object a line, both ways.

What the user's code prints goes to standard error, as standard output is none of the channel's.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any


class Channel:
    """Hears what is asked and says what is so."""

    def __init__(self) -> None:
        """Take the socket from standard input, which nobody shall read from after this."""
        own = os.dup(0)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        self._heard = open(own, "rb", closefd=False)  # noqa: SIM115 -- as long as the process
        self._said = open(own, "wb", closefd=False)  # noqa: SIM115

    def hear(self) -> dict[str, Any] | None:
        """Return what is asked next, None once nobody asks any more."""
        line = self._heard.readline()
        found: dict[str, Any] | None = json.loads(line) if line else None
        return found

    def say(self, told: Mapping[str, Any]) -> None:
        """Tell something."""
        self._said.write(json.dumps(told).encode() + b"\n")
        self._said.flush()
