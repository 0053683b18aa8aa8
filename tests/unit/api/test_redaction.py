"""No value of a secret is in a message: those that are known in every form, and what looks like a credential."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelgarden.api import redaction
from modelgarden.api.conditions import Condition, Problem
from modelgarden.api.finetunejob.status import AttemptStatus
from modelgarden.api.messages import clean
from modelgarden.api.modeldeployment.status import RevisionStatus
from modelgarden.api.pods import TerminationMessage, TrainReport
from modelgarden.api.redaction import (
    MARK,
    KnownSecrets,
    keep_secret,
    keep_secrets_of,
    redacted,
    without_secrets,
)

SECRET = 'Canary/9+tweet "&\\<ü>=='
FORMS: dict[str, Callable[[str], str]] = {
    "as it is": lambda value: value,
    "quoted for a URL": quote,
    "quoted for a query": lambda value: quote(value, safe=""),
    "quoted for a form": quote_plus,
    "escaped for XML": html.escape,
    "as a Python literal": repr,
    "as a literal of bytes": lambda value: repr(value.encode()),
    "as JSON": json.dumps,
}


@pytest.fixture(autouse=True)
def _forgotten_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_known", KnownSecrets())
    redaction._redacted_before.cache_clear()


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_known_value_is_found_in_every_form(form: Callable[[str], str]) -> None:
    keep_secret(SECRET)

    said = redacted(f"before {form(SECRET)} after")

    assert "tweet" not in said
    assert said.startswith("before ")
    assert said.endswith(" after")


@pytest.mark.parametrize("before", [b"", b"u", b"us", b"use", b"user:"])
@pytest.mark.parametrize("after", [b"", b"x", b"xy", b"xyz"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_a_known_value_is_found_inside_of_base64(
    before: bytes, after: bytes, encode: Callable[[bytes], bytes]
) -> None:
    keep_secret("CanaryCanary??>>1")
    text = encode(before + b"CanaryCanary??>>1" + after).decode()

    said = redacted(text)

    assert MARK in said
    # At each end some bits of one byte may be left, which the bytes beside it share a character with.
    assert len(said) - len(MARK) <= len(text) - 20


@pytest.mark.parametrize("ending", ["\n", "\r\n", " ", "\t", "\x00"])
@pytest.mark.parametrize("shown", [str, repr, lambda value: repr(value.encode())])
def test_a_value_with_white_space_at_its_end_is_found_without_it(
    ending: str, shown: Callable[[str], str]
) -> None:
    keep_secret(f"AKCANARY12345{ending}")

    said = redacted(f"Invalid header value b'Credential {shown(f'AKCANARY12345{ending}')}/20261126'")

    assert "CANARY" not in said


def test_the_lines_of_a_value_are_found_one_by_one() -> None:
    keep_secret("first-canary-line\nsecond-canary-line")

    assert "canary" not in redacted("saw second-canary-line and first-canary-line")


@pytest.mark.parametrize("word", ["test", "minio", "modelgarden", "minioadmin", "a1b2c3"])
def test_what_may_be_an_ordinary_word_is_let_be(word: str) -> None:
    keep_secret(word)

    assert redacted(f"s3://{word}/data") == f"s3://{word}/data"


def test_a_value_that_was_named_long_ago_makes_room() -> None:
    known = KnownSecrets()
    known.keep("canary-number-0")
    for number in range(1, redaction.MOST_VALUES):
        known.keep(f"canary-number-{number}")
    assert known.redact("canary-number-0") == MARK
    assert known.keep("canary-number-1") is False  # it was named again, and is the newest now

    known.keep("canary-one-more")
    known.keep("canary-two-more")

    assert known.redact("canary-number-0") == "canary-number-0"
    assert known.redact("canary-number-1") == MARK
    assert known.redact("canary-two-more") == MARK


def test_the_environment_is_read_by_the_names_of_its_variables() -> None:
    keep_secrets_of(
        {
            "AWS_ACCESS_KEY_ID": "canary-id-0001",
            "AWS_SECRET_ACCESS_KEY": "canary-key-0002",
            "AWS_SESSION_TOKEN": "canary-session-0003",
            "HF_TOKEN": "canary-token-0004",
            "WANDB_API_KEY": "canary-api-0005",
            "GOOGLE_CREDENTIALS": '{"private_key": "canary-json-0008"}',
            "HF_TOKEN_PATH": "/home/nobody/token-0006",
            "AWS_ENDPOINT_URL": "http://s3-0007:9000",
        }
    )

    assert redacted("canary-id-0001 canary-key-0002 canary-session-0003") == f"{MARK} {MARK} {MARK}"
    assert redacted("canary-token-0004 canary-api-0005") == f"{MARK} {MARK}"
    assert "canary-json-0008" not in redacted('{"private_key": "canary-json-0008"}')
    assert (
        redacted("/home/nobody/token-0006 http://s3-0007:9000")
        == "/home/nobody/token-0006 http://s3-0007:9000"
    )


@pytest.mark.parametrize(
    ("said", "want"),
    [
        (
            "Invalid header value b'AWS4-HMAC-SHA256 Credential=CANARY\\n/20261126/us-east-1/s3/aws4_request, "
            "SignedHeaders=host;x-amz-date, Signature=CANARY'",
            "Invalid header value b'AWS4-HMAC-SHA256 Credential=***, SignedHeaders=host;x-amz-date, Signature=***'",
        ),
        ("Authorization: Digest CANARY CANARY\nHost: s3", "Authorization: ***\nHost: s3"),
        ("{'Authorization': 'Token CANARY', 'Host': 's3'}", "{'Authorization': '***', 'Host': 's3'}"),
        ("{'authorization': b\"CANARY 'x'\", 'Host': 's3'}", "{'authorization': b\"***\", 'Host': 's3'}"),
        ("X-Amz-Security-Token: CANARY", "X-Amz-Security-Token: ***"),
        (
            "https://s3/b?X-Amz-Credential=CANARY%2F1&X-Amz-Signature=CANARY&list-type=2",
            "https://s3/b?X-Amz-Credential=***&X-Amz-Signature=***&list-type=2",
        ),
        ("/b?AWSAccessKeyId=CANARY&Signature=CANARY&Expires=1", "/b?AWSAccessKeyId=***&Signature=***&Expires=1"),
        ("AWS CANARY:frJIUN8DYpKDtOLCwo//yllqDzg= is wrong", "AWS *** is wrong"),
        ("<AWSAccessKeyId>CANARY</AWSAccessKeyId>", "<AWSAccessKeyId>***</AWSAccessKeyId>"),
        ("<StringToSign>GET\nCANARY</StringToSign>", "<StringToSign>***</StringToSign>"),
        ("proxy http://me:CANARY@CANARY@proxy:3128/ away", "proxy http://***@proxy:3128/ away"),
        ("with bearer CANARY, refused", "with bearer ***, refused"),
        ("with Basic Y2FuYXJ5OmNhbmFyeQ== refused", "with Basic *** refused"),
        ("key AKIACANARY0CANARY00 is unknown", "key *** is unknown"),
        ("role ASIACANARY0CANARY00", "role ***"),
        ("token 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", "token ***"),
        ("a token of Google's ya29.a0CANARY-canary_CANARY.canary", "a token of Google's ***"),
        (
            '"private_key": "-----BEGIN PRIVATE KEY-----\\nCANARYcanary/+=\\n-----END PRIVATE KEY-----\\n"',
            '"private_key": "-----BEGIN PRIVATE KEY-----***-----END PRIVATE KEY-----\\n"',
        ),
        ("AWS_SECRET_ACCESS_KEY=CANARY and HF_TOKEN: 'CANARY'", "AWS_SECRET_ACCESS_KEY=*** and HF_TOKEN: '***'"),
        ('{"secretAccessKey": "CANARY"}', '{"secretAccessKey": "***"}'),
        ("service account eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJDQU5BUlkifQ.c2lnbmF0dXJl", "service account ***"),
    ],
)  # fmt: skip
def test_what_looks_like_a_credential_is_found_without_being_known(said: str, want: str) -> None:
    assert redacted(said) == want
    assert redacted(want) == want


@pytest.mark.parametrize(
    "said",
    [
        "S3 answered AuthorizationHeaderMalformed (HTTP 400): The authorization header is malformed; the region is wrong",
        "S3 answered InvalidAccessKeyId (HTTP 403): The AWS Access Key Id you provided does not exist",
        "Secret 's3' lacks AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; add the keys.",
        "couldn't find key AWS_ACCESS_KEY_ID in Secret team/s3",
        "s3://bucket/runs/team/job@2026/manifest.json and hf://org/model@main",
        "hf_hub_download and hf_transfer failed, pad_token='</s>', max_tokens=512",
        "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
        "Basic authentication is off",
    ],
)
def test_what_is_no_credential_is_let_be(said: str) -> None:
    assert redacted(said) == said


def test_a_cut_comes_after_the_redaction() -> None:
    keep_secret("canary-secret-value")

    said = clean("12345678 canary-secret-value" + " and more" * 20, length=24)

    assert "cana" not in said


@given(st.text(max_size=300), st.text(min_size=16, max_size=40))
def test_no_text_around_it_hides_a_value_and_none_but_it_is_lost(around: str, value: str) -> None:
    known = KnownSecrets()
    known.keep(value)

    said = known.redact(f"{around}{value}{around}")

    assert value not in said.replace(MARK, "")
    assert known.redact("nothing to see here") in ("nothing to see here", MARK)


def test_conditions_problems_and_what_pods_say_are_redacted_where_they_are_made() -> None:
    keep_secret("canary-secret-value")
    said = "it failed with canary-secret-value"
    condition = Condition(
        type="Accepted", status="False", reason="AccessDenied", message=said, observed_generation=1,
        last_transition_time="2026-11-26T10:00:00Z",
    )  # fmt: skip
    read = TrainReport.model_validate_json(
        json.dumps({"attempt": "a", "progress": {"stage": "Training"}, "outage": said})
    )

    told = (
        condition.message,
        Problem("AccessDenied", said).message,
        TerminationMessage(reason="AccessDenied", message=said).encode(),
        AttemptStatus(pod="p", message=said).message,
        RevisionStatus(name="r", state="Failed", replicas=1, ready_replicas=0, message=said).message,
        read.outage,
    )
    for text in told:
        assert text is not None
        assert "it failed with ***" in text
        assert "canary" not in text


def test_a_process_without_secrets_keeps_every_other_variable() -> None:
    secrets = {
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_SESSION_TOKEN": "c",
        "HF_TOKEN": "d",
    }
    others = {"AWS_REGION": "eu-1", "TOKENIZERS_PARALLELISM": "false", "HF_HOME": "/workspace"}

    assert without_secrets(secrets | others) == others
