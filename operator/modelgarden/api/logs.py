"""What the logs of operator and pods have in common: no value of a secret is in them, whatever a library says."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Final

from modelgarden.api.redaction import redacted

STANDARD_FIELDS: Final = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {
    "message",
    "asctime",
    "taskName",
}
"""What every log record has; the rest was given as `extra`."""


class RedactingFilter(logging.Filter):
    """Lets every record pass, redacted: its message, its traceback and its extra fields."""

    _formatter: Final = logging.Formatter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact the record in place."""
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 -- a library's mistake in a log call must not end what it logs about
            message = str(record.msg)
        record.msg, record.args = redacted(message), ()
        if record.exc_info:
            record.exc_text = self._formatter.formatException(record.exc_info)
            record.exc_info = None  # else a formatter would write the traceback anew
        for name in ("exc_text", "stack_info"):
            if getattr(record, name):
                setattr(record, name, redacted(getattr(record, name)))
        for name in vars(record).keys() - STANDARD_FIELDS:
            setattr(record, name, _without_secrets(getattr(record, name)))
        return True


def log_uncaught(logger: logging.Logger) -> None:
    """Send what nobody catches, in any thread, to the log instead of straight to standard error."""

    def uncaught(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, traceback)
        else:
            logger.critical("Ended on an unexpected error", exc_info=(kind, error, traceback))

    def uncaught_in_thread(end: threading.ExceptHookArgs) -> None:
        if end.exc_value is not None:
            logger.error("A thread ended early", exc_info=(end.exc_type, end.exc_value, end.exc_traceback))

    sys.excepthook = uncaught
    threading.excepthook = uncaught_in_thread


def _without_secrets(value: object) -> object:
    match value:
        case str():
            return redacted(value)
        case Mapping():
            return {name: _without_secrets(item) for name, item in value.items()}
        case list() | tuple():
            return [_without_secrets(item) for item in value]
        case None | bool() | int() | float():
            return value
        case _:
            return redacted(str(value))
