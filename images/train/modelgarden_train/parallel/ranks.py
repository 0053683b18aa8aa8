"""The processes of one training, each with the whole model: which one this is, and what they agree on.

What they agree on (does the memory hold this step, shall the training end) goes over the CPU, so that nobody waits for a
GPU; gradients go from GPU to GPU. PyTorch's default group is left alone: libraries that find one share work of their
own, at places that not all processes come to.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from modelgarden_train.parallel.errors import PeerLost

PATIENCE: Final = timedelta(minutes=30)
"""How long a process waits for the others: the first one may write a large checkpoint meanwhile. One that has ended is
not waited for."""
_BUCKET_BYTES: Final = 256 * 1024**2
"""Gradients that are summed in one go."""


class Ranks:
    """All processes of a training as one of them sees them; without groups it is the only one."""

    def __init__(self, rank: int = 0, size: int = 1, *, control: Any = None, data: Any = None) -> None:
        """Take what PyTorch calls a process group for what is agreed on, and one for tensors where they lie."""
        self.rank = rank
        self.size = size
        self._control = control
        self._data = data

    @property
    def first(self) -> bool:
        """Whether this is the process that writes what all of them have made."""
        return self.rank == 0

    def least(self, value: int, *, at: str) -> int:
        """Return the least of the values that the processes give at a place that all of them come to.

        Raises:
            PeerLost: another process has ended, or is at another place.
        """
        if self.size == 1:
            return value
        import torch
        from torch.distributed import AllreduceOptions, ReduceOp

        place = zlib.crc32(at.encode())
        told = torch.tensor([value, place, -place])
        options = AllreduceOptions()
        options.reduceOp = ReduceOp.MIN
        with _answered():
            self._control.allreduce([told], options).wait()
        found, least_place, most_place = told.tolist()
        if not least_place == place == -most_place:
            raise PeerLost(f"it is not at the place {at}")
        return int(found)

    def any(self, value: bool, *, at: str) -> bool:
        """Tell whether any process says so.

        Raises:
            PeerLost: as of `least`.
        """
        return self.least(0 if value else 1, at=at) == 0

    @contextmanager
    def alike(self, *, at: str) -> Iterator[None]:
        """Have all processes run out of memory where one of them does inside.

        Raises:
            torch.OutOfMemoryError: in all of them.
            PeerLost: as of `least`.
        """
        if self.size == 1:
            yield
            return
        from torch import OutOfMemoryError

        out = False
        try:
            yield
        except OutOfMemoryError:
            out = True  # raised again below: the exception keeps every tensor of what failed alive
        if self.any(out, at=at):
            raise OutOfMemoryError(f"the memory of a GPU does not hold what is computed ({at})")

    def add(self, tensor: Any) -> None:
        """Make a tensor the sum over all processes.

        Raises:
            PeerLost: another process has ended.
        """
        if self.size > 1:
            with _answered():
                self._data.allreduce([tensor]).wait()

    def sum_gradients(self, parameters: Iterable[Any]) -> None:
        """Make the gradients of parameters the sums over all processes, each a part of the step's.

        A parameter that no row of any process came by, such as an expert's, keeps none.

        Raises:
            PeerLost: another process has ended.
        """
        if self.size == 1:
            return
        import torch

        held = list(parameters)
        here = torch.tensor([parameter.grad is not None for parameter in held], dtype=torch.int32)
        with _answered():
            self._control.allreduce([here]).wait()
        gradients = []
        for parameter, count in zip(held, here.tolist(), strict=True):
            if count and parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            gradients += [parameter.grad] if count else []
        for bucket in _buckets(gradients):
            flat = torch.cat([gradient.reshape(-1) for gradient in bucket])
            self.add(flat)
            parts = flat.split([gradient.numel() for gradient in bucket])
            torch._foreach_copy_(bucket, [part.view_as(one) for part, one in zip(parts, bucket, strict=True)])

    def spread(self, tensors: Iterable[Any]) -> None:
        """Give all processes the tensors of the first one.

        Raises:
            PeerLost: another process has ended.
        """
        if self.size == 1:
            return
        from torch.distributed import BroadcastOptions

        for tensor in tensors:
            with _answered():
                self._data.broadcast([tensor], BroadcastOptions()).wait()

    def gather(self, items: list[Any], *, at: str) -> list[list[Any]]:
        """Return the items of each process, by rank; they are what JSON can carry.

        Raises:
            PeerLost: as of `least`.
        """
        if self.size == 1:
            return [items]
        import torch

        own = torch.frombuffer(bytearray(json.dumps(items).encode()), dtype=torch.uint8)
        longest = -self.least(-len(own), at=at)
        padded = torch.nn.functional.pad(own, (0, longest - len(own)), value=ord(" "))
        found = [torch.empty_like(padded) for _ in range(self.size)]
        with _answered():
            self._control.allgather([found], [padded]).wait()
        return [json.loads(bytes(one.tolist())) for one in found]

    def seed(self, *numbers: int) -> None:
        """Draw from here on what depends on the numbers and on the process alone, so that it is the same when done again.

        One process alone goes on with what its checkpoint has kept.
        """
        if self.size == 1:
            return
        import torch

        torch.manual_seed(zlib.crc32(repr((*numbers, self.rank)).encode()))


ALONE: Final = Ranks()
"""A training of one process."""


@dataclass(frozen=True)
class Meeting:
    """Where processes of several nodes find each other: a port that a process of the first node listens on."""

    host: str
    port: int
    listening: int | None = None
    """In the process that listens, the socket that it was given."""

    def store(self) -> Any:
        """Return what they tell each other by."""
        from torch.distributed import TCPStore

        first = self.listening is not None
        return TCPStore(
            "localhost" if first else self.host,
            self.port,
            is_master=first,
            timeout=PATIENCE,
            wait_for_workers=False,
            master_listen_fd=self.listening,
        )


def join(rank: int, size: int, *, rendezvous: Path | Meeting) -> Ranks:
    """Meet the other processes by way of a file that none of an earlier attempt has used, or of a port.

    Raises:
        PeerLost: not all of them come.
    """
    if size == 1:
        return ALONE
    import torch
    from torch import distributed

    with _answered():
        if isinstance(rendezvous, Meeting):
            store = rendezvous.store()
        else:
            store = distributed.FileStore(str(rendezvous), size)
            store.set_timeout(PATIENCE)
        control = distributed.ProcessGroupGloo(
            distributed.PrefixStore("control", store), rank, size, PATIENCE
        )
        data = control
        if torch.cuda.is_available():
            options = distributed.ProcessGroupNCCL.Options()
            options._timeout = PATIENCE
            data = distributed.ProcessGroupNCCL(distributed.PrefixStore("data", store), rank, size, options)
    return Ranks(rank, size, control=control, data=data)


@contextmanager
def _answered() -> Iterator[None]:
    """Say that another process is lost where PyTorch says that something went wrong between them."""
    from torch import OutOfMemoryError

    try:
        yield
    except OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise PeerLost(error) from error


def _buckets(gradients: Sequence[Any]) -> Iterator[list[Any]]:
    """Yield gradients of one type and device together, as many as are worth one message."""
    bucket: list[Any] = []
    size = 0
    for gradient in gradients:
        if bucket and (size >= _BUCKET_BYTES or gradient.dtype != bucket[0].dtype):
            yield bucket
            bucket, size = [], 0
        bucket.append(gradient)
        size += gradient.numel() * gradient.element_size()
    if bucket:
        yield bucket
