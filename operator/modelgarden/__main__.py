"""The console script modelgarden-operator: settings, logs, run."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import re
import sys

from pydantic import ValidationError

from modelgarden.api.hosts import HOST_PATTERN
from modelgarden.api.redaction import redacted
from modelgarden.api.zones import ZONES
from modelgarden.kube.errors import Lost
from modelgarden.runtime import logs
from modelgarden.runtime.run import run
from modelgarden.settings import Settings

GC_ALLOCATIONS = 10_000


def main() -> None:
    """Run the operator and end the process."""
    try:
        settings = Settings()
    except ValidationError as error:
        sys.exit(f"The settings (environment variables MODELGARDEN_*) are wrong:\n{redacted(str(error))}")
    if settings.default_zone not in (None, *ZONES):
        sys.exit(
            f"MODELGARDEN_DEFAULT_ZONE (the chart's carbon.defaultZone) is {settings.default_zone!r}, for which no carbon "
            "intensity is known; use an ISO 3166-1 alpha-3 code such as DEU."
        )
    for host in settings.dataset_allowed_hosts:
        if not re.fullmatch(HOST_PATTERN, host):
            sys.exit(
                f"MODELGARDEN_DATASET_ALLOWED_HOSTS (the chart's dataset.allowedHosts) has {host!r}, which is no host; use "
                "one such as data.example.org, or all below a domain as *.example.org."
            )
    logs.configure(log_format=settings.log_format, level=settings.log_level)
    _spare_garbage_collection()
    runner = asyncio.Runner()
    try:
        status = runner.run(run(settings))
    except Lost as error:
        logging.getLogger(__name__).error("Ending: %s", error)
        status = 1
    logging.shutdown()
    # Without the usual end, which waits for threads: one may hang in a request to S3 long after the Lease is released.
    sys.stderr.flush()
    os._exit(status)


def _spare_garbage_collection() -> None:
    """Look for garbage cycles seldom, and never among the modules.

    The defaults take a seventh of the CPU time of 1,000 resources at once: most of what is allocated is JSON that stays.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_ALLOCATIONS, 20, 50)


if __name__ == "__main__":
    main()
