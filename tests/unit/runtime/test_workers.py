"""Workers: one key's error is its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from modelgarden.kube.errors import Invalid, Lost, Retryable
from modelgarden.kube.resources import FINETUNEJOBS, Key
from modelgarden.runtime import workers
from modelgarden.runtime.metrics import Metrics
from modelgarden.runtime.queue import WorkQueue
from modelgarden.runtime.workers import TELLING_FAILURES, work
from tests.unit.runtime.hand_clock import Time

A, B = (Key(FINETUNEJOBS, "team", name) for name in "ab")

Behaviour = Callable[[Key], Awaitable[float | None]]


class Scripted:
    """A reconciler that does what the test says."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self.seen: list[Key] = []

    async def reconcile(self, key: Key) -> float | None:
        self.seen.append(key)
        return await self._behaviour(key)


@asynccontextmanager
async def working(
    queue: WorkQueue, reconciler: Scripted, metrics: Metrics
) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(work(queue, {FINETUNEJOBS: reconciler}, metrics))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(2):
        while not condition():  # noqa: ASYNC110 -- polls what has no event
            await asyncio.sleep(0.001)


def errors(metrics: Metrics, reason: str) -> float | None:
    labels = {"kind": "FineTuneJob", "reason": reason}
    return metrics.registry.get_sample_value("modelgarden_reconcile_errors_total", labels)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Retryable("conflict"), "Retryable"),
        (Invalid("ApplyRejected", "quota"), "ApplyRejected"),
        (RuntimeError("a bug"), "RuntimeError"),
    ],
    ids=["retryable", "invalid", "bug"],
)
async def test_an_error_backs_its_key_off_and_the_next_key_is_reconciled(
    error: Exception, reason: str
) -> None:
    async def behave(key: Key) -> None:
        if key == A:
            raise error

    queue, metrics, reconciler = WorkQueue(), Metrics(), Scripted(behave)
    async with working(queue, reconciler, metrics) as task:
        queue.add(A)
        queue.add(B)
        await eventually(lambda: reconciler.seen == [A, B])
        assert not task.done()
    assert errors(metrics, reason) == 1


async def test_an_error_is_tried_again_after_the_wait_that_it_names() -> None:
    async def behave(_: Key) -> None:
        if len(reconciler.seen) == 1:
            raise Retryable("soon", after=30.0)

    time, reconciler = Time(), Scripted(behave)
    queue = time.queue()
    async with working(queue, reconciler, Metrics()):
        queue.add(A)
        await eventually(lambda: waits(time) == [30.0])
        time.pass_by(30.0)
        await eventually(lambda: reconciler.seen == [A, A])


async def test_a_requeue_is_kept() -> None:
    async def behave(_: Key) -> float | None:
        return 40.0 if len(reconciler.seen) < 3 else None

    time, reconciler = Time(), Scripted(behave)
    queue = time.queue()
    async with working(queue, reconciler, Metrics()):
        queue.add(A)
        for reconciles in (1, 2):
            await eventually(lambda: waits(time) == [40.0])
            assert reconciler.seen == [A] * reconciles
            time.pass_by(40.0)
        await eventually(lambda: reconciler.seen == [A, A, A] and queue.working == 0)
        assert waits(time) == []


def waits(time: Time) -> list[float]:
    """Return in how many seconds something is to happen."""
    return [timer.due - time.now for timer in time.timers if not timer.cancelled]


async def test_a_reconcile_that_hangs_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    async def behave(key: Key) -> None:
        if key == A:
            await asyncio.sleep(3600)

    monkeypatch.setattr(workers, "RECONCILE_SECONDS", 0.01)
    queue, metrics, reconciler = WorkQueue(), Metrics(), Scripted(behave)
    async with working(queue, reconciler, metrics):
        queue.add(A)
        queue.add(B)
        await eventually(lambda: B in reconciler.seen)
    assert errors(metrics, "TimeoutError") == 1


async def test_losing_the_lease_ends_the_worker() -> None:
    async def behave(_: Key) -> None:
        raise Lost("another process leads")

    queue = WorkQueue()
    async with working(queue, Scripted(behave), Metrics()) as task:
        queue.add(A)
        with pytest.raises(Lost):
            await task


async def test_what_keeps_failing_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    async def behave(key: Key) -> None:
        raise Retryable("the API server is busy", after=0.0)

    queue, reconciler = WorkQueue(), Scripted(behave)
    async with working(queue, reconciler, Metrics()):
        queue.add(A)
        await eventually(lambda: len(reconciler.seen) >= TELLING_FAILURES + 2)

    told = [record for record in caplog.records if record.levelname == "WARNING"]
    assert [record.getMessage() for record in told] == ["Trying again in 0 s: the API server is busy"]
