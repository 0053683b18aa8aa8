"""The cluster's programs: each is built once, under a key of all that goes into it, by the Go that the machine has."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from hack.cluster import binaries
from hack.cluster.binaries import Group
from hack.cluster.errors import ClusterError
from tests.unit.cluster.conftest import PutProgram

GO = """
[ "$1" = env ] && { echo "${STAND_IN_GO_VERSION:-go1.26.3}"; exit 0; }
echo "$PWD: $*" >> "$STAND_IN_GO_CALLS"
[ "$1" = list ] && { echo "$GOMODCACHE/$6"; exit 0; }
mkdir -p "$GOMODCACHE" && touch "$GOMODCACHE/module"
while [ "$1" != -o ]; do shift; done
case "$3" in *broken*) echo "undefined: nonsense" >&2; exit 1;; esac
echo program > "$2"
"""
GROUP = Group("tools", {"server": "example.com/server/cmd/server", "client": "example.com/server/cmd/client"})
GO_MOD = "module tools\n\nrequire (\n\texample.com/server v1.36.2\n)\n"
VERSIONED = replace(
    GROUP,
    version_variables=("example.com/server/version.text={version}", "version.minor={minor}"),
    versioned_module="example.com/server",
)


@dataclass
class Workshop:
    """A folder of groups and a stand-in for Go."""

    tools: Path
    calls: Path
    monkeypatch: pytest.MonkeyPatch

    def destination(self, group: Group = GROUP) -> Path:
        """Return where a group's programs go now."""
        self.use(group)
        return binaries.path("server").parent

    def use(self, *groups: Group) -> None:
        """Make these all there are, as another command would find them."""
        fresh = tuple(replace(group) for group in groups)
        self.monkeypatch.setattr(binaries, "GROUPS", fresh)
        self.monkeypatch.setattr(binaries, "SETS", {"all": _names(fresh)})
        binaries.go_version.cache_clear()

    def ensure(self, *groups: Group) -> list[str]:
        """Build what is missing; return how Go was called for that."""
        self.use(*(groups or (GROUP,)))
        before = self._lines()
        binaries.ensure("all")
        return self._lines()[len(before) :]

    def _lines(self) -> list[str]:
        return self.calls.read_text().splitlines() if self.calls.exists() else []


@pytest.fixture
def workshop(machine: Path, put_program: PutProgram, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workshop]:
    """A group of two programs, none of them built."""
    put_program("go", GO)
    monkeypatch.setenv("STAND_IN_GO_CALLS", str(machine / "calls"))
    monkeypatch.setattr(binaries, "TOOLS", machine / "tools")
    monkeypatch.setattr(binaries, "FREE_GIB_TO_BUILD", 0)
    folder = machine / "tools" / "tools"
    folder.mkdir(parents=True)
    (folder / "go.mod").write_text(GO_MOD)
    (folder / "go.sum").write_text("example.com/server v1.36.2 h1:abc=\n")
    yield Workshop(machine / "tools", machine / "calls", monkeypatch)
    binaries.go_version.cache_clear()


def test_the_destination_lies_in_the_user_s_cache_and_stays(workshop: Workshop, machine: Path) -> None:
    first = workshop.destination()
    assert first.parent == machine / "cache" / "modelgarden" / "bin"
    assert workshop.destination() == first


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("go.mod", GO_MOD.replace("v1.36.2", "v1.36.3")),
        ("go.sum", "example.com/server v1.36.2 h1:other=\n"),
        ("main.go", "package main\n"),
    ],
)
def test_a_changed_source_changes_the_destination(workshop: Workshop, file: str, text: str) -> None:
    before = workshop.destination()
    (workshop.tools / "tools" / file).write_text(text)
    assert workshop.destination() != before


def test_a_changed_flag_changes_the_destination(workshop: Workshop) -> None:
    before = workshop.destination()
    workshop.monkeypatch.setattr(binaries, "FLAGS", (*binaries.FLAGS, "-race"))
    assert workshop.destination() != before


def test_a_changed_version_variable_changes_the_destination(workshop: Workshop) -> None:
    found = {workshop.destination(GROUP), workshop.destination(VERSIONED)}
    changed = replace(VERSIONED, version_variables=VERSIONED.version_variables[:1])
    assert len(found | {workshop.destination(changed)}) == 3


def test_a_changed_package_changes_the_destination(workshop: Workshop) -> None:
    other = replace(GROUP, packages={**GROUP.packages, "server": "example.com/server/v2/cmd/server"})
    assert workshop.destination(other) != workshop.destination(GROUP)


def test_another_go_changes_the_destination(workshop: Workshop) -> None:
    before = workshop.destination()
    workshop.monkeypatch.setenv("STAND_IN_GO_VERSION", "go1.27.0")
    assert workshop.destination() != before


def test_a_changed_source_in_a_folder_below_changes_the_destination(workshop: Workshop) -> None:
    before = workshop.destination()
    (workshop.tools / "tools" / "server").mkdir()
    (workshop.tools / "tools" / "server" / "main.go").write_text("package main\n")
    assert workshop.destination() != before


def test_what_is_no_input_leaves_the_destination(workshop: Workshop) -> None:
    before = workshop.destination()
    os.utime(workshop.tools / "tools" / "go.mod", (1, 1))
    other = workshop.tools / "others"
    other.mkdir()
    (other / "go.mod").write_text("module others\n")
    workshop.monkeypatch.setattr(binaries, "CACHE_FLAGS", ())
    assert workshop.destination() == before


def test_each_program_is_built_once(workshop: Workshop) -> None:
    built = workshop.ensure()
    assert [line.split()[-1] for line in built] == list(GROUP.packages.values())
    assert all(line.startswith(f"{workshop.tools / 'tools'}: build ") for line in built)
    assert binaries.path("client").read_text() == "program\n"
    assert workshop.ensure() == []


def test_only_what_is_missing_is_built(workshop: Workshop) -> None:
    workshop.ensure()
    binaries.path("client").unlink()
    (built,) = workshop.ensure()
    assert built.endswith("cmd/client")


def test_a_set_is_built_without_the_rest_of_its_group(workshop: Workshop) -> None:
    workshop.use(GROUP)
    workshop.monkeypatch.setattr(binaries, "SETS", {"clients": ("client",)})
    binaries.ensure("clients")
    assert [binaries.path(name).exists() for name in ("server", "client")] == [False, True]


def test_a_program_is_told_the_version_that_its_go_mod_pins(workshop: Workshop) -> None:
    built, _ = workshop.ensure(VERSIONED)
    assert "-X example.com/server/version.text=v1.36.2 -X version.minor=36" in built


def test_a_folder_of_the_module_is_kept_beside_its_programs(workshop: Workshop, machine: Path) -> None:
    source = machine / "cache" / "modelgarden" / "go" / "mod" / "example.com" / "server" / "config"
    source.mkdir(parents=True)
    (source / "crd.yaml").write_text("kind: CustomResourceDefinition\n")

    workshop.ensure(replace(VERSIONED, manifests="config"))

    assert not source.exists(), "the build's caches outlive it"
    assert (binaries.manifests("server") / "crd.yaml").read_text() == "kind: CustomResourceDefinition\n"


def test_a_module_that_go_mod_does_not_pin_is_told(workshop: Workshop) -> None:
    with pytest.raises(ClusterError, match=r"go\.mod names no version of example.com/absent"):
        workshop.destination(replace(VERSIONED, versioned_module="example.com/absent"))


def test_a_build_that_fails_is_told_and_goes_on_where_it_stopped(workshop: Workshop, machine: Path) -> None:
    broken = replace(GROUP, packages={**GROUP.packages, "tool": "example.com/broken"})
    module = machine / "cache" / "modelgarden" / "go" / "mod" / "module"
    with pytest.raises(ClusterError, match=r"(?s)status 1.*build\.log.*undefined: nonsense"):
        workshop.ensure(broken)
    assert not binaries.path("tool").exists()
    assert module.exists(), "the next try would load all modules anew"

    workshop.monkeypatch.setenv("PATH", os.environ["PATH"])
    go = Path(os.environ["PATH"].split(os.pathsep)[0]) / "go"
    go.write_text(go.read_text().replace("*broken*", "*mended*"))
    (built,) = workshop.ensure(broken)
    assert built.endswith("example.com/broken")
    assert not module.exists(), "the build's caches outlive it"


def test_a_go_that_is_too_old_is_told(workshop: Workshop) -> None:
    workshop.monkeypatch.setenv("STAND_IN_GO_VERSION", "go1.25.9")
    with pytest.raises(ClusterError, match=r"Go 1\.26 or newer is needed .* this is go1\.25\.9"):
        workshop.ensure()


def test_without_go_the_error_says_where_to_get_it(workshop: Workshop, machine: Path) -> None:
    workshop.monkeypatch.setenv("PATH", str(machine))
    with pytest.raises(ClusterError, match=r"install Go 1\.26 or newer \(https://go\.dev/dl\)"):
        workshop.ensure()


def test_a_disk_that_is_too_full_is_told(workshop: Workshop) -> None:
    workshop.monkeypatch.setattr(binaries, "FREE_GIB_TO_BUILD", 10**6)
    with pytest.raises(ClusterError, match="set XDG_CACHE_HOME to another disk"):
        workshop.ensure()


def test_every_set_is_of_programs_that_there_are() -> None:
    names = _names(binaries.GROUPS)
    assert len(set(names)) == len(names)
    assert set(binaries.SETS["all"]) == set(names)
    assert all(set(names_of_set) <= set(names) for names_of_set in binaries.SETS.values())
    assert all((group.folder / "go.mod").is_file() for group in binaries.GROUPS)


def _names(groups: Iterable[Group]) -> tuple[str, ...]:
    return tuple(name for group in groups for name in group.packages)
