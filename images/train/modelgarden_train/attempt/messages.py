"""What the supervisor and its worker tell each other: one JSON object a line, over a socket that the worker inherits.

Both ends are of one image, so the messages need no versions.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from modelgarden.api.artifact import GgufRecord
from modelgarden.api.finetunejob import ArtifactFormat, ValidationStatus
from modelgarden.api.pods import RunConfig
from modelgarden_pod.errors import PodError, Terminated, UserError
from modelgarden_train.parallel.errors import PeerLost

RENDEZVOUS = "rendezvous"


class Message(BaseModel):
    """Something that is told."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Begin(Message):
    """To the worker, first: what it works on. It imports its libraries while the inputs are fetched."""

    kind: Literal["begin"] = "begin"
    config: RunConfig
    workspace: Path
    rank: int = 0
    """Which of the processes of this training it is."""
    size: int = 1
    """How many processes there are."""
    listening: int | None = None
    """A socket of the first process of several nodes, where all of them find each other."""

    @property
    def rendezvous(self) -> Path:
        """The file by way of which they find each other."""
        return self.workspace / RENDEZVOUS


class Saved(Message):
    """A checkpoint lies on this machine."""

    kind: Literal["saved"] = "saved"
    step: int
    path: Path


class Inputs(Message):
    """To the worker: all that it needs lies on this machine."""

    kind: Literal["inputs"] = "inputs"
    model: Path
    training: Path
    validation: Path
    images: Path | None = None
    """Those of all rows, where they have any."""
    longest_row: int
    """Tokens of the longest row."""
    rewards: dict[str, Path] = Field(default_factory=dict)
    """What the rewards of the objective need, by its URI."""
    resume: Saved | None = None
    """The checkpoint to go on from."""
    port: int | None = None
    """Where the processes of several nodes find each other, on the first one; None on one node."""


class Stage(Message):
    """A stage begins."""

    kind: Literal["stage"] = "stage"
    name: str


class Resolved(Message):
    """The training begins with these hyperparameters."""

    kind: Literal["resolved"] = "resolved"
    hyperparameters: dict[str, str]


class Stepped(Message):
    """An optimizer step is done."""

    kind: Literal["stepped"] = "stepped"
    step: int
    total: int
    epoch: float
    tokens: int
    """Since the start of the attempt."""
    loss: float | None


class Logged(Message):
    """The loss was taken, and what goes with it; what is no number is left out."""

    kind: Literal["logged"] = "logged"
    step: int
    loss: float
    learning_rate: float | None
    gradient_norm: float | None
    reward: float | None = None
    reward_margin: float | None = None


class Validated(Message):
    """The held-out rows were scored."""

    kind: Literal["validated"] = "validated"
    step: int
    """Done before; 0 is the untrained model."""
    loss: float


class Best(Message):
    """What all validations so far have found."""

    kind: Literal["best"] = "best"
    found: ValidationStatus


class Alive(Message):
    """Rows went through the model, whatever for."""

    kind: Literal["alive"] = "alive"


class GpuMemory(Message):
    """The peak of the GPU's memory."""

    kind: Literal["gpu-memory"] = "gpu-memory"
    mib: int | None


class Made(Message):
    """The worker is done: what it has made lies on this machine."""

    kind: Literal["made"] = "made"
    artifact: Path
    formats: dict[ArtifactFormat, str]
    gguf: GgufRecord | None = None
    hyperparameters: dict[str, str]
    validation: ValidationStatus | None = None
    evaluation: Path
    """File with the scores of base and tuned model."""


class Done(Message):
    """A worker beside the first one is done: it has made no file of its own."""

    kind: Literal["done"] = "done"


class Failed(Message):
    """The worker cannot go on."""

    kind: Literal["failed"] = "failed"
    reason: str
    message: str
    exit_code: int
    peer_lost: bool = False
    """Whether that is another worker's doing."""

    @classmethod
    def of(cls, error: PodError | Terminated) -> Failed:
        """Return what an error of the worker means."""
        lost = isinstance(error, PeerLost)
        return cls(reason=error.reason, message=error.message, exit_code=error.exit_code, peer_lost=lost)

    def error(self) -> PodError | Terminated:
        """Return the error as the worker had it."""
        if self.exit_code == Terminated.exit_code:
            return Terminated(self.message)
        return (UserError if self.exit_code == UserError.exit_code else PodError)(self.reason, self.message)


Order = Annotated[Begin | Inputs, Field(discriminator="kind")]
"""What a worker is told."""
Report = Annotated[
    Stage | Resolved | Stepped | Logged | Validated | Best | Alive | GpuMemory | Saved | Made | Done | Failed,
    Field(discriminator="kind"),
]
"""What a worker tells."""

ORDERS: TypeAdapter[Begin | Inputs] = TypeAdapter(Order)
REPORTS: TypeAdapter[
    Stage | Resolved | Stepped | Logged | Validated | Best | Alive | GpuMemory | Saved | Made | Done | Failed
] = TypeAdapter(Report)

T = TypeVar("T")


class Channel:
    """One end of the socket. Any thread may send, one receives."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._lines = end.makefile("rb")
        self._lock = threading.Lock()

    def send(self, message: Message) -> None:
        """Tell something.

        Raises:
            OSError: nobody listens any more.
        """
        with self._lock:
            self._end.sendall(message.model_dump_json(by_alias=True).encode() + b"\n")

    def receive(self, kinds: TypeAdapter[T]) -> T | None:
        """Wait for the next message; None where none will come.

        Raises:
            pydantic.ValidationError: it is none of these kinds.
        """
        try:
            line = self._lines.readline()
        except ConnectionResetError:  # the other end has gone with messages unread
            return None
        return kinds.validate_json(line) if line.endswith(b"\n") else None

    def close(self) -> None:
        """Tell the other end that no more will come, and hear no more."""
        with contextlib.suppress(OSError):  # the other end has gone already
            self._end.shutdown(socket.SHUT_RDWR)
        self._lines.close()
        self._end.close()
