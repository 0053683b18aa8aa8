"""Pointers that the real DVC writes, to data that it pushes to a real S3 server."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from hack.cluster import S3Server
from modelgarden.api.artifact import DatasetReport
from modelgarden.api.pods import PodDataset, PodSource, PodStorage
from modelgarden_pod.errors import UserError
from modelgarden_pod.folder import Folder
from modelgarden_pod.retry import Patience
from modelgarden_pod.storage import open_folder
from modelgarden_train.data.sources.dvc.source import follow_pointers
from modelgarden_train.data.sources.fetch import fetch_sources, list_sources
from modelgarden_train.data.sources.files import Fetched
from modelgarden_train.data.sources.mounted import fetch_mounted
from tests.integration.dvc_project import DvcProject
from tests.integration.trainer_process import (
    TrainerProcess,
    make_config,
    make_rows,
    tiny_model,
    trainer_python,
)
from tests.unit.train.builders import make_config as make_run_config

BUCKET = "dvc"
PATIENCE = Patience(total=5)


def lines(rows: list[dict[str, str]]) -> bytes:
    return "".join(f"{json.dumps(row)}\r\n" for row in rows).encode()


@dataclass(frozen=True)
class Shop:
    """A project of DVC, and the folder in S3 that its pointers are uploaded to."""

    project: DvcProject
    folder: Folder
    storage: PodStorage

    @property
    def remote(self) -> Folder:
        """Where DVC pushes to."""
        return self.folder.child("remote")

    def upload(self) -> None:
        """Upload settings and pointers, as a copy of the repository has them."""
        for path in self.project.pointers():
            place = path.parent.relative_to(self.project.root).as_posix()
            self.folder.child(f"repository/{place}").upload(path, path.name)

    def fetch(self, name: str, target: Path) -> Fetched:
        """Fetch a source of the uploaded repository."""
        source = PodSource(uri=f"{self.folder.uri}/repository/{name}")
        config = make_run_config(dataset=PodDataset(sources=(source,)), storage=self.storage)
        return fetch_sources(list_sources(config, patience=PATIENCE), target)[0]


@pytest.fixture
def shop(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Shop:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.secret_key)
    (s3.data / BUCKET).mkdir(exist_ok=True)
    storage = PodStorage(endpoint=s3.endpoint, region=s3.access.region)
    folder = open_folder(f"s3://{BUCKET}/{request.node.name}", storage, patience=PATIENCE)
    project = DvcProject.start(tmp_path / "home/shop", s3, remote=f"{folder.uri}/remote")
    rows = make_rows(60)
    project.add("data/rows.jsonl", ("data/rows.jsonl", lines(rows[:20])))
    project.add(
        "data/chats",
        ("data/chats/1.jsonl", lines(rows[20:30])),
        ("data/chats/b/2.jsonl", lines(rows[30:60])),
        ("data/chats/empty.jsonl", b""),
        ("data/chats/.notes", b"no rows"),
    )
    return Shop(project, folder, storage)


def test_prepare_reads_the_rows_that_pointers_lead_to(shop: Shop, tmp_path: Path) -> None:
    shop.project.run("push")
    shop.upload()
    sources = [f"{shop.folder.uri}/repository/data/{name}" for name in ("rows.jsonl.dvc", "ch*.dvc")]
    config = make_config(
        run_uri=f"{shop.folder.uri}/run",
        model=str(tiny_model()),
        dataset="",
        storage=shop.storage.model_dump(),
    )
    config["dataset"] = {"sources": [{"uri": uri} for uri in sources]}

    ended = TrainerProcess(trainer_python(), tmp_path / "pod", config, attempt="pod").run("prepare")

    assert ended.exit_code == 0, ended.log
    report = DatasetReport.model_validate_json(shop.folder.read("run/dataset/report.json"))
    assert report.status.rows == 60
    assert [(one.uri, one.files, one.rows) for one in report.sources] == [
        (sources[0], 1, 20),
        (sources[1], 2, 40),
    ]


def test_files_have_the_names_that_they_would_have_beside_their_pointers(shop: Shop, tmp_path: Path) -> None:
    shop.project.run("push")
    shop.upload()

    fetched = shop.fetch("data/chats.dvc", tmp_path / "here")

    assert [(file.name, file.path.read_bytes()) for file in fetched.files] == [
        (
            f"{shop.folder.uri}/repository/data/chats/{name}",
            (shop.project.root / "data/chats" / name).read_bytes(),
        )
        for name in ("1.jsonl", "b/2.jsonl")
    ]


def test_a_pointer_in_a_claim_leads_to_the_remote_in_s3(shop: Shop, tmp_path: Path) -> None:
    shop.project.run("push")
    shutil.copytree(shop.project.root, tmp_path / "mounts/pvc/corpus/shop")
    source = PodSource(uri="pvc://corpus/shop/data/*.dvc")
    mounts = tmp_path / "mounts"
    pointers = fetch_mounted(0, source, tmp_path / "pointers", mounts=mounts)

    fetched = follow_pointers(
        pointers, tmp_path / "here", storage=shop.storage, patience=PATIENCE, mounts=mounts
    )

    assert [file.name for file in fetched.files] == [
        f"pvc://corpus/shop/data/{name}" for name in ("chats/1.jsonl", "chats/b/2.jsonl", "rows.jsonl")
    ]
    assert sum(len(file.path.read_bytes().splitlines()) for file in fetched.files) == 60


def test_each_missing_piece_is_told(shop: Shop, tmp_path: Path) -> None:
    """From a pointer alone to one whose data is there, which is then damaged."""
    pointer = shop.project.root / "data/rows.jsonl.dvc"
    uri = f"{shop.folder.uri}/repository/data/rows.jsonl.dvc"
    shop.folder.upload(pointer, "repository/data/rows.jsonl.dvc")

    def refusal() -> tuple[str, str]:
        with pytest.raises(UserError) as refused:
            shop.fetch("data/rows.jsonl.dvc", tmp_path / "here")
        return refused.value.reason, refused.value.message

    reason, message = refusal()
    assert reason == "DatasetNotFound"
    assert message.startswith(f"neither in the folder of {uri} nor in one above is a .dvc/config")

    shop.upload()
    md5 = next(line for line in pointer.read_text().splitlines() if "md5: " in line).rpartition(" ")[2]
    kept = f"{shop.remote.uri}/files/md5/{md5[:2]}/{md5[2:]}"
    reason, message = refusal()
    assert reason == "DatasetNotFound"
    assert message == f"{kept}, which {uri} leads to, does not exist in the job's storage; run `dvc push`"

    shop.project.run("push")
    assert len(shop.fetch("data/rows.jsonl.dvc", tmp_path / "here").files) == 1

    shop.remote.write(f"files/md5/{md5[:2]}/{md5[2:]}", b"other rows")
    reason, message = refusal()
    assert reason == "DatasetInvalid"
    assert message.startswith(f"{kept}, which {uri} leads to, is damaged, its MD5 is ")
