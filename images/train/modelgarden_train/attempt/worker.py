"""The worker: the process of an attempt that holds PyTorch and the GPU, `python -m modelgarden_train.attempt.worker`.

Its supervisor starts it with a socket as its standard input, and with an environment that is ready for the libraries. It
needs no network and no secret. What it has to say to a person goes to the log, to its supervisor over the socket.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from modelgarden_pod.errors import PodError, Terminated
from modelgarden_pod.logs import configure_logs
from modelgarden_pod.prctl import end_with_parent
from modelgarden_pod.process import described, end_process
from modelgarden_train.attempt.messages import ORDERS, Begin, Channel, Done, Failed, Inputs, Made
from modelgarden_train.attempt.reporting import Reporter
from modelgarden_train.attempt.signals import StopRequest, show_stacks_on_request

if TYPE_CHECKING:
    from modelgarden_train.parallel.ranks import Meeting

logger = logging.getLogger(__name__)


def main() -> int:
    """Do what the supervisor asks for, tell it how that ended, and return the exit code."""
    end_with_parent()
    faulthandler.enable()
    show_stacks_on_request()
    configure_logs()
    stop = StopRequest()
    channel = _inherited_channel()
    ended = _ended(channel, stop)
    if ended is None:
        return 1
    with stop.deferred():
        channel.send(ended)
        channel.receive(
            ORDERS
        )  # returns once the supervisor has measured the energy of the work that is done
    return 0


def _ended(channel: Channel, stop: StopRequest) -> Made | Done | Failed | None:
    """Return how the work ended, None where the supervisor has gone."""
    try:
        return _work(channel, stop)
    except (PodError, Terminated) as error:
        return Failed.of(error)
    except Exception as error:
        logger.exception("Failed")
        return Failed.of(PodError("TrainingFailed", described(error)))


def _work(channel: Channel, stop: StopRequest) -> Made | Done | None:
    begin = channel.receive(ORDERS)
    if not isinstance(begin, Begin):
        return None
    # Nothing before this imports a library; it is what takes longest, so it runs beside the downloads.
    from modelgarden_train.models.loading import import_unsloth

    import_unsloth(begin.config)
    from modelgarden_train.attempt.tuning import tune
    from modelgarden_train.parallel.ranks import join

    inputs = channel.receive(ORDERS)
    if not isinstance(inputs, Inputs):
        return None
    ranks = join(begin.rank, begin.size, rendezvous=_rendezvous(begin, inputs))
    return tune(begin, inputs, reporter=Reporter(channel, stop), stop=stop, ranks=ranks)


def _rendezvous(begin: Begin, inputs: Inputs) -> Path | Meeting:
    """Return by way of what this process meets the others: a file, or what listens on the first node."""
    from modelgarden_train.parallel.ranks import Meeting

    group = begin.config.group
    if group is None or inputs.port is None:
        return begin.rendezvous
    return Meeting(group.host, inputs.port, listening=begin.listening)


def _inherited_channel() -> Channel:
    """Take the socket from standard input, which no library shall read from."""
    end = socket.socket(fileno=os.dup(sys.stdin.fileno()))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, sys.stdin.fileno())
    os.close(nothing)
    return Channel(end)


if __name__ == "__main__":
    end_process(main())
