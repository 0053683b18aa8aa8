"""What a process asks of the kernel for itself. Imports nothing, for processes that must start fast."""

from __future__ import annotations

import ctypes
import os
import signal
from typing import Final

# Of <linux/prctl.h>.
_SET_PDEATHSIG: Final = 1
_SET_DUMPABLE: Final = 4
_SET_NO_NEW_PRIVS: Final = 38

libc: Final = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, *arguments: object) -> None:
    """Ask the kernel for something.

    Raises:
        OSError: it refuses.
    """
    # Variadic in C: what is no whole word would leave the rest of the register as it was.
    words = [ctypes.c_ulong(given) if isinstance(given, int) else given for given in (*arguments, 0, 0, 0, 0)]
    if libc.prctl(option, *words[:4]) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def end_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends."""
    prctl(_SET_PDEATHSIG, int(signal.SIGKILL))


def hide_from_others() -> None:
    """Keep this process's memory and environment from other processes of the same user, until it executes a program.

    Neither /proc/<pid>/environ nor /proc/<pid>/mem opens to them, and no debugger attaches; it leaves no core either.
    """
    prctl(_SET_DUMPABLE, 0)


def forbid_new_privileges() -> None:
    """Let no program that is executed from now on have more rights than this process; what a filter needs to be set."""
    prctl(_SET_NO_NEW_PRIVS, 1)
