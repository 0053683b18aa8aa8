"""Prepare with datasets from elsewhere: what is fetched, what is recorded, and what refusals become."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from modelgarden.api.artifact import DatasetReport
from tests.integration.hub_server import Hub, Repository, serve_hub
from tests.integration.trainer_process import (
    Ended,
    TrainerProcess,
    make_config,
    make_rows,
    tiny_model,
    trainer_python,
)

NAME = "garden/faq"
CARD = """---
configs:
- config_name: short
  data_files:
  - split: train
    path: short/*.jsonl
  - split: test
    path: held/out.jsonl
- config_name: long
  data_files: long.jsonl
---
# Questions
"""


def lines(rows: list[dict[str, str]]) -> bytes:
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


def files_of(card: str = CARD) -> dict[str, bytes]:
    rows = make_rows(60)
    return {
        "README.md": card.encode(),
        "short/1.jsonl": lines(rows[:20]),
        "short/2.jsonl": lines(rows[20:30]),
        "held/out.jsonl": lines(rows[30:40]),
        "long.jsonl": lines(rows[40:]),
        "faq.py": b"raise SystemExit('code of a dataset ran')",
    }


@dataclass
class Prepare:
    """Prepare pods of one run."""

    root: Path
    endpoint: str
    datasets: Path | None = None
    """Where runs share what they have prepared."""

    def run(self, *sources: dict[str, Any], **variables: str) -> Ended:
        """Prepare a dataset of these sources."""
        config = make_config(run_uri=str(self.root / "run"), model=str(tiny_model()), dataset="")
        config["dataset"] = {"sources": sources}
        config["datasetsUri"] = str(self.datasets) if self.datasets else None
        environ = {"HF_ENDPOINT": self.endpoint, "NO_PROXY": "*", **variables}
        pod = TrainerProcess(trainer_python(), self.root / "pod", config, attempt="pod", variables=environ)
        return pod.run("prepare")

    def report(self) -> DatasetReport:
        """Return what prepare left."""
        return DatasetReport.model_validate_json((self.root / "run/dataset/report.json").read_bytes())


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serve_hub() as served:
        served.repositories[f"datasets/{NAME}"] = Repository()
        served.repositories[f"datasets/{NAME}"].commit(files_of())
        yield served


@pytest.fixture
def prepare(tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Prepare:
    for name in [name for name in os.environ if name.startswith("HF_")]:
        monkeypatch.delenv(name)  # the token or the cache of whoever runs the tests would hide a refusal
    return Prepare(tmp_path, hub.endpoint)


def test_a_dataset_of_the_hub_is_its_configuration_and_split_at_one_commit(
    prepare: Prepare, hub: Hub
) -> None:
    repository = hub.repositories[f"datasets/{NAME}"]
    repository.gated = True
    hub.tokens = hub.granted = {"hf_granted"}
    first = repository.refs["main"]
    repository.commit({"README.md": b"# Moved"}, ref="next")

    ended = prepare.run(
        {"uri": f"hf://{NAME}", "config": "short"},
        {"uri": f"hf://{NAME}", "config": "long", "revision": first, "weight": 2},
        MODELGARDEN_SOURCE_0_HF_TOKEN="hf_granted",
        HF_TOKEN="hf_granted",
    )

    assert ended.exit_code == 0, ended.log
    report = prepare.report()
    assert report.status.rows == 50
    assert [(one.uri, one.revision, one.files) for one in report.sources] == [
        (f"hf://{NAME}", first, 2),
        (f"hf://{NAME}", first, 1),
    ]
    # Nothing but the card and the files of the two configurations is fetched; nothing of the repository runs.
    taken = {asked.path.rpartition(f"/resolve/{first}/")[2] for asked in hub.requests("/resolve/")}
    assert taken == {"README.md", "short/1.jsonl", "short/2.jsonl", "long.jsonl"}
    assert all(asked.path.startswith(("/api/datasets/", "/datasets/")) for asked in hub.requests())
    assert "hf_granted" not in ended.log


def test_without_a_card_files_and_splits_are_told_by_their_names(prepare: Prepare, hub: Hub) -> None:
    repository = hub.repositories[f"datasets/{NAME}"]
    files = {"data/train-00000-of-00001.jsonl": lines(make_rows(20)), "data/test.jsonl": lines(make_rows(5))}
    repository.commit(files)

    ended = prepare.run({"uri": f"hf://{NAME}"})

    assert ended.exit_code == 0, ended.log
    assert prepare.report().status.rows == 20
    assert hub.requests("train-00000-of-00001.jsonl")
    assert not hub.requests("test.jsonl")


def test_a_commit_that_another_run_has_read_is_not_fetched_again(prepare: Prepare, hub: Hub) -> None:
    def prepared(run: str) -> str | None:
        pod = Prepare(prepare.root / run, hub.endpoint, datasets=prepare.root / "datasets")
        ended = pod.run({"uri": f"hf://{NAME}", "config": "short"})
        assert ended.exit_code == 0, ended.log
        return pod.report().status.prepared_by

    assert prepared("first") is None
    asked = len(hub.requests("/short/"))
    assert asked

    assert prepared("second") == "count"
    assert len(hub.requests("/short/")) == asked

    hub.repositories[f"datasets/{NAME}"].commit(files_of() | {"short/2.jsonl": lines(make_rows(25)[20:])})
    assert prepared("third") is None


def gate(hub: Hub) -> None:
    hub.repositories[f"datasets/{NAME}"].gated = True
    hub.tokens = {"hf_known"}


def card(configs: str) -> Callable[[Hub], None]:
    def change(hub: Hub) -> None:
        hub.repositories[f"datasets/{NAME}"].commit(files_of(f"---\nconfigs:{configs}\n---\n"))

    return change


def nothing(hub: Hub) -> None:
    """Leave the hub as it is."""


def empty(hub: Hub) -> None:
    hub.repositories[f"datasets/{NAME}"].commit({"README.md": b"# Soon"})


@pytest.mark.parametrize(
    ("change", "source", "want_reason", "want_text"),
    [
        pytest.param(
            nothing, {}, "DatasetNotFound",
            "has no config by default; set its config to one of: short, long", id="a choice to make",
        ),
        pytest.param(
            nothing, {"config": "medium"}, "DatasetNotFound",
            "has no config 'medium'; set its config to one of: short, long", id="an unknown configuration",
        ),
        pytest.param(
            nothing, {"config": "short", "split": "validation"}, "DatasetNotFound",
            "has no split 'validation'; set its split to one of: train, test", id="an unknown split",
        ),
        pytest.param(
            nothing, {"config": "short", "revision": "v9"}, "DatasetNotFound",
            f"hf://{NAME} has no revision 'v9'; correct its revision", id="an unknown revision",
        ),
        pytest.param(
            nothing, {"uri": "hf://garden/nothing"}, "DatasetNotFound",
            "hf://garden/nothing is not on the hub, or is private; correct the source or set its tokenSecretRef",
            id="an unknown dataset",
        ),
        pytest.param(
            gate, {"config": "short"}, "AccessDenied",
            "is gated: accept its terms on the hub and set its tokenSecretRef", id="a gated dataset",
        ),
        pytest.param(
            empty, {}, "DatasetInvalid", "cannot be read, its files cannot be told", id="no data files",
        ),
        pytest.param(
            card(" [{config_name: a, data_files: 'https://127.0.0.1:1/x.jsonl'}]"), {}, "DatasetInvalid",
            "cannot be read, its card names files elsewhere", id="a card that names another host",
        ),
        pytest.param(
            card(" [{config_name: a, data_files: '/etc/*.json'}]"), {"config": "a"}, "DatasetInvalid",
            "cannot be read", id="a card that names files of the pod",
        ),
        pytest.param(
            card(" [{config_name: a, data_files: '../../**/*.json'}]"), {"config": "a"}, "DatasetInvalid",
            "cannot be read", id="a card that names files outside",
        ),
        pytest.param(
            card(" {a: [b"), {}, "DatasetInvalid", "cannot be read, its files cannot be told", id="a broken card",
        ),
    ],
)  # fmt: skip
def test_what_the_hub_does_not_have_is_told_and_not_tried_again(
    prepare: Prepare, hub: Hub, change: Callable[[Hub], None], source: dict[str, str],
    want_reason: str, want_text: str,
) -> None:  # fmt: skip
    change(hub)

    ended = prepare.run({"uri": f"hf://{NAME}", **source}, HF_TOKEN="hf_known" if hub.tokens else "")

    assert (ended.exit_code, ended.message.reason) == (64, want_reason), ended.log
    assert want_text in ended.message.message
    assert "Traceback" not in ended.log
    assert "hf_known" not in ended.log


def test_a_hub_that_fails_and_cuts_is_asked_again(prepare: Prepare, hub: Hub) -> None:
    hub.unavailable = {f"/api/datasets/{NAME}": 2, "/resolve/": 2}
    hub.cuts = {"long.jsonl": [100]}

    ended = prepare.run({"uri": f"hf://{NAME}", "config": "long"})

    assert ended.exit_code == 0, ended.log
    assert prepare.report().status.rows == 20
    assert not any(hub.unavailable.values())
    assert not any(hub.cuts.values())
