"""Shared answers: asked once, kept for a while, failures for a shorter while."""

from __future__ import annotations

import asyncio

import pytest

from modelgarden.registry.errors import Unavailable
from modelgarden.registry.lookups import FORGET_SECONDS, KEEP_PROBLEM_SECONDS, KEEP_SECONDS, Lookups


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


async def test_a_failure_is_kept_for_less_long(source: Source, lookups: Lookups) -> None:
    source.fails = True
    for _ in range(2):
        with pytest.raises(Unavailable):
            await lookups.get("key", source.answer)
    assert source.asked == 1

    source.fails = False
    source.now = KEEP_PROBLEM_SECONDS
    assert await lookups.get("key", source.answer) == 2


async def test_nobody_waits_with_the_one_who_looks_whether_a_failure_is_mended(
    source: Source, lookups: Lookups
) -> None:
    source.fails = True
    with pytest.raises(Unavailable):
        await lookups.get("key", source.answer)
    source.fails = False
    source.open.clear()
    source.now = KEEP_PROBLEM_SECONDS

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
