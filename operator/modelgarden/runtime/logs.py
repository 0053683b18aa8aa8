"""Log lines: JSON in a cluster, text at a desk. Fields kind, namespace, name and uid tell the object."""

from __future__ import annotations

import logging
import os
from typing import Final

from pythonjsonlogger.json import JsonFormatter

from modelgarden.api.logs import RedactingFilter, log_uncaught
from modelgarden.api.redaction import keep_secrets_of

_OBJECT_FIELDS: Final = ("kind", "namespace", "object", "uid")


class _TextFormatter(logging.Formatter):
    """Append the object's fields to the line."""

    def format(self, record: logging.LogRecord) -> str:
        found = [str(value) for name in _OBJECT_FIELDS[:3] if (value := getattr(record, name, None))]
        return super().format(record) + (f"  [{' '.join(found)}]" if found else "")


def configure(*, log_format: str, level: str) -> None:
    """Send all logs to standard error, without the values of secrets."""
    keep_secrets_of(os.environ)
    handler = logging.StreamHandler()
    handler.addFilter(RedactingFilter())
    handler.setFormatter(formatter(log_format))
    # Libraries log each request and event below WARNING; what they retry or give up is there and above.
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("modelgarden").setLevel(level)
    log_uncaught(logging.getLogger(__name__))


def formatter(log_format: str) -> logging.Formatter:
    """Return the formatter of `json` or `text`."""
    if log_format == "text":
        return _TextFormatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    # "name" is the logger's on a LogRecord, so the object's name travels as "object".
    return JsonFormatter(
        "%(asctime)s %(levelname)s %(name)s %(message)s",
        rename_fields={"asctime": "time", "levelname": "level", "name": "logger", "object": "name"},
        datefmt="%Y-%m-%dT%H:%M:%S%z",
        json_ensure_ascii=False,
    )
