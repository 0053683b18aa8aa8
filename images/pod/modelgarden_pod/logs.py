"""Logs of the pods: one JSON object a line in Kubernetes, plain text on a terminal."""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime

from modelgarden.api.logs import STANDARD_FIELDS, RedactingFilter, log_uncaught
from modelgarden.api.redaction import keep_secrets_of

FORMAT_VARIABLE = "MODELGARDEN_LOG_FORMAT"
"""`json` or `text`. Default: text on a terminal, else json."""


class JsonFormatter(logging.Formatter):
    """One object a line: time, level, logger, message, the record's extra fields, the traceback."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_extra(record),
        }
        if record.exc_text:
            entry["traceback"] = record.exc_text
        return json.dumps(entry, default=str, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """Time, level, message and the record's extra fields."""

    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {key}={value}" for key, value in _extra(record).items())
        return super().format(record) + fields


def configure_logs() -> None:
    """Send all logs to stderr, without the values of secrets; libraries only from warnings on."""
    chosen = os.environ.get(FORMAT_VARIABLE) or ("text" if sys.stderr.isatty() else "json")
    keep_secrets_of(os.environ)
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(RedactingFilter())
    handler.setFormatter(
        JsonFormatter() if chosen == "json" else TextFormatter("%(asctime)s %(levelname)-7s %(message)s")
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for package in ("modelgarden_pod", "modelgarden_train", "modelgarden_serve"):
        logging.getLogger(package).setLevel(logging.INFO)
    logging.captureWarnings(capture=True)
    log_uncaught(logging.getLogger(__name__))


def _extra(record: logging.LogRecord) -> dict[str, object]:
    return {key: value for key, value in vars(record).items() if key not in STANDARD_FIELDS}
