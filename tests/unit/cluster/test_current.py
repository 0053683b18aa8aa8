"""CLUSTER=current: the kubeconfig's own cluster is used and nothing is started; without one the error says what to do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from hack.cluster import cli, current
from hack.cluster.errors import ClusterError
from hack.cluster.images import PROJECT_IMAGES
from hack.cluster.paths import REPOSITORY
from hack.demo import environment
from tests.unit.cluster.conftest import PutProgram

KUBECTL = """
[ "$1" = config ] && [ -z "$CONTEXT" ] && { echo "error: current-context is not set" >&2; exit 1; }
[ "$1" = config ] && { echo "$CONTEXT"; exit 0; }
[ -z "$REFUSED" ] && { echo ok; exit 0; }
echo "The connection to the server was refused" >&2; exit 1
"""


@pytest.fixture
def kubectl(put_program: PutProgram, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kubectl whose current context is `production`."""
    put_program("kubectl", KUBECTL)
    monkeypatch.setenv("CONTEXT", "production")
    monkeypatch.delenv("REFUSED", raising=False)


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The person has chosen a cluster of their own."""
    monkeypatch.setenv("CLUSTER", "current")


@pytest.mark.parametrize(("value", "want"), [(None, False), ("local", False), ("current", True)])
def test_the_environment_chooses(monkeypatch: pytest.MonkeyPatch, value: str | None, want: bool) -> None:
    monkeypatch.delenv("CLUSTER", raising=False)
    if value is not None:
        monkeypatch.setenv("CLUSTER", value)
    assert current.chosen() is want


@pytest.mark.parametrize("value", ["kind", "Current", ""])
def test_another_choice_is_refused_with_those_there_are(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("CLUSTER", value)
    with pytest.raises(ClusterError, match=r"`local`.*`current`"):
        current.chosen()


@pytest.mark.usefixtures("kubectl", "chosen")
@pytest.mark.parametrize("command", ["up", "status", "down"])
def test_nothing_is_started_and_nothing_is_stopped(
    machine: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert cli.main([command]) == 0
    assert not (machine / "state").exists()
    assert not (machine / "cache").exists()
    told = capsys.readouterr().err
    assert ("production" in told) is (command != "down")


@pytest.mark.usefixtures("kubectl", "chosen")
def test_without_a_context_the_error_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CONTEXT", "")
    assert cli.main(["up"]) == 1
    told = capsys.readouterr().err
    assert "needs a current context" in told
    assert "current-context is not set" in told
    assert "KUBECONFIG" in told


@pytest.mark.usefixtures("kubectl", "chosen")
def test_a_cluster_that_does_not_answer_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REFUSED", "true")
    assert cli.main(["up"]) == 1
    assert "The connection to the server was refused" in capsys.readouterr().err


@pytest.mark.usefixtures("chosen")
def test_without_kubectl_the_error_names_it(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(machine))
    with pytest.raises(ClusterError, match="needs kubectl in PATH"):
        current.check()


@pytest.mark.usefixtures("chosen")
def test_images_are_not_built_and_the_error_says_how_to_push_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["images"]) == 1
    told = capsys.readouterr().err
    for image in PROJECT_IMAGES:
        assert f"-f {image.dockerfile.name} ." in told
    assert "docker push" in told


@pytest.mark.usefixtures("chosen")
def test_the_images_have_the_names_that_demo_and_chart_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], put_program: PutProgram
) -> None:
    cli.main(["images"])
    told = capsys.readouterr().err
    built = set(re.findall(r"docker build -t (\S+)", told))
    pushed = set(re.findall(r"docker push (\S+)", told))
    for program in ("kubectl", "helm"):
        put_program(program, "")
    for variable in ("S3_ENDPOINT", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(variable, "anything")
    monkeypatch.setenv("IMAGE_REGISTRY", "REGISTRY")
    monkeypatch.setenv("IMAGE_TAG", "TAG")
    assert set(vars(environment.prepare(print).images).values()) == built == pushed

    named = dict(re.findall(r"--set(?:-string)? (\S+)=(\S+)", told))
    images = yaml.safe_load((REPOSITORY / "charts" / "modelgarden" / "values.yaml").read_text())["images"]
    parts = [part for part, image in images.items() if isinstance(image, dict)]
    assert set(named) == {f"images.{part}.{field}" for part in parts for field in ("repository", "tag")}
    assert {f"{named[f'images.{part}.repository']}:{named[f'images.{part}.tag']}" for part in parts} == built
