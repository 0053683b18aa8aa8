"""The first pod of a training as another one sees it: what it says to begin with, and that all is done or over."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Final

from modelgarden.api.emissions import EmissionsRecord
from modelgarden.api.pods import PodGroup
from modelgarden_pod.errors import PodError
from modelgarden_train.attempt.messages import Message
from modelgarden_train.attempt.nodes.leading import gone_words, missing
from modelgarden_train.attempt.nodes.link import (
    Ended,
    Hello,
    Link,
    Published,
    Spent,
    Start,
    Stopping,
    beat,
)
from modelgarden_train.parallel.errors import PodLost

AGAIN_SECONDS: Final = 1.0
"""Between two tries to reach the first pod."""
CONNECT_SECONDS: Final = 10.0


class FirstPod:
    """The first pod, from the meeting to the end."""

    def __init__(self, group: PodGroup, hello: Hello) -> None:
        self._group = group
        self._hello = hello
        self._changed = threading.Condition()
        self._link: Link | None = None
        self._start: Start | None = None
        self._said: Ended | None = None
        self._lost = False
        self._over = threading.Event()
        self.stopping = False
        """Whether it, or another pod, was asked to end."""
        self.published = False
        """Whether all is done."""

    def meet(self, spent: Callable[[], EmissionsRecord]) -> Start:
        """Reach it, and wait for its word to begin; tell it from now on what is spent here.

        Raises:
            PodError: PeersMissing, it is not there after a while, or another pod is not.
            PodLost: it has ended.
        """
        until = time.monotonic() + self._group.patience_seconds
        while (left := until - time.monotonic()) > 0:
            if (link := self._connect()) is not None:
                return self._begin(link, left, spent)
            with self._changed:
                self._changed.wait(min(left, AGAIN_SECONDS))
        raise PodError("PeersMissing", missing(self._group, [0]))

    def check(self) -> None:
        """Raise that it has ended, where that was not asked for.

        Raises:
            PodLost: it has ended, or says nothing any more.
        """
        if self._said is not None or (self._lost and not self.stopping):
            raise PodLost(gone_words(self._group.pod(0), self._said))

    def wait(self, seconds: float) -> None:
        """Give it a moment to say that it has ended, and why.

        Raises:
            PodLost: as of `check`.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._lost or self._said is not None, timeout=seconds)
        self.check()

    @property
    def stalled(self) -> bool:
        """Whether it says that the training stands still: where it stands here is worth knowing."""
        return self._said is not None and self._said.reason == "Stalled"

    def stop(self) -> None:
        """Tell it that this pod was asked to end."""
        self._tell(Stopping())

    def stopped(self) -> PodLost:
        """Return that the training was stopped for another pod's sake."""
        return PodLost("another pod of this training was stopped, and so all of them after a checkpoint")

    def ended(self, reason: str, message: str) -> None:
        """Tell it that this attempt has ended too early, and how."""
        self._tell(Ended(reason=reason, message=message))
        self._over.set()
        if self._link is not None:
            self._link.close()

    def _connect(self) -> Link | None:
        try:
            connection = socket.create_connection((self._group.host, self._group.port), CONNECT_SECONDS)
        except OSError:  # it is not there yet, or its name is not
            return None
        link = Link(connection)
        link.send(self._hello)
        first = link.receive()
        if first is None:  # of another attempt, which is about to end
            link.close()
            return None
        self._link = link
        self._hear(first)
        link.listen(self._hear, self._lose)
        return link

    def _begin(self, link: Link, seconds: float, spent: Callable[[], EmissionsRecord]) -> Start:
        beat(lambda: Spent(emissions=spent()), lambda: [link], self._over)
        with self._changed:
            # The first pod says who is missing; its time began before or after this one's.
            self._changed.wait_for(
                lambda: self._start is not None or self._lost or self._said is not None,
                timeout=seconds + self._group.patience_seconds,
            )
        if self._start is None:
            self.check()
            raise PodLost(f"pod {self._group.pod(0)} has not begun the training")
        return self._start

    def _tell(self, message: Message) -> None:
        if self._link is not None:
            self._link.send(message)

    def _hear(self, message: Message) -> None:
        with self._changed:
            match message:
                case Start():
                    self._start = message
                case Stopping():
                    self.stopping = True
                case Ended():
                    self._said = message
                case Published():
                    self.published = True
            self._changed.notify_all()

    def _lose(self) -> None:
        with self._changed:
            self._lost = True
            self._changed.notify_all()
