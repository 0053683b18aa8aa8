"""When the health check fails, and when it must not."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from modelgarden.kube.resources import FINETUNEJOBS, Key
from modelgarden.runtime.health import Limits, Signs, Vitals, ailments
from modelgarden.runtime.queue import WorkQueue

LIMITS = Limits(waiting=60, working=120, unsynced=900, lag=30)
WELL = Signs(leading=True, waiting=59, working=119, unsynced=899, lag=29)


def test_a_leader_within_all_limits_is_healthy() -> None:
    assert ailments(WELL, LIMITS) == []


@pytest.mark.parametrize(
    ("sick", "want"),
    [
        (replace(WELL, waiting=61), "a key has waited 61 s for a worker"),
        (replace(WELL, working=121), "a reconcile has taken 121 s"),
        (replace(WELL, workers_gone=2), "2 workers have ended"),
        (replace(WELL, unsynced=901), "the last complete listing was 901 s ago"),
        (replace(WELL, lag=31), "the event loop is 31 s late"),
    ],
    ids=["stuck queue", "endless reconcile", "dead worker", "no listing", "blocked loop"],
)
def test_one_figure_beyond_its_limit_is_an_ailment(sick: Signs, want: str) -> None:
    assert ailments(sick, LIMITS) == [want]


def test_a_standby_is_healthy_though_nothing_is_listed_or_reconciled() -> None:
    assert ailments(replace(WELL, leading=False, waiting=1e6, unsynced=1e6, workers_gone=16), LIMITS) == []


def test_a_standby_with_a_blocked_loop_is_not_healthy() -> None:
    assert ailments(Signs(leading=False, lag=31), LIMITS) != []


async def test_the_signs_are_read_from_the_queue_and_the_workers() -> None:
    now = 100.0
    vitals = Vitals(LIMITS, clock=lambda: now)
    queue = WorkQueue(clock=lambda: now)
    ended = asyncio.create_task(asyncio.sleep(0))
    waiting = asyncio.create_task(asyncio.sleep(3600))
    await ended
    vitals.start(queue, [ended, waiting])
    queue.add(Key(FINETUNEJOBS, "team", "a"))
    now += 61
    signs = vitals.signs()
    waiting.cancel()
    assert (signs.leading, signs.waiting, signs.workers_gone, signs.unsynced) == (True, 61, 1, 61)
    assert len(vitals.ailments()) == 3  # the beat is late as well: nobody runs it here
    vitals.stop()
    assert not vitals.signs().leading


async def test_a_complete_listing_renews_the_age() -> None:
    now = 0.0
    vitals = Vitals(LIMITS, clock=lambda: now)
    vitals.start(WorkQueue(), [])
    now = 500.0
    vitals.synced()
    now = 600.0
    assert vitals.signs().unsynced == 100
