"""Shared answers: asked once, kept for a while, and each tells when it is asked for anew."""

from __future__ import annotations

import asyncio

import pytest

from modelgarden.registry.errors import Unavailable
from modelgarden.registry.lookups import (
    FORGET_SECONDS,
    KEEP_SECONDS,
    REST_SECONDS,
    SOON_SECONDS,
    Lookups,
)


class Source:
    """A clock, and an answer that counts how often it was asked for."""

    def __init__(self) -> None:
        self.now = 0.0
        self.asked = 0
        self.open = asyncio.Event()
        self.open.set()
        self.fails = False

    async def answer(self) -> int:
        self.asked += 1
        number = self.asked
        await self.open.wait()
        if self.fails:
            raise Unavailable("S3 is away.")
        return number


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def lookups(source: Source) -> Lookups:
    return Lookups(clock=lambda: source.now)


async def test_those_who_ask_at_once_get_one_answer(source: Source, lookups: Lookups) -> None:
    source.open.clear()
    waiting = [asyncio.create_task(lookups.get("key", source.answer)) for _ in range(1000)]
    await asyncio.sleep(0)
    source.open.set()

    assert set(await asyncio.gather(*waiting)) == {1}
    assert source.asked == 1


async def test_an_answer_is_kept_and_then_asked_for_again(source: Source, lookups: Lookups) -> None:
    assert await lookups.get("key", source.answer) == 1
    source.now = KEEP_SECONDS - 1
    assert await lookups.get("key", source.answer) == 1
    source.now = KEEP_SECONDS
    assert await lookups.get("key", source.answer) == 2


async def test_a_failure_is_kept_as_long_and_says_when_it_is_asked_for_again(
    source: Source, lookups: Lookups
) -> None:
    source.fails = True
    for source.now in (0.0, 4.0, KEEP_SECONDS - 0.001):
        with pytest.raises(Unavailable, match="S3 is away") as caught:
            await lookups.get("key", source.answer)
        assert caught.value.due == pytest.approx(KEEP_SECONDS - source.now)
        assert caught.value.message == "S3 is away."
    assert source.asked == 1

    source.fails = False
    source.now = KEEP_SECONDS
    assert await lookups.get("key", source.answer) == 2


async def test_a_failure_outlasts_an_answer_that_is_kept_for_less(source: Source, lookups: Lookups) -> None:
    source.fails = True
    with pytest.raises(Unavailable) as caught:
        await lookups.get("key", source.answer, keep_seconds=4.0)

    assert caught.value.due == KEEP_SECONDS


async def test_one_who_looks_whenever_it_is_due_sees_it_mended_within_ten_seconds(
    source: Source, lookups: Lookups
) -> None:
    looks, mended_at = [0.0], 125.0
    while source.now < mended_at:
        source.now = looks[-1]
        source.fails = source.now < mended_at
        (answer,) = await asyncio.gather(lookups.get("key", source.answer), return_exceptions=True)
        looks.append(source.now + (getattr(answer, "due", None) or KEEP_SECONDS))

    assert answer == source.asked == 14  # one question in ten seconds
    assert source.now - mended_at <= KEEP_SECONDS


async def test_a_slow_answer_is_kept_for_a_moment(source: Source, lookups: Lookups) -> None:
    source.open.clear()
    slow = asyncio.create_task(lookups.get("key", source.answer))
    await asyncio.sleep(0)
    source.now = 3 * KEEP_SECONDS
    source.open.set()

    assert await slow == 1
    assert lookups.due("key") == REST_SECONDS
    assert await lookups.get("key", source.answer) == 1
    source.now += REST_SECONDS
    assert await lookups.get("key", source.answer) == 2


async def test_an_answer_tells_when_it_is_due_too(source: Source, lookups: Lookups) -> None:
    assert lookups.due("key") == 0.0
    await lookups.get("key", source.answer, keep_seconds=4.0)
    source.now = 1.0

    assert lookups.due("key") == 3.0
    source.now = 60.0
    assert lookups.due("key") == 0.0


async def test_one_who_is_turned_away_waits_as_long_as_the_question_has_taken(
    source: Source, lookups: Lookups
) -> None:
    source.fails = True
    with pytest.raises(Unavailable):
        await lookups.get("key", source.answer)
    source.open.clear()
    source.now = KEEP_SECONDS
    first = asyncio.create_task(lookups.get("key", source.answer))
    await asyncio.sleep(0)

    for taken, wanted in ((0.01, SOON_SECONDS), (3.0, 3.0), (6.0, 6.0)):
        source.now = KEEP_SECONDS + taken
        with pytest.raises(Unavailable) as caught:
            await lookups.get("key", source.answer)
        assert caught.value.due == wanted
    source.open.set()
    with pytest.raises(Unavailable):
        await first


async def test_each_gets_an_error_of_its_own(source: Source, lookups: Lookups) -> None:
    source.fails = True
    source.open.clear()
    tasks = [asyncio.create_task(lookups.get("key", source.answer)) for _ in range(3)]
    await asyncio.sleep(0)
    source.open.set()
    errors = await asyncio.gather(*tasks, return_exceptions=True)

    assert len({id(error) for error in errors}) == 3
    assert {type(error) for error in errors} == {Unavailable}
    assert {str(error) for error in errors} == {"StorageUnavailable: S3 is away."}


async def test_nobody_waits_with_the_one_who_looks_whether_a_failure_is_mended(
    source: Source, lookups: Lookups
) -> None:
    source.fails = True
    with pytest.raises(Unavailable):
        await lookups.get("key", source.answer)
    source.fails = False
    source.open.clear()
    source.now = KEEP_SECONDS

    first = asyncio.create_task(lookups.get("key", source.answer))
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await lookups.get("key", source.answer)
    source.open.set()

    assert await first == 2


async def test_who_is_cancelled_does_not_take_the_answer_from_the_others(
    source: Source, lookups: Lookups
) -> None:
    source.open.clear()
    first = asyncio.create_task(lookups.get("key", source.answer))
    second = asyncio.create_task(lookups.get("key", source.answer))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    source.open.set()

    assert await second == 1


async def test_answers_of_long_ago_are_let_go(source: Source, lookups: Lookups) -> None:
    for number in range(5):
        await lookups.get(number, source.answer)
    source.now = KEEP_SECONDS + FORGET_SECONDS

    await lookups.get("one more", source.answer)

    assert list(lookups._entries) == ["one more"]
