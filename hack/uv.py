"""Run uv, installing the pinned version into the user's cache where it is missing: `python3 hack/uv.py sync`.

Standard library only: it is the first thing that runs on a bare machine.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

UV_VERSION = "0.13.8"


def cache_root() -> Path:
    """Return the folder that outlives a checkout."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "modelgarden"


def uv() -> Path:
    """Return the pinned uv, installing it into a virtual environment of its own on first use.

    The finished folder is moved into place, so that an interrupted or a concurrent installation does no harm.
    """
    home = cache_root() / f"uv-{UV_VERSION}"
    if not (home / "bin" / "uv").exists():
        home.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(dir=home.parent, prefix=".uv-"))
        pip = [
            sys.executable,
            "-m",
            "pip",
            "--disable-pip-version-check",
            "install",
            "--quiet",
            "--root-user-action=ignore",
        ]
        subprocess.run([*pip, "--target", str(staging), f"uv=={UV_VERSION}"], check=True, stdout=sys.stderr)
        try:
            staging.rename(home)
        except OSError:  # another process was faster
            shutil.rmtree(staging)
    return home / "bin" / "uv"


def environment() -> dict[str, str]:
    """Return the variables that uv runs with: what it starts finds the packages of the images, too."""
    images = Path(__file__).resolve().parents[1] / "images"
    sources = [str(images / image) for image in ("pod", "train", "serve")]
    given = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*sources, given] if given else sources)}


if __name__ == "__main__":
    program = str(uv())
    os.execve(program, [program, *sys.argv[1:]], environment())  # noqa: S606 -- replaces this process on purpose
