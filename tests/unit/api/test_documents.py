"""Documents of other versions: earlier ones by their golden files, later ones by what they may add."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import modelgarden.api
from modelgarden.api.artifact import Manifest
from modelgarden.api.documents import (
    OPERATOR,
    SERVE_IMAGE,
    TRAIN_IMAGE,
    Configuration,
    Document,
    DocumentError,
    NewerDocument,
)
from modelgarden.api.emissions import AttemptEmissions, EmissionsRecord
from modelgarden.api.pods import RunConfig, ServeConfig, TerminationMessage

FOLDER = Path(__file__).with_name("documents")
WRONG = [["of no field's type"]]
LATER = {"fieldOfALaterVersion": {"with": ["a list", 1]}}


def _kinds() -> Iterator[type[Document]]:
    """Yield every kind of document, in whichever module of the API."""
    for module in pkgutil.walk_packages(modelgarden.api.__path__, "modelgarden.api."):
        importlib.import_module(module.name)
    waiting = [Document]
    while waiting:
        kind = waiting.pop()
        if kind not in (Document, Configuration):
            yield kind
        waiting += kind.__subclasses__()


KINDS = {kind.__name__: kind for kind in _kinds()}


ELSEWHERE = {
    ".schemaVersion",
    *(f".evaluation.{model}" for model in ("base", "tuned")),
    *(f".scores.{name}" for name in ("base", "tuned")),
    *(f".scores.{name}" for name in ("perplexity", "exactMatch")),
    *(".datasetSource", ".datasetFormat", ".validationSplit"),
}
"""What is read into another form; `test_evaluation.py` holds the scores, `test_pods.py` the dataset."""


@dataclass(frozen=True)
class Golden:
    """One document of an earlier version."""

    kind: type[Document]
    variant: str
    text: str

    @property
    def value(self) -> dict[str, Any]:
        """Return it as JSON, anew for each caller."""
        value: dict[str, Any] = json.loads(self.text)
        return value

    def read(self) -> Document:
        """Return it as this version reads it."""
        return self.kind.read(self.text, reader=OPERATOR)


def _goldens() -> Iterator[Golden]:
    for file in sorted(FOLDER.glob("*/*.json*")):
        texts = file.read_text().splitlines() if file.suffix == ".jsonl" else [file.read_text()]
        for number, text in enumerate(texts):
            yield Golden(KINDS[file.parent.name], f"{file.name}:{number}", text)


GOLDENS = tuple(_goldens())

every_golden = pytest.mark.parametrize(
    "golden", GOLDENS, ids=lambda golden: f"{golden.kind.__name__}/{golden.variant}"
)
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def example(kind: type[Document]) -> Golden:
    return next(golden for golden in GOLDENS if golden.kind is kind)


def found_in(value: Any, read: Any, place: str = "") -> None:
    """Hold every value of an earlier document against what was read; what is null there is absent."""
    if isinstance(value, dict):
        for name, item in value.items():
            former = f"{place}.{name}" in ELSEWHERE and not (isinstance(item, dict) and "value" in item)
            if item is not None and not former:
                assert name in read, f"{place}.{name}"
                found_in(item, read[name], f"{place}.{name}")
    elif isinstance(value, list):
        assert len(value) == len(read), place
        for index, item in enumerate(value):
            found_in(item, read[index], f"{place}[{index}]")
    else:
        assert value == read, place


def extended(value: Any) -> Any:
    """Return a JSON value with an unknown field in every object but a configuration's maps, whose names are data."""
    if isinstance(value, dict):
        kept = {name: item if name == "columns" else extended(item) for name, item in value.items()}
        return {**kept, **LATER}
    if isinstance(value, list):
        return [extended(item) for item in value]
    return value


@every_kind
def test_every_kind_of_document_has_a_golden_file(kind: type[Document]) -> None:
    assert [golden for golden in GOLDENS if golden.kind is kind]


@every_golden
def test_an_earlier_document_is_read_to_the_same_values(golden: Golden) -> None:
    found_in(golden.value, golden.read().to_dict())


@every_golden
def test_fields_of_a_later_version_change_nothing_at_any_depth(golden: Golden) -> None:
    reading = golden.kind.reading(json.dumps(extended(golden.value)), reader=OPERATOR)

    assert reading.document == golden.read()
    assert "fieldOfALaterVersion" in reading.left_out


@every_golden
def test_what_is_written_again_is_read_again_and_says_its_own_version(golden: Golden) -> None:
    read = golden.read()
    written = json.loads(read.model_dump_json(by_alias=True))

    assert written["schemaVersion"] == golden.kind.model_fields["schema_version"].default
    assert golden.kind.read(json.dumps(written), reader=OPERATOR) == read


@every_kind
@pytest.mark.parametrize("version", ["1.0", "1.9", "modelgarden.dev/v1alpha1", None])
def test_a_version_with_the_same_major_is_read(kind: type[Document], version: str | None) -> None:
    golden = example(kind)

    assert kind.read({**golden.value, "schemaVersion": version}, reader=OPERATOR) == golden.read()


@every_kind
@pytest.mark.parametrize("reader", [OPERATOR, TRAIN_IMAGE, SERVE_IMAGE])
def test_a_newer_major_version_is_refused_and_says_what_to_upgrade(kind: type[Document], reader: str) -> None:
    own = kind.model_fields["schema_version"].default
    newer = f"{int(own.split('.')[0]) + 1}.3"
    with pytest.raises(NewerDocument) as refused:
        kind.read({"schemaVersion": newer, **LATER}, reader=reader)

    assert str(refused.value) == (
        f"It was written in version {newer} of its form, and {own} is known here. "
        f"Upgrade {reader} to at least the version that wrote it."
    )


def _given(kind: type[Document], *, required: bool) -> list[str]:
    """Return the required, or the optional, fields that some golden file has, by their names on the wire."""
    names = {
        str(field.alias): field.is_required()
        for name, field in kind.model_fields.items()
        if name != "schema_version"
    }
    return [name for name, needed in names.items() if needed == required and _golden_with(kind, name)]


def _golden_with(kind: type[Document], name: str) -> Golden | None:
    found = (golden for golden in GOLDENS if golden.kind is kind and golden.value.get(name) is not None)
    return next(found, None)


REQUIRED = [(kind, name) for kind in KINDS.values() for name in _given(kind, required=True)]
OPTIONAL = [(kind, name) for kind in KINDS.values() for name in _given(kind, required=False)]


@pytest.mark.parametrize(("kind", "name"), REQUIRED, ids=lambda one: getattr(one, "__name__", one))
@pytest.mark.parametrize("value", [None, WRONG], ids=["missing", "of another type"])
def test_a_field_that_is_needed_is_named_where_it_cannot_be_read(
    kind: type[Document], name: str, value: Any
) -> None:
    with pytest.raises(DocumentError, match=rf"^{name}") as refused:
        kind.read({**example(kind).value, name: value}, reader=OPERATOR)

    assert not isinstance(refused.value, NewerDocument)


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind, name in OPTIONAL if not issubclass(kind, Configuration)],
    ids=lambda one: getattr(one, "__name__", one),
)
def test_of_a_record_only_the_optional_part_that_cannot_be_read_is_lost(
    kind: type[Document], name: str
) -> None:
    golden = _golden_with(kind, name)
    assert golden is not None
    without = {key: item for key, item in golden.value.items() if key != name}

    reading = kind.reading({**golden.value, name: WRONG}, reader=OPERATOR)

    assert reading.document == kind.read(without, reader=OPERATOR)
    assert reading.left_out[0].split(".")[0] == name


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind, name in OPTIONAL if issubclass(kind, Configuration)],
    ids=lambda one: getattr(one, "__name__", one),
)
def test_a_configuration_is_not_followed_in_part(kind: type[Document], name: str) -> None:
    golden = _golden_with(kind, name)
    assert golden is not None

    with pytest.raises(DocumentError, match=rf"^{name}"):
        kind.read({**golden.value, name: WRONG}, reader=OPERATOR)


@pytest.mark.parametrize(
    "change",
    [
        {"method": "DPO"},
        {"formats": ["Merged16Bit", "ONNX"]},
        {"dataset": {"sources": [{"format": "Transcript"}]}},
    ],
    ids=["method", "formats", "dataset"],
)
def test_a_configuration_with_a_value_of_a_later_minor_version_says_what_to_upgrade(
    change: dict[str, Any],
) -> None:
    config = {**example(RunConfig).value, **change, "schemaVersion": "7.99"}

    with pytest.raises(NewerDocument) as refused:
        RunConfig.read(config, reader=TRAIN_IMAGE)

    assert str(refused.value).startswith(next(iter(change)))
    assert "images.train" in str(refused.value)


def test_a_format_that_only_a_later_version_knows_leaves_the_others() -> None:
    manifest = example(Manifest).value
    manifest["formats"]["ONNX"] = "artifact/onnx"

    reading = Manifest.reading(manifest, reader=SERVE_IMAGE)

    assert reading.document == example(Manifest).read()
    assert reading.left_out == ("formats.ONNX",)


def test_a_list_is_never_read_in_part() -> None:
    manifest = example(Manifest).value
    del manifest["files"][1]["sha256"]

    with pytest.raises(DocumentError, match=r"^files"):
        Manifest.read(manifest, reader=SERVE_IMAGE)


def test_emissions_in_a_state_that_only_a_later_version_knows_still_count() -> None:
    golden = example(AttemptEmissions)

    read = AttemptEmissions.read({**golden.value, "state": "Sampled"}, reader=OPERATOR).record()

    assert type(read) is EmissionsRecord
    assert read.state == "Partial"
    assert read.energy_joules.total == golden.value["energyJoules"]["total"]


@pytest.mark.parametrize(
    ("content", "want"),
    [
        (b"", "it is no JSON"),
        (b"{", "it is no JSON"),
        (b"\xff\xfe{}", "it is no JSON"),
        (b'{"attempt": ' + b"9" * 5000 + b"}", "it is no JSON"),
        (b"[]", "it is no JSON object"),
        (b'"text"', "it is no JSON object"),
        (b"null", "it is no JSON object"),
        (b"[" * 100_000, "it is nested too deeply"),
        (b'{"a":' * 900 + b"1" + b"}" * 900, "it is nested too deeply|Field required"),
        (b'{"schemaVersion": "banana"}', "schemaVersion: it must be of the form major.minor"),
        (b'{"schemaVersion": 2}', "schemaVersion: it must be of the form major.minor"),
        (b'{"schemaVersion": "2"}', "schemaVersion: it must be of the form major.minor"),
        (b"{}", "Field required"),
        (b'{"reason": "a", "message": "\\ud800"}', "document: Invalid JSON"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_no_document_is_refused_without_a_traceback(content: bytes, want: str) -> None:
    with pytest.raises(DocumentError, match=want) as refused:
        TerminationMessage.read(content, reader=OPERATOR)

    assert not isinstance(refused.value, NewerDocument)


def test_an_error_holds_no_value_of_the_document() -> None:
    config = {**example(ServeConfig).value, "drainSeconds": "canary", "gpus": "canary"}

    with pytest.raises(DocumentError) as refused:
        ServeConfig.read(config, reader=SERVE_IMAGE)

    assert "canary" not in str(refused.value)
    assert "drainSeconds" in str(refused.value)


def test_of_many_faults_the_first_are_named() -> None:
    with pytest.raises(DocumentError, match=r"^run: .*; runUri: .*; modelSource: .*; and 2 more$"):
        RunConfig.read("{}", reader=TRAIN_IMAGE)
