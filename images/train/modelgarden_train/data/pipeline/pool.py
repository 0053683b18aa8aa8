"""Does the same with many things in processes of their own, in the things' order and in bounded memory.

A process is started anew, not forked: this one has threads, and libraries that do not survive a fork.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from typing import Any, Final, Generic, TypeVar

from modelgarden_pod.cgroup import memory_limit_bytes, oom_kills
from modelgarden_pod.errors import PodError, UserError
from modelgarden_pod.prctl import hide_from_others

Tool = TypeVar("Tool")
Item = TypeVar("Item")
Result = TypeVar("Result")

_WAITING: Final = 2
"""Things that wait for each process, so that none is idle."""
_GIB: Final = 1024**3


def in_order(
    items: Iterable[Item],
    work: Callable[[Tool, Item], Result],
    *,
    make_tool: Callable[[], Tool],
    workers: int,
) -> Iterator[Result]:
    """Yield what comes of each item; each process makes its tool once. With one worker it is done in this process.

    Raises:
        UserError: what the work raises; OutOfMemory, a process was killed for want of memory.
        PodError: PrepareFailed, a process ended otherwise.
    """
    if workers <= 1:
        tool = make_tool()
        for item in items:
            yield work(tool, item)
        return
    kills = oom_kills()
    pool = ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_begin, initargs=(make_tool,)
    )
    try:
        yield from _through(pool, items, work, most=workers * (1 + _WAITING))
    except BrokenProcessPool as error:
        raise lost_worker(kills_before=kills, kills=oom_kills(), memory_limit=memory_limit_bytes()) from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _through(
    pool: ProcessPoolExecutor, items: Iterable[Item], work: Callable[[Any, Item], Result], *, most: int
) -> Iterator[Result]:
    waiting: deque[Future[_Outcome[Result]]] = deque()
    for item in items:
        waiting.append(pool.submit(_do, work, item))
        if len(waiting) == most:
            yield waiting.popleft().result().value()
    while waiting:
        yield waiting.popleft().result().value()


class _Outcome(Generic[Result]):
    """What came of an item, or the error that the user is told of: an exception with fields of its own does not travel."""

    def __init__(self, result: Result | None, told: tuple[str, str] | None = None) -> None:
        self._result, self._told = result, told

    def value(self) -> Result:
        """Return the result.

        Raises:
            UserError: there is none.
        """
        if self._told is not None:
            raise UserError(*self._told)
        return self._result  # type: ignore[return-value]  # None where the work returns it


_tool: Any = None
"""Of this process."""


def _begin(make_tool: Callable[[], Any]) -> None:
    """Make this process a worker, which ends with the one that started it and leaves signals to that."""
    global _tool
    hide_from_others()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _tool = _tried(make_tool)


def _tried(call: Callable[[], Result]) -> _Outcome[Result]:
    try:
        return _Outcome(call())
    except UserError as error:
        return _Outcome(None, (error.reason, error.message))


def _do(work: Callable[[Any, Item], Result], item: Item) -> _Outcome[Result]:
    return _tried(lambda: work(_tool.value(), item))


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def lost_worker(*, kills_before: int | None, kills: int | None, memory_limit: int | None) -> PodError:
    """Return what it means that a process is gone, by how often the kernel has killed for want of memory. Pure."""
    if kills is not None and kills == kills_before:
        return PodError(
            "PrepareFailed", "a process that prepares rows ended without a word; the log may say why"
        )
    told = f" (the limit is {memory_limit / _GIB:.1f} GiB)" if memory_limit else ""
    return UserError(
        "OutOfMemory",
        f"a process that prepares rows was killed for want of memory{told}; raise dataset.resources.memory",
    )
