"""A log line names its object."""

from __future__ import annotations

import io
import json
import logging

import pytest

from modelgarden.runtime.logs import formatter

FIELDS = {"kind": "Job", "namespace": "team", "object": "a-train", "uid": "1234"}


def line(log_format: str) -> str:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter(log_format))
    record = logging.LogRecord("modelgarden.test", logging.INFO, __file__, 1, "Created %s", ("Job",), None)
    record.__dict__.update(FIELDS)
    handler.emit(record)
    return stream.getvalue()


def test_a_json_line_carries_the_object_as_fields() -> None:
    found = json.loads(line("json"))
    assert found.pop("time")
    assert found == {
        "level": "INFO",
        "logger": "modelgarden.test",
        "message": "Created Job",
        "kind": "Job",
        "namespace": "team",
        "name": "a-train",
        "uid": "1234",
    }


@pytest.mark.parametrize("part", ["INFO", "Created Job", "[Job team a-train]"])
def test_a_text_line_carries_the_object_at_its_end(part: str) -> None:
    assert part in line("text")
