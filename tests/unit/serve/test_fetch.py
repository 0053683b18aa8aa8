"""Fetching from a local folder: what is chosen, verified, kept and refused."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelgarden.api.artifact import FileEntry, RunIdentity
from modelgarden.api.layout import listing_digest
from modelgarden.api.pods import ServeConfig
from modelgarden_pod.errors import CorruptObject, PodError, UserError
from modelgarden_pod.folder import StoredFile
from modelgarden_pod.local import LocalFolder
from modelgarden_serve.fetch import Limits, Mendable, fetch
from modelgarden_serve.partial import PARTIAL_FOLDER, PartialFile
from modelgarden_serve.selection import select
from tests.unit.builders import make_manifest

SMALL = Limits(part_bytes=7, parallel_parts=3)
WEIGHTS = bytes(range(100))
RUN = RunIdentity(namespace="default", name="tune", uid="0b1c")


class Run:
    """A run on the local disk and where it is fetched to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "run"
        self.target = folder / "model"
        self.files: dict[str, bytes] = {"config.json": b"{}", "model.safetensors": WEIGHTS, "empty.txt": b""}
        self.manifest: dict[str, Any] = {}

    def write(self, **manifest: Any) -> ServeConfig:
        """Write files and manifest; return the configuration that serves them."""
        entries = [
            FileEntry(
                path=f"artifact/merged/{name}", sha256=hashlib.sha256(body).hexdigest(), bytes=len(body)
            )
            for name, body in self.files.items()
        ]
        for name, body in self.files.items():
            path = self.folder / "artifact/merged" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
        entries.append(FileEntry(path="README.md", sha256="0" * 64, bytes=1))
        fields = {"files": tuple(entries), "formats": {"Merged16Bit": "artifact/merged"}, **manifest}
        content = make_manifest(run=RUN, **fields).model_dump_json(by_alias=True).encode()
        (self.folder / "manifest.json").write_bytes(content)
        return self.config(manifest_sha256=hashlib.sha256(content).hexdigest())

    def config(self, **fields: Any) -> ServeConfig:
        return ServeConfig(
            model_uri=f"file://{self.folder}/manifest.json",
            served_model_name="bot",
            model_dir=str(self.target),
            **fields,
        )

    def fetched(self) -> dict[str, bytes]:
        return {
            path.relative_to(self.target).as_posix(): path.read_bytes()
            for path in self.target.rglob("*")
            if path.is_file()
        }


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The ranges that were read; a test may also break them."""
    seen: list[tuple[str, int]] = []
    original = LocalFolder.read_range

    def read_range(
        self: LocalFolder, name: str, *, start: int, length: int, etag: str | None = None
    ) -> bytes:
        seen.append((name, start))
        return original(self, name, start=start, length=length, etag=etag)

    monkeypatch.setattr(LocalFolder, "read_range", read_range)
    return seen


def threads_have_ended() -> None:
    """A fetch that fails leaves its threads to the end of the process; here another one follows."""
    for thread in threading.enumerate():
        if thread.name.startswith("fetch"):
            thread.join(timeout=10)


def refused(action: Callable[[], object]) -> PodError:
    with pytest.raises(PodError) as caught:
        action()
    return caught.value


def test_the_merged_model_arrives_whole_and_alone(run: Run) -> None:
    said = fetch(run.write(), limits=SMALL)

    assert run.fetched() == run.files
    assert said.message.startswith("3 files, 102 bytes; 102 fetched")


def test_a_second_fetch_reads_nothing_again(run: Run, reads: list[tuple[str, int]]) -> None:
    config = run.write()
    fetch(config, limits=SMALL)
    reads.clear()

    said = fetch(config, limits=SMALL)

    assert reads == []
    assert "; 0 fetched" in said.message


def test_a_fetch_that_was_cut_off_goes_on_with_the_missing_parts(
    run: Run, reads: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = run.write()
    whole = LocalFolder.read_range

    def broken(self: LocalFolder, name: str, *, start: int, length: int, etag: str | None = None) -> bytes:
        if name == "model.safetensors" and start >= 49:
            raise ConnectionResetError
        return whole(self, name, start=start, length=length, etag=etag)

    with monkeypatch.context() as patch:
        patch.setattr(LocalFolder, "read_range", broken)
        with pytest.raises(ConnectionResetError):
            fetch(config, limits=Limits(part_bytes=7, parallel_parts=1))
        threads_have_ended()
    kept = {start for name, start in reads if name == "model.safetensors" and start < 49}
    reads.clear()

    fetch(config, limits=SMALL)

    assert kept
    assert not kept & {start for name, start in reads if name == "model.safetensors"}
    assert run.fetched() == run.files


def test_a_file_that_changed_in_between_begins_anew(run: Run, reads: list[tuple[str, int]]) -> None:
    config = run.write()
    journal = run.target / PARTIAL_FOLDER / "model.safetensors.parts"
    journal.parent.mkdir(parents=True)
    journal.write_text("another version\n0\n1\n")
    (journal.parent / "model.safetensors.data").write_bytes(b"x" * 100)

    fetch(config, limits=SMALL)

    assert run.fetched() == run.files
    assert ("model.safetensors", 0) in reads


def test_a_line_of_the_journal_that_was_cut_off_does_not_count(run: Run) -> None:
    config = run.write()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PartialFile, "finish", lambda _: (_ for _ in ()).throw(ConnectionResetError()))
        with pytest.raises(ConnectionResetError):
            fetch(config, limits=SMALL)
        threads_have_ended()
    journal = run.target / PARTIAL_FOLDER / "model.safetensors.parts"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(line for line in lines if line != "14\n") + "14")

    fetch(config, limits=SMALL)

    assert run.fetched() == run.files


def test_another_manifest_than_the_resolved_one_is_refused(run: Run) -> None:
    run.write()

    error = refused(lambda: fetch(run.config(manifest_sha256="0" * 64)))

    assert isinstance(error, UserError)
    assert (error.reason, error.exit_code) == ("ArtifactInvalid", 64)
    assert not run.target.exists()


def test_content_that_does_not_match_the_manifest_is_refused_after_a_second_try(
    run: Run, reads: list[tuple[str, int]]
) -> None:
    config = run.write()
    (run.folder / "artifact/merged/model.safetensors").write_bytes(bytes(100))

    error = refused(lambda: fetch(config, limits=SMALL))

    assert isinstance(error, CorruptObject)
    assert reads.count(("model.safetensors", 0)) == 2
    assert not (run.target / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        pytest.param(lambda path: path.unlink(), "does not exist", id="a file is missing"),
        pytest.param(
            lambda path: path.write_bytes(b"x"), "has 1 bytes, but its manifest says 100", id="too short"
        ),
    ],
)
def test_what_the_manifest_names_is_checked_before_anything_is_fetched(
    run: Run, reads: list[tuple[str, int]], damage: Callable[[Path], None], says: str
) -> None:
    config = run.write()
    damage(run.folder / "artifact/merged/model.safetensors")

    error = refused(lambda: fetch(config))

    assert error.reason == "ArtifactInvalid"
    assert says in error.message
    assert reads == []


@pytest.mark.parametrize(
    ("content", "want_reason", "want_words"),
    [
        (b'{"schemaVersion": "2.0"}', "UpgradeNeeded", "images.serve"),
        (b'{"schemaVersion": "1.0"}', "ArtifactInvalid", "Field required"),
    ],
    ids=["of a newer version", "damaged"],
)
def test_a_manifest_that_cannot_be_read_is_refused(
    content: bytes, want_reason: str, want_words: str, run: Run
) -> None:
    run.write()
    (run.folder / "manifest.json").write_bytes(content)

    error = refused(lambda: fetch(run.config(manifest_sha256=hashlib.sha256(content).hexdigest())))

    assert (error.reason, error.exit_code) == (want_reason, 64)
    assert want_words in error.message


def test_a_run_without_a_merge_cannot_be_served(run: Run) -> None:
    config = run.write(formats={"Adapter": "artifact/adapter"})

    error = refused(lambda: fetch(config))

    assert (error.reason, error.exit_code) == ("FormatNotFound", 64)


def test_a_manifest_cannot_write_outside_of_the_model_folder(run: Run) -> None:
    run.write()
    file = run.folder / "manifest.json"
    file.write_text(file.read_text().replace("merged/config.json", "merged/a/../../../outside"))

    error = refused(lambda: fetch(run.config()))

    assert error.reason == "ArtifactInvalid"
    assert not run.target.exists()


@pytest.mark.parametrize("name", ["../outside", "a/../../outside", "/outside", ".fetch/model.data"])
def test_a_listing_cannot_write_outside_of_the_model_folder(name: str) -> None:
    class Listing(LocalFolder):
        def list(self) -> list[StoredFile]:
            return [StoredFile("config.json", 2), StoredFile(name, 3)]

    config = ServeConfig(model_uri="file:///base", served_model_name="bot", model_dir="/model")

    assert refused(lambda: select(Listing(Path("/base")), config)).reason == "ArtifactInvalid"


def test_a_missing_run_can_be_mended_so_it_is_tried_again(run: Run) -> None:
    error = refused(lambda: fetch(run.config()))

    assert isinstance(error, Mendable)
    assert (error.reason, error.exit_code) == ("ModelNotFound", 75)


def test_a_disk_that_is_too_small_is_told_before_the_first_byte(
    run: Run, monkeypatch: pytest.MonkeyPatch, reads: list[tuple[str, int]]
) -> None:
    config = run.write()
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10})())

    error = refused(lambda: fetch(config))

    assert "needs 102 bytes more" in error.message
    assert reads == []


class TestFolder:
    """A plain Hugging Face folder, without a manifest."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        path = tmp_path / "base"
        path.mkdir()
        (path / "config.json").write_text(json.dumps({"model_type": "llama"}))
        (path / "model.safetensors").write_bytes(WEIGHTS)
        return path

    def config(self, folder: Path, listing: str | None) -> ServeConfig:
        return ServeConfig(
            model_uri=f"file://{folder}",
            listing_sha256=listing,
            served_model_name="bot",
            model_dir=str(folder.parent / "model"),
        )

    def listing(self, folder: Path) -> str:
        return listing_digest((file.name, file.etag or "", file.bytes) for file in LocalFolder(folder).list())

    def test_arrives_whole(self, folder: Path) -> None:
        fetch(self.config(folder, self.listing(folder)), limits=SMALL)

        assert (folder.parent / "model/model.safetensors").read_bytes() == WEIGHTS

    def test_that_changed_since_it_was_resolved_is_refused(self, folder: Path) -> None:
        listing = self.listing(folder)
        (folder / "more.txt").write_text("new")

        error = refused(lambda: fetch(self.config(folder, listing)))

        assert (error.reason, error.exit_code) == ("ArtifactInvalid", 64)

    def test_without_config_is_no_model(self, folder: Path) -> None:
        (folder / "config.json").unlink()

        error = refused(lambda: fetch(self.config(folder, None)))

        assert error.reason == "ModelNotFound"
