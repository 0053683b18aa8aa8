"""What runs beside the operator's loop: its outcome, its end, and that it waits for nothing here."""

from __future__ import annotations

import asyncio
import threading

import pytest

from modelgarden.kube.errors import Lost
from modelgarden.runtime.beside import beside


async def test_it_runs_in_a_thread_of_its_own_while_this_loop_stands_still() -> None:
    went_on = threading.Event()

    async def work() -> str:
        went_on.set()
        return threading.current_thread().name

    async with beside("lease") as loop:
        asked = asyncio.create_task(loop.run(work()))
        await asyncio.sleep(0)

        assert went_on.wait(5), "this thread does not give its loop a chance to run"
        assert await asked == "lease"


async def test_what_it_raises_arrives_here() -> None:
    async def work() -> None:
        raise Lost("The Lease is held by another.")

    async with beside("lease") as loop:
        with pytest.raises(Lost, match="held by another"):
            await loop.run(work())


async def test_cancelling_it_here_cancels_it_there() -> None:
    begun, ended = threading.Event(), threading.Event()

    async def work() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with beside("lease") as loop:
        asked = asyncio.create_task(loop.run(work()))
        await asyncio.to_thread(begun.wait, 5)
        asked.cancel()
        await asyncio.wait({asked})

        assert asked.cancelled()
        assert await asyncio.to_thread(ended.wait, 5)


async def test_its_thread_ends_with_the_block() -> None:
    async with beside("of this test"):
        pass

    assert "of this test" not in {thread.name for thread in threading.enumerate()}
