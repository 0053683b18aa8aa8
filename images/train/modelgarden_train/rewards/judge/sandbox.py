"""Shuts this process off before a stranger's text or code is looked at: files, memory, rights, network."""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from pathlib import Path
from typing import Final

from modelgarden_pod.prctl import forbid_new_privileges, libc
from modelgarden_train.rewards.judge.landlock import restrict
from modelgarden_train.rewards.judge.seccomp import filter_network

_CAPABILITIES_VERSION: Final = 0x2008_0522
"""Of <linux/capability.h>: sets of 64 bits, in two halves."""
_LARGEST_FILE: Final = 64 * 1024**2
"""Bytes of a file that it writes into its folder."""
_SYSTEM: Final = ("/usr", "/bin", "/lib", "/lib64", "/etc", "/proc", "/sys")
_DEVICES: Final = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")


def shut_off(*, file: Path | None, memory_bytes: int) -> bool:
    """Leave this process its Python, one file, its folder and so much memory; return whether the files are shut off too.

    Raises:
        OSError: the kernel does not do it.
    """
    forbid_new_privileges()
    python = (Path(path) for path in (sys.prefix, sys.base_prefix, *sys.path) if path)
    readable = (*map(Path, _SYSTEM), *python, *([file] if file else ()))
    apart = restrict(readable=readable, writable=(Path.cwd(), *map(Path, _DEVICES)))
    _drop_capabilities()
    for limit, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, _LARGEST_FILE),
        (resource.RLIMIT_AS, memory_bytes),
    ):
        resource.setrlimit(limit, (most, most))
    filter_network(os.uname().machine)
    return apart


def _drop_capabilities() -> None:
    """Give up what root has beyond other users: in a pod nothing, elsewhere everything."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_VERSION, 0)
    if libc.capset(header, (ctypes.c_uint32 * 6)()) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
