"""The filter of system calls, run as the kernel runs it."""

from __future__ import annotations

import struct

import pytest

from modelgarden_train.rewards.judge.seccomp import ARCHITECTURES, REFUSED, SOCKETPAIR, program

ALLOWED, REFUSED_BY, KILLED = 0x7FFF0000, 0x00050001, 0x80000000
MACHINES = list(ARCHITECTURES)


def decided(machine: str, number: int, *arguments: int, architecture: int | None = None) -> int:
    """Return what the machine's filter says of a system call: classic BPF, of which it uses six instructions."""
    words = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("<iIQ6Q", number, architecture or ARCHITECTURES[machine], 0, *words)
    instructions = [struct.unpack("=HBBI", line) for line in program(machine)]
    at = loaded = 0
    while True:
        code, then, otherwise, value = instructions[at]
        at += 1
        if code == 0x20:
            (loaded,) = struct.unpack_from("<I", data, value)
        elif code == 0x54:
            loaded &= value
        elif code == 0x15:
            at += then if loaded == value else otherwise
        elif code == 0x35:
            at += then if loaded >= value else otherwise
        else:
            assert code == 0x06
            return int(value)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("call", REFUSED)
def test_calls_that_reach_out_are_refused(machine: str, call: str) -> None:
    number = REFUSED[call][MACHINES.index(machine)]

    assert decided(machine, number, 2, 1) == REFUSED_BY


@pytest.mark.parametrize("machine", MACHINES)
def test_all_others_are_allowed(machine: str) -> None:
    refused = {numbers[MACHINES.index(machine)] for numbers in REFUSED.values()}
    pair = SOCKETPAIR[MACHINES.index(machine)]

    assert {decided(machine, number) for number in range(462) if number not in {*refused, pair}} == {ALLOWED}


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    ("family", "kind", "want"),
    [
        (1, 1, ALLOWED),
        (1, 1 | 0o2000000, ALLOWED),  # SOCK_CLOEXEC
        (1, 2, REFUSED_BY),
        (1 << 32 | 1, 1, ALLOWED),  # an int is half a register
        (2, 1, REFUSED_BY),
        (30, 1, REFUSED_BY),  # AF_TIPC
    ],
)
def test_pairs_of_sockets_are_of_this_machine_only(machine: str, family: int, kind: int, want: int) -> None:
    assert decided(machine, SOCKETPAIR[MACHINES.index(machine)], family, kind) == want


def test_other_tables_of_calls_are_no_way_around() -> None:
    assert decided("x86_64", 41, architecture=0x40000003) == KILLED
    assert decided("x86_64", 0x40000000 | 41) == REFUSED_BY


def test_a_machine_of_an_unknown_kind_is_told() -> None:
    with pytest.raises(OSError, match="the system calls of riscv64 are not known"):
        program("riscv64")
