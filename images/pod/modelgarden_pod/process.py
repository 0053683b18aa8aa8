"""How a command of a pod ends: a termination message for the operator and an exit code for the Job."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

from modelgarden.api.pods import TerminationMessage
from modelgarden_pod.errors import PodError, Terminated

logger = logging.getLogger(__name__)

TERMINATION_LOG_VARIABLE = "MODELGARDEN_TERMINATION_LOG"
"""File of the termination message. Default: /dev/termination-log, where the kubelet has made it."""


def run_command(command: Callable[[], TerminationMessage], *, failure_reason: str) -> int:
    """Run a command, leave its termination message and return the exit code."""
    try:
        ended = command()
    except (PodError, Terminated) as error:
        logger.error("Ended early", extra={"reason": error.reason, "error": error.message})
        leave_message(TerminationMessage(reason=error.reason, message=error.message))
        return error.exit_code
    except Exception as error:
        logger.exception("Failed")
        leave_message(TerminationMessage(reason=failure_reason, message=described(error)))
        return 1
    logger.info("Done", extra={"result": ended.message})
    leave_message(ended)
    return 0


def described(error: Exception) -> str:
    """Return what an unexpected error says, by its type where it says nothing."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def leave_message(message: TerminationMessage) -> None:
    """Write the termination message where there is a file for it."""
    given = os.environ.get(TERMINATION_LOG_VARIABLE)
    path = Path(given or "/dev/termination-log")
    if given or path.exists():
        path.write_text(message.encode())


def end_process(exit_code: int) -> None:
    """End without waiting for threads that may still be in a transfer."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)
