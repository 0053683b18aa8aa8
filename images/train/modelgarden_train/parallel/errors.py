"""How a process of a training ends for the sake of another one."""

from __future__ import annotations

from modelgarden_pod.errors import PodError


class PeerLost(PodError):  # noqa: N818 -- says what is so
    """Another process of the training does not answer: what it says of itself is why the training ended."""

    def __init__(self, said: object) -> None:
        super().__init__(
            "TrainingFailed", f"another process of this training does not answer; its log may say why: {said}"
        )


class PodLost(PodError):  # noqa: N818
    """Another pod of the training has ended: what it says of itself is why the training ended."""

    def __init__(self, said: str) -> None:
        super().__init__("PeerLost", said)
