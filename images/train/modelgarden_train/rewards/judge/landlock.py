"""Landlock: shuts a process off from files, and from the memory and environment of processes that are not its own.

Kernels have it from 5.13 on where it is not switched off; numbers and structures are those of <linux/landlock.h>.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from modelgarden_pod.prctl import libc

_CREATE_RULESET: Final = 444
_ADD_RULE: Final = 445
_RESTRICT_SELF: Final = 446
"""System calls: the same numbers on all architectures."""
_VERSION: Final = 1
_PATH_BENEATH: Final = 1

_EXECUTE: Final = 1 << 0
_READ_FILE: Final = 1 << 2
_READ_FOLDER: Final = 1 << 3
_READ: Final = _EXECUTE | _READ_FILE | _READ_FOLDER
_WRITE_FILE: Final = 1 << 1
_RIGHTS: Final = ((1, (1 << 13) - 1), (2, 1 << 13), (3, 1 << 14))
"""Rights over files, by the version that brought them."""
_ON_A_FILE: Final = _EXECUTE | _WRITE_FILE | _READ_FILE | 1 << 14
_SCOPED: Final = (6, 0b11)
"""No abstract socket of others is reached, and no process of others is sent a signal."""


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def restrict(*, readable: Iterable[Path], writable: Iterable[Path]) -> bool:
    """Leave this process these files and folders only, for good; return False where the kernel has no Landlock.

    Raises:
        OSError: the kernel has it and refuses.
    """
    version = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION))
    if version < 1:
        return False
    handled = sum(rights for since, rights in _RIGHTS if version >= since)
    asked = _Ruleset(files=handled, scoped=_SCOPED[1] if version >= _SCOPED[0] else 0)
    size = ctypes.sizeof(asked) if version >= _SCOPED[0] else ctypes.sizeof(ctypes.c_uint64)
    ruleset = _checked(libc.syscall(_CREATE_RULESET, ctypes.byref(asked), ctypes.c_size_t(size), 0))
    try:
        for path in readable:
            _allow(ruleset, path, _READ)
        for path in writable:
            _allow(ruleset, path, handled)
        _checked(libc.syscall(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)
    return True


def _allow(ruleset: int, path: Path, rights: int) -> None:
    with contextlib.suppress(FileNotFoundError):  # not every system has each
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            rule = _PathBeneath(allowed=rights if path.is_dir() else rights & _ON_A_FILE, parent=opened)
            _checked(libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0))
        finally:
            os.close(opened)


def _checked(returned: int) -> int:
    if returned < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return returned
