"""Seccomp: a filter of system calls without which there is no network, in the words of classic BPF.

libseccomp would write it for us, but is no wheel, and its binding for Python has had no release since 2021.
"""

from __future__ import annotations

import ctypes
import errno
import struct
from collections.abc import Mapping
from typing import Final

from modelgarden_pod.prctl import prctl

_SET_SECCOMP: Final = 22
_MODE_FILTER: Final = 2
_ALLOW: Final = 0x7FFF_0000
_REFUSE: Final = 0x0005_0000 | errno.EPERM
_KILL: Final = 0x8000_0000

# Of <linux/bpf_common.h>: load a word, jump where it is equal, is at least, has bits; a mask; the end.
_LOAD: Final = 0x20
_IF_EQUAL: Final = 0x15
_IF_AT_LEAST: Final = 0x35
_MASK: Final = 0x54
_RETURN: Final = 0x06

# Of struct seccomp_data, on machines whose lower half of a word comes first.
_NUMBER: Final = 0
_ARCHITECTURE: Final = 4
_FIRST: Final = 16
_SECOND: Final = 24

_X32: Final = 0x4000_0000
"""Numbers from here on are another table of x86-64's."""
_AF_UNIX: Final = 1
_SOCK_STREAM: Final = 1
_SOCK_KINDS: Final = 0xF

ARCHITECTURES: Final[Mapping[str, int]] = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
"""By what the kernel calls them, as `os.uname().machine` does."""
REFUSED: Final[Mapping[str, tuple[int, int]]] = {
    # network
    "socket": (41, 198),
    "connect": (42, 203),
    "bind": (49, 200),
    "io_uring_setup": (425, 425),  # does what other calls do, past the filter
    # the memory and files of other processes of the same user
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    # the group of processes that is ended together
    "setsid": (112, 157),
    "setpgid": (109, 154),
}
"""Numbers of system calls, on x86-64 and on aarch64."""
SOCKETPAIR: Final = (53, 199)
"""Allowed for streams of this machine alone, which asyncio and multiprocessing wake themselves by."""


def filter_network(machine: str) -> None:
    """Refuse this process, and all that it starts, network and other processes' memory, for good.

    Raises:
        OSError: the kernel has no such filters, or the machine is of an unknown architecture.
    """
    instructions = program(machine)
    code = ctypes.create_string_buffer(b"".join(instructions), 8 * len(instructions))
    # struct sock_fprog: a count, then, where pointers align, a pointer.
    described = ctypes.create_string_buffer(struct.pack("@HP", len(instructions), ctypes.addressof(code)))
    prctl(_SET_SECCOMP, _MODE_FILTER, ctypes.byref(described))


def program(machine: str) -> list[bytes]:
    """Return the filter's instructions. Pure.

    Raises:
        OSError: the architecture is unknown.
    """
    if machine not in ARCHITECTURES:
        raise OSError(errno.ENOSYS, f"the system calls of {machine} are not known")
    column = list(ARCHITECTURES).index(machine)
    numbers = [numbers[column] for numbers in REFUSED.values()]
    return [
        _instruction(_LOAD, _ARCHITECTURE),
        _instruction(_IF_EQUAL, ARCHITECTURES[machine], then=1),
        _instruction(_RETURN, _KILL),
        _instruction(_LOAD, _NUMBER),
        _instruction(_IF_AT_LEAST, _X32, otherwise=1),
        _instruction(_RETURN, _REFUSE),
        *(
            line
            for number in numbers
            for line in (_instruction(_IF_EQUAL, number, otherwise=1), _instruction(_RETURN, _REFUSE))
        ),
        _instruction(_IF_EQUAL, SOCKETPAIR[column], then=1),
        _instruction(_RETURN, _ALLOW),
        _instruction(_LOAD, _FIRST),
        _instruction(_IF_EQUAL, _AF_UNIX, then=1),
        _instruction(_RETURN, _REFUSE),
        _instruction(_LOAD, _SECOND),
        _instruction(_MASK, _SOCK_KINDS),
        _instruction(_IF_EQUAL, _SOCK_STREAM, then=1),
        _instruction(_RETURN, _REFUSE),
        _instruction(_RETURN, _ALLOW),
    ]


def _instruction(code: int, value: int, *, then: int = 0, otherwise: int = 0) -> bytes:
    """Return struct sock_filter: what to do, how many instructions to skip where it holds or not, and with what."""
    return struct.pack("=HBBI", code, then, otherwise, value)
