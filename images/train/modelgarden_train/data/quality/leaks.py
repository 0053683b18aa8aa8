"""Finds e-mail addresses and keys of known forms in texts. What is found is never told, only of what kind it is. Pure.

Most forms are those of detect-secrets, whose detectors only match here: they can ask the services too, which nothing
calls. Words that every match contains are looked for first, so that most texts are not searched at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Final

from modelgarden.api.redaction import MARK, redacted

_EMAIL: Final = re.compile(
    r"(?<![\w.+-])[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}@((?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,24})"
    r"(?![\w-])"
)
"""As people write addresses; RFC 5321 allows more, such as quoted names, which are hardly used."""
_FOR_EXAMPLES: Final = re.compile(
    r"(?:^|\.)(?:example\.(?:com|net|org)|example|invalid|test|localhost)$", re.IGNORECASE
)
"""Domains that nobody has: RFC 2606 and RFC 6761."""


@dataclass(frozen=True)
class Form:
    """What keys of one kind look like."""

    kind: str
    hints: tuple[str, ...]
    """In lower case; every match contains one."""
    patterns: tuple[re.Pattern[str], ...]


_OTHERS: Final = (
    # https://docs.github.com/authentication/keeping-your-account-and-data-secure/about-authentication-to-github
    Form("GitHub fine-grained token", ("github_pat_",), (re.compile(r"github_pat_[A-Za-z0-9_]{36,255}"),)),
    # https://cloud.google.com/docs/authentication/api-keys (39 characters); OAuth client secrets since 2021
    Form(
        "Google key",
        ("aiza", "gocspx-"),
        (re.compile(r"(?<![\w-])AIza[\w-]{35}(?![\w-])"), re.compile(r"(?<![\w-])GOCSPX-[\w-]{28}")),
    ),
    # https://huggingface.co/docs/hub/security-tokens: user access tokens; api_org_ before 2023
    Form(
        "Hugging Face token",
        ("hf_", "api_org_"),
        (re.compile(r"(?<![A-Za-z0-9])(?:hf|api_org)_[A-Za-z0-9]{30,}"),),
    ),
    # https://platform.openai.com/docs/api-reference/authentication; detect-secrets has the older, shorter ones only
    Form(
        "OpenAI key",
        ("t3blbkfj",),
        (re.compile(r"(?<![\w-])sk-[\w-]{0,200}?[A-Za-z0-9_-]{20}T3BlbkFJ[\w-]{20,200}"),),
    ),
    # RFC 7519: two JSON objects in base64url, which begin with {" and so with eyJ, and a signature. The detector of
    # detect-secrets takes quadratic time.
    Form("JSON Web Token", ("eyj",), (re.compile(r"(?<![\w-])eyJ[\w-]{8,}=*\.eyJ[\w-]{8,}=*\.[\w-]*=*"),)),
    # https://docs.anthropic.com/en/api/admin-api: sk-ant-api03-..., sk-ant-admin01-...
    Form("Anthropic key", ("sk-ant-",), (re.compile(r"sk-ant-[a-z]+\d\d-[\w-]{80,}"),)),
    # https://github.com/Yelp/detect-secrets knows sk_live_ of 24 characters; https://docs.stripe.com/keys has longer ones
    Form("Stripe Access Key", ("k_live_",), (re.compile(r"(?<![A-Za-z0-9])[rs]k_live_[A-Za-z0-9]{24,247}"),)),
)
_BLOCK: Final = re.compile(
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY[^\n]*|\Z)", re.DOTALL
)


@cache
def _forms() -> tuple[Form, ...]:
    from detect_secrets.plugins.aws import AWSKeyDetector
    from detect_secrets.plugins.github_token import GitHubTokenDetector
    from detect_secrets.plugins.gitlab_token import GitLabTokenDetector
    from detect_secrets.plugins.private_key import PrivateKeyDetector
    from detect_secrets.plugins.pypi_token import PypiTokenDetector
    from detect_secrets.plugins.sendgrid import SendGridDetector
    from detect_secrets.plugins.slack import SlackDetector

    known = (
        (AWSKeyDetector, ("akia", "asia", "abia", "acca", "a3t", "aws")),
        (GitHubTokenDetector, ("ghp_", "gho_", "ghu_", "ghs_", "ghr_")),
        (
            GitLabTokenDetector,
            ("glpat-", "gldt-", "glft-", "glsoat-", "glrt-", "gr1348941", "glcbt-", "glimt-"),
        ),
        (GitLabTokenDetector, ("glptt-", "glagent-", "gloas-")),
        (SlackDetector, ("xox", "hooks.slack.com")),
        (PrivateKeyDetector, ("private key", "putty-user-key-file-2")),
        (PypiTokenDetector, ("pypi-age",)),
        (SendGridDetector, ("sg.",)),
    )
    found = (Form(one.secret_type, hints, tuple(one.denylist)) for one, hints in known)
    return (*found, *_OTHERS)


def secret_kinds(text: str) -> tuple[str, ...]:
    """Return the kinds of keys that a text holds, each once."""
    return tuple(dict.fromkeys(form.kind for form, _ in _secrets(text)))


def has_email(text: str) -> bool:
    """Tell whether a text holds an e-mail address that somebody may have."""
    return "@" in text and any(not _FOR_EXAMPLES.search(found[1]) for found in _EMAIL.finditer(text))


def without_leaks(text: str) -> str:
    """Return a text that people may read: with a mark in place of every address and key."""
    text = _BLOCK.sub(MARK, text)
    for _, pattern in tuple(_secrets(text)):
        text = _whole(pattern).sub(MARK, text)
    return redacted(_EMAIL.sub(MARK, text))


@cache
def _whole(pattern: re.Pattern[str]) -> re.Pattern[str]:
    """Return a pattern that goes on to the end of the word: keys are longer than what they are known by."""
    return re.compile(rf"(?:{pattern.pattern})[\w+/=.-]*", pattern.flags)


def _secrets(text: str) -> Iterator[tuple[Form, re.Pattern[str]]]:
    lower = text.lower()
    for form in _forms():
        if any(hint in lower for hint in form.hints):
            for pattern in form.patterns:
                if pattern.search(text):
                    yield form, pattern
