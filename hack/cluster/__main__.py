"""Makes `python3 hack/cluster` and `python3 -m hack.cluster` the same command."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])

from hack.cluster.cli import main  # noqa: E402 -- only importable from here on

if __name__ == "__main__":
    sys.exit(main())
