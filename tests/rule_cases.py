"""One refused and one accepted resource for every rule of the API, held against the models and the API server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hack.crd import custom_resource_definition
from modelgarden.api.kinds import FINETUNEJOB, MODELDEPLOYMENT, Kind

Patch = dict[str, Any]

SPECS: dict[str, dict[str, Any]] = {
    FINETUNEJOB.name: {
        "model": {"source": "s3://bucket/model"},
        "dataset": {"source": "s3://bucket/data.jsonl"},
        "output": {"uri": "s3://bucket/garden", "modelName": "bot"},
    },
    MODELDEPLOYMENT.name: {"model": {"source": "s3://bucket/model"}},
}
"""The smallest specs."""


@dataclass(frozen=True)
class RuleCase:
    """A rule by a part of its message, the field that it names, and patches on the smallest spec around its edge."""

    kind: Kind
    message: str
    field: str
    refused: Patch
    accepted: Patch


def merged(spec: dict[str, Any], patch: Patch) -> dict[str, Any]:
    """Return a spec with a JSON merge patch applied (RFC 7396)."""
    result = {key: value for key, value in spec.items() if patch.get(key, value) is not None}
    for key, value in patch.items():
        if isinstance(value, dict):
            result[key] = merged(spec.get(key, {}), value)
        elif value is not None:
            result[key] = value
    return result


def spec_of(kind: Kind, patch: Patch) -> dict[str, Any]:
    """Return the smallest spec of a kind with a patch."""
    return merged(SPECS[kind.name], patch)


def rule_messages(kind: Kind) -> set[str]:
    """Return the messages of the rules on a spec, those on a change left out."""
    version = custom_resource_definition(kind)["spec"]["versions"][0]
    return _messages(version["schema"]["openAPIV3Schema"]["properties"]["spec"])


def _messages(schema: Any) -> set[str]:
    if isinstance(schema, list):
        return set().union(*map(_messages, schema))
    if not isinstance(schema, dict):
        return set()
    rules = schema.get("x-kubernetes-validations", ())
    own = {rule["message"] for rule in rules if "oldSelf" not in rule["rule"]}
    return own.union(*(_messages(inner) for inner in schema.values()))


def _resources(kind: Kind, *, memory: str, less: str | int, within: str = "") -> tuple[RuleCase, ...]:
    def most(field: str, refused: str | int, accepted: str | int) -> RuleCase:
        return case(field, refused, accepted, message=f"{field} must be at most")

    def case(field: str, refused: str | int, accepted: str | int, *, message: str = "") -> RuleCase:
        message = message or f"{field} must be at least"
        patches: list[Patch] = [{"resources": {field: refused}}, {"resources": {field: accepted}}]
        if within:
            patches = [{within: patch} for patch in patches]
        place = f"spec.{within}." if within else "spec."
        return RuleCase(kind, message, f"{place}resources.{field}", *patches)

    return (
        case("cpu", "99m", "100m"),
        case("cpu", "0.099", 1),
        case("memory", "1m", memory),
        case("memory", "500", memory),
        case("memory", less, less + 1 if isinstance(less, int) else memory),
        case("memory", "400M", "99G"),
        most("cpu", "1Gi", "4096"),
        most("cpu", 4097, "4095.9"),
        most("memory", "99999999999Ti", "64Ti"),
        most("memory", "65Ti", "16777216Ki"),
    )


_HUB: Patch = {"repository": "org/name", "tokenSecretRef": {"name": "hub"}}


def _ports(kind: Kind, *path: str, beside: Patch | None = None) -> tuple[RuleCase, ...]:
    def patch(url: str) -> Patch:
        found: Patch = {**(beside or {}), path[-1]: url}
        for name in reversed(path[:-1]):
            found = {name: found}
        return found

    pairs = [
        ("https://s3.example:99999", "https://s3.example"),
        ("http://s3:0", "http://s3:1"),
        ("http://10.0.0.1:65536/", "http://10.0.0.1:65535/"),
    ]
    message = f"the port of {path[-1]} must be 1 to 65535"
    place = ".".join(("spec", *path))
    return tuple(
        RuleCase(kind, message, place, patch(refused), patch(accepted)) for refused, accepted in pairs
    )


def _extra_args() -> tuple[RuleCase, ...]:
    refused = (
        "--port=1", "--por=8001", "--p", "--served-model=evil", "--served-model-name.a=evil", "--config=/x",
        "--co", "--conf=/x", "--ssl-keyfile=/x", "--ssl", "--ss=x", "--ssl-new=1", "--model", "--mod=x", "--h=::", "--a=key",
        "--root=/x", "--headless", "--grp", "--uds=/x", "--middleware=evil.Middleware", "--trust-remote-code",
        "--api-server-count=2", "--trust=1", "--middle=x", "--api-server=2",
    )  # fmt: skip
    accepted = (
        "--ports=1", "--config-format=hf", "--hosts=1", "--served-model-names=x", "--model-impl=auto",
        "--speculative-config.model=x", "--hf-overrides=--port=1", "--grpc-port=1",
        "--sse-keep-alive-interval=5",
    )  # fmt: skip
    cases = [(argument, "--seed=1") for argument in refused]
    cases += [("--port=1", argument) for argument in accepted]
    return tuple(
        RuleCase(
            MODELDEPLOYMENT, "engine.extraArgs must not set what the operator sets", "spec.engine.extraArgs",
            {"engine": {"extraArgs": ["--seed=1", bad]}}, {"engine": {"extraArgs": ["--seed=1", good]}},
        )
        for bad, good in cases
    )  # fmt: skip


def _given_twice() -> tuple[RuleCase, ...]:
    pairs = (
        ("maxModelLen", 4096, "--max-model-len=8192"),
        ("maxModelLen", 4096, "--max-model=8192"),
        ("gpuMemoryUtilization", 0.5, "--gpu-memory-utilization=0.9"),
        ("maxNumSeqs", 8, "--max-num-seqs=9"),
    )
    return tuple(
        RuleCase(
            MODELDEPLOYMENT, f"beside engine.args.{field}", "spec.engine.extraArgs",
            {"engine": {"args": {field: value}, "extraArgs": ["--seed=1", argument]}},
            {"engine": {"extraArgs": ["--seed=1", argument]}},
        )
        for field, value, argument in pairs
    )  # fmt: skip


def _buckets() -> tuple[RuleCase, ...]:
    message = "a bucket's name must have no two dots in a row"
    pairs = (("a..b", "a.b-c.d"), ("10.0.0.1", "10.0.0.1.x"), ("127.0.0.1", "v1.0.0"))
    fields: tuple[tuple[Kind, str, Patch], ...] = (
        (FINETUNEJOB, "spec.model.source", {"model": {"source": ""}}),
        (FINETUNEJOB, "spec.output.uri", {"output": {"uri": ""}}),
        (FINETUNEJOB, "spec.dataset.source", {"dataset": {"source": ""}}),
        (MODELDEPLOYMENT, "spec.model.source", {"model": {"source": ""}}),
    )
    return tuple(
        RuleCase(kind, message, field, *(_filled(patch, f"{scheme}://{bucket}/a/b") for bucket in pair))
        for kind, field, patch in fields
        for scheme in ("s3", "gs")
        for pair in pairs
    )


def _source_forms() -> tuple[RuleCase, ...]:
    pairs = (
        ("http://host/rows.jsonl", "https://host/rows.jsonl"),
        ("file:///rows.jsonl", "configmap://name/rows.jsonl"),
        ("hf://name", "hf://org/name"),
        ("configmap://nope", "configmap://faq/rows.jsonl"),
        ("pvc://claim", "pvc://claim/rows.jsonl"),
        ("https://host/rows.jsonl?X-Amz-Signature=1", "https://host/rows.jsonl"),
        ("s3://bucket/my rows.jsonl", "s3://bucket/my-rows.jsonl"),
    )
    message = "must be s3://bucket/path, gs://bucket/path, hf://org/name"
    return tuple(
        RuleCase(FINETUNEJOB, message, "spec.dataset.source", *({"dataset": {"source": uri}} for uri in pair))
        for pair in pairs
    )


def _filled(patch: Patch, uri: str) -> Patch:
    return {key: _filled(value, uri) if isinstance(value, dict) else uri for key, value in patch.items()}


def _output() -> tuple[RuleCase, ...]:
    inputs: Patch = {"model": {"source": "s3://bucket/m"}, "dataset": {"source": "s3://bucket/d.jsonl"}}
    pairs = (
        ("s3://bucket/d.jsonl", "s3://bucket/d"),
        ("s3://bucket/d.jsonl/out", "s3://bucket/d.jsonl2"),
        ("s3://bucket/m", "s3://bucket"),
        ("s3://bucket/m/out/deep", "s3://bucket/model"),
    )
    cases = tuple(
        ({**inputs, "output": {"uri": bad}}, {**inputs, "output": {"uri": good}}) for bad, good in pairs
    )
    # Where the runs lie; the artifact of an earlier run may well be tuned further.
    cases += (
        (
            {"model": {"source": "s3://bucket/garden/runs"}},
            {"model": {"source": "s3://bucket/garden/runs/team/bot/uid/artifact/merged"}},
        ),
    )
    several = {
        **inputs,
        "dataset": {"source": None, "sources": [{"uri": "s3://other/d"}, {"uri": "s3://bucket/d/"}]},
    }
    held_out: Patch = {
        **inputs,
        "dataset": {"source": "s3://other/d", "validationSources": [{"uri": "s3://bucket/d/"}]},
    }
    deep: Patch = {**inputs, "dataset": {"source": "s3://bucket/d/**/*.jsonl"}}
    shallow: Patch = {**inputs, "dataset": {"source": "s3://bucket/*.jsonl"}}
    cases += (
        ({**several, "output": {"uri": "s3://bucket/d"}}, {**several, "output": {"uri": "s3://bucket/d2"}}),
        ({**several, "output": {"uri": "s3://bucket/d/x"}}, {**several, "output": {"uri": "s3://bucket"}}),
        ({**held_out, "output": {"uri": "s3://bucket/d/x"}}, {**held_out, "output": {"uri": "s3://bucket"}}),
        ({**deep, "output": {"uri": "s3://bucket/d/x"}}, {**shallow, "output": {"uri": "s3://bucket/x"}}),
    )
    message = "output.uri must not be a source of dataset or model, nor below one"
    return tuple(RuleCase(FINETUNEJOB, message, "spec.output.uri", *case) for case in cases)


def _models() -> tuple[RuleCase, ...]:
    latest = {"name": "bot", "alias": "latest"}
    forms: tuple[Patch, ...] = ({"fineTuneJobRef": {"name": "bot"}}, {"registry": latest})

    def case(message: str, field: str, refused: Patch, accepted: Patch) -> RuleCase:
        return RuleCase(FINETUNEJOB, message, field, {"model": refused}, {"model": accepted})

    one = "exactly one of source, fineTuneJobRef, registry must be set"
    named = "exactly one of version, alias must be set"
    return (
        *(case(one, "spec.model", form, {"source": None, **form}) for form in forms),
        case(one, "spec.model", {"source": None, **forms[0], **forms[1]}, {"source": None, **forms[1]}),
        case(one, "spec.model", {"source": None}, {}),
        *(
            case(
                named,
                "spec.model.registry",
                {"source": None, "registry": refused},
                {"source": None, "registry": {"name": "bot", "version": 7}},
            )
            for refused in ({"name": "bot"}, {**latest, "version": 7})
        ),
    )


def _hub_sources() -> tuple[RuleCase, ...]:
    fields: tuple[Patch, ...] = (
        {"config": "main"}, {"split": "train"}, {"revision": "v1"}, {"tokenSecretRef": {"name": "hub"}}
    )  # fmt: skip

    def patch(uri: str, field: Patch) -> Patch:
        return {"dataset": {"source": None, "sources": [{"uri": uri, **field}, {"uri": "s3://data/d"}]}}

    message = "config, split, revision and tokenSecretRef are for an hf:// source only"
    return tuple(
        RuleCase(
            FINETUNEJOB, message, "spec.dataset.sources[0]",
            patch("s3://data/d", field), patch("hf://org/name", field),
        )
        for field in fields
    )  # fmt: skip


def _pod_template(kind: Kind) -> tuple[RuleCase, ...]:
    def case(message: str, field: str, refused: Patch, accepted: Patch) -> RuleCase:
        return RuleCase(
            kind, message, f"spec.podTemplate.{field}", {"podTemplate": refused}, {"podTemplate": accepted}
        )

    keys = tuple(
        case(f"a key of {field}", field, {field: {"a b": ""}}, {field: {"example.com/a-b": ""}})
        for field in ("labels", "annotations", "nodeSelector")
    )
    own = tuple(
        case(
            f"{field} must not set",
            field,
            {field: {"modelgarden.dev/step": "x"}},
            {field: {"modelgarden.example/step": "x"}},
        )
        for field in ("labels", "annotations")
    )
    controllers = tuple(
        case("labels must not set controller-uid", "labels", {"labels": {key: "x"}}, {"labels": {near: "x"}})
        for key, near in (
            ("job-name", "example.com/job-name"),
            ("controller-uid", "controller"),
            ("pod-template-hash", "pod-template"),
            ("batch.kubernetes.io/job-name", "batch.kubernetes.io.example/job-name"),
            ("batch.kubernetes.io/job-completion-index", "app.kubernetes.io/name"),
        )
    )
    return (
        *keys,
        *own,
        *controllers,
        case(
            "without a key must have operator Exists",
            "tolerations[0].operator",
            {"tolerations": [{"value": "x"}]},
            {"tolerations": [{"operator": "Exists"}]},
        ),
        case(
            "with operator Exists must have no value",
            "tolerations[0].value",
            {"tolerations": [{"key": "a", "operator": "Exists", "value": "x"}]},
            {"tolerations": [{"key": "a", "operator": "Equal", "value": "x"}]},
        ),
    )


def _rewarded(reward: dict[str, Any], **settings: Any) -> Patch:
    """Return a job with the objective GRPO, this reward and another."""
    rewards = [reward, {"type": "ExactMatch"}]
    return {"objective": {"type": "GRPO", "grpo": {"rewards": rewards, **settings}}}


RULE_CASES: tuple[RuleCase, ...] = (
    RuleCase(
        FINETUNEJOB,
        "revision and tokenSecretRef are for an hf:// source only",
        "spec.model",
        {"model": {"revision": "main"}},
        {"model": {"source": "hf://org/name", "revision": "main", "tokenSecretRef": {"name": "hub"}}},
    ),
    RuleCase(
        FINETUNEJOB,
        "revision and tokenSecretRef are for an hf:// source only",
        "spec.model",
        {"model": {"source": None, "fineTuneJobRef": {"name": "bot"}, "tokenSecretRef": {"name": "hub"}}},
        {"model": {"source": None, "fineTuneJobRef": {"name": "bot"}}},
    ),
    *_models(),
    *_hub_sources(),
    RuleCase(
        FINETUNEJOB,
        "method QLoRA needs a GPU",
        "spec.method",
        {"method": "QLoRA", "resources": {"gpus": 0}},
        {"method": "QLoRA", "resources": {"gpus": 1}},
    ),
    RuleCase(
        FINETUNEJOB,
        "method Full makes no adapter",
        "spec.output.formats",
        {"method": "Full", "output": {"formats": ["Merged16Bit", "Adapter"]}},
        {"method": "Full", "output": {"formats": ["Merged16Bit"]}},
    ),
    RuleCase(
        FINETUNEJOB,
        "add GGUF to formats, or remove gguf",
        "spec.output.gguf",
        {"output": {"formats": ["Merged16Bit"], "gguf": {"quantization": "Q8_0"}}},
        {"output": {"formats": ["Merged16Bit", "GGUF"], "gguf": {"quantization": "Q8_0"}}},
    ),
    RuleCase(
        FINETUNEJOB,
        "hub.format must be one of formats",
        "spec.output.hub.format",
        {"output": {"formats": ["Adapter"], "hub": _HUB}},
        {"output": {"formats": ["Adapter"], "hub": {**_HUB, "format": "Adapter"}}},
    ),
    *(
        RuleCase(
            FINETUNEJOB,
            "neither -- nor two dots in a row",
            "spec.output.hub.repository",
            {"output": {"hub": {**_HUB, "repository": repository}}},
            {"output": {"hub": {**_HUB, "repository": "org/a-b.c-git"}}},
        )
        for repository in ("org/a--b", "or..g/a", "org/a.git")
    ),
    *_ports(FINETUNEJOB, "output", "hub", "endpoint", beside=_HUB),
    RuleCase(
        FINETUNEJOB,
        "dpo holds the settings of type DPO",
        "spec.objective.dpo",
        {"objective": {"dpo": {}}},
        {"objective": {"type": "DPO", "dpo": {}}},
    ),
    RuleCase(
        FINETUNEJOB,
        "orpo holds the settings of type ORPO",
        "spec.objective.orpo",
        {"objective": {"type": "DPO", "orpo": {}}},
        {"objective": {"type": "ORPO", "orpo": {}}},
    ),
    RuleCase(
        FINETUNEJOB,
        "kto holds the settings of type KTO",
        "spec.objective.kto",
        {"objective": {"type": "SFT", "kto": {}}},
        {"objective": {"type": "KTO", "kto": {}}},
    ),
    RuleCase(
        FINETUNEJOB,
        "the GPUs share the rows of each step",
        "spec.resources.gpus",
        {"resources": {"gpus": 3}, "training": {"effectiveBatchSize": 2}},
        {"resources": {"gpus": 2}, "training": {"effectiveBatchSize": 2}},
    ),
    RuleCase(
        FINETUNEJOB,
        "the GPUs share the rows of each step",
        "spec.resources.gpus",
        {"resources": {"gpus": 2, "nodes": 2}, "training": {"effectiveBatchSize": 3}},
        {"resources": {"gpus": 2, "nodes": 2}, "training": {"effectiveBatchSize": 4}},
    ),
    RuleCase(
        FINETUNEJOB,
        "the GPUs of several nodes share a training",
        "spec.resources.nodes",
        {"resources": {"gpus": 0, "nodes": 2}},
        {"resources": {"gpus": 1, "nodes": 2}},
    ),
    RuleCase(
        FINETUNEJOB,
        "failures of several nodes are counted by status.attempts",
        "spec.backoffLimit",
        {"resources": {"gpus": 1, "nodes": 2}, "backoffLimit": 31},
        {"resources": {"gpus": 1, "nodes": 2}, "backoffLimit": 30},
    ),
    RuleCase(
        FINETUNEJOB,
        "objective KTO compares the rows of a step",
        "spec.training.effectiveBatchSize",
        {"objective": {"type": "KTO"}, "training": {"effectiveBatchSize": 1}},
        {"objective": {"type": "KTO"}, "training": {"effectiveBatchSize": 2}},
    ),
    RuleCase(
        FINETUNEJOB,
        "must be at least 0.01",
        "spec.objective.kto.undesirableWeight",
        {"objective": {"type": "KTO", "kto": {"undesirableWeight": 0}}},
        {"objective": {"type": "KTO", "kto": {"undesirableWeight": 0.01}}},
    ),
    RuleCase(
        FINETUNEJOB,
        "labelSmoothing is of lossType Robust",
        "spec.objective.dpo.labelSmoothing",
        {"objective": {"type": "DPO", "dpo": {"labelSmoothing": 0.1}}},
        {"objective": {"type": "DPO", "dpo": {"labelSmoothing": 0.1, "lossType": "Robust"}}},
    ),
    *(
        RuleCase(
            FINETUNEJOB,
            f"{block} holds the settings of type {kind}",
            f"spec.objective.grpo.rewards[0].{block}",
            _rewarded({"type": "ExactMatch", block: settings}),
            _rewarded({"type": kind, block: settings}),
        )
        for block, kind, settings in (
            ("regex", "Regex", {"pattern": "x"}),
            ("jsonSchema", "JSONSchema", {"document": "{}"}),
            ("sql", "SQL", {"database": "s3://data/shop.sqlite"}),
            ("length", "Length", {"maxTokens": 5}),
            ("python", "Python", {"source": "s3://data/reward.py"}),
        )
    ),
    RuleCase(
        FINETUNEJOB,
        "length needs minTokens or maxTokens",
        "spec.objective.grpo.rewards[0].length",
        _rewarded({"type": "Length", "length": {}}),
        _rewarded({"type": "Length", "length": {"minTokens": 2}}),
    ),
    RuleCase(
        FINETUNEJOB,
        "minTokens must not be more than maxTokens",
        "spec.objective.grpo.rewards[0].length.minTokens",
        _rewarded({"type": "Length", "length": {"minTokens": 6, "maxTokens": 5}}),
        _rewarded({"type": "Length", "length": {"minTokens": 5, "maxTokens": 5}}),
    ),
    RuleCase(
        FINETUNEJOB,
        "grpo holds the settings of type GRPO",
        "spec.objective.grpo",
        {"objective": {"type": "SFT", "grpo": {"rewards": [{"type": "ExactMatch"}]}}},
        _rewarded({"type": "ExactMatch"}),
    ),
    RuleCase(
        FINETUNEJOB,
        "objective GRPO needs grpo.rewards",
        "spec.objective.grpo",
        {"objective": {"type": "GRPO"}},
        _rewarded({"type": "ExactMatch"}),
    ),
    RuleCase(
        FINETUNEJOB,
        "method Full keeps no base model to stay near",
        "spec.objective",
        {"method": "Full", **_rewarded({"type": "ExactMatch"}, beta=0.1)},
        {"method": "Full", **_rewarded({"type": "ExactMatch"}, beta=0)},
    ),
    RuleCase(
        FINETUNEJOB,
        "objective.grpo.maxCompletionLength must be less than training.maxSequenceLength",
        "spec.objective",
        {"training": {"maxSequenceLength": 64}, **_rewarded({"type": "ExactMatch"}, maxCompletionLength=64)},
        {"training": {"maxSequenceLength": 65}, **_rewarded({"type": "ExactMatch"}, maxCompletionLength=64)},
    ),
    RuleCase(
        FINETUNEJOB,
        "objective GRPO has no loss that tells how good a model is",
        "spec.training.validation",
        {"training": {"validation": {"everySteps": 5}}, **_rewarded({"type": "ExactMatch"})},
        _rewarded({"type": "ExactMatch"}),
    ),
    RuleCase(
        FINETUNEJOB,
        "must be at least 0.001",
        "spec.objective.dpo.beta",
        {"objective": {"type": "DPO", "dpo": {"beta": 0}}},
        {"objective": {"type": "DPO", "dpo": {"beta": 0.001}}},
    ),
    RuleCase(
        FINETUNEJOB,
        "must be at least 0.01",
        "spec.dataset.validationSplit",
        {"dataset": {"validationSplit": 0}},
        {"dataset": {"validationSplit": 0.01}},
    ),
    RuleCase(
        FINETUNEJOB,
        "must be at least 0.7",
        "spec.dataset.quality.nearDuplicateThreshold",
        {"dataset": {"quality": {"nearDuplicateThreshold": 0}}},
        {"dataset": {"quality": {"nearDuplicateThreshold": 0.7}}},
    ),
    RuleCase(
        FINETUNEJOB,
        "must be at least 1e-08",
        "spec.training.learningRate",
        {"training": {"learningRate": 0}},
        {"training": {"learningRate": 1e-8}},
    ),
    RuleCase(
        MODELDEPLOYMENT,
        "exactly one of fineTuneJobRef, source must be set",
        "spec.model",
        {"model": {"fineTuneJobRef": {"name": "bot"}}},
        {"model": {"source": None, "fineTuneJobRef": {"name": "bot"}}},
    ),
    *_extra_args(),
    *_given_twice(),
    *_buckets(),
    *_source_forms(),
    *_output(),
    RuleCase(
        FINETUNEJOB,
        "source must name a file in the bucket",
        "spec.dataset.source",
        {"dataset": {"source": "s3://data"}},
        {"dataset": {"source": "s3://data/d"}},
    ),
    RuleCase(
        FINETUNEJOB,
        "source must name a file in the bucket",
        "spec.dataset.source",
        {"dataset": {"source": "gs://data_1/"}},
        {"dataset": {"source": "gs://data_1/d/"}},
    ),
    *(
        RuleCase(
            kind,
            "the port of endpoint must be 1 to 65535",
            "spec.storage.gcs.endpoint",
            {"storage": {"gcs": {"endpoint": "http://gcs:0"}}},
            {"storage": {"gcs": {"endpoint": "http://gcs:1"}}},
        )
        for kind in (FINETUNEJOB, MODELDEPLOYMENT)
    ),
    RuleCase(
        FINETUNEJOB,
        "uri must name a file in the bucket",
        "spec.dataset.sources[0].uri",
        {"dataset": {"source": None, "sources": [{"uri": "s3://data/"}, {"uri": "s3://data/d"}]}},
        {"dataset": {"source": None, "sources": [{"uri": "s3://data/d/"}]}},
    ),
    RuleCase(
        FINETUNEJOB,
        "exactly one of source, sources must be set",
        "spec.dataset",
        {"dataset": {"sources": [{"uri": "s3://data/d/"}]}},
        {"dataset": {"source": None, "sources": [{"uri": "s3://data/d/"}]}},
    ),
    RuleCase(
        FINETUNEJOB,
        "format is that of source; set it in sources",
        "spec.dataset.format",
        {"dataset": {"source": None, "format": "Text", "sources": [{"uri": "s3://data/d/"}]}},
        {"dataset": {"source": None, "sources": [{"uri": "s3://data/d/", "format": "Text"}]}},
    ),
    RuleCase(
        FINETUNEJOB,
        "must be at least 0.01",
        "spec.dataset.sources[0].weight",
        {
            "dataset": {
                "source": None,
                "sources": [{"uri": "s3://data/d/", "weight": 0}, {"uri": "s3://data/e"}],
            }
        },
        {"dataset": {"source": None, "sources": [{"uri": "s3://data/d/", "weight": 0.01}]}},
    ),
    RuleCase(
        FINETUNEJOB,
        "validationSources are given, so that nothing is split off",
        "spec.dataset.validationSplit",
        {"dataset": {"validationSources": [{"uri": "s3://data/v"}], "validationSplit": 0.1}},
        {"dataset": {"validationSources": [{"uri": "s3://data/v"}], "testSplit": 0.1}},
    ),
    RuleCase(
        FINETUNEJOB,
        "overlap is that with validationSources",
        "spec.dataset.quality.overlap",
        {"dataset": {"quality": {"overlap": "Drop"}}},
        {"dataset": {"validationSources": [{"uri": "s3://data/v"}], "quality": {"overlap": "Fail"}}},
    ),
    RuleCase(
        FINETUNEJOB,
        "uri must name a file in the bucket",
        "spec.dataset.validationSources[0].uri",
        {"dataset": {"validationSources": [{"uri": "s3://data/"}, {"uri": "s3://data/v"}]}},
        {"dataset": {"validationSources": [{"uri": "s3://data/v/"}]}},
    ),
    RuleCase(
        FINETUNEJOB,
        "method Full has no adapters; remove targetModules, useRslora and useDora",
        "spec.training.lora",
        {"method": "Full", "training": {"lora": {"useDora": True}}},
        {"method": "Full", "training": {"lora": {"rank": 8}}},
    ),
    RuleCase(
        FINETUNEJOB,
        "method Full has no adapters",
        "spec.training.lora",
        {"method": "Full", "training": {"lora": {"targetModules": ["q_proj"]}}},
        {"training": {"lora": {"targetModules": ["q_proj"], "useRslora": True, "useDora": True}}},
    ),
    RuleCase(
        FINETUNEJOB,
        "set either epochs or maxSteps",
        "spec.training.maxSteps",
        {"training": {"epochs": 1, "maxSteps": 10}},
        {"training": {"maxSteps": 10}},
    ),
    RuleCase(
        FINETUNEJOB,
        "set either warmupRatio or warmupSteps",
        "spec.training.warmupSteps",
        {"training": {"warmupRatio": 0.1, "warmupSteps": 10}},
        {"training": {"warmupSteps": 10}},
    ),
    RuleCase(
        FINETUNEJOB,
        "optimizer AdamW8bit is for method Full",
        "spec.training.optimizer",
        {"training": {"optimizer": "AdamW8bit"}},
        {"training": {"optimizer": "AdamW8bit"}, "method": "Full"},
    ),
    RuleCase(
        FINETUNEJOB,
        "optimizer AdamW8bit is for method Full on a GPU",
        "spec.training.optimizer",
        {"training": {"optimizer": "AdamW8bit"}, "method": "Full", "resources": {"gpus": 0}},
        {"training": {"optimizer": "AdamW"}, "method": "Full", "resources": {"gpus": 0}},
    ),
    RuleCase(
        FINETUNEJOB,
        "vision says how images go into the model",
        "spec.vision",
        {"vision": {"maxPixels": 3136}},
        {"vision": {"maxPixels": 3136}, "modality": "Vision"},
    ),
    RuleCase(
        FINETUNEJOB,
        "modality Vision learns answers",
        "spec.objective",
        {"modality": "Vision", "objective": {"type": "DPO"}},
        {"modality": "Text", "objective": {"type": "DPO"}},
    ),
    RuleCase(
        FINETUNEJOB,
        "modality Vision trains adapters",
        "spec.method",
        {"modality": "Vision", "method": "Full"},
        {"modality": "Vision", "method": "QLoRA"},
    ),
    RuleCase(
        FINETUNEJOB,
        "GGUF holds no vision model",
        "spec.output.formats",
        {"modality": "Vision", "output": {"formats": ["GGUF"]}},
        {"modality": "Vision", "output": {"formats": ["Adapter", "Merged16Bit"]}},
    ),
    RuleCase(
        FINETUNEJOB,
        "vLLM leaves adapters of vision layers out",
        "spec.output.formats",
        {"modality": "Vision", "vision": {"visionLayers": True}, "output": {"formats": ["Adapter"]}},
        {"modality": "Vision", "vision": {"visionLayers": True}, "output": {"formats": ["Merged16Bit"]}},
    ),
    RuleCase(
        FINETUNEJOB,
        "training.ropeScaling is for models of text",
        "spec.training.ropeScaling",
        {"modality": "Vision", "training": {"ropeScaling": {"factor": 2}}},
        {"modality": "Text", "training": {"ropeScaling": {"factor": 2}}},
    ),
    RuleCase(
        FINETUNEJOB,
        "does not tell how the base model's positions are scaled",
        "spec.output.formats",
        {"training": {"ropeScaling": {"factor": 2}}, "output": {"formats": ["Adapter"]}},
        {"training": {"ropeScaling": {"factor": 2}}, "output": {"formats": ["Adapter", "Merged16Bit"]}},
    ),
    RuleCase(
        FINETUNEJOB,
        "must be at least 1.1",
        "spec.training.ropeScaling.factor",
        {"training": {"ropeScaling": {"factor": 1}}},
        {"training": {"ropeScaling": {"factor": 1.1}}},
    ),
    RuleCase(
        FINETUNEJOB,
        "earlyStopping goes by the validation loss",
        "spec.training.earlyStopping",
        {"training": {"earlyStopping": {"patience": 2}}},
        {"training": {"earlyStopping": {"patience": 2}, "validation": {"everySteps": 10}}},
    ),
    RuleCase(
        FINETUNEJOB,
        "must be at least 0.1",
        "spec.training.neftuneNoiseAlpha",
        {"training": {"neftuneNoiseAlpha": 0}},
        {"training": {"neftuneNoiseAlpha": 0.1}},
    ),
    *_resources(FINETUNEJOB, memory="512Mi", less=2**29 - 1),
    *_resources(FINETUNEJOB, memory="512Mi", less=2**29 - 1, within="dataset"),
    *_resources(MODELDEPLOYMENT, memory="1Gi", less="1023Mi"),
    *_ports(FINETUNEJOB, "storage", "endpoint"),
    *_ports(MODELDEPLOYMENT, "storage", "endpoint"),
    *_ports(FINETUNEJOB, "trackers", "mlflow", "trackingUri", beside={"experiment": "numbers"}),
    *_ports(FINETUNEJOB, "trackers", "wandb", "baseUrl", beside={"project": "numbers", "mode": "Offline"}),
    RuleCase(
        FINETUNEJOB,
        "mode Online needs secretRef",
        "spec.trackers.wandb.mode",
        {"trackers": {"wandb": {"project": "numbers"}}},
        {"trackers": {"wandb": {"project": "numbers", "secretRef": {"name": "wandb"}}}},
    ),
    RuleCase(
        MODELDEPLOYMENT,
        "must be at least 0.05",
        "spec.engine.args.gpuMemoryUtilization",
        {"engine": {"args": {"gpuMemoryUtilization": 0}}},
        {"engine": {"args": {"gpuMemoryUtilization": 0.05}}},
    ),
    *_pod_template(FINETUNEJOB),
    *_pod_template(MODELDEPLOYMENT),
)
