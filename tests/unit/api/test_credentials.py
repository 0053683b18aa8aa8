"""A value of a secret that cannot be sent is told by what is wrong with it, never by itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelgarden.api.credentials import fault_of

SENT = ("AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN", "HF_TOKEN")
SIGNS = "AWS_SECRET_ACCESS_KEY"


def found(key: str, value: str) -> str:
    """Return the first sentence of a fault."""
    return (fault_of(key, value) or "").partition(". ")[0]


@pytest.mark.parametrize("key", [*SENT, SIGNS])
@pytest.mark.parametrize(
    ("value", "want"),
    [
        ("canary\n", "ends with a line break"),
        ("canary\r\n", "ends with a line break (CRLF)"),
        ("canary\r", "ends with a carriage return"),
        ("canary ", "ends with a space"),
        ("canary\t", "ends with a tab"),
        ("canary\u00a0", "ends with white space"),
        (" canary", "begins with a space"),
        ("\ncanary", "begins with a line break"),
        ("can\nary", "holds a line break"),
        ("can\tary", "holds a tab"),
        ("can\x00ary", "holds a control character"),
        ("can\x7fary", "holds a control character"),
        ("can\x80ary", "holds a control character"),
        ("\ufeffcanary", "begins with a byte order mark"),
    ],
)
def test_white_space_around_a_value_and_control_characters_in_it_are_faults(
    key: str, value: str, want: str
) -> None:
    assert found(key, value) == want


@pytest.mark.parametrize("key", SENT)
@pytest.mark.parametrize(
    ("value", "want"),
    [("can ary", "holds white space"), ("canäry", "holds a character that is not ASCII")],
)
def test_what_is_sent_itself_has_to_fit_a_header(key: str, value: str, want: str) -> None:
    assert found(key, value) == want


@pytest.mark.parametrize(
    ("value", "remedy"),
    [
        ("canary\n", "`echo` adds a line break where `printf %s` does not"),
        (" canary", "Write the value without it."),
        ("can\x00ary", "it may be of a binary file, or of one in UTF-16"),
        ("can ary", "a copy may have brought in a look-alike or a gap"),
        ("canäry", "a copy may have brought in a look-alike or a gap"),
    ],
)
def test_the_remedy_is_one_of_this_fault(value: str, remedy: str) -> None:
    fault = fault_of("HF_TOKEN", value)

    assert fault is not None
    assert remedy in fault
    assert ("echo" in fault) == value.endswith("\n")


@pytest.mark.parametrize("value", ["correct horse battery", "pässword", "wJalrXUtnFEMI/K7MDENG+bPxRfiCY=="])
def test_a_key_that_only_signs_may_be_a_phrase(value: str) -> None:
    assert fault_of(SIGNS, value) is None


@pytest.mark.parametrize("key", [*SENT, SIGNS])
def test_a_usual_value_has_no_fault(key: str) -> None:
    assert fault_of(key, "AKIAIOSFODNN7EXAMPLE/+=-_.~") is None


@given(st.text(min_size=6, max_size=40), st.sampled_from([*SENT, SIGNS]))
def test_the_words_never_quote_the_value(value: str, key: str) -> None:
    fault = fault_of(key, f"{value}\n")

    assert fault is not None
    assert fault == fault_of(key, f"{value[-1]}\n"), (
        "the same words for a value that shares its last character only"
    )
