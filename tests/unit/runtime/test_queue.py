"""The queue: each key once, order, back-off, timers."""

from __future__ import annotations

import asyncio

import pytest

from modelgarden.kube.resources import FINETUNEJOBS, Key
from modelgarden.runtime.queue import BURST_SECONDS, LONGEST_RETRY_SECONDS, WorkQueue
from tests.unit.runtime.hand_clock import Time

A, B, C = (Key(FINETUNEJOBS, "team", name) for name in "abc")


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def queue(time: Time) -> WorkQueue:
    return time.queue()


async def take(queue: WorkQueue) -> Key:
    async with asyncio.timeout(1):
        return await queue.get()


async def is_empty(queue: WorkQueue) -> bool:
    try:
        async with asyncio.timeout(0.01):
            await queue.get()
    except TimeoutError:
        return True
    return False


async def test_a_key_that_is_added_often_is_handed_out_once(queue: WorkQueue) -> None:
    for _ in range(3):
        queue.add(A)
    assert queue.depth == 1
    assert await take(queue) == A
    assert await is_empty(queue)


async def test_keys_are_handed_out_in_the_order_of_their_first_addition(queue: WorkQueue) -> None:
    for key in (B, A, C, B, A):
        queue.add(key)
    assert [await take(queue) for _ in range(3)] == [B, A, C]


async def test_a_key_in_work_is_not_given_to_a_second_worker_but_runs_once_more(queue: WorkQueue) -> None:
    queue.add(A)
    await take(queue)
    queue.add(A)
    queue.add(A)
    assert await is_empty(queue)
    queue.done(A, None)
    assert await take(queue) == A
    queue.done(A, None)
    assert await is_empty(queue)


async def test_a_key_added_again_while_in_work_queues_behind_those_that_wait(queue: WorkQueue) -> None:
    queue.add(A)
    await take(queue)
    queue.add(B)
    queue.add(A)
    queue.done(A, None)
    assert [await take(queue), await take(queue)] == [B, A]


async def test_a_requeue_fires_when_its_time_has_come(queue: WorkQueue, time: Time) -> None:
    queue.add(A)
    await take(queue)
    queue.done(A, 10)
    time.pass_by(9)
    assert await is_empty(queue)
    time.pass_by(1)
    assert await take(queue) == A


async def test_the_newest_answer_replaces_an_earlier_requeue(queue: WorkQueue, time: Time) -> None:
    queue.add(A)
    await take(queue)
    queue.done(A, 10)
    queue.add(A)
    await take(queue)
    queue.done(A, None)
    time.pass_by(100)
    assert await is_empty(queue)


async def test_add_after_moves_a_timer_forward_but_never_back(queue: WorkQueue, time: Time) -> None:
    queue.add_after(A, 5)
    queue.add_after(A, 50)
    time.pass_by(5)
    assert await take(queue) == A
    queue.done(A, 50)
    queue.add_after(A, 5)
    time.pass_by(5)
    assert await take(queue) == A


async def test_a_burst_of_events_is_one_reconcile(queue: WorkQueue, time: Time) -> None:
    for _ in range(5):
        queue.add_soon(A)
        time.pass_by(BURST_SECONDS / 10)
    assert await is_empty(queue)
    time.pass_by(BURST_SECONDS)
    assert await take(queue) == A
    queue.done(A, None)
    assert await is_empty(queue)


async def test_a_burst_during_work_is_one_more_reconcile(queue: WorkQueue, time: Time) -> None:
    queue.add(A)
    await take(queue)
    queue.add_soon(A)
    queue.add_soon(A)
    queue.done(A, None)
    assert await take(queue) == A
    queue.done(A, None)
    time.pass_by(10)
    assert await is_empty(queue)


async def test_a_burst_does_not_put_off_a_retry_beyond_its_moment(queue: WorkQueue, time: Time) -> None:
    queue.add(A)
    await take(queue)
    queue.retry(A, after=60)
    queue.add_soon(A)
    time.pass_by(BURST_SECONDS)
    assert await take(queue) == A


async def test_failures_of_a_key_double_its_wait_up_to_the_longest(queue: WorkQueue, time: Time) -> None:
    waits = []
    queue.add(A)
    for _ in range(11):
        await take(queue)
        waits.append(queue.retry(A))
        time.pass_by(waits[-1])
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, LONGEST_RETRY_SECONDS, LONGEST_RETRY_SECONDS]


async def test_success_forgets_the_failures(queue: WorkQueue, time: Time) -> None:
    for _ in range(5):
        queue.add(A)
        await take(queue)
        queue.retry(A)
    queue.add(A)
    await take(queue)
    queue.done(A, None)
    queue.add(A)
    await take(queue)
    assert queue.retry(A) == 1


async def test_a_wait_that_the_error_names_is_kept_to(queue: WorkQueue, time: Time) -> None:
    queue.add(A)
    await take(queue)
    assert queue.retry(A, after=7) == 7
    time.pass_by(6.9)
    assert await is_empty(queue)
    time.pass_by(0.1)
    assert await take(queue) == A


async def test_a_key_in_back_off_delays_no_other(queue: WorkQueue) -> None:
    queue.add(A)
    await take(queue)
    queue.retry(A)
    queue.add(B)
    assert await take(queue) == B


async def test_a_key_in_back_off_runs_at_once_when_an_event_comes(queue: WorkQueue) -> None:
    queue.add(A)
    await take(queue)
    queue.retry(A)
    queue.add(A)
    assert await take(queue) == A


@pytest.mark.parametrize(("jitter", "want"), [(0.0, 0.5), (0.5, 0.75), (1.0, 1.0)])
async def test_jitter_takes_off_up_to_half_of_the_wait(time: Time, jitter: float, want: float) -> None:
    queue = WorkQueue(clock=lambda: time.now, call_later=time.call_later, jitter=lambda: jitter)
    queue.add(A)
    await take(queue)
    assert queue.retry(A) == want


async def test_ages_are_those_of_the_first_waiting_key_and_of_the_slowest_work(
    queue: WorkQueue, time: Time
) -> None:
    assert (queue.oldest_seconds, queue.longest_work_seconds) == (0, 0)
    queue.add(A)
    time.pass_by(2)
    queue.add(B)
    time.pass_by(3)
    assert (queue.depth, queue.oldest_seconds) == (2, 5)
    await take(queue)
    time.pass_by(4)
    assert (queue.oldest_seconds, queue.longest_work_seconds) == (7, 4)


async def test_a_waiting_worker_wakes_when_a_key_comes(queue: WorkQueue) -> None:
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add(A)
    async with asyncio.timeout(1):
        assert await waiting == A
