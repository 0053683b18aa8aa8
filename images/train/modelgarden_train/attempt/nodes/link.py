"""What two supervisors tell each other: one JSON object a line, over a TCP connection that lives as long as the attempt.

All pods of an attempt are of one image, so the messages need no versions. Who listens may be spoken to by anybody in the
cluster: what is no message ends the connection, and a line has a bound.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Callable
from typing import Annotated, Final, Literal

from pydantic import Field, TypeAdapter, ValidationError

from modelgarden.api.emissions import EmissionsRecord
from modelgarden_train.attempt.messages import Message

logger = logging.getLogger(__name__)

BEAT_SECONDS: Final = 5.0
"""Between two signs of life."""
SILENT_SECONDS: Final = 60.0
"""After which a pod that says nothing is lost: its node may be gone without closing the connection."""
MOST_BYTES: Final = 1 << 20
"""Of a line."""


class Hello(Message):
    """To the first pod, first of all: who is there."""

    kind: Literal["hello"] = "hello"
    run: str
    """UID of the run."""
    node: int = Field(ge=1)
    attempt: str
    """UID of the pod."""


class Start(Message):
    """From the first pod, once all are there."""

    kind: Literal["start"] = "start"
    port: int
    """Where, on the first pod, the workers find each other."""
    resume: int | None = None
    """Step of the checkpoint that all of them go on from."""


class Beat(Message):
    """From the first pod: it lives."""

    kind: Literal["beat"] = "beat"


class Spent(Message):
    """To the first pod, as its sign of life: what the sender has spent so far."""

    kind: Literal["spent"] = "spent"
    emissions: EmissionsRecord


class Stopping(Message):
    """A pod was asked to end by SIGTERM: the step under way is saved, then all of them end."""

    kind: Literal["stopping"] = "stopping"


class Ended(Message):
    """The sender's attempt has ended too early; these are its last words."""

    kind: Literal["ended"] = "ended"
    reason: str
    message: str


class Published(Message):
    """From the first pod: the artifact is there, all is done."""

    kind: Literal["published"] = "published"


Word = Annotated[Hello | Start | Beat | Spent | Stopping | Ended | Published, Field(discriminator="kind")]
WORDS: TypeAdapter[Hello | Start | Beat | Spent | Stopping | Ended | Published] = TypeAdapter(Word)


class Link:
    """One end of a connection. Any thread may send; what comes is heard in a thread of its own."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(SILENT_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection = connection
        self._lines = connection.makefile("rb")
        self._lock = threading.Lock()

    def send(self, message: Message) -> None:
        """Tell something; where nobody listens any more, that is heard by whoever listens here."""
        with self._lock, contextlib.suppress(OSError):
            self._connection.sendall(
                message.model_dump_json(by_alias=True, exclude_none=True).encode() + b"\n"
            )

    def receive(self) -> Message | None:
        """Wait for the next message; None where none will come."""
        try:
            line = self._lines.readline(MOST_BYTES)
            return WORDS.validate_json(line) if line.endswith(b"\n") else None
        except (OSError, ValueError) as error:
            if isinstance(error, ValidationError):
                logger.warning("What a peer says is no message")
            return None

    def listen(self, hear: Callable[[Message], None], lost: Callable[[], None]) -> None:
        """Hear what comes from now on, and that nothing will come any more."""

        def listening() -> None:
            while (message := self.receive()) is not None:
                hear(message)
            lost()

        threading.Thread(target=listening, name="peer", daemon=True).start()

    def close(self) -> None:
        """Tell the other end that no more will come, and hear no more."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()


def beat(message: Callable[[], Message], links: Callable[[], list[Link]], ended: threading.Event) -> None:
    """Send a sign of life over all links again and again, in a thread of its own, until the event."""

    def beating() -> None:
        while not ended.wait(BEAT_SECONDS):
            told = message()
            for link in links():
                link.send(told)

    threading.Thread(target=beating, name="beats", daemon=True).start()
