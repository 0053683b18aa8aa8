"""Random resources for the CRDs: mostly valid ones, with mutations at their edges.

A generator walks a structural schema, takes strings from a pool per pattern (good ones and near misses) and then
breaks up to two nodes. Left out is what only the API server can tell apart: floats within 1e-9 of a whole number,
which its validator takes for integers; unknown fields that are null; and 1.0 for the integers that its scale
subresource or a CEL rule reads, which know an integer by its spelling.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from modelgarden.api import access, addresses, base, evaluation, finetunejob, modeldeployment

Schema = dict[str, Any]
Mutation = Callable[[Any, Any, Schema], None]

RAW = re.compile(r'"@raw:([^"]*)"')
"""A string that stands for a number's own spelling, such as 1e3."""

_LONG_S3 = "s3://bucket/" + "a" * (1024 - len("s3://bucket/"))
POOLS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    base.STORAGE_PATTERN: (
        (
            "s3://bucket/data.jsonl",
            "s3://my.bucket/a/b=1/c_d-e+f.x",
            "s3://abc",
            _LONG_S3,
            "gs://my_bucket/data.jsonl",
            f"gs://{'b' * 222}/x",
        ),
        (
            "s3://bucket/",
            "s3://Bucket/x",
            "s3://my_bucket/x",
            "gs://_bucket/x",
            "gs://a..b/x",
            "gs://10.0.0.1/x",
            f"gs://{'b' * 223}/x",
            "gcs://bucket/x",
            "s3://ab",
            "s3://a..b/x",
            "s3://10.0.0.1/x",
            "s3://bucket//x",
            "s3://bucket/../x",
            "s3:/bucket/x",
            "S3://bucket/x",
            "s3://bucket/é",
            "s3://bucket/x\n",
            "s3://" + "b" * 64 + "/x",
            "https://bucket/x",
            _LONG_S3 + "a",
        ),
    ),
    finetunejob.REWARD_FILE_PATTERN: (
        ("s3://bucket/reward.py", "gs://my_bucket/a/b=1/shop.sqlite", _LONG_S3),
        (
            "s3://bucket",
            "s3://bucket/",
            "s3://bucket/*.py",
            "gs://a..b/x",
            "s3://10.0.0.1/x",
            "s3://bucket//x",
            "/reward.py",
        ),
    ),
    finetunejob.FUNCTION_PATTERN: (
        ("reward", "_", "Reward_2", "a" * 63),
        ("", "2nd", "re-ward", "a.b", "a" * 64, "é", "reward\n"),
    ),
    finetunejob.STORAGE_FILES_PATTERN: (
        (
            "s3://bucket/data.jsonl",
            "s3://my.bucket/a/b=1/",
            "s3://bucket/*/part-?.x/**/*.gz",
            "s3://abc/a",
            _LONG_S3,
            "gs://my_bucket/**/*.gz",
        ),
        (
            "s3://bucket/",
            "gs://bucket/",
            "gs://bucket",
            "s3://Bucket/x",
            "s3://bucket//x",
            "s3://bucket/a//",
            "s3://bucket/../x",
            "s3://bucket/[a]",
            "s3://abc",
        ),
    ),
    finetunejob.CLAIM_PATTERN: (
        ("pvc://corpus/rows.jsonl", "pvc://a.b-c/x/", "pvc://a/*/**/b?.gz"),
        ("pvc://corpus", "pvc://corpus/", "pvc://-a/b", "pvc://a/../b", "pvc://A/b", "pvc://a//b"),
    ),
    finetunejob.CONFIG_MAP_PATTERN: (
        ("configmap://faq/rows.jsonl", "configmap://a.b/_c-D.e"),
        (
            "configmap://faq",
            "configmap://faq/",
            "configmap://faq/a/b",
            "configmap://faq/*",
            "configmap://faq/..a",
        ),
    ),
    finetunejob.WEB_PATTERN: (
        ("https://data.example.org/rows.jsonl", "https://a1/b/c%20d(1).x@2"),
        (
            "https://data.example.org",
            "https://a/",
            "http://data.example.org/x",
            "https://a/x?y=1",
            "https://a:1/x",
            "https://u@a/x",
        ),
    ),
    finetunejob.BAD_ROWS_PATTERN: (
        ("0", "7", "10%", "2.125%", "100%"),
        ("", "-1", "101%", "10 %", "1.2345%", "1e3", "%", "10%\n"),
    ),
    finetunejob.MODULE_PATTERN: (
        ("q_proj", "_a", "W0", "a" * 64),
        ("", "0a", "a.b", "a b", "a-b", "a" * 65, "a\n"),
    ),
    finetunejob.HUB_NAME_PATTERN: (
        ("default", "train", "en-US", "cleaned v1.2", "_x", "a" * 128),
        ("", "-a", " a", "a/b", "train[:10%]", "a" * 129, "a\n"),
    ),
    base.HF_PATTERN: (
        ("hf://unsloth/Llama-3.2-1B-Instruct", "hf://a/b"),
        ("hf://a", "hf://a/b/c", "hf://-a/b", "hf:///b", "a/b"),
    ),
    evaluation.METRIC_NAME_PATTERN: (("perplexity", "exactMatch", "a" * 63), ("Perplexity", "a-b", "a" * 64)),
    base.DNS_SUBDOMAIN_PATTERN: (
        ("a", "0", "queue-1", "a.b-c.d", "a" * 253),
        ("-a", "a-", "A", "a..b", ".a", "a.", "a.-b", "a_b", "a" * 254, "ä", "a\n"),
    ),
    base.MODEL_NAME_PATTERN: (
        ("m", "Support.Bot_v1-2", "A" * 63),
        ("-m", "m-", ".m", "m/n", "m n", "A" * 64, "模型"),
    ),
    base.LABEL_KEY_PATTERN: (
        ("team", "kueue.x-k8s.io/queue-name", "a/B_c.d-1", "nvidia.com/gpu", "a" * 63),
        ("", "a b", "-a", "A.com/x", "a..b/x", "a/", "/a", "a/b/c", "a" * 64, "b" * 400 + "/a", "ü"),
    ),
    base.LABEL_VALUE_PATTERN: (
        ("", "a", "gold.v1_2-3", "A" * 63),
        ("-a", "a b", "a/b", "A" * 64, "é"),
    ),
    base.QUANTITY_PATTERN: (
        ("1", "4", "500m", "1.5", "0.25", "0.001", "16Gi", "999999999999", "2T"),
        ("0", "0.000", "-1", "1.2345", "01", "1 Gi", "1g", "1e3", "1GiB", "9999999999999", "16Gi\n"),
    ),
    access.NAME_PATTERN: (
        ("s3", "a.b-c", "a" * 253),
        ("S3", "-a", "a_b", "a" * 254),
    ),
    addresses.ENDPOINT_PATTERN: (
        ("https://s3.example.com", "http://10.0.0.1:9000/", "https://a:1", "https://s3.example.com./"),
        (
            "http://..",
            "http://-s3-",
            "http://s3..example.com",
            "s3.example.com",
            "ftp://a",
            "https://a/b",
            "https://a:123456",
            "https://a:99999",
            "https://a:0",
            "https://a b",
            "https://",
        ),
    ),
    addresses.WEB_ADDRESS_PATTERN: (
        ("https://mlflow.example.com", "http://10.0.0.1:5000/", "https://a:1/b/c_d.e~f-g", "http://a/b/"),
        (
            "http://..",
            "mlflow.example.com",
            "databricks",
            "https://a:99999/b",
            "https://a:0",
            "https://u:p@a",
            "https://a/b?c=1",
            "https://a//b",
            "https://a b",
        ),
    ),
    finetunejob.TITLE_PATTERN: (
        ("numbers", "/Users/a@b.c/x_1", "a b-c.d", "a" * 128),
        ("", " a", "a ", "-a", "a:b", "ü", "a" * 129, "a\n"),
    ),
    finetunejob.WANDB_NAME_PATTERN: (
        ("numbers", "_a-b.c", "a" * 128),
        ("", ".a", "a b", "a/b", "ü", "a" * 129, "a\n"),
    ),
    access.REGION_PATTERN: (("us-east-1", "garage", "a" * 64), ("EU", "a_b", "a" * 65)),
    finetunejob.REPOSITORY_PATTERN: (
        ("org/name", "_o/A.b-c_d", f"{'o' * 96}/{'n' * 96}", "a/b", "org/a--b", "o..g/n", "org/n.git"),
        (
            "org",
            "org/",
            "/name",
            "org/name/x",
            ".org/name",
            "org/-name",
            "org/name.",
            "o g/n",
            f"org/{'n' * 97}",
            "ö/n",
        ),
    ),
    finetunejob.REVISION_PATTERN: (
        ("main", "v1.0", "refs/pr/1", "feature/a_b-1.2", "0" * 40, "a" * 128),
        ("-a", "a b", "/a", "a" * 129, "a/../b", "a//b", "a/", "a..b", "a/.b", "a."),
    ),
    modeldeployment.EXTRA_ARG_PATTERN: (
        (
            "--seed=1",
            "--enable-prefix-caching",
            "--x.y=ü z",
            "--hosts=1",
            "--max-model-len=9",
            "--gpu-memory-utilization=0.9",
            "--max-num-seqs=9",
            "--a=" + "b" * 1020,
        ),
        (
            "--port=1",
            "--por=1",
            "--served-model.a=x",
            "--conf",
            "--model",
            "--host",
            "--ssl-keyfile=/x",
            "--api-key=",
            "-x",
            "--Seed=1",
            "--a_b",
            "--served_model_name=x",
            "--served-model-name.a+=x",
            "-tp=2",
            "---port=1",
            "--seed 1",
            "--a=b\nc",
            "--a=" + "b" * 1021,
        ),
    ),
}
"""Good strings and near misses by pattern; those of the URIs are by part, as one field joins two."""

_WRONG: tuple[Any, ...] = (None, True, "text", "", 7, -1, 1.5, [], {}, [1], {"a": 1}, "1", 0)
_RESERVED_KEYS = (
    "modelgarden.dev/x",
    "modelgarden.dev/served",
    "app.kubernetes.io/managed-by",
    "job-name",
    "batch.kubernetes.io/job-name",
)
_READ_AS_SPELLED = (
    "replicas",
    "gpus",
    "nodes",
    "cpu",
    "memory",
    "version",
    "effectiveBatchSize",
    "maxSequenceLength",
    "maxCompletionLength",
    "minTokens",
    "maxTokens",
)
_WORDS = ("", " ", "text", "ünï\u4e2d\U0001f331", "a\nb", "\u0000", "true", "x" * 300)


def _repaired(spec: dict[str, Any]) -> dict[str, Any]:
    """Return a spec after mending, in place, what CEL rules would refuse; another value stays as it is."""
    model = spec.get("model", {})
    forms = [form for form in ("source", "fineTuneJobRef", "registry") if form in model]
    if not forms:
        model["source"] = "s3://bucket/model"
    for form in forms[1:]:
        del model[form]
    registry = model.get("registry", {})
    if "version" in registry:
        registry.pop("alias", None)
    elif "registry" in model:
        registry.setdefault("alias", "latest")
    if not str(model.get("source", "")).startswith("hf://"):
        model.pop("revision", None)
        model.pop("tokenSecretRef", None)
    if "method" in spec:
        spec["method"] = "LoRA"
    _mend_resources(spec.get("resources", {}))
    _mend_nodes(spec)
    _mend_output(spec)
    _mend_training(spec.get("training", {}))
    _mend_objective(spec.get("objective", {}), spec.get("training", {}))
    _mend_modality(spec)
    _mend_positions(spec)
    _mend_trackers(spec.get("trackers"))
    for toleration in spec.get("podTemplate", {}).get("tolerations", ()):
        toleration["operator"] = "Equal" if "key" in toleration else "Exists"
        if toleration["operator"] == "Exists":
            toleration.pop("value", None)
    return spec


def _mend_nodes(spec: dict[str, Any]) -> None:
    """Leave as many nodes as there are rows for, of a training whose attempts can be counted."""
    resources = spec.get("resources", {})
    nodes, gpus = resources.get("nodes", 1), resources.get("gpus", 1)
    rows = spec.get("training", {}).get("effectiveBatchSize", 16)
    numbers = (nodes, gpus, rows, spec.get("backoffLimit", 3))
    if not all(isinstance(one, int) for one in numbers) or nodes == 1:
        return
    if not 0 < gpus * nodes <= rows or spec.get("backoffLimit", 3) > 30:
        del resources["nodes"]


def _mend_modality(spec: dict[str, Any]) -> None:
    """Leave what a training on images may have."""
    if spec.get("modality") != "Vision":
        spec.pop("vision", None)
        return
    spec.pop("objective", None)
    output = spec.get("output", {})
    if isinstance(formats := output.get("formats"), list) and "GGUF" in formats:
        output["formats"] = ["Merged16Bit"]
        output.pop("gguf", None)
    spec.get("training", {}).pop("ropeScaling", None)
    if isinstance(spec.get("vision"), dict) and "Adapter" in output.get("formats", ()):
        spec["vision"].pop("visionLayers", None)


def _mend_positions(spec: dict[str, Any]) -> None:
    """Merge what has scaled positions."""
    output = spec.get("output", {})
    if "ropeScaling" in spec.get("training", {}) and output.get("formats") == ["Adapter"]:
        output["formats"] = ["Adapter", "Merged16Bit"]


def _mend_trackers(trackers: Any) -> None:
    """Have a run without a secret be offline; those of a status are a list."""
    wandb = trackers.get("wandb") if isinstance(trackers, dict) else None
    if isinstance(wandb, dict) and "secretRef" not in wandb:
        wandb["mode"] = "Offline"


def _mend_objective(objective: dict[str, Any], training: dict[str, Any]) -> None:
    """Leave the settings of the objective's own type, no label to smooth, and what a training by it may have."""
    for block in ("dpo", "orpo", "kto", "grpo"):
        if objective.get("type") != block.upper():
            objective.pop(block, None)
    if objective.get("type") == "GRPO":
        objective["grpo"] = {**objective.get("grpo", {}), "rewards": [{"type": "ExactMatch"}]}
        objective["grpo"].pop("maxCompletionLength", None)
        for without in ("validation", "earlyStopping"):
            training.pop(without, None)
    if isinstance(dpo := objective.get("dpo"), dict):
        dpo.pop("labelSmoothing", None)
        if dpo.get("lossType") == "Robust":
            del dpo["lossType"]


def _mend_training(training: dict[str, Any]) -> None:
    """Leave one way to say how long a training is, and how its learning rate rises; stop early by what is seen.

    Adapters, which every random spec has, are not trained by AdamW8bit.
    """
    if training.get("optimizer") == "AdamW8bit":
        training["optimizer"] = "AdamW"
    if "validation" not in training:
        training.pop("earlyStopping", None)
    for one, other in (("epochs", "maxSteps"), ("warmupRatio", "warmupSteps")):
        if one in training:
            training.pop(other, None)


def _mend_resources(resources: dict[str, Any]) -> None:
    for name, fitting in (("cpu", "1.5"), ("memory", "16Gi")):
        if name in resources and isinstance(resources[name], int | str):
            with suppress(KeyError, ValueError):
                if base.amount(resources[name]) < base.amount("1Gi" if name == "memory" else "100m"):
                    resources[name] = fitting


def _mend_sources(dataset: dict[str, Any]) -> None:
    """Leave one way to name sources, each more than a bucket."""
    sources = dataset.get("sources")
    if not sources:
        dataset.pop("sources", None)
        sources = [dataset]
    else:
        dataset.pop("source", None)
        dataset.pop("format", None)
    _mend_validation(dataset)
    for source in (one for one in (*sources, *dataset.get("validationSources", ())) if isinstance(one, dict)):
        key = "source" if source is dataset else "uri"
        uri = str(source.get(key, ""))
        if not re.match(r"s3://[^/]+/[^/]|(?!s3:)[a-z]+:", uri):
            source[key] = uri = "s3://bucket/rows.jsonl"
        if not uri.startswith("hf://"):
            for field in ("config", "split", "revision", "tokenSecretRef"):
                source.pop(field, None)


def _mend_validation(dataset: dict[str, Any]) -> None:
    """Leave one way to come to validation data, and an overlap only with what is given."""
    if dataset.get("validationSources"):
        dataset.pop("validationSplit", None)
        return
    dataset.pop("validationSources", None)
    if isinstance(quality := dataset.get("quality"), dict):
        quality.pop("overlap", None)


def _mend_output(spec: dict[str, Any]) -> None:
    """Give an output that would change its own inputs, or a dataset that is no file, another place; leave settings of
    GGUF where that is made.
    """
    dataset, output = spec.get("dataset"), spec.get("output")
    if isinstance(output, dict) and "uri" in output:
        output["uri"] = "s3://output/garden"
        if "GGUF" not in output.get("formats", ()):
            output.pop("gguf", None)
        _mend_hub(output)
        if isinstance(dataset, dict):
            _mend_sources(dataset)
            _mend_resources(dataset.get("resources", {}))


def _mend_hub(output: dict[str, Any]) -> None:
    """Publish what is made, in a repository that can be one."""
    hub, formats = output.get("hub"), output.get("formats") or ["Merged16Bit"]
    if isinstance(hub, dict):
        hub["format"] = formats[0]
        if re.search(r"--|\.\.|\.git$", str(hub.get("repository"))):
            hub["repository"] = "org/name"


def _pattern_of(schema: Schema) -> str:
    """Return the pattern of a string, also where a rule holds it; nothing where there is none."""
    rules = (rule["rule"] for rule in schema.get("x-kubernetes-validations", ()))
    return str(
        schema.get("pattern") or next((rule for rule in rules if rule.startswith('self.matches(r"')), "")
    )


@dataclass
class Cases:
    """A source of resources of one kind."""

    schema: Schema
    rng: random.Random
    nodes: list[tuple[Any, Any, Schema]] = field(default_factory=list)
    """Where the newest value can be broken: container, key and the schema of what lies there."""

    def valid(self) -> Any:
        """Return a value that fits the schema."""
        self.nodes.clear()
        return _repaired(self._value(self.schema, misses=0.0))

    def text(self) -> str:
        """Return a value as JSON, in about half of the cases with something wrong in it."""
        self.nodes.clear()
        value = self._value(self.schema, misses=self.rng.choice((0.0, 0.0, 0.03)))
        if self.rng.random() < 0.7:
            _repaired(value)
        if self.rng.random() < 0.03:  # among so many nodes no mutation would meet them
            kind = self.rng.choice(("labels", "annotations"))
            value["podTemplate"] = {kind: {self.rng.choice(_RESERVED_KEYS): "a"}}
        for _ in range(self.rng.choice((0, 0, 0, 1, 1, 1, 2))):
            container, key, schema = self.rng.choice(self.nodes)
            self.rng.choice(self._mutations(schema))(container, key, schema)
        return RAW.sub(r"\1", json.dumps(value))

    def _value(self, schema: Schema, *, misses: float) -> Any:
        if "enum" in schema:
            return self.rng.choice(schema["enum"])
        if "x-kubernetes-int-or-string" in schema and self.rng.random() < 0.3:
            return self._number(schema, misses=misses)
        kind = schema.get("type", "string")
        if kind == "object" and "properties" in schema:
            return self._object(schema, misses=misses)
        if kind == "object":
            return self._map(schema, misses=misses)
        if kind == "array":
            return self._array(schema, misses=misses)
        if kind == "boolean":
            return self.rng.random() < 0.5
        if kind == "string":
            return self._string(schema, misses=misses)
        return self._number(schema, misses=misses)

    def _object(self, schema: Schema, *, misses: float) -> dict[str, Any]:
        made: dict[str, Any] = {}
        required = schema.get("required", ())
        for name, inner in schema["properties"].items():
            if name in required or self.rng.random() < 0.5:
                made[name] = self._value(inner, misses=misses)
                self.nodes.append((made, name, inner))
        return made

    def _map(self, schema: Schema, *, misses: float) -> dict[str, Any]:
        made: dict[str, Any] = {}
        good, bad = POOLS[base.LABEL_KEY_PATTERN]
        for _ in range(self.rng.choice((0, 1, 2))):
            key = self.rng.choice((*bad, *_RESERVED_KEYS) if self.rng.random() < misses else good)
            made[key] = self._value(schema["additionalProperties"], misses=misses)
            self.nodes.append((made, key, schema["additionalProperties"]))
        return made

    def _array(self, schema: Schema, *, misses: float) -> list[Any]:
        count = self.rng.choice((schema.get("minItems", 0), 1, 2, 3))
        made: list[Any] = []
        for _ in range(min(count, schema["maxItems"])):
            made.append(self._value(schema["items"], misses=misses))
            self.nodes.append((made, len(made) - 1, schema["items"]))
        if schema.get("x-kubernetes-list-type") == "set" and self.rng.random() > misses:
            made[:] = dict.fromkeys(made)
            self.nodes = [node for node in self.nodes if node[0] is not made or node[1] < len(made)]
        return made

    def _string(self, schema: Schema, *, misses: float) -> str:
        pattern = _pattern_of(schema)
        if not pattern:
            return self.rng.choice(
                ("", "a", "text of a message"[: schema["maxLength"]], "ü" * schema["maxLength"])
            )
        pools = [pool for known, pool in POOLS.items() if known.strip("^$") in pattern]
        if not pools:
            return self._status_string(pattern, schema["maxLength"])
        good, bad = self.rng.choice(pools)
        return self.rng.choice(bad if self.rng.random() < misses else good)

    def _status_string(self, pattern: str, length: int) -> str:
        examples = ("0" * 64, "1.25", "-3e-05", "2026-01-31T12:00:00Z", "2026-01-31T12:00:00.123456Z")
        return self.rng.choice(
            [text for text in examples if len(text) <= length and re.search(pattern, text)]
        )

    def _number(self, schema: Schema, *, misses: float) -> Any:
        low, high = schema.get("minimum", 0), schema.get("maximum", 2**53 - 1)
        if self.rng.random() < misses:
            return int(low)
        if schema.get("type") == "number":
            return self.rng.choice((low, high, (low + high) / 2, self.rng.uniform(low, high)))
        return self.rng.choice((low, high, low + 1, self.rng.randint(low, high)))

    def _mutations(self, schema: Schema) -> list[Mutation]:
        known: list[Mutation] = [self._wrong_type, self._remove]
        kind = schema.get("type", "string")
        if "minimum" in schema:
            known += [self._odd_number] * 3
        if kind == "string":
            known += [self._odd_string] * 3
        if kind == "array":
            known += [self._odd_list] * 3
        if "properties" in schema:
            known += [self._odd_field] * 3
        if "additionalProperties" in schema:
            known += [self._odd_map] * 3
        return known

    def _wrong_type(self, container: Any, key: Any, _: Schema) -> None:
        container[key] = self.rng.choice(_WRONG)

    def _remove(self, container: Any, key: Any, _: Schema) -> None:
        container[key] = None
        if isinstance(container, dict) and self.rng.random() < 0.5:
            del container[key]

    def _odd_number(self, container: Any, key: Any, schema: Schema) -> None:
        low, high = schema["minimum"], schema.get("maximum", 2**53 - 1)
        whole = (int(low), int(low) - 1, int(high), int(high) + 1, 10**19, -(10**30))
        floats = (low, high, low - 1.0, high + 1.0, float(low), float(high), low + 0.5, -0.0, 1e300)
        spelled = ("1e0", "1E1", "1e3", "1.0", "20.00", "5e-1", "1e-9", "-0", "1.0e+2", "160e-1", "1e19")
        texts = (*(f"@raw:{number}" for number in spelled), str(low), repr(float(low)))
        container[key] = self.rng.choice(
            whole if key in _READ_AS_SPELLED else self.rng.choice((whole, floats, texts))
        )

    def _odd_string(self, container: Any, key: Any, schema: Schema) -> None:
        old, length = container.get(key) if isinstance(container, dict) else None, schema.get("maxLength", 64)
        text = old if isinstance(old, str) else "a"
        edges = ("a" * length, "a" * (length + 1), "\U0001f331" * length, "é" * (length + 1))
        around = (text + "\n", "\n" + text, " " + text, text + "\u0000", text.upper(), text + text)
        near = [
            miss
            for known, (_, bad) in POOLS.items()
            if known.strip("^$") in _pattern_of(schema)
            for miss in bad
        ]
        container[key] = self.rng.choice((*edges, *around, *_WORDS, *near, *near))

    def _odd_list(self, container: Any, key: Any, schema: Schema) -> None:
        item = self._value(schema["items"], misses=0.0)
        lists: tuple[Any, ...] = (
            [],
            [item, item],
            [item] * schema["maxItems"],
            [item] * (schema["maxItems"] + 1),
            [None],
            [item, None],
            {},
        )
        container[key] = self.rng.choice(lists)

    def _odd_field(self, container: Any, key: Any, schema: Schema) -> None:
        target = container.get(key) if isinstance(container, dict) else container[key]
        if not isinstance(target, dict):
            return
        properties = schema["properties"] or {"field": {"type": "boolean"}}
        name = self.rng.choice(list(properties))
        snake = re.sub(r"([A-Z])", lambda found: f"_{found[1].lower()}", name)
        value = self._value(properties[name], misses=0.0)
        unknown = self.rng.choice((f"x{name}", name.capitalize(), snake, name, ""))
        target[unknown] = (
            value if unknown == name or self.rng.random() < 0.7 else self.rng.choice((1, "", {}, []))
        )

    def _odd_map(self, container: Any, key: Any, schema: Schema) -> None:
        value = self._value(schema["additionalProperties"], misses=0.0)
        many = self.rng.choice((schema["maxProperties"], schema["maxProperties"] + 1))
        good, bad = POOLS[base.LABEL_KEY_PATTERN]
        one = self.rng.choice((self.rng.choice(good), self.rng.choice(bad), *_RESERVED_KEYS))
        maps: tuple[Any, ...] = (
            {f"k{index}": value for index in range(many)},
            {one: value},
            {one: value},
            {one: None},
            {},
            {one: 1},
        )
        container[key] = self.rng.choice(maps)
