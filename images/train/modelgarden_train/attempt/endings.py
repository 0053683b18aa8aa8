"""Why a worker ended without a word. Pure."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from modelgarden_pod.errors import PodError, Terminated

_GIB = 1024**3


@dataclass(frozen=True)
class Ending:
    """What is known of the end."""

    exit_code: int | None
    """As of subprocess: negative for a signal, None while the process does not end."""
    asked: bool = False
    """Whether it was asked to end."""
    oom_kills: int | None = None
    """Processes of this container that the kernel killed for want of memory meanwhile, None where it does not say."""
    memory_limit: int | None = None
    """Of the container, in bytes."""


def early_end(ending: Ending) -> PodError | Terminated:
    """Return what it means that a worker ended without a word."""
    code = ending.exit_code
    if code == -signal.SIGKILL and ending.oom_kills != 0:
        return _out_of_memory(ending)
    how = _how(code)
    if ending.asked:
        return Terminated(f"stopped by SIGTERM; the training process {how}")
    if code == -signal.SIGKILL:
        how += ", and not for want of the container's memory"
    return PodError("TrainingFailed", f"the training process {how}; its log may say why")


def _how(code: int | None) -> str:
    if code is None:
        return "fell silent"
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code} before it could say why"


def _out_of_memory(ending: Ending) -> PodError:
    why = "for want of memory" if ending.oom_kills else "by SIGKILL, as a rule for want of memory"
    limit = f" (the limit is {ending.memory_limit / _GIB:.1f} GiB)" if ending.memory_limit else ""
    return PodError("OutOfMemory", f"the training process was killed {why}{limit}; raise resources.memory")
