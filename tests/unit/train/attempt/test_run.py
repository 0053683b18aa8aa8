"""The configuration of a run: where it comes from and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelgarden.api.names import CONFIG_VARIABLE
from modelgarden_pod.errors import UserError
from modelgarden_train.attempt.run import load_config, open_run

CONFIG = {
    "run": {"namespace": "team", "name": "job", "uid": "uid"},
    "runUri": "file:///runs/1",
    "modelSource": "/models/tiny",
    "datasetSource": "rows.jsonl",
    "modelName": "bot",
}


def test_the_configuration_comes_from_a_file_or_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "job.json"
    file.write_text(json.dumps(CONFIG))
    monkeypatch.setenv(CONFIG_VARIABLE, json.dumps(CONFIG | {"modelName": "other"}))

    assert load_config(file).model_name == "bot"
    assert load_config(None).model_name == "other"


@pytest.mark.parametrize(
    ("change", "want_message"),
    [
        ({"modelName": "not a name"}, "modelName: "),
        ({"training": {"epochs": 0}}, "training.epochs: "),
        ({"method": "QLoRA"}, "QLoRA needs a GPU"),
        ({"method": "Full", "training": {"optimizer": "AdamW8bit"}}, "AdamW8bit is for method Full on a GPU"),
        ({"gpus": 1, "training": {"optimizer": "AdamW8bit"}}, "AdamW8bit is for method Full on a GPU"),
        ({"method": "Full", "formats": ["Adapter"]}, "Full makes no adapter"),
    ],
)
def test_a_wrong_field_is_named(
    change: dict[str, object], want_message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CONFIG_VARIABLE, json.dumps(CONFIG | change))

    with pytest.raises(UserError) as raised:
        load_config(None)

    assert raised.value.reason == "InvalidConfiguration"
    assert want_message in raised.value.message


def test_a_field_that_this_image_does_not_know_is_left_out_and_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    newer = CONFIG | {"schemaVersion": "1.7", "training": {"epochs": 2, "folding": True}}
    monkeypatch.setenv(CONFIG_VARIABLE, json.dumps(newer))

    config = load_config(None)

    assert config.training.epochs == 2
    assert [record.__dict__["fields"] for record in caplog.records] == [("training.folding",)]


def test_a_configuration_of_a_newer_major_version_says_to_upgrade_the_image(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(CONFIG_VARIABLE, json.dumps(CONFIG | {"schemaVersion": "8.0"}))

    with pytest.raises(UserError, match=r"Upgrade the train image \(images\.train of the chart\)") as raised:
        load_config(None)

    assert (raised.value.reason, raised.value.exit_code) == ("UpgradeNeeded", 64)


def test_no_configuration_says_how_to_give_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(CONFIG_VARIABLE, raising=False)

    with pytest.raises(UserError, match="--config FILE"):
        load_config(None)
    with pytest.raises(UserError, match="cannot be read"):
        load_config(tmp_path / "missing.json")


def test_runs_that_follow_each_other_on_one_machine_share_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def workspace(uid: str) -> Path:
        run = {"namespace": "team", "name": "job", "uid": uid}
        monkeypatch.setenv(
            CONFIG_VARIABLE, json.dumps(CONFIG | {"run": run, "runUri": str(tmp_path / "run")})
        )
        return open_run(load_config(None), workspace=tmp_path / "work", attempt="a").workspace

    first, second = workspace("one"), workspace("two")

    assert first != second
    assert {first.parent, second.parent} == {tmp_path / "work"}
    assert first.is_dir()
    assert workspace("one") == first
