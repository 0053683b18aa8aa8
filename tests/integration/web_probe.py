"""Fetches one https:// source in the trainer's environment, from hosts that stand for hosts of the internet.

Arguments: URI, folder, certificate authorities, largest bytes. Prints what came of it as JSON.
"""

from __future__ import annotations

import json
import ssl
import sys
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path

from modelgarden.api.pods import PodSource
from modelgarden_pod.errors import PodError
from modelgarden_pod.retry import Patience
from modelgarden_train.data.sources.addresses import Address
from modelgarden_train.data.sources.web import Web, public_addresses

HERE = ("data.example.org", "cdn.example.org", "other.example.org")
ALLOWED = ("data.example.org", "cdn.example.org", "localhost.example.org", "127.0.0.1")


def addresses_of(host: str) -> Sequence[Address]:
    """Return this machine for the hosts of the test, what is public of any other."""
    return [ip_address("127.0.0.1")] if host in HERE else public_addresses(host)


def main(uri: str, folder: str, authorities: str, largest: str) -> None:
    """Print the file, or why there is none."""
    web = Web(
        ALLOWED,
        addresses_of=addresses_of,
        authorities=ssl.create_default_context(cafile=authorities),
        largest_bytes=int(largest),
    )
    try:
        fetched = web.fetch(
            0, PodSource(uri=uri), Path(folder), patience=Patience(total=3.0, first_delay=0.1)
        )
        told = {"name": fetched.files[0].name, "content": fetched.files[0].path.read_text()}
    except PodError as error:
        told = {"reason": error.reason, "message": error.message}
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
