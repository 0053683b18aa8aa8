"""Runs the programs that end by themselves (ip, nft, ctr, kubectl, go) and turns their failure into a ClusterError."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

from hack.cluster.errors import ClusterError

LOG_LINES = 20
SHOWN_CHARACTERS = 200


def without_proxies(environment: Mapping[str, str]) -> dict[str, str]:
    """Return `environment` less its proxy variables: the cluster's own traffic never leaves the machine."""
    return {key: value for key, value in environment.items() if not key.lower().endswith("_proxy")}


def run(
    *argv: str | Path,
    stdin: str | None = None,
    check: bool = True,
    log: Path | None = None,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end. Raises ClusterError with its last lines where it fails and `check` is true.

    With `log` the output goes to that file instead of into the result.
    """
    words = [str(word) for word in argv]
    with log.open("a") if log else nullcontext(subprocess.PIPE) as output_to:
        try:
            done = subprocess.run(
                words,
                stdout=output_to,
                stderr=output_to,
                env=dict(environment or os.environ),
                cwd=folder,
                text=True,
                input=stdin,
                check=False,
            )
        except FileNotFoundError as error:
            raise ClusterError(f"{words[0]} is not installed on this machine") from error
    if check and done.returncode != 0:
        output = tail(log) if log else last_lines((done.stdout or "") + (done.stderr or ""))
        where = f" (log: {log})" if log else ""
        raise ClusterError(f"`{_shown(words)}` failed with status {done.returncode}{where}:\n{output}")
    return done


def _shown(words: Sequence[str]) -> str:
    line = " ".join([Path(words[0]).name, *words[1:]])
    return line if len(line) <= SHOWN_CHARACTERS else f"{line[:SHOWN_CHARACTERS]} ..."


def output(*argv: str | Path, check: bool = True) -> str:
    """Return what a program prints, without the white space around it."""
    return run(*argv, check=check).stdout.strip()


def last_lines(text: str) -> str:
    """Return the end of `text`, indented."""
    return "\n".join(f"    {line}" for line in text.splitlines()[-LOG_LINES:])


def tail(log: Path) -> str:
    """Return the last lines of a log file, indented."""
    return last_lines(log.read_text(errors="replace")) if log.exists() else "    (no log)"
