"""Work on many things in their order, and what the loss of a process means."""

from __future__ import annotations

import pytest

from modelgarden_pod.errors import PodError, UserError
from modelgarden_train.data.pipeline.pool import in_order, lost_worker


def test_one_worker_makes_its_tool_once_and_keeps_the_order() -> None:
    made: list[int] = []

    def make_tool() -> int:
        made.append(1)
        return 10

    assert list(in_order([3, 1, 2], lambda tool, item: tool * item, make_tool=make_tool, workers=1)) == [
        30,
        10,
        20,
    ]
    assert made == [1]


@pytest.mark.parametrize(
    ("kills_before", "kills", "limit", "want"),
    [
        (0, 1, 2 * 1024**3, "for want of memory (the limit is 2.0 GiB); raise dataset.resources.memory"),
        (None, None, None, "for want of memory; raise dataset.resources.memory"),
    ],
)
def test_a_process_that_the_kernel_killed_is_told_with_the_field_that_helps(
    kills_before: int | None, kills: int | None, limit: int | None, want: str
) -> None:
    error = lost_worker(kills_before=kills_before, kills=kills, memory_limit=limit)

    assert isinstance(error, UserError)
    assert error.reason == "OutOfMemory"
    assert want in error.message


def test_a_process_that_ended_otherwise_is_tried_again() -> None:
    error = lost_worker(kills_before=2, kills=2, memory_limit=1024**3)

    assert type(error) is PodError
    assert error.reason == "PrepareFailed"
