"""Keys and addresses: found by their forms, never told."""

from __future__ import annotations

import base64
import json
import random
import re
import string

import pytest

from modelgarden_train.data.quality.leaks import has_email, secret_kinds, without_leaks

_CHANCE = random.Random(1)


def letters(count: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    return "".join(_CHANCE.choices(alphabet, k=count))


def token_of_json(value: dict[str, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


KEYS = {
    "AWS Access Key": "AKIA" + letters(16, string.ascii_uppercase + string.digits),
    "GitHub Token": "ghp_" + letters(36),
    "GitHub fine-grained token": "github_pat_" + letters(22) + "_" + letters(59),
    "GitLab Token": "glpat-" + letters(20),
    "Slack Token": f"xoxb-{letters(12, string.digits)}-{letters(12, string.digits)}-{letters(24)}",
    "Google key": "AIza" + letters(35),
    "OpenAI key": f"sk-proj-{letters(20)}T3BlbkFJ{letters(20)}",
    "Anthropic key": f"sk-ant-api03-{letters(93)}AA",
    "Hugging Face token": "hf_" + letters(34),
    "Stripe Access Key": "sk_live_" + letters(24),
    "SendGrid API Key": f"SG.{letters(22)}.{letters(43)}",
    "PyPI Token": "pypi-AgEIcHlwaS5vcmc" + letters(80),
    "JSON Web Token": ".".join(
        [token_of_json({"alg": "HS256"}), token_of_json({"sub": "1234567890"}), letters(43)]
    ),
    "Private Key": f"-----BEGIN RSA PRIVATE KEY-----\n{letters(64)}\n{letters(64)}\n-----END RSA PRIVATE KEY-----",
}


@pytest.mark.parametrize("kind", KEYS)
def test_a_key_is_found_by_its_form_and_does_not_show(kind: str) -> None:
    key = KEYS[kind]
    text = f"My key is {key} and it works."

    assert kind in secret_kinds(text)
    shown = without_leaks(text)
    for part in re.findall(r"[A-Za-z0-9]{12,}", key):
        assert part not in shown


@pytest.mark.parametrize(
    "text",
    [
        "The capital of France is Paris.",
        "Set the variable hf_home, then call sk_learn and AKIA.",
        "SELECT * FROM ghp_table WHERE id = 1",
        "eyJ is how a JSON Web Token begins, xoxb- a Slack one",
        "A private key must stay private. Use ssh-keygen to make one.",
        "0123456789abcdef" * 8,
    ],
)
def test_talk_of_keys_is_none(text: str) -> None:
    assert secret_kinds(text) == ()
    assert without_leaks(text) == text


@pytest.mark.parametrize(
    "text", ["Write to anna.meier+news@mail.uni-koeln.de!", "<bob_1@gmail.com>", "a@b.co", "von: X@Y.ORG"]
)
def test_an_address_is_found_and_does_not_show(text: str) -> None:
    assert has_email(text)
    assert "@" not in without_leaks(text)


@pytest.mark.parametrize(
    "text",
    [
        "user@example.com",
        "a@mail.example.org",
        "x@host.invalid",
        "@decorator",
        "git@host",
        "1 @ 2.50 each",
        "a@b",
    ],
)
def test_addresses_that_nobody_has_are_none(text: str) -> None:
    assert not has_email(text)


def test_a_long_text_without_an_end_takes_no_long_time() -> None:
    """Linear: an expression that goes back and forth would take hours."""
    assert not has_email("a." * 200_000 + "@" + "b." * 200_000)
    assert secret_kinds("ghp-" * 100_000) == ()
    assert secret_kinds("eyJ" * 100_000) == ()
    assert secret_kinds("sk-" * 100_000 + "T3BlbkFJ") == ()
