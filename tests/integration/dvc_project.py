"""A project of the real DVC, whose remote lies in the tests' S3 server.

DVC has an environment of its own lock file, in `tests/integration/dvc`.
`python -m tests.integration.dvc_project` makes it ahead of the tests.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from hack.cluster import S3Server
from tests.integration.environments import python_of

ENVIRONMENT = Path(__file__).with_name("dvc")


def dvc_python() -> Path:
    """Return the Python of DVC's environment, made first where it is not there as a whole."""
    return python_of(ENVIRONMENT, "dvc-env")


@dataclass(frozen=True)
class DvcProject:
    """A folder under DVC."""

    root: Path
    s3: S3Server

    @classmethod
    def start(cls, root: Path, s3: S3Server, *, remote: str) -> DvcProject:
        """Make a project with a default remote at this URI."""
        root.mkdir(parents=True)
        project = cls(root, s3)
        project.run("init", "--no-scm")
        project.run("remote", "add", "--default", "store", remote)
        project.run("remote", "modify", "store", "endpointurl", s3.endpoint)
        return project

    def add(self, name: str, *files: tuple[str, bytes]) -> None:
        """Write files and have DVC track the one, or the folder of all, that is named."""
        for path, content in files:
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            (self.root / path).write_bytes(content)
        self.run("add", name)

    def pointers(self) -> list[Path]:
        """Return what a repository would hold of the project: settings and pointers."""
        return [
            self.root / ".dvc/config",
            *sorted(path for path in self.root.rglob("*.dvc") if path.is_file()),
        ]

    def run(self, *arguments: str) -> None:
        """Run a command of DVC."""
        done = subprocess.run(
            [dvc_python(), "-m", "dvc", *arguments, "--quiet"],
            cwd=self.root,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.root.parent),
                "DVC_NO_ANALYTICS": "1",
                "NO_PROXY": "*",
                "AWS_ACCESS_KEY_ID": self.s3.access_key,
                "AWS_SECRET_ACCESS_KEY": self.s3.secret_key,
                "AWS_DEFAULT_REGION": self.s3.access.region,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


if __name__ == "__main__":
    dvc_python()
