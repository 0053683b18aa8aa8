"""Stores are shared by those with the same credentials, and say what a secret lacks."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from modelgarden.api.access import GcsStorage, Storage
from modelgarden.api.layout import Location
from modelgarden.api.redaction import redacted
from modelgarden.registry.errors import Refused
from modelgarden.registry.secrets import required_value
from modelgarden.registry.stores import MOST_STORES, Stores


@pytest.fixture
def stores() -> Iterator[Stores]:
    opened = Stores(threads=2)
    yield opened
    opened.close()


def secret(**values: str) -> dict[str, Any]:
    data = {name: base64.b64encode(value.encode()).decode() for name, value in values.items()}
    return {"metadata": {"name": "s3"}, "data": data}


def test_the_same_credentials_share_a_store(stores: Stores) -> None:
    keys = secret(AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b")

    first = stores.for_storage(Storage(endpoint="http://s3:9000"), keys)

    assert stores.for_storage(Storage(endpoint="http://s3:9000"), keys) is first
    assert stores.for_storage(Storage(endpoint="http://s3:9001"), keys) is not first
    assert stores.for_storage(Storage(endpoint="http://s3:9000"), None) is not first


def test_other_keys_in_the_secret_make_another_store(stores: Stores) -> None:
    before = stores.for_storage(Storage(), secret(AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b"))
    after = stores.for_storage(Storage(), secret(AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="c"))

    assert after is not before


@pytest.mark.parametrize(
    ("given", "want"),
    [
        ({}, "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        ({"AWS_ACCESS_KEY_ID": "a"}, "lacks AWS_SECRET_ACCESS_KEY"),
        (
            {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": " "},
            "AWS_SECRET_ACCESS_KEY of secret 's3' is empty; write",
        ),
        ({"AWS_ACCESS_KEY_ID": ""}, "Secret 's3' lacks AWS_SECRET_ACCESS_KEY; add the key"),
    ],
    ids=["an empty secret", "a key is missing", "a key is blank", "one is missing, one blank"],
)
def test_a_secret_without_a_key_is_refused_by_name(stores: Stores, given: dict[str, str], want: str) -> None:
    with pytest.raises(Refused) as refused:
        stores.for_storage(Storage(), secret(**given))

    assert refused.value.reason == "SecretInvalid"
    assert want in refused.value.message


@pytest.mark.parametrize("key", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"])
@pytest.mark.parametrize(
    ("ending", "want"),
    [
        ("\n", "ends with a line break."),
        ("\r\n", "ends with a line break (CRLF)."),
        (" ", "ends with a space."),
    ],
)
def test_a_value_with_white_space_at_its_end_is_refused_by_name_without_its_value(
    stores: Stores, key: str, ending: str, want: str
) -> None:
    values = {"AWS_ACCESS_KEY_ID": "canary-id-1234", "AWS_SECRET_ACCESS_KEY": "canary-key-1234"}

    with pytest.raises(Refused) as refused:
        stores.for_storage(Storage(), secret(**{**values, key: f"canary-{key}{ending}"}))

    assert refused.value.reason == "SecretInvalid"
    assert refused.value.message.startswith(f"Key {key} of secret 's3' {want}")
    assert ("printf %s" in refused.value.message) == ending.endswith("\n")
    assert "canary" not in refused.value.message


def test_a_value_that_was_read_is_in_no_message_from_then_on(stores: Stores) -> None:
    keys = secret(AWS_ACCESS_KEY_ID="canary-id-5678", AWS_SECRET_ACCESS_KEY="canary-key-5678")
    stores.for_storage(Storage(), keys)

    assert redacted("canary-id-5678 and canary-key-5678") == "*** and ***"


def test_a_hub_token_is_held_to_the_same() -> None:
    assert required_value(secret(HF_TOKEN="hf_canary"), "HF_TOKEN") == "hf_canary"
    for value, want in (("hf_canary\n", "ends with a line break"), ("hf canary", "holds white space")):
        with pytest.raises(Refused, match=f"Key HF_TOKEN of secret 's3' {want}") as refused:
            required_value(secret(HF_TOKEN=value), "HF_TOKEN")
        assert "canary" not in refused.value.message
    with pytest.raises(Refused, match="HF_TOKEN of secret 's3' is empty; write a value"):
        required_value(secret(HF_TOKEN=" "), "HF_TOKEN")
    with pytest.raises(Refused, match="Secret 's3' lacks HF_TOKEN; add the key"):
        required_value(secret(OTHER="a"), "HF_TOKEN")


def test_a_secret_that_is_not_text_is_refused_without_its_value(stores: Stores) -> None:
    data = {"AWS_ACCESS_KEY_ID": base64.b64encode(b"\xff\xfe").decode()}

    with pytest.raises(Refused) as refused:
        stores.for_storage(Storage(), {"metadata": {"name": "s3"}, "data": data})

    assert refused.value.message == "Key AWS_ACCESS_KEY_ID of secret 's3' is not text."


def test_old_stores_make_room(stores: Stores) -> None:
    first = stores.for_storage(Storage(region="r-0"), None)
    for number in range(1, MOST_STORES + 1):
        stores.for_storage(Storage(region=f"r-{number}"), None)

    assert stores.for_storage(Storage(region="r-0"), None) is not first


KEY = {
    "type": "service_account",
    "client_email": "garden@project.iam.gserviceaccount.com",
    "private_key": "-----BEGIN PRIVATE KEY-----\nCanaryOfTheFirstLine\nCanaryOfTheSecondLine\n-----END PRIVATE KEY-----\n",
    "token_uri": "https://oauth2.googleapis.com/token",
}


def test_the_key_of_a_service_account_is_part_of_what_a_store_is_shared_by(stores: Stores) -> None:
    storage = Storage(gcs=GcsStorage())
    account = secret(GOOGLE_CREDENTIALS=json.dumps(KEY))

    first = stores.for_storage(storage, None, account)

    assert stores.for_storage(storage, None, account) is first
    assert stores.for_storage(storage, None) is not first
    other = secret(GOOGLE_CREDENTIALS=json.dumps(KEY | {"client_email": "other@x"}))
    assert stores.for_storage(storage, None, other) is not first
    assert redacted("CanaryOfTheSecondLine") == "***"


async def test_a_private_key_that_cannot_be_read_is_refused_without_its_value(stores: Stores) -> None:
    store = stores.for_storage(Storage(gcs=GcsStorage()), None, secret(GOOGLE_CREDENTIALS=json.dumps(KEY)))

    with pytest.raises(Refused, match="private_key that cannot be read") as refused:
        await store.head(Location("bucket", "key", "gs"))

    assert refused.value.reason == "SecretInvalid"
    assert "Canary" not in refused.value.message
