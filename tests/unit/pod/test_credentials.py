"""A pod refuses credentials that cannot be sent before it asks anybody."""

from __future__ import annotations

import pytest

from modelgarden.api.pods import PodStorage, ServeConfig
from modelgarden_pod.errors import UserError
from modelgarden_pod.retry import Patience
from modelgarden_pod.storage import open_folder
from modelgarden_serve.fetch import Mendable, fetch
from modelgarden_train.models.hub import download_snapshot

GOOD = {"AWS_ACCESS_KEY_ID": "canary-id-1234", "AWS_SECRET_ACCESS_KEY": "canary-key-1234"}
NOWHERE = PodStorage(endpoint="http://127.0.0.1:9")


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("name", [*GOOD, "AWS_SESSION_TOKEN"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", " "])
def test_a_key_with_white_space_at_its_end_is_named(
    name: str, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, f"canary-{name}{ending}")

    with pytest.raises(UserError) as refused:
        open_folder("s3://bucket/run", NOWHERE)

    assert refused.value.reason == "SecretInvalid"
    assert f"{name}, from the secret" in refused.value.message
    assert ("printf" in refused.value.message) == ending.endswith("\n")
    assert "canary" not in refused.value.message


def test_good_keys_are_taken() -> None:
    assert open_folder("s3://bucket/run", NOWHERE).uri == "s3://bucket/run"


def test_a_token_with_a_line_break_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_canary\n")

    with pytest.raises(UserError, match="HF_TOKEN, from the secret") as refused:
        download_snapshot("hf://team/model", None, weights=False, patience=Patience(total=0))

    assert refused.value.reason == "SecretInvalid"
    assert "canary" not in refused.value.message


def test_a_serving_pod_tries_again_as_a_mended_secret_is_read_by_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary\n")
    config = ServeConfig(
        model_uri="s3://bucket/model", served_model_name="bot", model_dir="/nowhere", storage=NOWHERE
    )

    with pytest.raises(Mendable) as refused:
        fetch(config)

    assert (refused.value.reason, refused.value.exit_code) == ("SecretInvalid", 75)
